//! A sorted map of exactly its length, for the many small maps of which sessions are made.
//!
//! A tree keeps room for eleven entries where mostly one is in it, in an allocation per node. This
//! is one allocation of what is there and none when nothing is; a copy of it is one, too. Putting a
//! new key in copies all: so it is for maps that are copied and read more often than they grow.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;
use core::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// How many entries are made room for on a peer's word, before they are there.
const ON_TRUST: usize = 16;

/// Key → value, sorted by key, in memory of exactly its length.
///
/// ```
/// use grapevine_core::SortedMap;
/// let mut map = SortedMap::from_iter([(2, "b"), (1, "a")]);
/// assert_eq!(map.insert(2, "c"), Some("b"));
/// assert_eq!(map.iter().collect::<Vec<_>>(), [(&1, &"a"), (&2, &"c")]);
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SortedMap<K, V>(Box<[(K, V)]>);

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<K, V> SortedMap<K, V> {
    /// An empty map, which needs no memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries, by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// The values, by key.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// The values, by key, to change them.
    pub(crate) fn values_mut(&mut self) -> impl ExactSizeIterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.0 = Box::default();
    }

    /// Keeps the entries for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        if !self.0.iter().all(|(key, value)| keep(key, value)) {
            let mut entries = core::mem::take(&mut self.0).into_vec();
            entries.retain(|(key, value)| keep(key, value));
            self.0 = entries.into_boxed_slice();
        }
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(have, _)| have.borrow().cmp(key))
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|at| &self.0[at].1)
    }

    /// The value of a key that mostly lies at this place, where it is looked for first.
    pub(crate) fn get_near(&self, place: usize, key: &K) -> Option<&V> {
        match self.0.get(place) {
            Some((have, value)) if have == key => Some(value),
            _ => self.get(key),
        }
    }

    /// The same, to change it.
    pub(crate) fn get_near_mut(&mut self, place: usize, key: &K) -> Option<&mut V> {
        let there = self.0.get(place).is_some_and(|(have, _)| have == key);
        if there { Some(&mut self.0[place].1) } else { self.get_mut(key) }
    }

    /// Whether a key is missing that would mostly lie at this place.
    pub(crate) fn lacks_near(&self, place: usize, key: &K) -> bool {
        let before = place.checked_sub(1).and_then(|before| self.0.get(before));
        let between = before.is_none_or(|(have, _)| have < key)
            && self.0.get(place).is_none_or(|(have, _)| have > key)
            && place <= self.0.len();
        between || self.get(key).is_none()
    }

    /// The value of a key, to change it.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|at| &mut self.0[at].1)
    }

    /// Sets a key's value. Returns the one that it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(at) => Some(core::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                let mut entries = core::mem::take(&mut self.0).into_vec();
                entries.reserve_exact(1);
                entries.insert(at, (key, value));
                self.0 = entries.into_boxed_slice();
                None
            }
        }
    }
}

impl<K: Ord + Clone, V: Clone> SortedMap<K, V> {
    /// Takes in the entries of `other` that `wanted` lets in: `merge` joins the values of a key that
    /// both have, others are copied. Returns whether this changed; `merge` says so of its part.
    pub(crate) fn merge(
        &mut self,
        other: &Self,
        wanted: impl Fn(&V) -> bool,
        mut merge: impl FnMut(&mut V, &V) -> bool,
    ) -> bool {
        let mut changed = false;
        let mut fresh = Vec::new();
        for (key, theirs) in other.iter().filter(|(_, theirs)| wanted(theirs)) {
            match self.get_mut(key) {
                Some(ours) => changed |= merge(ours, theirs),
                None => fresh.push((key.clone(), theirs.clone())),
            }
        }
        if fresh.is_empty() {
            return changed;
        }
        let mut entries = core::mem::take(&mut self.0).into_vec();
        entries.reserve_exact(fresh.len());
        entries.append(&mut fresh);
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.0 = entries.into_boxed_slice();
        true
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    /// The values of the keys that both have: ours and the other's.
    #[cfg(feature = "rare")]
    pub(crate) fn both<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a V, &'a V)> {
        let mut mine = self.0.iter().peekable();
        other.iter().filter_map(move |(key, theirs)| {
            while mine.next_if(|(have, _)| have < key).is_some() {}
            mine.peek().filter(|(have, _)| have == key).map(|(_, ours)| (ours, theirs))
        })
    }

    /// Whether each entry of `other` that `wanted` lets in is here, and `holds` says that ours has all of it.
    pub(crate) fn holds(
        &self,
        other: &Self,
        wanted: impl Fn(&V) -> bool,
        holds: impl Fn(&V, &V) -> bool,
    ) -> bool {
        // Both are sorted: one walk through both finds all.
        let mut mine = self.0.iter();
        let mut theirs = other.iter().filter(|(_, theirs)| wanted(theirs));
        theirs.all(|(key, theirs)| {
            mine.find_map(|(have, ours)| match have.cmp(key) {
                Ordering::Less => None,
                Ordering::Equal => Some(holds(ours, theirs)),
                Ordering::Greater => Some(false),
            })
            .unwrap_or(false)
        })
    }
}

