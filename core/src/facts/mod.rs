//! The facts of one server: the array of copies and its indexes. Every copy changes here, through
//! [`Facts::merge`], so the indexes can't drift from the array.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

mod array;
mod changes;
mod ends;
mod evictable;
mod owners;
mod slots;

pub(crate) use array::Array;
pub(crate) use changes::{Changes, Entry};
pub(crate) use evictable::Evictable;
pub(crate) use owners::Owners;
pub(crate) use slots::Slots;

use crate::config::{Farm, WhenFull};
use crate::id::{Address, ServerId, SessionId};
use crate::session::{Life, Session};
use crate::stamp::{Stamp, Timestamp};

/// What lies where a session should.
#[derive(Debug)]
pub(crate) enum Place<'a> {
    /// A copy of it: live, partial or a tombstone.
    Here(&'a Arc<Session>),
    /// Nothing, or an earlier session.
    Lacking,
    /// A later session: this one is over.
    Superseded(&'a Arc<Session>),
    /// Another session of the same create: the ID was never issued.
    Unknown,
}

/// What a merge did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merged {
    /// The copy changed, or is new.
    Changed,
    /// The copy had it all.
    Same,
    /// A later session has the slot.
    Superseded,
}

/// How many copies there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) live: u64,
    pub(crate) partial: u64,
    pub(crate) tombstones: u64,
}

impl Totals {
    /// All copies.
    pub(crate) const fn copies(self) -> u64 {
        self.live + self.partial + self.tombstones
    }
}

/// All copies of one server, indexed by writer, by deadline, and by being partial.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    me: ServerId,
    margin: Duration,
    /// How long the record of a revocation is kept: the longest life of a session.
    kept: Duration,
    array: Array,
    changes: Changes,
    slots: Slots,
    owners: Owners,
    evictable: Evictable,
    partial: BTreeSet<Address>,
    /// One entry per copy, never later than the copy's next deadline; re-armed when it comes up,
    /// not when the copy is touched.
    deadlines: BTreeSet<(Timestamp, Address)>,
    totals: Totals,
}

impl Facts {
    pub(crate) fn new(me: ServerId, farm: &Farm) -> Self {
        let evicts = farm.when_full == WhenFull::EvictAnonymous;
        Self {
            me,
            margin: farm.margin(),
            kept: farm.max_lifetime,
            array: Array::default(),
            changes: Changes::default(),
            slots: Slots::default(),
            owners: Owners::default(),
            evictable: Evictable::new(evicts.then_some(me)),
            partial: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            totals: Totals::default(),
        }
    }

    pub(crate) fn array(&self) -> &Array {
        &self.array
    }

    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    pub(crate) fn owners(&self) -> &Owners {
        &self.owners
    }

    pub(crate) fn evictable(&self) -> &Evictable {
        &self.evictable
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// What lies at the session's address. Secrets are compared in constant time.
    pub(crate) fn find(&self, id: &SessionId) -> Place<'_> {
        match self.array.get(id.address) {
            Some(copy) if copy.id == *id => Place::Here(copy),
            Some(copy) if copy.id.created > id.created => Place::Superseded(copy),
            Some(copy) if copy.id.created == id.created => Place::Unknown,
            _ => Place::Lacking,
        }
    }

    /// Merges a session or a delta into the copy at its address. In one slot the session with the
    /// higher create stamp wins. What it ends, by what it replaces or revokes, ends in the same
    /// call; `others` gets the addresses of the other copies that changed. What is over by `now` is dropped.
    pub(crate) fn merge(
        &mut self,
        session: &Arc<Session>,
        now: Timestamp,
        others: &mut BTreeSet<Address>,
    ) -> Merged {
        let (merged, ends) = self.merge_alone(session);
        if let Some(copy) = ends {
            self.retire_replaced(&copy, now, others);
            self.end_revoked(&copy, others);
        }
        merged
    }

