//! The holder's half of a repair: it walks its change lists.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::{Command, Cursor, Delta, Pull};
use crate::engine::Engine;
use crate::facts::Entry;
use crate::id::{Address, ServerId};
use crate::rare::{Mark, Point};
use crate::session::Session;
use crate::vector::Vector;

/// Entries that a holder looks at for one part, so that skipping much costs a bounded time.
const STEPS: usize = 4096;

impl Engine {
    /// Sends a part of what a peer lacks. Keeps nothing: the cursor has it all.
    pub(crate) fn on_pull(&mut self, from: ServerId, pull: Pull) {
        if !pull.partial {
            self.on_ack(from, pull.base.get(self.config.server), Mark::AckedByPull);
        }
        if self.rare.force(Point::PullIgnored) {
            return;
        }
        let part = self.walk(&pull);
        self.send(from, Command::Delta(part));
    }

    fn walk(&self, pull: &Pull) -> Delta {
        let cursor = pull.cursor.as_ref();
        let start = cursor.map_or(self.applied(), |cursor| &cursor.start);
        let part = cursor.map_or(0, |cursor| cursor.part);
        let (sessions, complete) = (Vec::new(), Vec::new());
        let mut delta = Delta { round: pull.round, part, sessions, next: None, complete };
        let mut room = Room {
            // At least one session a part, or a round would never end.
            bytes: pull.budget.clamp(1, self.config.farm.frame_bytes / 4) as usize,
            steps: if self.rare.force(Point::WalkOne) { 1 } else { STEPS },
        };
        let mut writers: BTreeSet<ServerId> = self.facts.changes().writers().collect();
        writers.extend(self.applied.iter().map(|(writer, _)| writer));
        for &writer in writers.range(cursor.map_or(ServerId::ZERO, |cursor| cursor.writer)..) {
            let resumed = cursor.filter(|cursor| cursor.writer == writer);
            let place = resumed.and_then(|cursor| cursor.after);
            let place = place.unwrap_or_else(|| after_base(&pull.base, writer));
            let claim = match resumed {
                // Its own stream has no gaps that something could be sorted into.
                Some(cursor) if writer != self.config.server => cursor.claim,
                _ => self.applied.get(writer),
            };
            self.rare.mark_if(claim < self.applied.get(writer), Mark::ClaimFromStartOfList);
            if let Err(place) = self.walk_list(writer, place, pull, start, &mut room, &mut delta) {
                let (after, start, part) = (Some(place), start.clone(), part.saturating_add(1));
                delta.next = Some(Cursor { writer, after, claim, start, part });
                return delta;
            }
            if claim > pull.base.get(writer) {
                delta.complete.push((writer, claim));
            }
        }
        delta
    }

    /// Walks one list from a place to its end. `Err` has the place where there was no more room.
    fn walk_list(
        &self,
        writer: ServerId,
        mut place: Entry,
        pull: &Pull,
        start: &Vector,
        room: &mut Room,
        delta: &mut Delta,
    ) -> Result<(), Entry> {
        for entry in self.facts.changes().after(writer, place) {
            if room.bytes == 0 || room.steps == 0 {
                return Err(place);
            }
            room.steps -= 1;
            place = entry;
            if !pull.share.has(entry.1) {
                continue;
            }
            let Some(session) = self.facts.array().get(entry.1) else { continue };
            if !sent_before(session, writer, &pull.base, start) {
                self.rare.mark_if(!self.applied.covers(&session.seen), Mark::SentBeyondOwnApplied);
                let beyond = session.beyond(&pull.base);
                room.bytes = room.bytes.saturating_sub(beyond.weight());
                delta.sessions.push(Arc::new(beyond));
            } else {
                self.rare.mark(Mark::SentBeforeInThisRound);
            }
        }
        Ok(())
    }
}

/// What a part may still take.
struct Room {
    bytes: usize,
    steps: usize,
}

/// The place in a writer's list from which on the base covers nothing.
pub(in crate::protocol) fn after_base(base: &Vector, writer: ServerId) -> Entry {
    let last = Address { origin: ServerId::from_bits(u64::MAX), slot: u32::MAX };
    (base.get(writer), last)
}

/// Whether this round has sent the session already, as it is, in the walk of an earlier writer's
/// list.
///
/// What the holder had applied when the round started was in its copies then and stays in them. So
/// if an earlier writer's latest write to the session is among it, and beyond the base, then the
/// walk of that writer's list met the session; and if this writer's latest write is among it too,
/// the walk sent that along.
fn sent_before(session: &Session, writer: ServerId, base: &Vector, start: &Vector) -> bool {
    start.covers_entry(writer, session.seen.get(writer))
        && session.seen.iter().take_while(|&(earlier, _)| earlier < writer).any(
            |(earlier, stamp)| {
                !base.covers_entry(earlier, stamp) && start.covers_entry(earlier, stamp)
            },
        )
}
