//! Where gone begins: for each number, how far back its processes are gone, or closed.

use alloc::vec::Vec;

use crate::id::ServerId;
use crate::sorted::SortedMap;

/// Per number, the first process that is not before a line: not gone, or not closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line(SortedMap<u16, ServerId>);

impl Line {
    /// The line between what is gone and what is not, as the newest processes and those of them that
    /// left draw it.
    pub(super) fn drawn(members: &[ServerId], left: &[ServerId]) -> Self {
        let first = |&server: &ServerId| {
            let gone = u64::from(left.contains(&server));
            (server.number(), ServerId::from_bits(server.to_bits().saturating_add(gone)))
        };
        Self(members.iter().map(first).collect())
    }

    pub(super) fn from_list(list: &[ServerId]) -> Self {
        Self(list.iter().map(|&first| (first.number(), first)).collect())
    }

    pub(super) fn list(&self) -> Vec<ServerId> {
        self.0.values().copied().collect()
    }

    /// How many numbers it knows.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn has_passed(&self, server: ServerId) -> bool {
        self.0.get(&server.number()).is_some_and(|&first| server < first)
    }

    /// Whether it reaches a list of what others have passed.
    pub(super) fn reaches_list(&self, list: &[ServerId]) -> bool {
        // Mostly they are the same.
        self.0.values().eq(list) || list.iter().all(|&first| self.reaches_process(first))
    }

    pub(super) fn reaches(&self, other: &Self) -> bool {
        // Mostly they are the same.
        self == other || other.0.iter().all(|(_, &first)| self.reaches_process(first))
    }

    /// Whether everything of this number before this process is passed.
    pub(super) fn reaches_process(&self, first: ServerId) -> bool {
        self.0.get(&first.number()).is_some_and(|&own| own >= first)
    }

    /// Leaves numbers out of which another line knows less than this one.
    pub(super) fn keep_up_to(&mut self, known: &Self) {
        self.0.retain(|number, first| known.0.get(number).is_none_or(|known| first <= known));
    }

    /// Moves on to another line, number by number, and never knows more than so many. Returns how
    /// many moved.
    pub(super) fn move_to(&mut self, other: &Self, numbers: usize) -> u64 {
        let mut moved = 0;
        for (&number, &first) in &other.0 {
            let own = match self.0.get(&number) {
                Some(&own) => own,
                None if self.0.len() >= numbers => continue,
                None => ServerId::ZERO,
            };
            moved += u64::from(first > own);
            self.0.insert(number, first.max(own));
        }
        moved
    }
}
