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
        // Numbers mostly begin at 1, and all are known.
        let near = self.0.get(usize::from(number).wrapping_sub(1)).copied();
        let near = near.filter(|first| first.number() == number);
        near.or_else(|| self.place(number).ok().map(|at| self.0[at]))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Timestamp;

    const fn server(number: u16, boot_ms: u64) -> ServerId {
        ServerId::new(number, Timestamp::from_millis(boot_ms))
    }

    #[test]
    fn who_left_is_behind_the_line_and_who_has_not_is_not() {
        let line = Line::drawn(&[server(1, 5), server(2, 5)], &[server(1, 5)]);
        assert!(line.has_passed(server(1, 5)) && !line.has_passed(server(2, 5)));
        assert!(line.has_passed(server(2, 4)), "it is known under a newer boot");
        assert_eq!(line.list(), [server(1, 6), server(2, 5)]);
    }

    #[test]
    fn the_last_process_that_a_number_can_have_stays_its_numbers_own_when_it_leaves() {
        let last = server(1, (1 << 48) - 1);
        let line = Line::drawn(&[last, server(2, 5)], &[last]);
        assert_eq!(line.list(), [last, server(2, 5)], "none comes after it");
        assert!(!line.has_passed(server(2, 5)));
    }

    #[test]
    fn of_a_list_out_of_order_each_numbers_last_process_counts() {
        let list = [server(3, 9), server(1, 5), server(3, 7), server(2, 1)];
        let line = Line::from_list(&list);
        assert_eq!(line.list(), [server(1, 5), server(2, 1), server(3, 7)]);
        assert!(!line.reaches_list(&list), "it names a later one than it counts");
    }

    #[test]
    fn a_line_moves_on_number_by_number_and_knows_no_more_than_it_may() {
        let mut line = Line::from_list(&[server(2, 5)]);
        let other = Line::from_list(&[server(1, 4), server(2, 3), server(3, 1)]);
        assert_eq!(
            line.move_to(&other, 2),
            1,
            "the second number is further, the third has no room"
        );
        assert_eq!(line.list(), [server(1, 4), server(2, 5)]);
        line.keep_up_to(&Line::from_list(&[server(2, 4)]));
        assert_eq!(line.list(), [server(1, 4)], "of the second number less is known there");
    }
}
