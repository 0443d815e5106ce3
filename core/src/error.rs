//! Errors that a request can end with. Each says whether state changed.

use core::time::Duration;

use crate::session::ChangeError;
use crate::token::Token;

/// Why a request was not done, or not as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum RequestError {
    /// The session is over, or never was. Final. Nothing changed.
    #[error("no such session: {0}")]
    NotFound(NotFound),
    /// The token is good, but every server that could have had the session lost it. Nothing changed.
    #[error("the session was lost: no server of the farm has it any more")]
    Lost,
    /// It could not be found out in time. A retry, here or elsewhere, may succeed. Nothing changed.
    #[error("could not be determined in time: {0}")]
    Unavailable(Unavailable),
    /// The session has a new ID by now, and in its grace the old one can only be read. Nothing
    /// changed.
    #[error("the session was given a new ID; the old one can only be read, and not for long")]
    Rotated,
    /// The write was made here and keeps spreading, but not enough servers confirmed it in time.
    /// **State changed.**
    #[error("the write stands, but only {acked} of {wanted} other servers confirmed it in time")]
    NotReplicated {
        /// How many other servers have it.
        acked: u16,
        /// How many were asked for.
        wanted: u16,
        /// What the customer should carry from now on; `None` if the write was a delete or a
        /// revocation.
        token: Option<Token>,
        /// Whether the write rests on what was left of a session, of which a part is lost.
        lost: bool,
    },
    /// A limit. Nothing changed.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A change that can't be made. Nothing changed.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

/// How it is known that a session is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum NotFound {
    /// It was deleted, rotated away or revoked.
    #[error("it was ended")]
    Ended,
    /// It was not used for its idle timeout.
    #[error("it was not used for too long")]
    Idle,
    /// Its deadline has passed.
    #[error("its lifetime is over")]
    Deadline,
    /// This address belongs to another session: the token is not of this farm's making.
    #[error("the farm did not issue this ID")]
    Unknown,
}

/// Why nothing can be said now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Unavailable {
    /// The other servers did not answer in time.
    #[error("the other servers did not answer within {0:?}")]
    NoAnswer(Duration),
    /// The token depends on a time that this server's clock has not nearly reached.
    #[error("the token is from further ahead than clocks may differ")]
    FromTheFuture,
    /// This server's clock differs too much from the majority's.
    #[error("this server's clock is too far from the other servers' clocks")]
    Skewed,
    /// Too many requests wait already.
    #[error("too many requests wait already; {0} are allowed")]
    TooManyWaiting(u32),
    /// A verification is under way already.
    #[error("this server is verifying its copies already")]
    Verifying,
    /// This server hears from fewer than a majority of the farm, and the farm is configured to serve
    /// nothing then.
    #[error("this server is cut off from the majority of the farm, and serves nothing meanwhile")]
    Isolated,
    /// This server leaves the farm, or has left.
    #[error("this server is leaving the farm")]
    Leaving,
}

/// A limit that a request would have passed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum LimitError {
    /// `attributes_per_session`.
    #[error("the session would have {count} attributes; {allowed} are allowed")]
    Attributes {
        /// How many it would have.
        count: usize,
        /// How many are allowed.
        allowed: u32,
    },
    /// `value_bytes`.
    #[error("the value of `{key}` is {bytes} bytes long; {allowed} are allowed")]
    Value {
        /// The attribute.
        key: alloc::string::String,
        /// Its value's size.
        bytes: usize,
        /// What is allowed.
        allowed: u32,
    },
    /// `session_bytes`.
    #[error("the session would take {bytes} bytes; {allowed} are allowed")]
    Session {
        /// What it would take.
        bytes: usize,
        /// What is allowed.
        allowed: u32,
    },
    /// `slots_per_origin`.
    #[error("this server has all {allowed} sessions that it may have created")]
    Slots {
        /// What is allowed.
        allowed: u32,
    },
    /// `bytes_per_origin`.
    #[error("the sessions that one server created may take {allowed} bytes, and do")]
    Bytes {
        /// What is allowed.
        allowed: u64,
    },
    /// `anonymous_percent` of `slots_per_origin`. Who logs in may still find room.
    #[error("this server has all {allowed} sessions without a principal that it may have created")]
    AnonymousSlots {
        /// What is allowed.
        allowed: u64,
    },
    /// `anonymous_percent` of `bytes_per_origin`. Who logs in may still find room.
    #[error("the sessions without a principal of one server may take {allowed} bytes, and do")]
    AnonymousBytes {
        /// What is allowed.
        allowed: u64,
    },
    /// `known_servers`: this process has written nothing yet, and so many earlier ones of its number
    /// are still remembered, because sessions show what they wrote, that there is no place for one
    /// more. Places come free as those sessions end.
    /// Until then it serves reads, but for those of which the access is to be written down.
    #[error(
        "{allowed} earlier processes of this server are still remembered; this one may not write yet"
    )]
    Servers {
        /// What is allowed: half of the number's share of `known_servers`.
        allowed: u32,
    },
    /// The longest principal is [`crate::MAX_PRINCIPAL_BYTES`] bytes.
    #[error("the principal is {bytes} bytes long; {allowed} are allowed")]
    Principal {
        /// Its length.
        bytes: usize,
        /// What is allowed.
        allowed: usize,
    },
    /// A lifetime out of range.
    #[error("a lifetime of {asked:?} is not allowed; it must be from 1 s to {allowed:?}")]
    Lifetime {
        /// What was asked for.
        asked: Duration,
        /// The farm's `max_lifetime`, or `anonymous_lifetime`.
        allowed: Duration,
    },
    /// An idle timeout out of range.
    #[error("an idle timeout of {asked:?} is not allowed; it must be from 1 s to {allowed:?}")]
    IdleTimeout {
        /// What was asked for.
        asked: Duration,
        /// The farm's `max_lifetime`.
        allowed: Duration,
    },
}

impl LimitError {
    /// The stable name of the limit, for programs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Attributes { .. } => "attributes_per_session",
            Self::Value { .. } => "value_bytes",
            Self::Session { .. } => "session_bytes",
            Self::Slots { .. } => "slots_per_origin",
            Self::Bytes { .. } => "bytes_per_origin",
            Self::AnonymousSlots { .. } => "anonymous_slots",
            Self::AnonymousBytes { .. } => "anonymous_bytes",
            Self::Servers { .. } => "known_servers",
            Self::Principal { .. } => "principal_bytes",
            Self::Lifetime { .. } => "lifetime",
            Self::IdleTimeout { .. } => "idle_timeout",
        }
    }
}
