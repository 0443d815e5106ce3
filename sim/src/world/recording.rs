//! What a world keeps of what happened: a hash always, records and steps on demand, and what was observed until
//! somebody takes it.

use grapevine_core::Timestamp;

use super::{Observation, World};
use crate::trace::Record;

impl World {
    /// The rolling hash over everything that happened so far (G9).
    pub const fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// What was recorded; see [`World::record`].
    pub fn trace(&self) -> &[Record] {
        self.trace.records()
    }

    /// Notes a fault of the schedule, for a picture.
    pub(crate) fn note_scheduled(&mut self, what: impl FnOnce() -> String) {
        self.trace.scheduled(self.now, what);
    }

    /// Notes which links are cut or clogged now, for a picture.
    pub(crate) fn note_links(&mut self) {
        self.trace.links(self.now, &self.network.cut, &self.network.clogged);
    }

    /// Has everything recorded from now on, for a picture.
    pub fn record(&mut self) {
        self.trace.record();
    }

    /// Has the hash kept after every event, so that two traces can be compared.
    pub fn keep_steps(&mut self) {
        self.trace.keep_steps();
    }

    /// After every event: its time, its server, and the hash so far.
    pub fn steps(&self) -> &[(Timestamp, usize, u64)] {
        self.trace.steps()
    }

    /// What was observed since the last call, if anything was. Hand the list back to [`World::reuse`].
    pub(crate) fn take_observations(&mut self) -> Option<Vec<Observation>> {
        if self.observations.is_empty() {
            (self.late, self.ended) = (false, 0);
            return None;
        }
        Some(std::mem::take(&mut self.observations))
    }

    /// Takes back a list of observations, for its memory.
    pub(crate) fn reuse(&mut self, mut observations: Vec<Observation>) {
        (self.late, self.ended) = (false, 0);
        if self.observations.is_empty() {
            observations.clear();
            self.observations = observations;
        }
    }
}
