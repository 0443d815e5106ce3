//! What a server knows of the others, as it is shown to people.

use serde::{Deserialize, Serialize};

use crate::id::ServerId;
use crate::stamp::{Stamp, Timestamp};

/// How another server looks from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// Heard from lately.
    Alive,
    /// Silent for `suspect_after`.
    Suspect,
    /// Silent for `down_after`.
    Down,
    /// Said that it goes, and went.
    Left,
    /// Alive, but its clock is too far ahead: what it writes is refused for now.
    Skewed,
}

/// One server as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The newest process under this number.
    pub server: ServerId,
    /// How it looks.
    pub state: State,
    /// Whether it says that it is joining.
    pub joining: bool,
    /// Whether commands can be sent to it.
    pub reachable: bool,
    /// When it was last heard from.
    pub heard: Timestamp,
    /// Its clock less ours, in microseconds, as well as heartbeats tell.
    pub clock_offset_us: i64,
    /// The end of its stream, as it last said.
    pub end: Stamp,
    /// How many copies it holds, as it last said: live ones, partial ones, tombstones.
    pub copies: u64,
    /// How far it has applied this server's stream.
    pub acked: Stamp,
}