    /// The same without what it ends. Returns the copy too, if what never changes is new in it: then it may end
    /// others.
    fn merge_alone(&mut self, session: &Arc<Session>) -> (Merged, Option<Arc<Session>>) {
        let (next, may_end) = match self.array.get(session.id.address) {
            Some(copy) if copy.id == session.id => {
                if copy.holds(session) {
                    debug_assert!(!(**copy).clone().merge(session), "it holds what merging adds");
                    return (Merged::Same, None);
                }
                let mut merged = (**copy).clone();
                if !merged.merge(session) {
                    return (Merged::Same, None);
                }
                let may_end = merged.fixed != copy.fixed;
                (Arc::new(merged), may_end)
            }
            Some(copy) if copy.id > session.id => return (Merged::Superseded, None),
            _ => (Arc::clone(session), true),
        };
        let ends = may_end.then(|| Arc::clone(&next));
        self.put(next);
        (Merged::Changed, ends)
    }

    /// Merges something once more, though the copy holds all of it already: a forced choice. Returns whether
    /// that changed anything, as it never may.
    #[cfg(feature = "rare")]
    pub(crate) fn merge_again(&mut self, session: &Session) -> bool {
        let copy = self.array.get(session.id.address).filter(|copy| copy.id == session.id);
        let Some(mut again) = copy.map(|copy| (**copy).clone()) else { return false };
        let changed = again.merge(session);
        if changed {
            self.put(Arc::new(again));
        }
        changed
    }

    /// Without the feature nothing is forced.
    #[cfg(not(feature = "rare"))]
    pub(crate) const fn merge_again(&self, _: &Session) -> bool {
        false
    }

    fn put(&mut self, copy: Arc<Session>) {
        let address = copy.id.address;
        let old = self.array.put(Arc::clone(&copy));
        if address.origin == self.me && !self.slots.in_use(address.slot) {
            self.slots.take(address.slot);
        }
        self.changes.move_entries(old.as_deref(), &copy);
        // A change leaves a session whose it is, and a record whose it was.
        if old.as_ref().is_none_or(|old| !owners::same(old, &copy)) {
            if let Some(old) = &old {
                self.owners.remove(old);
            }
            self.owners.add(&copy);
        }
        self.evictable.put(old.as_deref(), &copy);
        let due = copy.next_deadline(self.margin);
        match &old {
            Some(old) => {
                self.count(old, -1);
                if old.id != copy.id || due < old.next_deadline(self.margin) {
                    // The old entry may stay: it comes up, finds nothing due, and goes.
                    self.deadlines.insert((due, address));
                }
            }
            None => {
                self.deadlines.insert((due, address));
            }
        }
        if copy.complete {
            self.partial.remove(&address);
        } else {
            self.partial.insert(address);
        }
        self.count(&copy, 1);
    }

    /// Drops the copy at this address. If it is this server's own, the slot is free again.
    pub(crate) fn drop_copy(&mut self, address: Address) {
        if let Some(old) = self.array.take(address) {
            self.changes.remove(&old);
            self.owners.remove(&old);
            self.evictable.remove(&old);
            self.partial.remove(&address);
            self.count(&old, -1);
            if address.origin == self.me {
                self.slots.free(address.slot);
            }
        }
    }

    fn count(&mut self, copy: &Session, by: i64) {
        let total = if copy.life == Life::Deleted {
            &mut self.totals.tombstones
        } else if copy.complete {
            &mut self.totals.live
        } else {
            &mut self.totals.partial
        };
        *total = total.wrapping_add_signed(by);
    }

