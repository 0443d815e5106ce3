//! The fact array: for each origin an array of slots. A session lies at the same origin and slot on
//! every server, so an ID is an address and a look-up needs no hashing (R77, R101, R112a).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::id::{Address, ServerId};
use crate::session::Session;
use crate::status::Usage;

/// Slots per chunk. Chunks are allocated when a slot of theirs is first used, so an address from
/// the far end of an array costs one chunk, and growing moves nothing.
const CHUNK: usize = 64;

type Chunk = Box<[Option<Arc<Session>>; CHUNK]>;

#[derive(Clone, Debug, Default)]
struct Origin {
    chunks: Vec<Option<Chunk>>,
    usage: Usage,
}

impl Origin {
    fn copies(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.chunks.iter().flatten().flat_map(|chunk| chunk.iter()).flatten()
    }
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
        self.bytes += origin.usage.add(&copy);
        let old = chunk[slot].replace(copy);
        if let Some(old) = &old {
            self.bytes -= origin.usage.remove(old);
        }
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
        self.bytes -= origin.usage.remove(&old);
        if origin.usage.sessions() == 0 {
            self.origins.remove(&address.origin);
        }
        Some(old)
    }

    /// What an origin's copies take of what they may.
    pub(crate) fn usage(&self, origin: ServerId) -> Usage {
        self.origins.get(&origin).map_or(Usage::default(), |origin| origin.usage)
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
        for (id, origin) in &self.origins {
            let mut usage = Usage::default();
            origin.copies().for_each(|copy| _ = usage.add(copy));
            assert_eq!(origin.usage, usage, "what the copies of {id} take");
        }
        let origins = self.origins.values().map(|origin| origin.usage.bytes()).sum::<u64>();
        assert_eq!(self.bytes, origins, "bytes of all origins");
    }

    /// All copies, by address.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.origins.values().flat_map(Origin::copies)
    }
}

const fn place(address: Address) -> (usize, usize) {
    (address.slot as usize / CHUNK, address.slot as usize % CHUNK)
}
