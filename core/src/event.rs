//! Events: everything that can happen to an engine.

use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::id::{Address, ServerId};
use crate::session::{Change, Key, Principal, Value};
use crate::token::Token;

/// The caller's number for a request; the response carries it. Must not be in use by a request that
/// still waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct RequestId(pub u64);

/// Something that happened, with the time handed to [`crate::Engine::handle`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Event {
    /// The application asks for something. It gets exactly one response (G7).
    Request {
        /// Repeated in the response.
        id: RequestId,
        /// What it asks.
        request: Request,
    },
    /// A command came from another server, decoded. The sender is who the link's handshake says.
    Command {
        /// The sender.
        from: ServerId,
        /// What it says.
        command: Command,
    },
    /// It may be time: the engine does what is due.
    Timer,
    /// Commands can be sent to this server from now on.
    PeerUp(ServerId),
    /// Commands can't be sent to this server any more. (Whether it lives, heartbeats tell.)
    PeerDown(ServerId),
}

/// What the application asks of its own server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Request {
    /// Make a new session (R57a, R74).
    Create(Create),
    /// Read a session.
    Read {
        /// What the customer carries.
        token: Token,
        /// What to do when the farm can't tell in time.
        policy: ReadPolicy,
    },
    /// Change some attributes, the others stay (modify: R61).
    Update {
        /// What the customer carries.
        token: Token,
        /// The changes, made in order, all or none.
        changes: Vec<Change>,
        /// Whom to wait for.
        acks: Acks,
    },
    /// Replace all attributes (delete and add: R62).
    Replace {
        /// What the customer carries.
        token: Token,
        /// The new attributes.
        attributes: Vec<(Key, Value)>,
        /// Whom to wait for.
        acks: Acks,
    },
    /// End the session.
    Delete {
        /// What the customer carries.
        token: Token,
        /// Whom to wait for.
        acks: Acks,
    },
    /// Give the session a new ID, with its contents, and end the old one: at every change of
    /// privilege, log-in before all.
    Rotate {
        /// What the customer carries.
        token: Token,
        /// How.
        rotation: Rotation,
    },
    /// End every session of a principal: those that the farm has, and those of servers that can't be
    /// reached, when they are back.
    Revoke {
        /// Whose.
        principal: Principal,
        /// Whom to wait for.
        acks: Acks,
    },
    /// List the sessions of a principal that this server has, a page of them.
    Sessions {
        /// Whose.
        principal: Principal,
        /// Where the page before ended; `None` for the first.
        after: Option<Address>,
        /// How many at most; more than [`MAX_LISTED`] are never listed at once.
        most: u16,
    },
    /// Leave the farm in order: answered when the others have everything, or `leave_timeout` has
    /// passed. After it, every request is refused.
    Leave,
    /// Compare all copies with those of every other server, and mend what differs. One at a time.
    Verify {
        /// How long it may take; times beyond [`Request::LONGEST_VERIFY`] are cut to it. What was not
        /// compared by then is named in the report.
        within: Duration,
    },
}

impl Request {
    /// The longest time that a verification may take.
    pub const LONGEST_VERIFY: Duration = Duration::from_secs(3600);
}

/// A new session's particulars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Create {
    /// The first attributes.
    pub attributes: Vec<(Key, Value)>,
    /// How long it lives without an access; `None` for the farm's default.
    pub idle_timeout: Option<Duration>,
    /// How long it lives at most; `None` for the farm's default.
    pub lifetime: Option<Duration>,
    /// Whose it is.
    pub principal: Option<Principal>,
    /// Whom to wait for.
    pub acks: Acks,
}

/// How many sessions of a principal one page of a list holds at most.
pub const MAX_LISTED: u16 = 100;

/// How a session gets a new ID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Rotation {
    /// Who has logged in; `None` leaves the session whose it is.
    pub principal: Option<Principal>,
    /// Changes of the contents, made in order.
    pub changes: Vec<Change>,
    /// How long the old ID still shows its own last contents, read only: for the browser's other
    /// requests under way. None by default.
    pub grace: Duration,
    /// How long the new session lives without an access; `None` for as long as the old one.
    pub idle_timeout: Option<Duration>,
    /// How long the new session lives at most; `None` for the farm's default.
    pub lifetime: Option<Duration>,
    /// Whom to wait for. By default one other at least, so that one crash can't bring the old ID back.
    pub acks: Acks,
}

/// What to do with a read when the farm can't tell in time whether the copy here is current.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum ReadPolicy {
    /// Say `Unavailable`.
    #[default]
    Fresh,
    /// Serve what is here, marked as stale.
    BestEffort,
    /// The same as `Fresh`, with a time of its own instead of the server's `query_timeout`. Times
    /// beyond [`ReadPolicy::LONGEST`] are cut to it; zero asks nobody.
    FreshWithin(Duration),
    /// The same as `BestEffort`, with a time of its own.
    BestEffortWithin(Duration),
}

impl ReadPolicy {
    /// The longest time that a read may wait for other servers.
    pub const LONGEST: Duration = Duration::from_secs(60);

    /// How long to wait for other servers.
    pub(crate) fn wait(self, otherwise: Duration) -> Duration {
        match self {
            Self::Fresh | Self::BestEffort => otherwise,
            Self::FreshWithin(time) | Self::BestEffortWithin(time) => time.min(Self::LONGEST),
        }
    }

    /// Whether a stale copy is better than none.
    pub(crate) const fn serves_stale(self) -> bool {
        matches!(self, Self::BestEffort | Self::BestEffortWithin(_))
    }
}

/// How many *other* servers must have a write before it is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Acks {
    /// As the farm's settings say: see [`crate::Farm::acks`].
    #[default]
    Farm,
    /// None: answer at once.
    Local,
    /// This many others.
    Peers(u16),
    /// So many that with this server they are more than half of the configured farm.
    Majority,
    /// Every other server that is not known to be down or to have left: perhaps none. What ends a session
    /// waits for one at least, if the farm has others, so that no single crash undoes it.
    All,
}
