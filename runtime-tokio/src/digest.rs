//! A hash over the contents of all live sessions, to compare servers.

use std::fmt;

use grapevine_core::{Life, Session, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::local::Array;

/// What a server holds, as one number: equal on all servers of a farm at rest.
///
/// It covers the live and complete sessions before their deadlines, in the order of their
/// addresses, with everything that is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// How many sessions it covers.
    pub sessions: u64,
    /// SHA-256 over them.
    pub hash: [u8; 32],
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sessions, ", self.sessions)?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

pub(crate) fn digest(array: &Array, now: Timestamp) -> Digest {
    let mut hash = Sha256::new();
    let mut sessions = 0;
    let mut encoded = Vec::new();
    array.for_each(|(session, _)| {
        if !is_live(session, now) {
            return;
        }
        encoded.clear();
        match postcard::to_extend(&**session, std::mem::take(&mut encoded)) {
            Ok(filled) => encoded = filled,
            // Memory is the only thing that encoding into a growing buffer can run out of.
            Err(error) => unreachable!("a session that can't be encoded: {error}"),
        }
        // The length before each session, so that no two lists of sessions hash the same bytes.
        hash.update((encoded.len() as u64).to_le_bytes());
        hash.update(&encoded);
        sessions += 1;
    });
    Digest { sessions, hash: hash.finalize().into() }
}

/// Whether a copy is one that customers could be served.
pub(crate) fn is_live(session: &Session, now: Timestamp) -> bool {
    session.life == Life::Live && session.complete && now < session.fixed.deadline
}