/// Of several entries of one key the last one counts.
impl<K: Ord, V> FromIterator<(K, V)> for SortedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut entries: Vec<(K, V)> = entries.into_iter().collect();
        sort(&mut entries);
        Self(entries.into_boxed_slice())
    }
}

/// Sorts entries by key; of several of one key the last one stays.
pub(crate) fn sort<K: Ord, V>(entries: &mut Vec<(K, V)>) {
    if entries.is_sorted_by(|(a, _), (b, _)| a < b) {
        return;
    }
    entries.reverse();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    entries.dedup_by(|(later, _), (kept, _)| later == kept);
}

impl<K: Ord, V> From<BTreeMap<K, V>> for SortedMap<K, V> {
    fn from(entries: BTreeMap<K, V>) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for SortedMap<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        Self::from_iter(entries)
    }
}

impl<'a, K, V> IntoIterator for &'a SortedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = core::iter::Map<core::slice::Iter<'a, (K, V)>, fn(&(K, V)) -> (&K, &V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SortedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

/// As any map is.
impl<K: Serialize, V: Serialize> Serialize for SortedMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de, K, V> Deserialize<'de> for SortedMap<K, V>
where
    K: Ord + Deserialize<'de>,
    V: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        entries(deserializer).map(|entries| Self(entries.into_boxed_slice()))
    }
}

/// The entries of a map, sorted, as they come from a peer: in any order, of any claimed length.
pub(crate) fn entries<'de, D, K, V>(deserializer: D) -> Result<Vec<(K, V)>, D::Error>
where
    D: Deserializer<'de>,
    K: Ord + Deserialize<'de>,
    V: Deserialize<'de>,
{
    struct Entries<K, V>(PhantomData<(K, V)>);

    impl<'de, K, V> Visitor<'de> for Entries<K, V>
    where
        K: Ord + Deserialize<'de>,
        V: Deserialize<'de>,
    {
        type Value = Vec<(K, V)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::with_capacity(map.size_hint().unwrap_or(0).min(ON_TRUST));
            while let Some(entry) = map.next_entry()? {
                entries.push(entry);
            }
            sort(&mut entries);
            Ok(entries)
        }
    }

    deserializer.deserialize_map(Entries(PhantomData))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn same(map: &SortedMap<u8, u8>, tree: &BTreeMap<u8, u8>) -> Result<(), TestCaseError> {
        prop_assert_eq!(map.iter().collect::<Vec<_>>(), tree.iter().collect::<Vec<_>>());
        prop_assert_eq!(postcard::to_allocvec(map), postcard::to_allocvec(tree));
        Ok(())
    }

    proptest! {
        #[test]
        fn a_sorted_map_does_what_a_tree_does(
            start in prop::collection::vec((0..20_u8, any::<u8>()), 0..12),
            sets in prop::collection::vec((0..20_u8, any::<u8>()), 0..12),
            bound in any::<u8>(),
        ) {
            let mut tree: BTreeMap<u8, u8> = start.iter().copied().collect();
            let mut map: SortedMap<u8, u8> = start.iter().copied().collect();
            same(&map, &tree)?;
            for (key, value) in sets {
                prop_assert_eq!(map.insert(key, value), tree.insert(key, value));
                prop_assert_eq!(map.get(&key), tree.get(&key));
                for (place, key) in (0..9).flat_map(|place| (0..20).map(move |key| (place, key))) {
                    prop_assert_eq!(map.lacks_near(place, &key), !tree.contains_key(&key));
                    prop_assert_eq!(map.get_near(place, &key), tree.get(&key));
                }
                same(&map, &tree)?;
            }
            map.retain(|_, value| *value < bound);
            tree.retain(|_, value| *value < bound);
            same(&map, &tree)?;
        }

        #[test]
        fn entries_of_any_order_are_read_as_a_tree_reads_them(
            entries in prop::collection::vec((0..9_u8, any::<u8>()), 0..30),
        ) {
            // A sequence of pairs looks like a map on the wire.
            let bytes = postcard::to_allocvec(&entries).expect("encodes");
            let tree: BTreeMap<u8, u8> = postcard::from_bytes(&bytes).expect("a tree");
            let map: SortedMap<u8, u8> = postcard::from_bytes(&bytes).expect("a map");
            same(&map, &tree)?;
        }

        #[test]
        fn merging_maps_keeps_what_both_have(
            ours in prop::collection::vec((0..9_u8, any::<u8>()), 0..9),
            theirs in prop::collection::vec((0..9_u8, any::<u8>()), 0..9),
        ) {
            let (mut ours, theirs): (SortedMap<u8, u8>, SortedMap<u8, u8>) =
                (ours.into_iter().collect(), theirs.into_iter().collect());
            let before = ours.clone();
            let changed = ours.merge(&theirs, |value| value % 2 == 0, |a, b| {
                let more = b > a;
                *a = (*a).max(*b);
                more
            });
            prop_assert_eq!(changed, ours != before);
            for key in 0..9 {
                let let_in = theirs.get(&key).filter(|value| **value % 2 == 0);
                prop_assert_eq!(ours.get(&key), before.get(&key).max(let_in));
            }
        }
    }
}
