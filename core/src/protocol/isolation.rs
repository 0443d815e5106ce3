//! Isolation: a server that hears from fewer than a majority of the configured farm (section 8 of the
//! protocol page). It says so in every response. By default it serves; if the farm is configured so, it
//! refuses, which bounds how long a session that was ended elsewhere can be used on a cut-off server:
//! nothing is served later than `down_after` after this server last heard from a majority, by its own
//! clock.
//!
//! The rule looks at the clock, not at what was concluded of it before: a server that was paused for an
//! hour is isolated at the first request after it, though it has not yet noticed any silence.

use crate::config::WhenIsolated;
use crate::engine::Engine;
use crate::error::Unavailable;
use crate::member::State;
use crate::stamp::{Timestamp, nth_latest};

impl Engine {
    /// Until when this server, by its clock, counts as hearing from a majority, if it hears nothing
    /// more. Steps of the clock count as time here: nobody knows what happened meanwhile.
    pub(crate) fn hears_majority_until(&self) -> Timestamp {
        let others = usize::from(self.config.farm.majority()) - 1;
        let Some(last) = others.checked_sub(1) else { return Timestamp::MAX };
        let heard = self.members.peers.values();
        let heard = heard.filter(|peer| peer.introduced && peer.state != State::Left);
        let heard = nth_latest(heard.map(|peer| peer.heard_at), last);
        heard.map_or(Timestamp::ZERO, |at| at + self.config.farm.down_after)
    }

    /// Whether this server hears from fewer than a majority of the configured farm.
    pub(crate) fn isolated(&self) -> bool {
        self.now > self.hears_majority_until()
    }

    /// Why this server serves nobody now, if that is because it is cut off.
    pub(crate) fn refuses_as_isolated(&self) -> Option<Unavailable> {
        let refuses = self.config.farm.when_isolated == WhenIsolated::Refuse && self.isolated();
        refuses.then_some(Unavailable::Isolated)
    }
}
