//! Clocks: which stamps are taken in, whose clock is off, and by which time copies may end
//! (sections 4 and 9 of the protocol page).
//!
//! A server has two clocks. `now` is what the caller says; it may step ahead, after a pause or when
//! somebody sets it. The *steady* time goes with it but leaves such steps out: silences are measured
//! by it, so a server that was paused does not take everybody for dead, and one whose clock was set
//! ahead does not end sessions by it.

use core::time::Duration;

use crate::command::Command;
use crate::config::Farm;
use crate::engine::Engine;
use crate::id::ServerId;
use crate::member::State;
use crate::protocol::membership::Members;
use crate::rare::Mark;
use crate::session::{Expiry, Session};
use crate::stamp::{Stamp, Timestamp, nth_latest};

impl Engine {
    /// Moves both clocks on. An engine is called at every heartbeat at least; what is longer than
    /// this is a step, not time.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        let longest = self.config.farm.suspect_after;
        self.rare.mark_if(now.since(self.now) > longest, Mark::ClockSteppedAhead);
        self.steady = self.steady + now.since(self.now).min(longest);
        if now.since(self.now) <= longest {
            self.passed = self.passed + now.since(self.now);
        }
        self.now = self.now.max(now);
    }

    /// The clock rule: a message with a stamp more than `max_drift` ahead is neither merged nor
    /// counted, in whole, whoever sends it; the server whose stamp it is is shown as skewed.
    pub(crate) fn in_time(&mut self, from: ServerId, command: &Command) -> bool {
        let newest = command.newest();
        let limit = self.now + self.config.farm.max_drift;
        if newest.stamp.time() <= limit {
            return true;
        }
        self.counters.ignored_skewed += 1;
        self.rare.mark_if(matches!(command, Command::Delta(_)), Mark::DeltaRefusedAsSkewed);
        let owner = if newest.server == ServerId::ZERO { from } else { newest.server };
        self.skewed(owner, newest.stamp);
        false
    }

    /// Marks the server whose stamp was too far ahead, until this server's clock lets it in. One that
    /// is silent stays so: others may pass its stamps on, and each would have it asked anew whether it
    /// lives.
    pub(crate) fn skewed(&mut self, server: ServerId, stamp: Stamp) {
        let until = stamp.time().before(self.config.farm.max_drift);
        if let Some(peer) = self.members.of_mut(server) {
            peer.skewed_until = peer.skewed_until.max(until);
            if peer.state == State::Alive {
                peer.state = State::Skewed;
                self.member_changed(server, State::Skewed);
            }
        }
    }

    /// A server is not shown as skewed any more once its stamps can be taken.
    pub(crate) fn review_skewed(&mut self, server: ServerId) {
        let now = self.now;
        if let Some(peer) = self.members.of_mut(server)
            && peer.state == State::Skewed
            && now >= peer.skewed_until
        {
            peer.state = State::Alive;
            self.rare.mark(Mark::SkewedServerTakenAgain);
            self.member_changed(server, State::Alive);
        }
    }

    /// The time by which copies may be dropped: one that a majority of the configured farm has
    /// reached, as well as this server knows, and no more than its own. What a majority has reached
    /// it has reached, though this server may no longer hear it: so it never goes back behind a time
    /// by which a copy was dropped, or that copy could be stored again (G4).
    pub(crate) fn trusted_now(&self) -> Timestamp {
        self.members.trusted(self.now, self.passed, &self.config.farm).max(self.trusted)
    }

    /// Whether a session's life is over so long ago that no copy of it is kept. What others made is not
    /// dropped by the clock of a process that no majority has told the time yet: that clock may be far
    /// ahead, and an applied entry goes on saying that the session is here.
    pub(crate) fn is_surely_gone(&self, session: &Session) -> bool {
        let gone = |now| session.expiry(now, self.config.farm.margin()) == Expiry::Gone;
        // Mostly it is not over by any clock, the own one included, and nobody need be asked.
        gone(self.now) && gone(self.sure_now(session.id.address.origin))
    }

    /// A time that has surely come, for what this server made: by it that is dropped.
    pub(crate) fn sure_now(&self, origin: ServerId) -> Timestamp {
        let now = self.now.min(self.trusted_now());
        if self.is_told_of(origin) { now } else { now.min(self.trusted) }
    }

    /// The same, for what others made.
    pub(crate) fn sure_now_of_others(&self) -> Timestamp {
        self.sure_now(ServerId::ZERO)
    }

    /// The same for the session that this one replaced.
    pub(crate) fn sure_now_of_replaced(&self, session: &Session) -> Timestamp {
        let replaced = session.fixed.replaces.map(|replaces| replaces.id.address.origin);
        replaced.map_or(Timestamp::ZERO, |origin| self.sure_now(origin))
    }

    /// Whether this process may end by the clock what a server made: its own, or a majority has told it
    /// the time.
    pub(crate) fn is_told_of(&self, origin: ServerId) -> bool {
        self.members.told.is_some() || origin == self.config.server
    }

    /// Notes that a copy is dropped by the time that is trusted now. A process that nobody told the time
    /// drops its own sessions by its clock, and trusts that clock no more for it.
    pub(crate) fn drops_by_trusted_now(&mut self) {
        if self.members.told.is_some() {
            self.trusted = self.trusted_now();
        }
    }
}

