//! What a session ends by being here: the one that it replaced, and, if it records a revocation, its
//! principal's. A derived effect: whoever has the cause has the effect, by whatever path the cause
//! came, so a cut batch, a lost message or a repair can't bring the one without the other.
//!
//! The effect belongs to the write that caused it, and says so in the ended copy's `seen`. So the
//! ended copy is in that writer's change list too, is claimed with it, and if the writer is gone, is
//! published again like anything else of it (`docs/decisions/0004-an-end-names-its-cause.md`).

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Facts, Merged, owners};
use crate::id::Address;
use crate::session::{Expiry, Life, Session};
use crate::stamp::{Timestamp, Version};

impl Facts {
    /// Retires the session that this one replaced. If it isn't here yet, what stands in for it keeps
    /// its copies from living when they come. Only its origin needs none, for what that has dropped is over: but
    /// what it has lost, by damage to its memory, it takes back when it comes. Nor does one whose time is over by
    /// `now`: no copy of it is taken in any more.
    pub(super) fn retire_replaced(
        &mut self,
        copy: &Session,
        now: Timestamp,
        others: &mut BTreeSet<Address>,
    ) {
        let Some(replaces) = &copy.fixed.replaces else { return };
        let old = replaces.id;
        let here = self.array.get(old.address).is_some_and(|copy| copy.id == old);
        let retired = replaces.retired(copy.created());
        let taken_in = old.address.origin != self.me || self.slots.is_freed(old.address.slot);
        let comes = taken_in && retired.expiry(now, self.margin) != Expiry::Gone;
        if (comes || here) && self.merge_alone(&Arc::new(retired)).0 == Merged::Changed {
            others.insert(old.address);
        }
    }

    /// Ends the sessions that a revocation is about, or the one session that some came after. Those
    /// that are over already too: each must name the same causes on every server.
    pub(super) fn end_revoked(&mut self, copy: &Session, others: &mut BTreeSet<Address>) {
        let Some(principal) = &copy.fixed.principal else { return };
        if copy.is_revocation() {
            let sessions: Vec<Address> = self.owners.sessions(principal).collect();
            for address in sessions {
                self.end_by(address, &[copy.created()], others);
            }
        } else {
            let revocations: Vec<Version> = self.owners.revocations(principal).collect();
            self.end_by(copy.id.address, &revocations, others);
        }
    }

    /// Whether this revocation of its principal ends a session.
    pub(crate) fn revokes(&self, revocation: Version, session: &Session) -> bool {
        session.is_revoked_by(revocation, self.kept)
    }

    /// Ends one session by those of these revocations that it doesn't name.
    fn end_by(
        &mut self,
        address: Address,
        revocations: &[Version],
        others: &mut BTreeSet<Address>,
    ) {
        let Some(copy) = self.array.get(address) else { return };
        let causes = revocations.iter().copied().filter(|&cause| self.revokes(cause, copy));
        let mut causes = causes.peekable();
        if causes.peek().is_none() {
            return;
        }
        let ended = copy.ended(causes);
        if ended != **copy {
            self.put(Arc::new(ended));
            others.insert(address);
        }
    }

    /// Ends a retired copy whose grace is over by this time. Returns whether it did.
    pub(crate) fn end_retired(&mut self, address: Address, now: Timestamp) -> bool {
        match self.array.get(address) {
            Some(copy) if matches!(copy.life, Life::Retired { until } if until <= now) => {
                let ended = Arc::new(copy.ended([]));
                self.put(ended);
                true
            }
            _ => false,
        }
    }

    /// Checks that what this copy ends, and what of its principal's revocations ends this copy, is so, and that
    /// the ended one names its cause.
    pub(super) fn check_ends(&self, copy: &Session, revocations: Option<&owners::Revocations>) {
        let names =
            |copy: &Session, cause: Version| copy.seen.covers_entry(cause.server, cause.stamp);
        if let Some(replaces) = &copy.fixed.replaces
            && let Some(old) = self.array.get(replaces.id.address)
            && old.id == replaces.id
        {
            assert!(old.life >= replaces.life(), "a session lives beside the one that replaced it");
            assert!(names(old, copy.created()), "a session was replaced and doesn't say by what");
        }
        // Of each server the newest: who names that one names those before it, and if that one ends nothing, they
        // don't.
        let (mut last, mut others) = (None, Vec::new());
        let newest = revocations.into_iter().flatten().rev().map(|&(version, _)| version);
        for cause in newest.take_while(|&cause| self.revokes(cause, copy)) {
            if last == Some(cause.server) || others.contains(&cause.server) {
                continue;
            }
            // Mostly there is one only, for which no memory is needed.
            others.extend(last.replace(cause.server));
            assert!(copy.life == Life::Deleted, "a revoked session lives");
            assert!(names(copy, cause), "a session was revoked and doesn't say by what");
        }
    }
}
