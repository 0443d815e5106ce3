//! The local array: the copies that request threads read, by origin and slot. A read takes no
//! hashing, no channel and no lock but its own slot's (R101).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use grapevine_core::{Address, ServerId, Session};
use parking_lot::RwLock;

/// Slots that are allocated together. Chunks never move, so readers and the driver don't meet.
const CHUNK: usize = 1024;

/// What lies in a slot: a copy, and whether this server has every write that the copy has seen.
pub(crate) type Copy = (Arc<Session>, bool);

type Slot = RwLock<Option<Copy>>;

/// All copies of this server, as the engine stored them last.
#[derive(Debug, Default)]
pub(crate) struct Array {
    /// Sorted by origin, and short: one for each process whose sessions still live.
    origins: ArcSwap<Vec<(ServerId, Arc<Origin>)>>,
}

/// The copies of the sessions that one server created.
#[derive(Debug)]
struct Origin {
    chunks: Box<[OnceLock<Box<[Slot]>>]>,
    used: AtomicUsize,
}

impl Origin {
    fn new(slots: usize) -> Self {
        let chunks = (0..slots.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect();
        Self { chunks, used: AtomicUsize::new(0) }
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.chunks.get(slot as usize / CHUNK)?.get()?.get(slot as usize % CHUNK)
    }

    fn slot_or_new(&self, slot: u32) -> Option<&Slot> {
        let chunk = self.chunks.get(slot as usize / CHUNK)?;
        let fresh = || (0..CHUNK).map(|_| RwLock::new(None)).collect();
        chunk.get_or_init(fresh).get(slot as usize % CHUNK)
    }
}

impl Array {
    /// The copy at this address, if there is one.
    pub(crate) fn read(&self, address: Address) -> Option<Copy> {
        let origins = self.origins.load();
        find(&origins, address.origin)?.slot(address.slot)?.read().clone()
    }

    /// Puts a copy there, or takes it away. Only the driver calls this. `slots` is the farm's
    /// `slots_per_origin`; a slot number beyond it is ignored (the engine lets none through).
    pub(crate) fn store(&self, address: Address, copy: Option<Copy>, slots: u32) {
        if address.slot >= slots {
            return;
        }
        let origins = self.origins.load();
        let Some(copy) = copy else {
            let Some(origin) = find(&origins, address.origin) else { return };
            let Some(slot) = origin.slot(address.slot) else { return };
            let taken = slot.write().take().is_some();
            if taken && origin.used.fetch_sub(1, Ordering::Relaxed) == 1 {
                self.forget(address.origin);
            }
            return;
        };
        let added;
        let origin = match find(&origins, address.origin) {
            Some(origin) => origin,
            None => {
                added = self.remember(address.origin, slots);
                &added
            }
        };
        if let Some(slot) = origin.slot_or_new(address.slot)
            && slot.write().replace(copy).is_none()
        {
            origin.used.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Every copy, in the order of addresses.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&Copy)) {
        let origins = self.origins.load_full();
        for (_, origin) in origins.iter() {
            for slot in origin.chunks.iter().filter_map(OnceLock::get).flatten() {
                // Cloned, so that a slow reader never holds up the driver.
                let copy = slot.read().clone();
                if let Some(copy) = copy {
                    each(&copy);
                }
            }
        }
    }

    fn remember(&self, server: ServerId, slots: u32) -> Arc<Origin> {
        let mut origins = Vec::clone(&self.origins.load());
        let origin = Arc::new(Origin::new(slots as usize));
        let place = origins.partition_point(|(known, _)| *known < server);
        origins.insert(place, (server, Arc::clone(&origin)));
        self.origins.store(Arc::new(origins));
        origin
    }

