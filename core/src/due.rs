//! What an engine has to do next, and when.

use crate::engine::Engine;
use crate::protocol::leave::Leaving;
use crate::stamp::Timestamp;

/// Why the engine wants to be called at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Heartbeats are due.
    Heartbeat,
    /// A server may have been silent for too long.
    Membership,
    /// A look-up asks again, or gives up.
    Lookup,
    /// A write has waited long enough for acknowledgements.
    Acknowledge,
    /// A repair starts, or its holder is too slow.
    Repair,
    /// A copy reaches its deadline.
    Expiry,
    /// Leaving has taken long enough.
    Leave,
    /// Sessions of a writer that is gone are to be published again.
    Gone,
    /// Copies are to be compared, or whoever was asked is too slow.
    Verify,
    /// A starting process asks what is known of its number.
    Start,
}

impl Engine {
    /// The next thing to do.
    pub(crate) fn find_next(&mut self) -> Option<(Timestamp, Timer)> {
        let next = self.next_but_silences();
        if self.stopped || self.starting() {
            return next;
        }
        let (now, steady) = (self.now, self.steady);
        let review = |due| review_at(due, now, steady);
        let silence = self
            .members
            .next_review(&self.config.farm, |due| next.is_none_or(|next| review(due) < next));
        earlier(next, silence.map(review))
    }

    /// What is next to do, but for silences that become too long.
    fn next_but_silences(&self) -> Option<(Timestamp, Timer)> {
        if self.stopped {
            return None;
        }
        if let Some(starting) = &self.starting {
            return Some((starting.next_review(), Timer::Start));
        }
        let mut next = (self.members.next_heartbeat(), Timer::Heartbeat);
        // In the order of `Timer`: of what is due at one time the first comes first.
        let mut consider = |due: Option<Timestamp>, timer| {
            if let Some(due) = due
                && due < next.0
            {
                next = (due, timer);
            }
        };
        consider(self.lookups.next_review(), Timer::Lookup);
        consider(self.waiting.next_deadline(), Timer::Acknowledge);
        consider(self.repair.next_review(), Timer::Repair);
        consider(self.facts.next_deadline(), Timer::Expiry);
        consider(self.leaving.as_ref().and_then(Leaving::next_review), Timer::Leave);
        consider(self.gone.next_review(), Timer::Gone);
        consider(self.verification.next_review(), Timer::Verify);
        Some(next)
    }

    /// Checks that what is to be done next is known.
    pub(crate) fn check_next(&self) {
        let runs = !self.stopped && !self.starting();
        let silence = self.members.find_first_silence(&self.config.farm).filter(|_| runs);
        let review = silence.map(|(due, _)| review_at(due, self.now, self.steady));
        let next = earlier(self.next_but_silences(), review);
        assert_eq!(self.next, next, "what is to be done next");
    }
}

/// When a silence is to be reviewed that becomes too long by this steady time, by the caller's clock.
fn review_at(due: Timestamp, now: Timestamp, steady: Timestamp) -> (Timestamp, Timer) {
    (now.plus_micros(due.micros_since(steady)), Timer::Membership)
}

fn earlier(
    one: Option<(Timestamp, Timer)>,
    other: Option<(Timestamp, Timer)>,
) -> Option<(Timestamp, Timer)> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
