//! What the run and its servers' processes say to each other: over a socket pair that is each process's
//! input and output, as lengths and postcard.

use std::net::SocketAddr;
use std::sync::Arc;

use grapevine_core::{Config, Event, Farm, Local, Request, RequestId, Session, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::harness::Outcome;

/// All that a process is told at its start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) number: u16,
    /// When the run began, by [`nanos`].
    pub(super) began: u64,
    pub(super) seed: [u8; 32],
    pub(super) farm: Farm,
    pub(super) local: Local,
    /// Frames that may wait for one peer.
    pub(super) queue: usize,
    /// Where the other servers are reached.
    pub(super) peers: Vec<SocketAddr>,
    pub(super) planted: Option<Planted>,
}

/// A bug that is put into servers, to show that a run can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Planted {
    /// Customers are shown the first copy that was read of their session, for ever.
    OldCopies,
    /// A connection on which nothing comes is kept for a day.
    Patience,
}

impl Planted {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "old-copies" => Some(Self::OldCopies),
            "patience" => Some(Self::Patience),
            _ => None,
        }
    }
}

/// What a process is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Order {
    Start(Box<Plan>),
    Ask(RequestId, Box<Request>),
    Show,
}

/// What a process tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// The other servers reach it at this port.
    Listens(u16),
    Starts {
        config: Box<Config>,
        seed: [u8; 32],
        now: Timestamp,
    },
    Serves,
    Handles {
        now: Timestamp,
        event: Box<Event>,
    },
    CarriesOut,
    Answers {
        id: RequestId,
        outcome: Option<Outcome>,
    },
    Shows {
        sessions: Vec<Arc<Session>>,
        overflow: u64,
    },
    Stops(String),
    /// It ran so many nanoseconds later than it was to.
    Late(u64),
}

/// The same, and when, by [`nanos`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) at: u64,
    pub(super) said: Said,
}

/// The clock that all processes of the machine share, and that nobody can set.
pub(super) fn nanos() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Appends something to what is to be written.
pub(super) fn put(into: &mut Vec<u8>, what: &impl Serialize) {
    let bytes = postcard::to_allocvec(what).expect("it can be encoded");
    let length = u32::try_from(bytes.len()).expect("it is not that long");
    into.extend(length.to_le_bytes());
    into.extend(bytes);
}

/// Takes the next from what was read, if all of it is there.
pub(super) fn take<T: DeserializeOwned>(from: &mut &[u8]) -> Option<T> {
    let (length, rest) = from.split_first_chunk::<4>()?;
    let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *from = rest;
    Some(postcard::from_bytes(bytes).expect("the same program wrote it"))
}
