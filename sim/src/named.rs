//! Maps whose keys are sessions' names, as servers find copies: by address, without a search. The model and
//! the checks look into such maps several times for every copy that any server stores.

use grapevine_core::{Address, ServerId, Stamp};

use crate::model::Name;

/// What lay in one slot of one origin, by create: mostly one session, for a slot is seldom used again.
type Slot<T> = Vec<(Stamp, T)>;

/// Name → something. In order, as a sorted map is.
#[derive(Clone, Debug)]
pub(crate) struct Named<T>(Vec<(ServerId, Vec<Slot<T>>)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// Where a session lies in its slot, or would.
fn place<T>(slot: &[(Stamp, T)], created: Stamp) -> Result<usize, usize> {
    // Most are asked for who came last.
    match slot.last() {
        Some((last, _)) if *last == created => Ok(slot.len() - 1),
        Some((last, _)) if *last > created => slot.binary_search_by_key(&created, |entry| entry.0),
        _ => Err(slot.len()),
    }
}

/// Puts something into a slot. For the first there is no more room made than it needs.
fn put<T>(slot: &mut Slot<T>, at: usize, entry: (Stamp, T)) {
    if slot.is_empty() {
        slot.reserve_exact(1);
    }
    slot.insert(at, entry);
}

impl<T> Named<T> {
    fn origin(&self, origin: ServerId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&origin, |entry| entry.0)
    }

    pub(crate) fn get(&self, &(address, created): &Name) -> Option<&T> {
        let (_, slots) = &self.0[self.origin(address.origin).ok()?];
        let slot = slots.get(address.slot as usize)?;
        place(slot, created).ok().map(|at| &slot[at].1)
    }

    pub(crate) fn get_mut(&mut self, &(address, created): &Name) -> Option<&mut T> {
        let at = self.origin(address.origin).ok()?;
        let slot = self.0[at].1.get_mut(address.slot as usize)?;
        place(slot, created).ok().map(|at| &mut slot[at].1)
    }

    pub(crate) fn contains(&self, name: &Name) -> bool {
        self.get(name).is_some()
    }

    /// The slot at this address, made if there is none.
    fn slot(&mut self, address: Address) -> &mut Slot<T> {
        let at = self.origin(address.origin).unwrap_or_else(|at| {
            self.0.insert(at, (address.origin, Vec::new()));
            at
        });
        let slots = &mut self.0[at].1;
        let number = address.slot as usize;
        if slots.len() <= number {
            slots.resize_with(number + 1, Vec::new);
        }
        &mut slots[number]
    }

    /// What lies under a name, made if nothing does.
    pub(crate) fn or_insert_with(
        &mut self,
        (address, created): Name,
        new: impl FnOnce() -> T,
    ) -> &mut T {
        let slot = self.slot(address);
        let at = place(slot, created).unwrap_or_else(|at| {
            put(slot, at, (created, new()));
            at
        });
        &mut slot[at].1
    }

    /// Puts something under a name, whatever lay there.
    pub(crate) fn insert(&mut self, (address, created): Name, value: T) {
        let slot = self.slot(address);
        match place(slot, created) {
            Ok(at) => slot[at].1 = value,
            Err(at) => put(slot, at, (created, value)),
        }
    }

    pub(crate) fn remove(&mut self, &(address, created): &Name) -> Option<T> {
        let at = self.origin(address.origin).ok()?;
        let slot = self.0[at].1.get_mut(address.slot as usize)?;
        place(slot, created).ok().map(|at| slot.remove(at).1)
    }

    /// All of them, by name.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(|(_, slots)| slots.iter().flatten()).map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let slots = self.0.iter_mut().flat_map(|(_, slots)| slots);
        slots.flatten().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn it_holds_what_a_sorted_map_holds_in_the_same_order() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut named, mut sorted) = (Named::default(), BTreeMap::new());
        for n in 0..5_000 {
            let origin = ServerId::from_bits(rng.random_range(1..4));
            let address = Address { origin, slot: rng.random_range(0..9) };
            let name = (address, Stamp::from_bits(rng.random_range(1..9)));
            assert_eq!(named.get(&name), sorted.get(&name));
            assert_eq!(named.contains(&name), sorted.contains_key(&name));
            match rng.random_range(0..4) {
                0 => assert_eq!(named.remove(&name), sorted.remove(&name)),
                1 => assert_eq!(named.or_insert_with(name, || n), sorted.entry(name).or_insert(n)),
                2 => {
                    named.insert(name, n);
                    sorted.insert(name, n);
                }
                _ => {
                    let (one, other) = (named.get_mut(&name), sorted.get_mut(&name));
                    assert_eq!(one, other);
                    one.into_iter().chain(other).for_each(|value| *value += 1);
                }
            }
            assert!(named.values().eq(sorted.values()));
            assert!(named.values_mut().eq(sorted.values_mut()));
        }
    }
}
