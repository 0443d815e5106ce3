//! The engine: the only place where events are dispatched.

use crate::action::{Action, Served};
use crate::config::{Config, ConfigError};
use crate::event::Event;
use crate::session::Session;
use crate::stamp::Timestamp;
use crate::status::{Status, View};
use crate::token::Token;

/// Why the engine wants to be called at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Heartbeats are due.
    Heartbeat,
}

/// The state machine.
#[derive(Debug)]
pub struct Engine {}

impl Engine {
    /// A new, empty, joining server.
    ///
    /// # Errors
    /// [`ConfigError`], if the configuration is refused.
    pub fn new(_config: Config, _seed: [u8; 32], _now: Timestamp) -> Result<Self, ConfigError> {
        todo!()
    }
    /// Takes an event.
    pub fn handle(&mut self, _now: Timestamp, _event: Event) {
        todo!()
    }
    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        todo!()
    }
    /// When to come back at the latest, and why.
    pub fn poll_timeout(&self) -> Option<(Timestamp, Timer)> {
        todo!()
    }
    /// A summary.
    pub fn status(&self) -> Status {
        todo!()
    }
    /// What request threads need to serve reads without the engine.
    pub fn view(&self) -> View {
        todo!()
    }
    /// Changes whenever [`Engine::view`] would give something else.
    pub fn view_generation(&self) -> u64 {
        todo!()
    }
    /// Checks everything that must always hold.
    pub fn check_invariants(&self) {
        todo!()
    }
}

/// What request threads may do with a copy of the local array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locally {
    /// Serve it.
    Serve(Served),
    /// Ask the engine.
    Ask,
}

/// Whether a request thread may serve this copy without the engine.
pub fn serve_locally(
    _copy: &alloc::sync::Arc<Session>,
    _settled: bool,
    _view: &View,
    _token: &Token,
    _now: Timestamp,
) -> Locally {
    todo!()
}