    /// When the first deadline may come up.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|&(due, _)| due)
    }

    /// Takes the copies whose deadlines have come up off the list, the earliest first and at most so many. The
    /// caller drops each, or calls [`Facts::rearm`]: then it comes up at the next call at the earliest.
    pub(crate) fn take_due(&mut self, now: Timestamp, most: usize) -> Vec<Address> {
        let mut due = Vec::new();
        while due.len() < most
            && let Some(&(at, address)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            due.push(address);
        }
        due
    }

    /// Has the copy at this address come up again, not before `due`.
    pub(crate) fn rearm(&mut self, address: Address, due: Timestamp) {
        if let Some(copy) = self.array.get(address) {
            self.deadlines.insert((copy.next_deadline(self.margin).max(due), address));
        }
    }

    /// The last stamp of a writer up to which no session is held only in part.
    ///
    /// A session published again doesn't count: whoever does so with a part has no more of it, and
    /// nobody waits for that write. It is later than the last access, for it is none.
    pub(crate) fn whole_up_to(&self, writer: ServerId, applied: Stamp) -> Stamp {
        let partial = self.partial.iter().filter_map(|&address| self.array.get(address));
        let written = partial.map(|copy| (copy.seen.get(writer), copy.accessed));
        let written = written.filter(|&(stamp, last)| stamp > Stamp::ZERO && stamp <= last);
        written.map(|(stamp, _)| stamp.previous()).fold(applied, Stamp::min)
    }

    /// Whether any copy is partial that one of these servers wrote to.
    pub(crate) fn has_partial(&self, live: impl Fn(ServerId) -> bool) -> bool {
        let partial = self.partial.iter().filter_map(|&address| self.array.get(address));
        partial.into_iter().any(|copy| {
            let mut seen = copy.seen.iter();
            seen.any(|(server, stamp)| stamp <= copy.accessed && live(server))
        })
    }

    /// Checks that the indexes say what the array has.
    pub(crate) fn check_invariants(&self) {
        let mut totals = Totals::default();
        let (mut entries, mut owned, mut evictable) = (0, 0, 0);
        for copy in self.array.iter() {
            self.check_place_of(copy);
            entries += copy.seen.len();
            owned += usize::from(copy.fixed.principal.is_some());
            evictable += usize::from(self.evictable.may_end(copy));
            match (copy.life, copy.complete) {
                (Life::Deleted, _) => totals.tombstones += 1,
                (_, true) => totals.live += 1,
                (_, false) => totals.partial += 1,
            }
        }
        assert_eq!(self.evictable.len(), evictable, "the index of sessions that may be ended");
        assert_eq!(self.owners.len(), owned, "the index of principals has a copy too many");
        assert_eq!(self.changes.len(), entries, "the change list has an entry of no copy");
        assert_eq!(self.totals, totals, "totals");
        self.array.check_invariants();
        self.check_totals();
    }

    /// Checks what can be said of the indexes without looking at any copy.
    pub(crate) fn check_totals(&self) {
        let Totals { live, partial, tombstones } = self.totals;
        assert_eq!(self.partial.len() as u64, partial, "partial copies");
        assert!(self.deadlines.len() as u64 >= live + partial + tombstones, "deadlines");
    }

    /// Checks that the indexes say of one address what the array has there.
    pub(crate) fn check_place(&self, address: Address) {
        if let Some(copy) = self.array.get(address) {
            return self.check_place_of(copy);
        }
        let own = address.origin == self.me;
        assert!(!self.partial.contains(&address), "partial, and no copy");
        assert!(!own || !self.slots.in_use(address.slot), "own slot free but in use");
    }

    fn check_place_of(&self, copy: &Session) {
        let address = copy.id.address;
        let own = address.origin == self.me;
        if copy.life == Life::Deleted {
            assert!(copy.complete, "a tombstone is not partial");
            assert!(copy.attributes.is_empty(), "a tombstone has no attributes");
        }
        assert_eq!(self.partial.contains(&address), !copy.complete, "partial index");
        for (writer, stamp) in copy.seen.iter() {
            assert!(self.changes.has(writer, (stamp, address)), "change list lacks a write");
        }
        for attribute in copy.attributes.values() {
            assert!(attribute.version() >= copy.floor, "an attribute below the floor");
        }
        assert!(!own || self.slots.in_use(address.slot), "own slot in use but free");
        let (noted, revocations) = self.owners.check(copy);
        assert!(noted, "the index of principals is wrong about a copy");
        assert!(self.evictable.has(copy), "a session that may be ended is not noted");
        self.check_ends(copy, revocations);
    }
}
