//! What can go wrong, for the application.

use std::io;
use std::net::SocketAddr;

use grapevine_core::{ConfigError, KeyError, RequestError, ServerId, Stop, TokenError};

/// Why a request was not done, or not as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The token is none that this farm issued. No other server was asked. Nothing changed.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// An attribute's key is not allowed. Nothing changed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The farm's answer. Nothing changed.
    #[error(transparent)]
    Request(RequestError),
    /// The write was made here and keeps spreading, but not enough servers confirmed it in time.
    /// **State changed.**
    #[error("the write stands, but only {acked} of {wanted} other servers confirmed it in time")]
    NotReplicated {
        /// How many other servers have it.
        acked: u16,
        /// How many were asked for.
        wanted: u16,
        /// What the customer should carry from now on; `None` if the write was a delete.
        token: Option<String>,
        /// Whether the write rests on what was left of a session, of which a part is lost.
        lost: bool,
    },
    /// The server has stopped; [`crate::Grapevine::stopped`] says why. Whether a write that was
    /// under way reached other servers is not known.
    #[error("this server has stopped")]
    Stopped,
}

/// Why a server did not start. Nothing keeps running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address can't be listened on; most often its port is in use.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// An address that other machines can reach.
    #[error(
        "{what} {address} is not a loopback address (127.0.0.0/8 or ::1); farm links are not \
         encrypted yet, so they must stay on this machine"
    )]
    NotLoopback {
        /// What the address is for.
        what: &'static str,
        /// The address, as it was given or resolved.
        address: String,
    },
    /// A peer that is no `host:port`.
    #[error("the peer `{peer}` is not of the form host:port, such as 127.0.0.1:7402")]
    Peer {
        /// What was given.
        peer: String,
    },
    /// The farm's size was given twice, differently.
    #[error("the farm's size is {farm} in its settings, but {named} servers were named")]
    Size {
        /// [`grapevine_core::Farm::size`].
        farm: u16,
        /// What the DNS name was given with.
        named: u16,
    },
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A live server has this server's number.
    #[error("server number {number} is in use: {text}")]
    NumberInUse {
        /// The number.
        number: u16,
        /// What the peers say.
        text: String,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness: {0}")]
    Random(String),
    /// The server stopped while it started.
    #[error("the server stopped while it started: {0}")]
    Stopped(StopReason),
}

/// Why a server stopped by itself, or was stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopReason {
    /// It left the farm in order, as it was asked to.
    #[error("it left the farm")]
    Left,
    /// A live server has its number.
    #[error("server number {number} is in use: {text}")]
    NumberInUse {
        /// The number.
        number: u16,
        /// The process that has it.
        holder: ServerId,
        /// What a peer says.
        text: String,
    },
    /// The farm counts another process of its number, which took its place or came before it with a
    /// later boot.
    #[error("it was replaced by a newer server of its number: {text}")]
    Superseded {
        /// The newer process.
        newer: ServerId,
        /// What a peer says.
        text: String,
    },
    /// A defect in this program; the log tells more.
    #[error("it failed; this is a defect of Grapevine, and its log tells more")]
    Failed,
}

impl StopReason {
    /// What the engine says of its number.
    pub(crate) fn of(stop: Stop) -> Self {
        let boot = |server: ServerId| server.boot().as_millis();
        match stop {
            Stop::Known { newest: newer } | Stop::Superseded { newer } => {
                let (number, boot) = (newer.number(), boot(newer));
                let text = format!("the farm counts boot {boot} of server number {number}");
                Self::Superseded { newer, text }
            }
            Stop::NumberInUse { holder } => {
                let (number, boot) = (holder.number(), boot(holder));
                let text = format!("other servers hear from its boot {boot}");
                Self::NumberInUse { number, holder, text }
            }
        }
    }
}