impl Members {
    /// Notes when a majority of the configured farm, this server among them, has said what time it is.
    pub(super) fn note_time(&mut self, now: Timestamp, passed: Timestamp, farm: &Farm) {
        let heard = self.peers.values().filter(|peer| peer.introduced && peer.state != State::Left);
        if heard.count() + 1 >= usize::from(farm.majority()) {
            self.told = Some((self.trusted(now, passed, farm), passed));
        }
    }

    fn trusted(&self, now: Timestamp, passed: Timestamp, farm: &Farm) -> Timestamp {
        // Where a clock stands now at the least, from its last reading and what has passed since. Of a step
        // nothing counts: a clock that is set ahead again and again would take a dead process's along.
        let heard = || {
            let peers = self.peers.values();
            peers.filter(|peer| peer.introduced && peer.state != State::Left)
        };
        // With this server's own.
        let (count, majority) = (heard().count() + 1, usize::from(farm.majority()));
        // Without a majority's word, its own such time is all that a server has, since it was told the
        // time: by processes that may be no more.
        let alone = count < majority;
        let since = |(time, at): (Timestamp, Timestamp)| time + passed.since(at);
        let own = if alone { now.min(self.told.map_or(passed, since)) } else { now };
        let clocks = heard().map(|peer| peer.clock + passed.since(peer.clock_read));
        let reached = nth_latest(clocks.chain([own]), count.min(majority) - 1);
        reached.map_or(own, |reached| own.min(reached))
    }

    /// A server more than `max_drift` from the majority's clocks must not expire or serve anything.
    pub(super) fn judge_own_clock(&mut self, farm: &Farm) {
        let drift = i64::try_from(farm.max_drift.as_micros()).unwrap_or(i64::MAX);
        let offsets = self.peers.values().filter_map(|peer| peer.clock_offset);
        let off = offsets.filter(|offset| offset.saturating_abs() > drift).count();
        self.self_skewed = self.size > 1 && off >= usize::from(farm.majority());
    }
}

/// How far a reading is ahead of another, in microseconds.
pub(super) fn ahead(reading: Timestamp, of: Timestamp) -> i64 {
    let ahead = reading.since(of).as_micros() as i128 - of.since(reading).as_micros() as i128;
    i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX })
}

/// How long ago by the one clock, as a time by the other.
pub(super) fn same_distance(steady: Timestamp, at: Timestamp, now: Timestamp) -> Timestamp {
    let distance: Duration = steady.since(at);
    now.before(distance)
}
