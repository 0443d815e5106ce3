//! What must always hold of an engine, checked after every event in tests and simulations.

use core::fmt;

use crate::applied::mix;
use crate::engine::Engine;
use crate::id::Address;
use crate::session::Session;

impl Engine {
    /// Checks the whole state: indexes against the array, limits, clock against streams. It looks at
    /// every copy.
    ///
    /// # Panics
    /// If anything does not hold: a bug in this crate, never a peer's or a customer's doing.
    pub fn check_invariants(&self) {
        self.check_changed([]);
        self.applied.check_kept();
        self.members.check_together(&self.applied);
        self.members.check_kept(&self.config);
        self.gone.check_kept();
        self.check_next();
        self.facts.check_invariants();
        self.facts.array().iter().for_each(|copy| self.check_copy(copy));
    }

    /// The same for everything but copies, and for the copies at these addresses: those that an
    /// event has changed. An [`crate::Action::Store`] names each. Cheap enough for every event.
    ///
    /// # Panics
    /// If anything does not hold.
    pub fn check_changed(&self, changed: impl IntoIterator<Item = Address>) {
        self.members.check_invariants(&self.config);
        self.gone.check_invariants(&self.config);
        let local = &self.config.local;
        self.lookups.check_invariants(local.pending_requests, local.pending_forwards);
        let end = self.end();
        assert!(self.clock.newest() >= end, "the clock is behind this server's own stream");
        for batch in &self.outbox.batches {
            assert!(batch.prev < batch.last && batch.last <= end, "a batch out of its stream");
            assert!(!batch.writes.is_empty(), "an empty batch");
        }
        let known = self.config.farm.known_servers as usize;
        assert!(self.applied.len() <= known, "more servers remembered than allowed");
        self.facts.check_totals();
        for address in changed {
            self.facts.check_place(address);
            if let Some(copy) = self.facts.array().get(address) {
                self.check_copy(copy);
            }
        }
    }

    fn check_copy(&self, copy: &Session) {
        let own = copy.seen.get(self.config.server);
        assert!(own <= self.end(), "a copy shows a write of this server beyond its stream's end");
        assert!(copy.newest_stamp() <= self.clock.newest(), "the clock is behind a stored stamp");
        assert!(
            copy.id.address.slot < self.config.farm.slots_per_origin,
            "a slot beyond the limit is in use"
        );
    }

    /// Everything that this engine's answers to future events depend on, to be formatted: two engines
    /// of one process for which it is the same text are in the same state. For model checking, which
    /// must know states that it has met. Left out are what only counts, and the configuration. Secret
    /// bytes aren't shown: they follow from the seed and from how much was drawn; nor values, of which
    /// there is the version that wrote them, and the length.
    pub fn behaviour(&self) -> impl fmt::Debug + '_ {
        // Named one by one, so that a new field is not forgotten here.
        let Self {
            now,
            steady,
            passed,
            trusted,
            starting,
            places_told,
            stopped,
            clock,
            facts,
            applied,
            members,
            lookups,
            waiting,
            repair,
            leaving,
            gone,
            verification,
            outbox,
            counters: _,
            config: _,
            random,
            rare: _,
            view_generation: _,
            // It follows from the rest.
            next: _,
        } = self;
        let time = (now, steady, passed, trusted, clock, random.drawn());
        let talks = (lookups, waiting, repair, leaving, gone, verification);
        (time, (starting, places_told, stopped), facts, applied, members, talks, outbox)
    }

    /// A number that changes when the state does, cheap enough to take after every event: for
    /// comparing two runs of one seed (G9), not for comparing servers.
    pub fn fingerprint(&self) -> u64 {
        let (totals, next) = (self.facts.totals(), self.next);
        let (secrets, jitter) = self.random.drawn();
        let words = [
            self.now.as_micros(),
            self.clock.newest().to_bits(),
            totals.live,
            totals.partial,
            totals.tombstones,
            self.facts.array().total_bytes(),
            self.lookups.waiting() as u64,
            self.waiting.len() as u64,
            self.counters.merged,
            self.counters.repaired,
            self.view_generation(),
            secrets as u64,
            jitter as u64,
            // Who is to do what when says most of all talks that go on.
            next.map_or(0, |(due, _)| due.as_micros()),
            next.map_or(0, |(_, timer)| timer as u64 + 1),
        ];
        let hash = words.into_iter().fold(0, mix);
        mix(hash, self.applied.digest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Farm};
    use crate::id::ServerId;
    use crate::stamp::{Stamp, Timestamp};

    #[test]
    fn a_fingerprint_tells_whose_stamp_is_whose() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let server = |number| ServerId::new(number, now);
        let fingerprint = |stamps: [u64; 2]| {
            let config = Config::new(server(3), Farm::default());
            let mut engine = Engine::new(config, [7; 32], now).expect("a good configuration");
            for (number, stamp) in (1..).zip(stamps) {
                engine.applied.raise(server(number), Stamp::from_bits(stamp));
            }
            engine.fingerprint()
        };
        assert_eq!(fingerprint([5, 9]), fingerprint([5, 9]));
        assert_ne!(fingerprint([5, 9]), fingerprint([9, 5]));
    }
}
