//! Grapevine's protocol as a pure state machine: sessions that every server of a farm holds in its
//! own memory, spread by a broadcast protocol of commands.
//!
//! # The contract
//! Events go in, actions come out; no clock, no sockets, no threads, no hidden randomness:
//!
//! ```text
//! loop {
//!     wait for a request, a command, a change of a link, or the time of poll_timeout();
//!     engine.handle(now, event);              // never fails, never blocks; any number of times
//!     while let Some(action) = engine.poll_action() { do it }
//! }
//! ```
//!
//! Draining late costs nothing but time: batches grow. The same seed and the same calls give the
//! same actions, byte for byte, on any machine (G9).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod command;
pub mod rare;
pub mod wire;

mod action;
mod applied;
mod config;
mod due;
mod engine;
mod error;
mod event;
mod facts;
mod id;
mod invariants;
mod kept;
mod member;
mod protocol;
mod random;
mod session;
mod sorted;
mod stamp;
mod status;
mod token;
mod vector;

pub use action::{Action, Limit, Listed, Notice, Response, Served, Stop, To};
pub use command::Command;
pub use config::{Config, ConfigError, Farm, Local, WhenFull, WhenIsolated};
pub use due::Timer;
pub use engine::Engine;
pub use error::{LimitError, NotFound, RequestError, Unavailable};
pub use event::{Acks, Create, Event, MAX_LISTED, ReadPolicy, Request, RequestId, Rotation};
pub use id::{Address, HashedId, Secret, ServerId, SessionId};
pub use member::{Member, State};
pub use protocol::boot::{InTheWay, may_start};
pub use protocol::serve::{Locally, serve_locally};
pub use protocol::verify::{Compared, Missed, Report};
pub use session::{
    Attribute, Change, ChangeError, Counter, Expiry, Fixed, Key, KeyError, Life, Principal,
    Replaces, Session, Shown, Subtotal, Value,
};
pub use sorted::SortedMap;
pub use stamp::{HybridClock, Stamp, Timestamp, Version};
pub use status::{Counters, Progress, Status, Usage, View};
pub use token::{Token, TokenError, TokenKey};
pub use vector::Vector;
pub use wire::MAX_PRINCIPAL_BYTES;
