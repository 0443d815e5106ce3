//! Clocks: which stamps are taken in, whose clock is off, and by which time copies may end
//! (sections 4 and 9 of the protocol page).
//!
//! A server has two clocks. `now` is what the caller says; it may step ahead, after a pause or when
//! somebody sets it. The *steady* time goes with it but leaves such steps out: silences are measured
//! by it, so a server that was paused does not take everybody for dead, and one whose clock was set
//! ahead does not end sessions by it.

use alloc::vec::Vec;
use core::time::Duration;

use crate::command::Command;
use crate::config::Farm;
use crate::engine::Engine;
use crate::id::ServerId;
use crate::member::State;
use crate::protocol::membership::{Members, Peer};
use crate::rare::Mark;
use crate::session::{Expiry, Session};
use crate::stamp::{Stamp, Timestamp, micros};

impl Engine {
    /// Moves both clocks on. An engine is called at every heartbeat at least; what is longer than
    /// this is a step, not time.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        let step = now.micros_since(self.now);
        if step == 0 {
            return;
        }
        let longest = micros(self.config.farm.suspect_after);
        self.rare.mark_if(step > longest, Mark::ClockSteppedAhead);
        self.steady = self.steady.plus_micros(step.min(longest));
        if step <= longest {
            self.passed = self.passed.plus_micros(step);
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
                self.members.states_changed();
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
            self.members.states_changed();
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

/// The clocks of those who count: introduced, and not left. Each heartbeat asks for the time that a majority has
/// reached, and whose clocks are off, so both are kept instead of found anew.
#[derive(Clone, Debug, Default)]
pub(super) struct Clocks {
    /// By how much each clock was ahead of what had passed here when it was last read, the latest first: that
    /// stays the same until it is read again.
    ahead: Vec<i64>,
    /// Of how many peers the clock is off this one's, whether they count or not.
    off: usize,
}

impl Clocks {
    fn is_off(offset: Option<i64>, max_drift: Duration) -> bool {
        let drift = i64::try_from(max_drift.as_micros()).unwrap_or(i64::MAX);
        offset.is_some_and(|offset| offset.saturating_abs() > drift)
    }

    /// A peer's clock is at another distance from this one.
    pub(super) fn moved(&mut self, before: Option<i64>, now: Option<i64>, max_drift: Duration) {
        if before != now {
            self.off -= usize::from(Self::is_off(before, max_drift));
            self.off += usize::from(Self::is_off(now, max_drift));
        }
    }

    /// A peer that nobody knows any more.
    pub(super) fn forget(&mut self, peer: &Peer, max_drift: Duration) {
        self.moved(peer.clock_offset, None, max_drift);
        self.count(peer.counted, None);
    }

    /// Counts a peer as what it is to be counted as now.
    pub(super) fn count_anew(&mut self, peer: &mut Peer) {
        let now = peer.to_be_counted();
        let before = core::mem::replace(&mut peer.counted, now);
        if before != now {
            self.count(before, now);
        }
    }

    fn count(&mut self, before: Option<i64>, now: Option<i64>) {
        let place = |ahead: &[i64], one| ahead.partition_point(|&other| other > one);
        let Some(before) = before else {
            let Some(now) = now else { return };
            return self.ahead.insert(place(&self.ahead, now), now);
        };
        let from = place(&self.ahead, before);
        let Some(now) = now else {
            self.ahead.remove(from);
            return;
        };
        // Mostly a clock is read again: only those between the two readings move.
        let mut to = place(&self.ahead, now);
        if to <= from {
            self.ahead.copy_within(to..from, to + 1);
        } else {
            to -= 1;
            self.ahead.copy_within(from + 1..=to, from);
        }
        self.ahead[to] = now;
    }

    /// The time that the `nth` of them has reached, from zero and the latest first, when so much has passed here.
    fn reached(&self, nth: usize, passed: Timestamp) -> Option<Timestamp> {
        let &ahead = self.ahead.get(nth)?;
        Some(Timestamp::from_micros(passed.as_micros().saturating_add_signed(ahead)))
    }
}

impl Peer {
    /// What it is to be counted by among the [`Clocks`]: where its clock stands now at the least follows from its
    /// last reading and what has passed since. Of a step nothing counts: a clock that is set ahead again and again
    /// would take a dead process's along.
    fn to_be_counted(&self) -> Option<i64> {
        let counts = self.introduced && self.state != State::Left;
        counts.then(|| ahead(self.clock, self.clock_read))
    }
}

impl Members {
    /// A process left.
    pub(super) fn count_clock(&mut self, server: ServerId) {
        let (number, place) = (server.number(), self.place(server.number()));
        if let Some(peer) = self.peers.get_near_mut(place, &number) {
            self.clocks.count_anew(peer);
        }
    }

    /// Notes when a majority of the configured farm, this server among them, has said what time it is.
    pub(super) fn note_time(&mut self, now: Timestamp, passed: Timestamp, farm: &Farm) {
        if self.clocks.ahead.len() + 1 >= usize::from(farm.majority()) {
            self.told = Some((self.trusted(now, passed, farm), passed));
        }
    }

    fn trusted(&self, now: Timestamp, passed: Timestamp, farm: &Farm) -> Timestamp {
        // With this server's own.
        let (count, majority) = (self.clocks.ahead.len() + 1, usize::from(farm.majority()));
        // Without a majority's word, its own such time is all that a server has, since it was told the
        // time: by processes that may be no more.
        let alone = count < majority;
        let since = |(time, at): (Timestamp, Timestamp)| time + passed.since(at);
        let own = if alone { now.min(self.told.map_or(passed, since)) } else { now };
        // With its own clock, so many others make a majority, and no time counts that is later than its own.
        let Some(others) = count.min(majority).checked_sub(2) else { return own };
        self.clocks.reached(others, passed).map_or(own, |reached| own.min(reached))
    }

    /// A server more than `max_drift` from the majority's clocks must not expire or serve anything.
    pub(super) fn judge_own_clock(&mut self, farm: &Farm) {
        self.self_skewed = self.size > 1 && self.clocks.off >= usize::from(farm.majority());
    }

    pub(super) fn check_clocks(&self, farm: &Farm) {
        let counted = self.peers.values().filter_map(Peer::to_be_counted);
        let mut ahead: Vec<i64> = counted.collect();
        ahead.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(self.clocks.ahead, ahead, "the clocks of those who count");
        let off = |peer: &&Peer| Clocks::is_off(peer.clock_offset, farm.max_drift);
        assert_eq!(self.clocks.off, self.peers.values().filter(off).count(), "clocks that are off");
    }
}

/// How far a reading is ahead of another, in microseconds.
pub(super) fn ahead(reading: Timestamp, of: Timestamp) -> i64 {
    let ahead = i128::from(reading.as_micros()) - i128::from(of.as_micros());
    i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX })
}

/// How long ago by the one clock, as a time by the other.
pub(super) fn same_distance(steady: Timestamp, at: Timestamp, now: Timestamp) -> Timestamp {
    let distance: Duration = steady.since(at);
    now.before(distance)
}
