//! Where gone begins: for each number, how far back its processes are gone, or closed.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::id::ServerId;

/// Per number, the first process that is not before a line: not gone, or not closed. Sorted, one of each number:
/// as heartbeats say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line(Vec<ServerId>);

impl Line {
    /// The line between what is gone and what is not, as the newest processes and those of them that
    /// left draw it.
    pub(super) fn drawn(members: &[ServerId], left: &[ServerId]) -> Self {
        let first = |&server: &ServerId| {
            // The last process that a number can have has none after it.
            let gone = left.contains(&server) && server.next_boot() > server;
            if gone { server.next_boot() } else { server }
        };
        Self::of(members.iter().map(first).collect())
    }

    pub(super) fn from_list(list: &[ServerId]) -> Self {
        Self::of(list.to_vec())
    }

    /// Of several of one number the last one counts.
    fn of(firsts: Vec<ServerId>) -> Self {
        if firsts.is_sorted_by(|a, b| a.number() < b.number()) {
            return Self(firsts);
        }
        let numbered = firsts.into_iter().map(|first| (first.number(), first));
        Self(numbered.collect::<BTreeMap<_, _>>().into_values().collect())
    }

    pub(super) fn list(&self) -> Vec<ServerId> {
        self.0.clone()
    }

    /// How many numbers it knows.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn place(&self, number: u16) -> Result<usize, usize> {
        self.0.binary_search_by_key(&number, |first| first.number())
    }

    fn of_number(&self, number: u16) -> Option<ServerId> {
        self.place(number).ok().map(|at| self.0[at])
    }

    pub(super) fn has_passed(&self, server: ServerId) -> bool {
        self.of_number(server.number()).is_some_and(|first| server < first)
    }

    /// Whether it reaches a list of what others have passed.
    pub(super) fn reaches_list(&self, list: &[ServerId]) -> bool {
        // Mostly they are the same.
        ServerId::are_same(&self.0, list) || list.iter().all(|&first| self.reaches_process(first))
    }

    pub(super) fn reaches(&self, other: &Self) -> bool {
        self.reaches_list(&other.0)
    }

    /// Whether everything of this number before this process is passed.
    pub(super) fn reaches_process(&self, first: ServerId) -> bool {
        self.of_number(first.number()).is_some_and(|own| own >= first)
    }

    /// Leaves numbers out of which another line knows less than this one.
    pub(super) fn keep_up_to(&mut self, known: &Self) {
        self.0.retain(|&first| known.of_number(first.number()).is_none_or(|known| first <= known));
    }

    /// Moves on to another line, number by number, and never knows more than so many. Returns how
    /// many moved.
    pub(super) fn move_to(&mut self, other: &Self, numbers: usize) -> u64 {
        let mut moved = 0;
        for &first in &other.0 {
            match self.place(first.number()) {
                Ok(at) => {
                    moved += u64::from(first > self.0[at]);
                    self.0[at] = first.max(self.0[at]);
                }
                Err(at) if self.0.len() < numbers => {
                    moved += u64::from(first > ServerId::ZERO);
                    self.0.insert(at, first);
                }
                Err(_) => {}
            }
        }
        moved
    }
}
