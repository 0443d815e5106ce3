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
}
