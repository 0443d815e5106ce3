//! Expiry: what happens when a copy's time is over (section 9 of the protocol page; G5).
//!
//! Past its absolute deadline and the margin, every server drops its copy, without a message. An
//! idle copy is ended by a `Delete` of one server, once it is certain that nobody else was accessed
//! later: when every configured server's stream is covered up to after the idle deadline plus
//! margin. Until then its content is kept.
//!
//! Either way the application of one server is told, so that it can clean up: of the server that ended the
//! idle session; and for the absolute limit, of the one that would have ended it, when it drops its copy.

use alloc::sync::Arc;

use crate::action::{Action, Limit, Notice};
use crate::command::Write;
use crate::engine::Engine;
use crate::event::Acks;
use crate::rare::{Mark, Point};
use crate::session::{Expiry, Life, Session};
use crate::stamp::{Timestamp, Version};

/// Copies looked at per call, so that a crowd of deadlines doesn't hold up requests.
const SWEEP: usize = 256;

impl Engine {
    /// Whether nobody can have accessed this idle copy's session within its idle timeout. A server that has
    /// left counts nobody new, so it can't know.
    pub(crate) fn idle_is_certain(&self, copy: &Session) -> bool {
        let margin = self.config.farm.margin();
        let deadline = copy.idle_deadline() + margin;
        let covered = self.members.all_covered_until(&self.applied);
        copy.complete
            && !self.rare.force(Point::ExpiryDoubted)
            && self.now > deadline
            && covered.is_some_and(|until| until > deadline)
            && self.gone.all_closed()
            && !self.has_left()
    }

    /// Looks at the copies whose deadlines have come up: a bounded part of them.
    pub(crate) fn sweep(&mut self) {
        self.sweep_until(self.now);
    }

    /// Looks at the copies whose deadlines come up until then, each deadline once. One that is looked at early comes
    /// up again another time.
    pub(crate) fn sweep_until(&mut self, until: Timestamp) {
        let most = if self.rare.force(Point::SweepOne) { 1 } else { SWEEP };
        for address in self.facts.take_due(until, most) {
            let Some(copy) = self.facts.array().get(address).cloned() else { continue };
            let beat = self.now + self.config.farm.heartbeat_every;
            if self.members.self_skewed() {
                // Its own clock can't be trusted: nothing is dropped.
                self.facts.rearm(address, beat);
                continue;
            }
            if let Life::Retired { until } = copy.life
                && until <= self.now
            {
                let told = self.is_told_of(copy.id.address.origin);
                if told && self.facts.end_retired(address, self.trusted_now()) {
                    self.store(address);
                }
                self.facts.rearm(address, beat);
                continue;
            }
            let margin = self.config.farm.margin();
            match copy.expiry(self.now, margin) {
                Expiry::Gone if !self.is_surely_gone(&copy) => {
                    self.rare.mark(Mark::DropWaitedForMajority);
                    self.facts.rearm(address, beat);
                }
                Expiry::Gone if self.rare.force(Point::DropLate) => self.facts.rearm(address, beat),
                Expiry::Gone => {
                    self.drops_by_trusted_now();
                    if copy.life == Life::Live && copy.complete && self.ends_sessions_of(&copy) {
                        self.tell_expired(&copy, Limit::Absolute);
                    }
                    self.facts.drop_copy(address);
                    self.counters.dropped += 1;
                    self.store(address);
                }
                Expiry::Idle
                    if self.ends_sessions_of(&copy)
                        && self.idle_is_certain(&copy)
                        && self.check_place().is_ok() =>
                {
                    self.end_idle(&copy);
                    self.facts.rearm(address, self.now);
                }
                Expiry::Idle => self.facts.rearm(address, beat),
                Expiry::Over if copy.life == Life::Live => {
                    let end = copy.fixed.end() + margin;
                    self.facts.rearm(address, end);
                }
                Expiry::Over | Expiry::Fresh => self.facts.rearm(address, self.now),
            }
        }
    }

    /// One server ends an idle session, and tells of an expired one: its origin, or if that is gone the
    /// live one with the lowest number that has joined, for one that joins may not have it yet.
    fn ends_sessions_of(&self, copy: &Session) -> bool {
        let origin = copy.id.address.origin;
        let me = self.config.server;
        let joined = self.members.alive().filter(|&server| !self.members.is_joining(server));
        let lowest = joined.map(|server| server.number()).min();
        origin == me
            || self.rare.force(Point::IdleEndedAnywhere)
            || !self.members.alive().any(|server| server == origin)
                && !self.members.joining()
                && lowest.is_none_or(|lowest| me.number() < lowest)
    }

    fn end_idle(&mut self, copy: &Arc<Session>) {
        let version = Version::new(self.clock.tick(self.now), self.config.server);
        self.publish(Write::Delete(Arc::new(copy.tombstone(version))), Acks::Local);
        self.counters.expired += 1;
        self.rare.mark(Mark::ExpiryCertain);
        self.tell_expired(copy, Limit::Idle);
    }

    fn tell_expired(&mut self, copy: &Arc<Session>, limit: Limit) {
        self.counters.expired_told += 1;
        self.rare.mark_if(limit == Limit::Absolute, Mark::DeadlineTold);
        self.act(Action::Notify(Notice::Expired { session: Arc::clone(copy), limit }));
    }
}
