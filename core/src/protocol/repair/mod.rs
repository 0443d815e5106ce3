//! Repair, joining and healing, which are one mechanism: `Pull` and `Delta` (R78, R94; section 6 of
//! the protocol page).
//!
//! A server that lacks a part of any stream starts a *round* with one server that is ahead. Its
//! applied vector is the round's *base* and stays the same through the round. The holder walks its
//! change lists, writer by writer, in stamp order, to their ends. The applied entry of a writer
//! moves only when that writer's list has come to its end, and then to the stamp that the holder
//! had applied when it began that list: beyond it the holder may have gaps, and what fills them
//! may be sorted in behind the place that the walk has come to
//! (`docs/decisions/0001-claims-from-the-start-of-a-list.md`).
//!
//! A server that joins and lacks much shares a round out among several holders; see [`round`].

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::engine::Engine;
use crate::id::ServerId;
use crate::rare::{Mark, Point};
use crate::stamp::{Stamp, Timestamp};
use crate::vector::Vector;

mod asker;
mod holder;
mod round;

pub(super) use holder::after_base;
use round::Round;

/// The asker's side of repair.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repair {
    /// Talks so far: each has a number of its own.
    talks: u64,
    round: Option<Round>,
    /// When to start a round, if this server still lacks any of `missing` then.
    due: Option<Timestamp>,
    /// What was missing when that was noticed. A busy stream's end is always ahead; that alone is
    /// no reason for a repair.
    missing: Vector,
    /// The holder whose round broke last, until one ends well: another is preferred.
    broken: Option<ServerId>,
    /// Per publisher, the last unbroken run of batches beyond a gap: from where, to where.
    runs: BTreeMap<ServerId, (Stamp, Stamp)>,
}

impl Repair {
    pub(crate) fn next_review(&self) -> Option<Timestamp> {
        self.round.as_ref().and_then(Round::until).or(self.due)
    }
}

impl Engine {
    /// A gap, or a heartbeat, shows that this server lacks a part of a stream. It waits for one
    /// round trip: what is missing may be on its way.
    pub(crate) fn notice_behind(&mut self, missing: Vector) {
        if self.repair.due.is_none() {
            let delay = self.config.local.repair_delay;
            let delay = if self.rare.force(Point::RepairAtOnce) { Duration::ZERO } else { delay };
            let delay = if self.rare.force(Point::RepairLate) { delay * 16 } else { delay };
            self.repair.due = Some(self.now + delay);
            self.repair.missing = missing;
        }
    }

    /// Notes a batch from beyond a gap, so that it counts once the gap is closed. Without that, a
    /// busy publisher would always be ahead of what a repair can claim.
    pub(crate) fn note_run(&mut self, publisher: ServerId, prev: Stamp, last: Stamp) {
        if self.rare.force(Point::RunForgotten) {
            return;
        }
        let run = self.repair.runs.entry(publisher).or_insert((prev, last));
        if prev > run.1 || last < run.0 {
            self.rare.mark(Mark::RunCutByAnotherGap);
            *run = (prev, last);
        } else if last > run.1 {
            run.1 = last;
        }
    }

    /// A process is gone: nothing more comes from it directly.
    pub(crate) fn forget_run(&mut self, publisher: ServerId) {
        self.repair.runs.remove(&publisher);
    }

    /// Moves the applied entry of a writer, past the run that it meets.
    pub(crate) fn raise_applied(&mut self, writer: ServerId, stamp: Stamp) {
        let known = self.config.farm.known_servers as usize;
        if self.applied.get(writer) == Stamp::ZERO && self.applied.len() + 1 >= known {
            // One place is kept for this server's own stream.
            self.counters.ignored_over_limit += 1;
            return;
        }
        let mut moved = self.applied.raise(writer, stamp);
        if let Some(&(from, to)) = self.repair.runs.get(&writer)
            && self.applied.covers_entry(writer, from)
        {
            let joined = self.applied.raise(writer, to);
            self.rare.mark_if(joined, Mark::RunBeyondGapJoined);
            moved |= joined;
            self.repair.runs.remove(&writer);
        }
        if moved {
            self.view_changed();
        }
    }
}
