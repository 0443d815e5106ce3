//! What must always hold of an engine, checked after every event in tests and simulations.

use crate::engine::Engine;

impl Engine {
    /// Checks the whole state: indexes against the array, limits, clock against streams.
    ///
    /// # Panics
    /// If anything does not hold: a bug in this crate, never a peer's or a customer's doing.
    pub fn check_invariants(&self) {
        self.facts.check_invariants();
        self.members.check_invariants(&self.config);
        self.gone.check_invariants(&self.config);
        self.lookups.check_invariants(self.config.local.pending_requests);
        let end = self.end();
        assert!(self.clock.newest() >= end, "the clock is behind this server's own stream");
        for copy in self.facts.array().iter() {
            let own = copy.seen.get(self.config.server);
            assert!(own <= end, "a copy shows a write of this server beyond the end of its stream");
            assert!(
                copy.newest().stamp <= self.clock.newest(),
                "the clock is behind a stored stamp"
            );
            assert!(
                copy.id.address.slot < self.config.farm.slots_per_origin,
                "a slot beyond the limit is in use"
            );
        }
        for batch in &self.outbox.batches {
            assert!(batch.prev < batch.last && batch.last <= end, "a batch out of its stream");
            assert!(!batch.writes.is_empty(), "an empty batch");
        }
        let known = self.config.farm.known_servers as usize;
        assert!(self.applied.len() <= known, "more servers remembered than allowed");
    }

    /// A number that changes when the state does, cheap enough to take after every event: for
    /// comparing two runs of one seed (G9), not for comparing servers.
    pub fn fingerprint(&self) -> u64 {
        let totals = self.facts.totals();
        let mut words = alloc::vec![
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
        ];
        for (server, stamp) in self.applied.iter() {
            words.extend([server.to_bits(), stamp.to_bits()]);
        }
        let mix =
            |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        words.into_iter().fold(0, mix)
    }
}
