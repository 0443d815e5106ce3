//! What a session ends by being here: the one that it replaced, and, if it records a revocation, its
//! principal's. A derived effect, not a write: whoever has the cause has the effect, by whatever path
//! the cause came, so a cut batch, a lost message or a repair can't bring the one without the other.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Facts, Merged};
use crate::id::Address;
use crate::session::{Life, Session};
use crate::stamp::Timestamp;

impl Facts {
    /// Retires the session that this one replaced. If it isn't here yet, what stands in for it keeps
    /// its copies from living when they come. Only its origin needs none: what that lacks is over.
    pub(super) fn retire_replaced(&mut self, copy: &Session, others: &mut BTreeSet<Address>) {
        let Some(replaces) = &copy.fixed.replaces else { return };
        let old = replaces.id;
        let here = self.array.get(old.address).is_some_and(|copy| copy.id == old);
        if (old.address.origin != self.me || here)
            && self.merge_alone(&Arc::new(replaces.retired())) == Merged::Changed
        {
            others.insert(old.address);
        }
    }

    /// Ends the sessions that a revocation is about, or the one session that came after it.
    pub(super) fn end_revoked(&mut self, copy: &Session, others: &mut BTreeSet<Address>) {
        let Some(principal) = &copy.fixed.principal else { return };
        let newest = self.owners.newest(principal);
        let concerned: Vec<Address> = if copy.is_revocation() {
            self.owners.sessions(principal).collect()
        } else {
            Vec::from([copy.id.address])
        };
        for address in concerned {
            if let Some(copy) = self.array.get(address)
                && copy.is_revoked_by(newest)
                && copy.life != Life::Deleted
            {
                let ended = Arc::new(copy.ended());
                self.put(ended);
                others.insert(address);
            }
        }
    }

    /// Ends a retired copy whose grace is over by this time. Returns whether it did.
    pub(crate) fn end_retired(&mut self, address: Address, now: Timestamp) -> bool {
        match self.array.get(address) {
            Some(copy) if matches!(copy.life, Life::Retired { until } if until <= now) => {
                let ended = Arc::new(copy.ended());
                self.put(ended);
                true
            }
            _ => false,
        }
    }

    /// Checks that what this copy ends, and what ends this copy, is so.
    pub(super) fn check_ends(&self, copy: &Session) {
        if let Some(replaces) = &copy.fixed.replaces
            && let Some(old) = self.array.get(replaces.id.address)
            && old.id == replaces.id
        {
            assert!(old.life >= replaces.life(), "a session lives beside the one that replaced it");
        }
        if let Some(principal) = &copy.fixed.principal {
            let revoked = copy.is_revoked_by(self.owners.newest(principal));
            assert!(!revoked || copy.life == Life::Deleted, "a revoked session lives");
        }
    }
}
