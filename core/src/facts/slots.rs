//! Which of its own slots a server may give to a new session.

use alloc::collections::BTreeSet;

/// The free slots of this server's own array. Only the origin reuses a slot, and only after the
/// tombstone in it is gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    unused: u32,
    freed: BTreeSet<u32>,
}

impl Slots {
    /// The lowest free slot, if fewer than `limit` are in use. It stays free until it is taken.
    pub(crate) fn next(&self, limit: u32) -> Option<u32> {
        let slot = self.freed.first().copied().unwrap_or(self.unused);
        (slot < limit).then_some(slot)
    }

    /// The first slot that was never used, if fewer than `limit` were.
    pub(crate) fn fresh(&self, limit: u32) -> Option<u32> {
        (self.unused < limit).then_some(self.unused)
    }

    /// Whether a slot was used before and is free.
    pub(crate) fn is_freed(&self, slot: u32) -> bool {
        self.freed.contains(&slot)
    }

    /// Takes the slot that [`Slots::next`] gave.
    pub(crate) fn take(&mut self, slot: u32) {
        if !self.freed.remove(&slot) {
            assert_eq!(slot, self.unused, "a slot is taken in order");
            self.unused += 1;
        }
    }

    /// Frees a slot whose copy is gone.
    pub(crate) fn free(&mut self, slot: u32) {
        let fresh = self.freed.insert(slot);
        assert!(fresh && slot < self.unused, "slot {slot} was not in use");
    }

    /// Whether a slot is in use.
    pub(crate) fn in_use(&self, slot: u32) -> bool {
        slot < self.unused && !self.freed.contains(&slot)
    }
}
