//! Actions: everything that an engine wants done.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::Command;
use crate::error::RequestError;
use crate::event::RequestId;
use crate::id::{Address, HashedId, ServerId};
use crate::member::State;
use crate::protocol::verify::Report;
use crate::session::Session;
use crate::stamp::Version;
use crate::token::Token;

/// Something to do, in causal order: what a response rests on was published and stored before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a command. It may be lost, repeated or delayed; it must not be changed.
    Publish {
        /// To whom.
        to: To,
        /// What.
        command: Command,
    },
    /// Keep this copy where request threads read, or drop it.
    Store {
        /// Where it lies.
        address: Address,
        /// The copy; `None` if there is none any more.
        copy: Option<Arc<Session>>,
        /// Whether this server has every write that the copy has seen. Such a copy may be served
        /// without the engine, by the rule of [`crate::serve_locally`].
        settled: bool,
    },
    /// Answer a request.
    Respond {
        /// Which.
        id: RequestId,
        /// With what.
        outcome: Result<Response, RequestError>,
    },
    /// Something that people may want to know.
    Notify(Notice),
    /// End this process: it can't have its number. It says nothing and serves nothing any more; no
    /// action comes after this one but responses to requests, which are refused.
    Stop(Stop),
}

/// Why a process can't have its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The number is known with an equal or later boot, as after a clock was set back. Nothing was
    /// written or said yet: start again at once, as [`ServerId::next_boot`] of this process.
    Known {
        /// The newest process of the number that is known.
        newest: ServerId,
    },
    /// An older process of the number lives. Nothing was written or said yet.
    NumberInUse {
        /// The process that has it.
        holder: ServerId,
    },
    /// The farm counts another process of the number, which this one learned only after it had
    /// started. What it wrote stays, as far as it has spread.
    Superseded {
        /// The other process.
        newer: ServerId,
    },
}

/// Whom a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Every server that can be reached.
    All,
    /// One server; dropped if it can't be reached.
    One(ServerId),
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Response {
    /// The session, for all requests about one but delete. After a rotation, the new one.
    Session(Served),
    /// The session is over.
    Deleted,
    /// The principal's sessions are over.
    Revoked {
        /// How many of them this server had.
        sessions: u64,
        /// Which revocation it is: sessions that name it, or a later one, live.
        version: Version,
    },
    /// Sessions of the principal.
    Sessions(Listed),
    /// This server has left.
    Left {
        /// Whether every other live server has all of this server's writes.
        complete: bool,
    },
    /// How this server's copies compare with the others'.
    Verified(Report),
}

/// A page of a principal's sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Listed {
    /// Those that this server has and could serve, as far as it knows, in the order of their
    /// addresses.
    pub sessions: Vec<Arc<Session>>,
    /// Where the next page begins; `None` if this was the last.
    pub next: Option<Address>,
}

/// A session as it is served to a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Served {
    /// What the customer must carry from now on.
    pub token: Token,
    /// The state.
    pub session: Arc<Session>,
    /// Nobody could tell in time whether this is current.
    pub stale: bool,
    /// Writes that the customer depends on are lost; this is what is left.
    pub lost: bool,
    /// This server hears from fewer than a majority of the farm: elsewhere the session may have been
    /// changed, or ended, without its knowledge.
    pub isolated: bool,
}

/// Something that people may want to know; nothing depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A server's state changed, as seen from here.
    Member {
        /// The server.
        server: ServerId,
        /// Its new state.
        state: State,
    },
    /// This server has everything it needs to count as a full member.
    Joined,
    /// A peer sent what no correct server sends. It should be cut off.
    Misbehaving {
        /// The peer.
        server: ServerId,
        /// What it did.
        why: &'static str,
    },
    /// Copies of this server and another differ, though both have the same writes: memory was
    /// damaged, or a bug. They are being made equal.
    Mismatch {
        /// The other.
        server: ServerId,
        /// The sessions.
        sessions: Vec<HashedId>,
    },
    /// The session ended by itself. In normal operation one server of the farm says so, once: the
    /// session's origin, or if that is gone the live server with the lowest number. It is what an
    /// application cleans up by. When servers die or can't hear each other, it may be said by several
    /// of them, by each process at most once; or by none, if whoever was to say so died.
    Expired {
        /// The session, as it was last.
        session: Arc<Session>,
        /// Which limit ended it.
        limit: Limit,
    },
    /// An anonymous session was ended to make room for another; said by the server that ended it.
    Evicted {
        /// The session.
        session: Arc<Session>,
    },
}

/// What ends a session by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// It was not used for its idle timeout.
    Idle,
    /// Its absolute deadline has passed, and the margin for clocks that differ.
    Absolute,
}
