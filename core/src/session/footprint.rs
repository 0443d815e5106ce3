//! What a copy takes of a server's memory: what limits on bytes count (section 10 of the protocol page;
//! G8).
//!
//! It is a function of the copy alone, made of the numbers below, so that all servers count alike on
//! every machine. They are what the standard library asks its allocator for on a 64-bit machine, of
//! which a test keeps count (`core/tests/footprint.rs`). What an allocator adds by rounding up is not
//! in it, nor is what readers keep besides (a pointer and a lock for each slot), nor what is on its way
//! to other servers.

use super::{Attribute, Key, Session};

/// Two counts before everything that is shared.
const SHARED: usize = 16;
/// A copy, without what hangs on it.
const SESSION: usize = 168;
/// What is fixed about a session.
const FIXED: usize = 136;
/// An entry of an index by stamps or times: a stamp or time and an address. Trees whose newest entries
/// come last, as stamps do, have their nodes half full.
const INDEXED: usize = 48;
/// Its place in the array, and its entry in the index of deadlines.
const PLACE: usize = 8 + INDEXED;
/// Its entry in the index of principals, which is mostly its principal's only one.
const OWNED: usize = 312;
/// An attribute, without its key and what is in it.
const ATTRIBUTE: usize = 64;
/// An entry of what it has seen, if there are so many that they need memory of their own.
const SEEN: usize = 16;
/// So many need none.
const SEEN_WITHIN: usize = 3;
/// What one server added to a counter.
const SUBTOTAL: usize = 24;

impl Session {
    /// What a session takes of it that has no contents and no principal and that one server wrote to: its
    /// place. An ended session keeps that until its deadline.
    pub const PLACE_BYTES: usize = SHARED + SESSION + SHARED + FIXED + PLACE + INDEXED;

    /// What this copy takes of a server's memory, in bytes, with its entries in the server's indexes:
    /// what `bytes_per_origin` counts. [`Session::weight`] is what it takes on the wire.
    pub fn footprint(&self) -> usize {
        let principal = self.fixed.principal.as_ref();
        let owned = principal.map_or(0, |name| OWNED + shared(name.as_str().len()));
        let seen = self.seen.len();
        let apart = if seen > SEEN_WITHIN { SEEN * seen } else { 0 };
        SHARED + SESSION + SHARED + FIXED + PLACE + owned + INDEXED * seen + apart + self.contents()
    }

    /// The part of [`Session::footprint`] that is free when the session ends.
    pub fn contents(&self) -> usize {
        let attributes = self.attributes.iter();
        let each = |(key, attribute): (&Key, &Attribute)| {
            shared(key.as_str().len()) + attribute.footprint()
        };
        // What has contents and no principal is in the index of those that may be ended to make room.
        let evictable = self.fixed.principal.is_none() && !self.attributes.is_empty();
        INDEXED * usize::from(evictable) + attributes.map(each).sum::<usize>()
    }
}

impl Attribute {
    /// What it takes of a server's memory, in bytes, without the key.
    fn footprint(&self) -> usize {
        ATTRIBUTE
            + match self {
                Self::Removed { .. } => 0,
                Self::Register { value, .. } => shared(value.as_bytes().len()),
                Self::Counter(counter) => SUBTOTAL * counter.subtotals.len(),
            }
    }
}

/// So many bytes of which copies share one allocation.
const fn shared(bytes: usize) -> usize {
    (SHARED + bytes).next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use core::mem::size_of;

    use super::super::{Fixed, Subtotal};
    use super::*;
    use crate::id::ServerId;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_numbers_are_those_of_the_types() {
        let sizes = [
            size_of::<Session>(),
            size_of::<Fixed>(),
            size_of::<(Key, Attribute)>(),
            size_of::<(ServerId, Subtotal)>(),
        ];
        assert_eq!(sizes, [SESSION, FIXED, ATTRIBUTE, SUBTOTAL]);
    }
}
