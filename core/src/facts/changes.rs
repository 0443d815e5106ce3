//! The change list: per writer, which session it wrote when. One live entry per writer and
//! session, sorted by stamp even when writes arrive out of order: so "what changed since" is cheap,
//! and no log of old commands is kept.

use alloc::collections::{BTreeMap, BTreeSet};
use core::ops::Bound;

use crate::id::{Address, ServerId};
use crate::session::Session;
use crate::stamp::Stamp;

/// A place in a list.
pub(crate) type Entry = (Stamp, Address);

/// The change lists of all writers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    lists: BTreeMap<ServerId, BTreeSet<Entry>>,
}

impl Changes {
    /// Moves a session's entries from what its copy had seen to what it has seen now.
    pub(crate) fn move_entries(&mut self, old: Option<&Session>, new: &Session) {
        let old = old.filter(|old| old.id == new.id || self.remove(old));
        for (writer, stamp) in new.seen.iter() {
            let before = old.map_or(Stamp::ZERO, |old| old.seen.get(writer));
            if before == stamp {
                continue;
            }
            let list = self.lists.entry(writer).or_default();
            if before != Stamp::ZERO {
                list.remove(&(before, new.id.address));
            }
            list.insert((stamp, new.id.address));
        }
    }

    /// Takes all entries of a copy out. Always `false`, for use as "and then there is none".
    pub(crate) fn remove(&mut self, old: &Session) -> bool {
        for (writer, stamp) in old.seen.iter() {
            if let Some(list) = self.lists.get_mut(&writer) {
                list.remove(&(stamp, old.id.address));
                if list.is_empty() {
                    self.lists.remove(&writer);
                }
            }
        }
        false
    }

    /// The writers that have entries.
    pub(crate) fn writers(&self) -> impl ExactSizeIterator<Item = ServerId> + '_ {
        self.lists.keys().copied()
    }

    /// Whether a writer has entries.
    pub(crate) fn knows(&self, writer: ServerId) -> bool {
        self.lists.contains_key(&writer)
    }

    /// Whether a writer's list has this entry.
    pub(crate) fn has(&self, writer: ServerId, entry: Entry) -> bool {
        self.lists.get(&writer).is_some_and(|list| list.contains(&entry))
    }

    /// A writer's entries after a place, in stamp order, to the end of the list.
    pub(crate) fn after(&self, writer: ServerId, place: Entry) -> impl Iterator<Item = Entry> + '_ {
        let range = (Bound::Excluded(place), Bound::Unbounded);
        self.lists.get(&writer).into_iter().flat_map(move |list| list.range(range).copied())
    }

    /// The number of all entries.
    pub(crate) fn len(&self) -> usize {
        self.lists.values().map(BTreeSet::len).sum()
    }
}
