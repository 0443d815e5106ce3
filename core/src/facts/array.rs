//! The fact array: for each origin an array of slots. A session lies at the same origin and slot on
//! every server, so an ID is an address and a look-up needs no hashing (R77, R101, R112a).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::id::{Address, ServerId};
use crate::session::Session;

/// Slots per chunk. Chunks are allocated when a slot of theirs is first used, so an address from
/// the far end of an array costs one chunk, and growing moves nothing.
const CHUNK: usize = 64;

type Chunk = Box<[Option<Arc<Session>>; CHUNK]>;

#[derive(Clone, Debug, Default)]
struct Origin {
    chunks: Vec<Option<Chunk>>,
    held: usize,
    bytes: u64,
}

/// All copies of one server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Array {
    origins: BTreeMap<ServerId, Origin>,
    /// Of all origins.
    bytes: u64,
}

impl Array {
    /// The copy at this address.
    pub(crate) fn get(&self, address: Address) -> Option<&Arc<Session>> {
        let (chunk, slot) = place(address);
        self.origins.get(&address.origin)?.chunks.get(chunk)?.as_ref()?[slot].as_ref()
    }

    /// Puts a copy at its address. Returns the one that lay there.
    ///
    /// The slot number must have been checked against `slots_per_origin`: memory for the table of
    /// chunks grows with it.
    pub(crate) fn put(&mut self, copy: Arc<Session>) -> Option<Arc<Session>> {
        let (chunk, slot) = place(copy.id.address);
        let origin = self.origins.entry(copy.id.address.origin).or_default();
        if origin.chunks.len() <= chunk {
            origin.chunks.resize_with(chunk + 1, || None);
        }
        let chunk = origin.chunks[chunk].get_or_insert_with(|| Box::new([const { None }; CHUNK]));
        let weight = copy.weight() as u64;
        let old = chunk[slot].replace(copy);
        let before = old.as_ref().map_or(0, |old| old.weight() as u64);
        origin.held += usize::from(old.is_none());
        origin.bytes = origin.bytes + weight - before;
        self.bytes = self.bytes + weight - before;
        old
    }

    /// Takes the copy at this address out. An origin without copies is forgotten.
    pub(crate) fn take(&mut self, address: Address) -> Option<Arc<Session>> {
        let (chunk, slot) = place(address);
        let origin = self.origins.get_mut(&address.origin)?;
        let entry = origin.chunks.get_mut(chunk)?;
        let slots = entry.as_mut()?;
        let old = slots[slot].take()?;
        if slots.iter().all(Option::is_none) {
            *entry = None;
        }
        origin.held -= 1;
        origin.bytes -= old.weight() as u64;
        self.bytes -= old.weight() as u64;
        if origin.held == 0 {
            self.origins.remove(&address.origin);
        }
        Some(old)
    }

    /// The bytes that an origin's copies count towards limits.
    pub(crate) fn bytes(&self, origin: ServerId) -> u64 {
        self.origins.get(&origin).map_or(0, |origin| origin.bytes)
    }

    /// The bytes that all copies count towards limits.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.bytes
    }

    /// The origins that have copies here.
    pub(crate) fn origins(&self) -> impl ExactSizeIterator<Item = ServerId> + '_ {
        self.origins.keys().copied()
    }

    /// Whether this origin has copies here.
    pub(crate) fn knows(&self, origin: ServerId) -> bool {
        self.origins.contains_key(&origin)
    }

    /// The copies from this address on, by address.
    pub(crate) fn from(&self, first: Address) -> impl Iterator<Item = &Arc<Session>> {
        self.origins.range(first.origin..).flat_map(move |(&origin, held)| {
            let (chunk, slot) = if origin == first.origin { place(first) } else { (0, 0) };
            let chunks = held.chunks.iter().skip(chunk).enumerate();
            chunks.flat_map(move |(nth, chunk)| {
                let skipped = if nth == 0 { slot } else { 0 };
                chunk.iter().flat_map(move |chunk| chunk[skipped..].iter()).flatten()
            })
        })
    }

    /// Checks that the sums are those of the copies.
    pub(crate) fn check_invariants(&self) {
        let bytes = self.iter().map(|copy| copy.weight() as u64).sum::<u64>();
        assert_eq!(self.bytes, bytes, "bytes of all copies");
        let origins = self.origins.values().map(|origin| origin.bytes).sum::<u64>();
        assert_eq!(self.bytes, origins, "bytes of all origins");
    }

    /// All copies, by address.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Session>> {
        let chunks = self.origins.values().flat_map(|origin| &origin.chunks);
        chunks.flatten().flat_map(|chunk| chunk.iter()).flatten()
    }
}

const fn place(address: Address) -> (usize, usize) {
    (address.slot as usize / CHUNK, address.slot as usize % CHUNK)
}
