//! What a server sends: encoded once, and shared by all that get it.

use std::rc::Rc;

use grapevine_core::{Command, Farm, wire};

use crate::trace;

/// Free places for bytes that are kept.
const KEPT: usize = 64;

/// A command on its way, perhaps to several servers.
#[derive(Debug)]
pub(super) struct Sent {
    name: &'static str,
    bytes: Vec<u8>,
    /// For the trace.
    digest: u64,
}

impl Sent {
    pub(super) fn new(name: &'static str, bytes: Vec<u8>) -> Self {
        let digest = trace::digest(&bytes);
        Self { name, bytes, digest }
    }

    /// The command's name.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// A digest of the bytes: taken once, however many get them.
    pub(super) const fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What one who gets it reads, each of several anew, in the memory of what was read before. The last one leaves
    /// the memory of the bytes for others.
    ///
    /// # Panics
    /// If the bytes can't be read: the farm's own servers have written them.
    #[inline]
    pub(super) fn read(sent: Rc<Self>, farm: &Farm, free: &mut Vec<Vec<u8>>, into: &mut Command) {
        wire::decode_into(&sent.bytes, farm, into).expect("own bytes decode");
        if let Ok(last) = Rc::try_unwrap(sent)
            && free.len() < KEPT
        {
            free.push(last.bytes);
        }
    }
}
