//! When a session ends by itself: the idle limit, the absolute limit, and touches (G5).

use core::time::Duration;

use super::{Life, Session};
use crate::stamp::Timestamp;

/// What the clock says of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expiry {
    /// Within both limits.
    Fresh,
    /// Not accessed for its idle timeout, as far as this copy knows.
    Idle,
    /// Past its absolute deadline: served nowhere.
    Over,
    /// Past the deadline (and that of the session it replaced) and the margin for skewed clocks:
    /// dropped, and never stored again.
    Gone,
}

/// Touches are coalesced to one write per session and this part of its idle timeout.
const TOUCHES_PER_IDLE_TIMEOUT: u32 = 8;

impl Session {
    /// When this copy ends for want of an access.
    pub fn idle_deadline(&self) -> Timestamp {
        self.accessed.time() + self.fixed.idle_timeout
    }

    /// What the clock says of this copy, with `margin` for skewed clocks.
    pub fn expiry(&self, now: Timestamp, margin: Duration) -> Expiry {
        if now >= self.fixed.end() + margin {
            Expiry::Gone
        } else if now >= self.fixed.deadline {
            Expiry::Over
        } else if self.life == Life::Live && now >= self.idle_deadline() {
            Expiry::Idle
        } else {
            Expiry::Fresh
        }
    }

    /// Whether an access now should be written down: at most once per eighth of the idle timeout.
    pub fn wants_touch(&self, now: Timestamp) -> bool {
        now.since(self.accessed.time()) >= self.fixed.idle_timeout / TOUCHES_PER_IDLE_TIMEOUT
    }

    /// The next time at which the clock changes what may be done with this copy.
    pub(crate) fn next_deadline(&self, margin: Duration) -> Timestamp {
        let end = self.fixed.end() + margin;
        match self.life {
            Life::Live => self.idle_deadline().min(end),
            Life::Retired { until } => until.min(end),
            Life::Deleted => end,
        }
    }
}
