//! A round, as its asker keeps it: one talk with each of its holders.
//!
//! As a rule there is one holder. A server that joins and lacks much asks several at once, each for
//! its *share*: the sessions of some of the slots. All walk the same lists from the same base, and a
//! writer's list has come to its end when it has in every talk; what counts then is the least that
//! any of them had applied of it, for each claims nothing but its share
//! (`docs/decisions/0010-a-round-in-shares.md`).

use alloc::vec::Vec;

use crate::command::{Cursor, Delta, Share};
use crate::id::ServerId;
use crate::stamp::{Stamp, Timestamp};
use crate::vector::Vector;

#[derive(Clone, Debug)]
pub(super) struct Round {
    /// What the asker had applied when the round began.
    pub(super) base: Vector,
    /// One per share, at least one; in the order of the shares.
    pub(super) talks: Vec<Talk>,
}

/// What is asked of one holder.
#[derive(Clone, Debug)]
pub(super) struct Talk {
    pub(super) number: u64,
    pub(super) holder: ServerId,
    pub(super) share: Share,
    pub(super) part: u32,
    /// Where the part under way begins.
    pub(super) cursor: Option<Cursor>,
    /// How often it was asked for again.
    pub(super) again: u32,
    /// How often any part of this talk was.
    pub(super) again_in_all: u32,
    /// How many holders of this share were too slow.
    pub(super) handed_on: u32,
    /// When the holder is too slow; `None` once all has come.
    pub(super) until: Option<Timestamp>,
    /// The ends of the lists that have come whole, as the holder claims them.
    ends: Vector,
}

impl Talk {
    pub(super) fn new(number: u64, holder: ServerId, share: Share, until: Timestamp) -> Self {
        let ends = Vector::default();
        let until = Some(until);
        let (part, again, again_in_all, handed_on) = (0, 0, 0, 0);
        let cursor = None;
        Self { number, holder, share, part, cursor, again, again_in_all, handed_on, until, ends }
    }

    /// Whether this is the answer that is waited for.
    fn fits(&self, from: ServerId, delta: &Delta) -> bool {
        let waits = self.until.is_some();
        waits && self.holder == from && self.number == delta.round && self.part == delta.part
    }
}

impl Round {
    /// When the first of its holders is too slow.
    pub(super) fn until(&self) -> Option<Timestamp> {
        self.talks.iter().filter_map(|talk| talk.until).min()
    }

    /// The talk whose holder is too slow, if there is one.
    pub(super) fn late(&self, now: Timestamp) -> Option<usize> {
        self.talks.iter().position(|talk| talk.until.is_some_and(|until| until <= now))
    }

    /// The talk that this part belongs to.
    pub(super) fn fitting(&self, from: ServerId, delta: &Delta) -> Option<usize> {
        self.talks.iter().position(|talk| talk.fits(from, delta))
    }

    /// Notes that a list has come to its end in one talk. Returns what all talks together reach of it
    /// now, if it has in all of them. A holder that names more than so many writers is not heard.
    pub(super) fn ended(
        &mut self,
        talk: usize,
        (writer, stamp): (ServerId, Stamp),
        known: usize,
    ) -> Option<Stamp> {
        let ends = &mut self.talks.get_mut(talk)?.ends;
        if ends.len() >= known && ends.get(writer) == Stamp::ZERO {
            return None;
        }
        ends.raise(writer, stamp);
        let ends = self.talks.iter().map(|talk| talk.ends.get(writer));
        ends.min().filter(|&least| least > Stamp::ZERO)
    }

    pub(super) fn is_over(&self) -> bool {
        self.talks.iter().all(|talk| talk.until.is_none())
    }
}
