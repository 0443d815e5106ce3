//! What a verification found, for people and programs.

use alloc::vec::Vec;

use serde::Serialize;

use crate::id::{HashedId, ServerId};

/// The answer to [`crate::Request::Verify`]: how this server compares with every other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "record", derive(serde::Deserialize))]
pub struct Report {
    /// One entry per other number that was ever heard of, by number.
    pub peers: Vec<Compared>,
    /// How many configured numbers were never heard of.
    pub unheard: u16,
}

impl Report {
    /// Whether every other configured server was compared to the end, and nothing differed.
    pub fn identical(&self) -> bool {
        let equal = |peer: &Compared| peer.missed.is_none() && peer.differing == 0;
        self.unheard == 0 && self.peers.iter().all(equal)
    }

    /// Whether anything differed.
    pub fn differs(&self) -> bool {
        self.peers.iter().any(|peer| peer.differing > 0)
    }
}

/// How this server compares with one other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "record", derive(serde::Deserialize))]
pub struct Compared {
    /// The other's number.
    pub number: u16,
    /// Its process, if one was heard of.
    pub server: Option<ServerId>,
    /// Sessions (tombstones included) that both held and that were compared.
    pub sessions: u64,
    /// Sessions left out: written to within the last moments, close to their deadline, or waiting
    /// for writes that are not here yet.
    pub left_out: u64,
    /// Sessions that differed, before the repair.
    pub differing: u64,
    /// Of those, how many were made equal.
    pub repaired: u64,
    /// The first [`Compared::NAMED`] of those that differed.
    pub named: Vec<HashedId>,
    /// Why not everything was compared; `None` if it was.
    pub missed: Option<Missed>,
}

impl Compared {
    /// How many sessions a report names per server.
    pub const NAMED: usize = 64;
}

/// Why two servers were not compared, or not to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Deserialize))]
pub enum Missed {
    /// It is down, or can't be reached.
    #[error("it is down or can't be reached")]
    Down,
    /// It left the farm.
    #[error("it left the farm")]
    Left,
    /// It is joining, leaving, or its clock is off.
    #[error("it is joining, leaving, or its clock is off")]
    NotReady,
    /// The server that was asked is joining, leaving, or its own clock is off.
    #[error("this server is joining, leaving, or its clock is off")]
    OwnNotReady,
    /// It did not answer in time.
    #[error("it did not answer in time")]
    NoAnswer,
    /// Time was over first.
    #[error("there was no time left for it")]
    NoTime,
}