    /// Gives back the memory of an origin that has no copies any more.
    fn forget(&self, server: ServerId) {
        let mut origins = Vec::clone(&self.origins.load());
        origins.retain(|(known, _)| *known != server);
        self.origins.store(Arc::new(origins));
    }
}

fn find(origins: &[(ServerId, Arc<Origin>)], server: ServerId) -> Option<&Arc<Origin>> {
    let place = origins.binary_search_by_key(&server, |(known, _)| *known).ok()?;
    Some(&origins[place].1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapevine_core::{Fixed, Secret, SessionId, Stamp, Timestamp};
    use std::time::Duration;

    const SLOTS: u32 = 5_000;

    fn address(origin: u16, slot: u32) -> Address {
        Address { origin: ServerId::new(origin, Timestamp::from_millis(7)), slot }
    }

    fn session(address: Address, created: u64) -> Arc<Session> {
        let id = SessionId {
            address,
            created: Stamp::from_bits(created),
            secret: Secret::from_bytes([1; 16]),
        };
        let fixed = Fixed {
            deadline: Timestamp::MAX,
            idle_timeout: Duration::from_secs(60),
            ..Fixed::default()
        };
        Arc::new(Session::new(id, fixed))
    }

    #[test]
    fn a_copy_is_read_where_it_was_stored_and_nowhere_else() {
        let array = Array::default();
        let places = [address(2, 0), address(2, 1), address(1, 1023), address(1, 1024)];
        for (n, &place) in places.iter().enumerate() {
            array.store(place, Some((session(place, n as u64), n % 2 == 0)), SLOTS);
        }
        for (n, &place) in places.iter().enumerate() {
            let (copy, settled) = array.read(place).unwrap();
            assert_eq!((copy.id.address, copy.id.created), (place, Stamp::from_bits(n as u64)));
            assert_eq!(settled, n % 2 == 0);
        }
        for lacking in [address(2, 2), address(1, 4_999), address(3, 0), address(2, u32::MAX)] {
            assert!(array.read(lacking).is_none(), "{lacking:?}");
        }
        let mut order = Vec::new();
        array.for_each(|(copy, _)| order.push(copy.id.address));
        assert_eq!(order, [address(1, 1023), address(1, 1024), address(2, 0), address(2, 1)]);
    }

    #[test]
    fn an_origin_without_copies_takes_no_memory() {
        let array = Array::default();
        array.store(address(1, 3), Some((session(address(1, 3), 1), true)), SLOTS);
        array.store(address(1, 3), Some((session(address(1, 3), 2), true)), SLOTS);
        array.store(address(1, 4), None, SLOTS);
        assert_eq!(array.origins.load().len(), 1);
        array.store(address(1, 3), None, SLOTS);
        assert!(array.origins.load().is_empty());
        assert!(array.read(address(1, 3)).is_none());
    }

    #[test]
    fn a_slot_number_beyond_the_farms_limit_takes_no_memory() {
        let array = Array::default();
        for slot in [SLOTS, u32::MAX] {
            array.store(address(1, slot), Some((session(address(1, slot), 1), true)), SLOTS);
        }
        assert!(array.origins.load().is_empty());
    }

    #[test]
    fn a_customer_never_gets_a_copy_from_before_the_view_that_covers_its_token() {
        use crate::driver::Shown;
        use grapevine_core::{Locally, Token, Vector, View};
        use std::sync::atomic::AtomicU64;

        let place = address(1, 0);
        let written = |n: u64| {
            let mut copy = Session::clone(&session(place, 1));
            copy.complete = true;
            copy.seen = Vector::from_iter([(place.origin, Stamp::from_bits(n))]);
            Arc::new(copy)
        };
        let (shown, told) = (Shown::default(), AtomicU64::new(0));
        let last = 200_000;
        let (shown, told) = (&shown, &told);
        std::thread::scope(|scope| {
            // The driver: it stores, then shows the view, then answers.
            scope.spawn(move || {
                for n in 1..=last {
                    let copy = written(n);
                    let view =
                        View { applied: copy.seen.clone(), serving: true, ..View::default() };
                    shown.array.store(place, Some((copy, true)), SLOTS);
                    shown.view.store(Arc::new(view));
                    told.store(n, Ordering::Release);
                }
            });
            // A customer, who comes from another server with what is about to come here.
            scope.spawn(move || {
                let mut n = 0;
                while n < last {
                    n = told.load(Ordering::Acquire);
                    let copy = written(n + 1);
                    let (context, deadline) = (copy.seen.clone(), copy.fixed.deadline);
                    let token = Token { id: copy.id, deadline, context };
                    if let Locally::Serve(served) = shown.serve(&token, Timestamp::ZERO) {
                        assert!(served.session.seen.covers(&token.context), "{n}: {served:?}");
                    }
                }
            });
        });
    }
}
