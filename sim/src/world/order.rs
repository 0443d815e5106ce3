//! The order in which things happen: by time, then as scheduled.
//!
//! Most of what is scheduled are messages, due in some milliseconds: those wait in buckets by time, of a few each.
//! What is due later, or would be too many for a bucket, waits in a heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use grapevine_core::Timestamp;

/// When something happens, the how-manieth it is that was scheduled, and its place in the queue, as one number from
/// the highest bits to the lowest: what is sorted is small, and compared at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Next(u128);

impl Next {
    const PLACE_BITS: u32 = 24;

    pub(super) fn new(due: Timestamp, scheduled: u64, place: usize) -> Self {
        assert!(place < 1 << Self::PLACE_BITS, "too much is to happen at once");
        assert!(scheduled < 1 << (64 - Self::PLACE_BITS), "too much has happened");
        let low = scheduled << Self::PLACE_BITS | place as u64;
        Self(u128::from(due.as_micros()) << 64 | u128::from(low))
    }

    pub(super) const fn due(self) -> Timestamp {
        Timestamp::from_micros((self.0 >> 64) as u64)
    }

    pub(super) const fn place(self) -> usize {
        self.0 as usize & ((1 << Self::PLACE_BITS) - 1)
    }

    /// The time of its bucket.
    const fn slot(self) -> u64 {
        (self.0 >> (64 + SLOT_BITS)) as u64
    }
}

/// A bucket is of so many microseconds, as a power of two.
const SLOT_BITS: u32 = 6;
/// So many buckets wait at once.
const BUCKETS: u64 = 256;
/// The most that wait in one: they are kept sorted as they come.
const MOST: usize = 64;

/// What is to happen, in order.
#[derive(Debug)]
pub(super) struct Order {
    /// The first of all.
    first: Option<Next>,
    /// The time of the first bucket; none has anything of an earlier one but what was scheduled for the past.
    start: u64,
    /// By the remainder of their time, each sorted, the first one last.
    buckets: Vec<Vec<Next>>,
    /// Which of them have something, a bit for each.
    filled: [u64; BUCKETS as usize / 64],
    rest: BinaryHeap<Reverse<Next>>,
}

impl Default for Order {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| Vec::new()).collect();
        Self { first: None, start: 0, buckets, filled: [0; 4], rest: BinaryHeap::new() }
    }
}

impl Order {
    /// What happens first.
    pub(super) const fn first(&self) -> Option<Next> {
        self.first
    }

    pub(super) fn push(&mut self, next: Next) {
        if self.first.is_none_or(|first| next < first) {
            self.first = Some(next);
        }
        // What is due in the past happens now: within its bucket it still comes first.
        let slot = next.slot().max(self.start);
        let bucket = &mut self.buckets[(slot % BUCKETS) as usize];
        if slot - self.start >= BUCKETS || bucket.len() >= MOST {
            self.rest.push(Reverse(next));
            return;
        }
        bucket.insert(bucket.partition_point(|&other| other > next), next);
        self.filled[(slot % BUCKETS / 64) as usize] |= 1 << (slot % 64);
    }

    pub(super) fn pop(&mut self) -> Option<Next> {
        let first = self.first?;
        let slot = first.slot().max(self.start);
        let at = (slot % BUCKETS) as usize;
        if self.buckets[at].last() == Some(&first) {
            self.buckets[at].pop();
            if self.buckets[at].is_empty() {
                self.filled[at / 64] &= !(1 << (at % 64));
            }
        } else {
            self.rest.pop();
        }
        // Nothing is due before it any more.
        self.start = slot;
        let soon = self.first_bucket().and_then(|at| self.buckets[at].last().copied());
        let later = self.rest.peek().map(|next| next.0);
        self.first = match (soon, later) {
            (Some(soon), Some(later)) => Some(soon.min(later)),
            (soon, later) => soon.or(later),
        };
        Some(first)
    }

    /// The first bucket that has something.
    fn first_bucket(&self) -> Option<usize> {
        let at = (self.start % BUCKETS) as usize;
        // From the first one on, around to those before it.
        let word = self.filled[at / 64] >> (at % 64);
        if word != 0 {
            return Some(at + word.trailing_zeros() as usize);
        }
        let words = self.filled.len();
        let others = (1..=words).map(|n| (at / 64 + n) % words);
        let filled = others.map(|at| (at, self.filled[at])).find(|&(_, word)| word != 0);
        filled.map(|(at, word)| at * 64 + word.trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_to_happen_comes_in_the_order_of_a_heap(
            // How much later than what came last, or when.
            steps in prop::collection::vec(
                (prop_oneof![0..100_u64, 0..20_000_u64, 0..100_000_000_u64], 0..4_u8, 0..90_usize),
                1..80,
            ),
        ) {
            let (mut order, mut heap) = (Order::default(), BinaryHeap::new());
            let (mut now, mut scheduled) = (0, 0);
            for (late, kind, count) in steps {
                let due = if kind == 0 { late } else { now + late };
                // One at a time, many at once, or none.
                for _ in 0..[1, 1, count, 0][usize::from(kind)] {
                    scheduled += 1;
                    let next = Next::new(Timestamp::from_micros(due), scheduled, 7);
                    order.push(next);
                    heap.push(Reverse(next));
                }
                for _ in 0..count / 2 {
                    let first = heap.pop().map(|next| next.0);
                    prop_assert_eq!(order.first(), first);
                    prop_assert_eq!(order.pop(), first);
                    now = first.map_or(now, |first| now.max(first.due().as_micros()));
                }
            }
            while let Some(Reverse(next)) = heap.pop() {
                prop_assert_eq!(order.pop(), Some(next));
            }
            prop_assert_eq!(order.pop(), None);
        }
    }
}
