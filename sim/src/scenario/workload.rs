//! What a scenario's customers do: by habit, or one request after another.

use serde::{Deserialize, Serialize};

/// A request and its time, as a script has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scripted {
    /// Seconds after the start of the safety phase.
    pub at_s: f64,
    /// Which scripted customer asks, from 1. Each carries its token from request to request.
    pub customer: u32,
    /// Of which servers, from 1; a double submit names two. One that is down isn't asked.
    pub servers: Vec<u16>,
    /// What it asks. A customer without a session creates one, whatever this says.
    pub kind: Kind,
    /// Draws the rest: which attribute, how much.
    #[serde(default)]
    pub flips: u32,
}

/// What customers do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workload {
    /// How many there are.
    pub customers: u32,
    /// How long one thinks between requests, in ms: from, to.
    pub think_ms: (u64, u64),
    /// How long one waits for a response before it goes elsewhere, in ms.
    pub patience_ms: u64,
    /// The idle timeout of sessions, in seconds.
    pub idle_timeout_s: u64,
    /// The lifetime of sessions, in seconds.
    pub lifetime_s: u64,
    /// Whether a server answers a read at once, without its engine, where the engine's rule allows that: as
    /// real servers always do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub local_reads: bool,
    /// Whether customers now and then leave a session's times to the farm, and name others for a new ID than
    /// the old one had.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub farm_times: bool,
    /// Which kinds of request customers make; creating and reading are always among them.
    pub kinds: Vec<Kind>,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            customers: 6,
            think_ms: (10, 400),
            patience_ms: 3000,
            idle_timeout_s: 600,
            lifetime_s: 3600,
            local_reads: false,
            farm_times: false,
            kinds: Kind::ALL.to_vec(),
        }
    }
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Make a new session. Never drawn: a customer does so when it has none.
    Create,
    /// Read the session. Never drawn: it is what is left.
    Read,
    /// Write a register.
    Set,
    /// Add to a counter.
    Add,
    /// Remove an attribute.
    Remove,
    /// Replace all attributes.
    Replace,
    /// Write an attribute larger than the limit of direct answers.
    Large,
    /// End the session; the customer then makes a new one.
    Delete,
    /// The same write at two servers at once.
    DoubleSubmit,
    /// The last request once more, at another server: what a customer does first whose patience is
    /// over.
    Retry,
    /// A new session with a principal, and the end of the old one. Names two servers: for the new
    /// one, and for the old one.
    LogIn,
    /// A token with flipped bits, which must be refused.
    Forge,
    /// A token from earlier.
    StaleToken,
    /// A read that would rather be stale than fail, or one that waits for a time of its own.
    BestEffort,
    /// Writes that wait for other servers.
    Acks,
    /// Nothing for longer than the idle timeout.
    Idle,
    /// A new ID for the session: a log-in.
    Rotate,
    /// Sign out everywhere: one of the few names that customers have.
    Revoke,
    /// Several changes in one update.
    Several,
    /// The sessions of one of the few names that customers have.
    List,
}

impl Kind {
    /// Whether it names two servers.
    pub(crate) const fn is_double(self) -> bool {
        matches!(self, Self::DoubleSubmit | Self::LogIn)
    }

    /// All that are drawn.
    pub const ALL: [Self; 18] = [
        Self::Set,
        Self::Add,
        Self::Remove,
        Self::Replace,
        Self::Large,
        Self::Delete,
        Self::DoubleSubmit,
        Self::Retry,
        Self::LogIn,
        Self::Forge,
        Self::StaleToken,
        Self::BestEffort,
        Self::Acks,
        Self::Idle,
        Self::Rotate,
        Self::Revoke,
        Self::Several,
        Self::List,
    ];
}
