//! What is compared: the copies of a range of addresses, each by a hash of all its bytes, without
//! those that two correct servers may hold differently for now.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use xxhash_rust::xxh3::xxh3_128;

use crate::command::{Held, Terms};
use crate::engine::Engine;
use crate::id::{Address, ServerId};
use crate::session::{Life, Session};
use crate::wire;

/// The end of all arrays.
pub(super) const LAST: Address = Address { origin: ServerId::from_bits(u64::MAX), slot: u32::MAX };

/// Bytes of a [`Held`] on the wire, at most.
const HELD_BYTES: usize = 40;
/// Bytes that most copies stay below.
const COPY_BYTES: usize = 1024;
/// Entries of a list, at most.
const LISTED: usize = 1024;

/// One address of a range: the hash of the copy there, if it can be compared.
pub(super) type Digest = (Address, Option<[u8; 16]>);

/// The copies of a range, as far as they were looked at.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) digests: Vec<Digest>,
    /// The last address that was looked at: the end of the range, if it was walked to its end.
    pub(super) to: Address,
}

impl Listing {
    /// How many copies can be compared, and how many are left out.
    pub(super) fn count(&self) -> (u64, u64) {
        let left_out = self.digests.iter().filter(|(_, digest)| digest.is_none()).count();
        ((self.digests.len() - left_out) as u64, left_out as u64)
    }

    /// One hash for all that can be compared.
    pub(super) fn hash(&self) -> [u8; 16] {
        let mut bytes = Vec::with_capacity(self.digests.len() * 28);
        for (address, digest) in &self.digests {
            if let Some(digest) = digest {
                bytes.extend_from_slice(&address.origin.to_bits().to_le_bytes());
                bytes.extend_from_slice(&address.slot.to_le_bytes());
                bytes.extend_from_slice(digest);
            }
        }
        xxh3_128(&bytes).to_le_bytes()
    }
}

/// The address after this one.
pub(super) fn after(address: Address) -> Address {
    match address.slot.checked_add(1) {
        Some(slot) => Address { slot, ..address },
        None => Address {
            origin: ServerId::from_bits(address.origin.to_bits().saturating_add(1)),
            slot: 0,
        },
    }
}

impl Engine {
    /// Looks at the copies from one address to another, both included, until so many or so many bytes
    /// of them have been looked at; at least one.
    pub(super) fn listing(
        &self,
        terms: &Terms,
        from: Address,
        to: Address,
        (copies, bytes): (usize, usize),
    ) -> Listing {
        let held = self.facts.totals().copies() as usize;
        let mut digests = Vec::with_capacity(copies.min(held));
        let mut buffer = Vec::with_capacity(COPY_BYTES);
        let mut room = bytes;
        // Walked from within: the array is a tree of chunks of slots, and most of a step from copy to copy would
        // be finding out again where in it the walk is.
        let end = self.facts.array().from(from).try_for_each(|copy| {
            let address = copy.id.address;
            if address > to {
                return ControlFlow::Break(to);
            }
            digests.push((address, self.digest(copy, terms, &mut buffer)));
            room = room.saturating_sub(copy.weight());
            if digests.len() >= copies || room == 0 {
                return ControlFlow::Break(address);
            }
            ControlFlow::Continue(())
        });
        Listing { to: end.break_value().unwrap_or(to), digests }
    }

    /// How many entries fit into a list.
    pub(super) fn most_listed(&self) -> usize {
        (self.config.farm.frame_bytes as usize / 4 / HELD_BYTES).clamp(1, LISTED)
    }

    /// The entries of a list, as they are sent.
    pub(super) fn held(&self, digests: &[Digest]) -> Vec<Held> {
        let held = digests.iter().filter_map(|&(address, hash)| {
            let id = self.facts.array().get(address)?.id.hashed();
            Some(Held { address, id, hash })
        });
        held.collect()
    }

    fn digest(&self, copy: &Session, terms: &Terms, buffer: &mut Vec<u8>) -> Option<[u8; 16]> {
        if self.is_left_out(copy, terms) {
            return None;
        }
        buffer.clear();
        wire::by_hand::copy(copy, buffer);
        Some(xxh3_128(buffer).to_le_bytes())
    }

    /// Whether two correct servers that cover the base may hold this session differently.
    ///
    /// What a copy shows is made of the writes that it has seen. If all of them are in the base, both
    /// servers have them and no others: their copies are equal. (What a closed writer wrote beyond its
    /// entry all have alike that have closed it.) And close to its deadline, or to the end of its grace,
    /// a copy may have ended at the one and not yet at the other.
    fn is_left_out(&self, copy: &Session, terms: &Terms) -> bool {
        let retires = matches!(copy.life, Life::Retired { until } if until <= terms.until);
        let ends = copy.fixed.deadline <= terms.until;
        if ends || retires || terms.base.covers(&copy.seen) {
            return ends || retires;
        }
        terms.base.beyond(&copy.seen).any(|(writer, _)| {
            let closed = |&first: &ServerId| first.number() == writer.number() && writer < first;
            !terms.closed.iter().any(closed)
        })
    }
}
