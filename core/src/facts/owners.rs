//! Whose sessions there are, and whose were revoked. It follows the copies, in [`super::Facts`]'s one
//! way of putting and dropping them, so nothing can be left in it.

use alloc::collections::{BTreeMap, BTreeSet};
use core::ops::Bound;

use crate::id::Address;
use crate::session::{Principal, Session};
use crate::stamp::Version;

/// The records of revocations that are here, with where they lie: a peer that misbehaves may send two of
/// one version.
pub(super) type Revocations = BTreeSet<(Version, Address)>;

#[derive(Clone, Debug, Default)]
struct Owned {
    revocations: Revocations,
    /// The sessions, tombstones included.
    sessions: BTreeSet<Address>,
}

/// Whether two copies at one address are noted in the same way.
pub(super) fn same(old: &Session, new: &Session) -> bool {
    let revokes = old.is_revocation() || new.is_revocation();
    !revokes && old.fixed.principal == new.fixed.principal
}

/// Principal → its sessions and revocations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owners {
    of: BTreeMap<Principal, Owned>,
}

impl Owners {
    /// Notes a copy that is put.
    pub(crate) fn add(&mut self, copy: &Session) {
        let Some(principal) = &copy.fixed.principal else { return };
        if copy.is_revocation() {
            let owned = self.of.entry(principal.clone()).or_default();
            owned.revocations.insert((copy.created(), copy.id.address));
        } else {
            let owned = self.of.entry(principal.clone()).or_default();
            owned.sessions.insert(copy.id.address);
        }
    }

    /// Forgets a copy that is replaced or dropped.
    pub(crate) fn remove(&mut self, copy: &Session) {
        let Some(principal) = &copy.fixed.principal else { return };
        let Some(owned) = self.of.get_mut(principal) else { return };
        if copy.is_revocation() {
            owned.revocations.remove(&(copy.created(), copy.id.address));
        } else {
            owned.sessions.remove(&copy.id.address);
        }
        if owned.revocations.is_empty() && owned.sessions.is_empty() {
            self.of.remove(principal);
        }
    }

    /// The newest revocation of this principal that is known.
    pub(crate) fn newest(&self, principal: &Principal) -> Option<Version> {
        self.revocations(principal).next_back()
    }

    /// The revocations of this principal that are known, in order.
    pub(crate) fn revocations(
        &self,
        principal: &Principal,
    ) -> impl DoubleEndedIterator<Item = Version> + '_ {
        let owned = self.of.get(principal).into_iter();
        owned.flat_map(|owned| owned.revocations.iter().map(|&(version, _)| version))
    }

    /// The sessions of this principal that are here, partial ones and tombstones included.
    pub(crate) fn sessions(&self, principal: &Principal) -> impl Iterator<Item = Address> + '_ {
        self.sessions_after(principal, None)
    }

    /// The same from after one address.
    pub(crate) fn sessions_after(
        &self,
        principal: &Principal,
        after: Option<Address>,
    ) -> impl Iterator<Item = Address> + '_ {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let owned = self.of.get(principal).into_iter();
        owned.flat_map(move |owned| owned.sessions.range((from, Bound::Unbounded)).copied())
    }

    /// Whether this copy is noted as it should be; and the revocations of its principal that are known.
    pub(super) fn check(&self, copy: &Session) -> (bool, Option<&Revocations>) {
        let whose = copy.fixed.principal.as_ref();
        let owned = whose.and_then(|principal| self.of.get(principal));
        let noted = owned.is_some_and(|owned| {
            if copy.is_revocation() {
                owned.revocations.contains(&(copy.created(), copy.id.address))
            } else {
                owned.sessions.contains(&copy.id.address)
            }
        });
        (noted || whose.is_none(), owned.map(|owned| &owned.revocations))
    }

    /// How many copies are noted.
    pub(crate) fn len(&self) -> usize {
        self.of.values().map(|owned| owned.revocations.len() + owned.sessions.len()).sum()
    }
}
