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

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::command::{Command, Cursor, Delta, Pull};
use crate::engine::Engine;
use crate::facts::Entry;
use crate::id::{Address, ServerId};
use crate::rare::{Mark, Point};
use crate::session::Session;
use crate::stamp::{Stamp, Timestamp};
use crate::vector::Vector;

/// Entries that a holder looks at for one part, so that skipping much costs a bounded time.
const STEPS: usize = 4096;

/// How often a part of a round is asked for again, before the round is given up.
const AGAIN: u32 = 3;

#[derive(Clone, Debug)]
struct Round {
    number: u64,
    holder: ServerId,
    base: Vector,
    part: u32,
    /// Where the part under way begins.
    cursor: Option<Cursor>,
    /// How often it was asked for again.
    again: u32,
    until: Timestamp,
}

/// The asker's side of repair.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repair {
    rounds: u64,
    round: Option<Round>,
    /// When to start a round, if this server still lacks any of `missing` then.
    due: Option<Timestamp>,
    /// What was missing when that was noticed. A busy stream's end is always ahead; that alone is
    /// no reason for a repair.
    missing: Vector,
    /// The holder whose round broke last: another is preferred.
    broken: Option<ServerId>,
    /// Per publisher, the last unbroken run of batches beyond a gap: from where, to where.
    runs: BTreeMap<ServerId, (Stamp, Stamp)>,
}

impl Repair {
    pub(crate) fn next_review(&self) -> Option<Timestamp> {
        self.round.as_ref().map(|round| round.until).or(self.due)
    }
}

// The asker's half.
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

    /// Starts the round that is due, or breaks off the one whose holder is too slow.
    pub(crate) fn review_repair(&mut self) {
        if let Some(round) = &self.repair.round {
            if round.until > self.now || self.ask_again() {
                return;
            }
            self.break_round();
        }
        if self.repair.due.is_some_and(|due| due <= self.now) {
            self.repair.due = None;
            let missing = core::mem::take(&mut self.repair.missing);
            if missing.iter().any(|(writer, stamp)| self.lacks(writer, stamp)) {
                self.start_round();
            }
        }
    }

    /// Asks the same holder for the same part again, if the round has come to something: a lost link
    /// or message need not cost all that came before. For the holder, which keeps nothing, it is as if
    /// the question had been late.
    fn ask_again(&mut self) -> bool {
        let Some(round) = &self.repair.round else { return false };
        let lives = self.members.alive().any(|server| server == round.holder);
        if round.part == 0 || round.again >= AGAIN || !lives {
            return false;
        }
        let until = self.now + self.round_time();
        let Some(mut round) = self.repair.round.take() else { return false };
        (round.again, round.until) = (round.again + 1, until);
        self.rare.mark(Mark::PartAskedAgain);
        self.pull(&round);
        self.repair.round = Some(round);
        true
    }

    fn break_round(&mut self) {
        if let Some(round) = self.repair.round.take() {
            self.counters.rounds_broken += 1;
            self.rare.mark(Mark::RoundBrokenOff);
            self.repair.broken = Some(round.holder);
            let missing = self.everyones_ends();
            self.repair.due = None;
            self.notice_behind(missing);
        }
    }

    fn start_round(&mut self) {
        let restarted = self.repair.broken.is_some();
        let Some(holder) = self.choose_holder() else { return };
        self.repair.rounds += 1;
        self.counters.rounds += 1;
        let nothing = self.rare.force(Point::BaseNothing);
        let base = if nothing { Vector::default() } else { self.applied.clone() };
        self.rare.mark_if(restarted, Mark::RoundRestarted);
        self.rare.mark_if(base.is_empty(), Mark::PulledFromNothing);
        self.rare.mark_if(self.members.is_joining(holder), Mark::PulledFromJoiningServer);
        let until = self.now + self.round_time();
        let number = self.repair.rounds;
        let round = Round { number, holder, base, part: 0, cursor: None, again: 0, until };
        self.pull(&round);
        self.repair.round = Some(round);
    }

    fn round_time(&self) -> Duration {
        let time = self.config.local.round_timeout;
        if self.rare.force(Point::RoundTimeoutTiny) { time / 128 } else { time }
    }

    fn pull(&mut self, round: &Round) {
        let one = self.rare.force(Point::PullOne);
        let newest = self.members.newest(self.config.server);
        let pull = Pull {
            round: round.number,
            base: round.base.clone(),
            cursor: round.cursor.clone(),
            budget: if one { 1 } else { self.config.local.pull_budget },
            partial: self.facts.has_partial(|server| newest.contains(&server)),
        };
        self.send(round.holder, Command::Pull(pull));
    }

    /// A server that is ahead: the writer of something that is missing, if it can be reached; else
    /// any that has it.
    fn choose_holder(&mut self) -> Option<ServerId> {
        let mut ahead = Vec::new();
        for (server, applied, end) in self.members.sources() {
            let mut has = applied.clone();
            has.raise(server, end);
            let lacking = has.iter().filter(|&(writer, stamp)| self.lacks(writer, stamp));
            let missing: Vec<ServerId> = lacking.map(|(writer, _)| writer).collect();
            if !missing.is_empty() {
                ahead.push((server, missing.contains(&server)));
            }
        }
        if let Some(broken) = self.repair.broken.take()
            && ahead.len() > 1
        {
            ahead.retain(|&(server, _)| server != broken);
        }
        if ahead.iter().any(|&(_, writer)| writer) && !self.rare.force(Point::HolderAny) {
            ahead.retain(|&(_, writer)| writer);
        }
        let chosen = self.random.below(ahead.len());
        ahead.get(chosen).map(|&(server, _)| server)
    }

    /// What the servers that can be reached have, as far as this server has heard.
    fn everyones_ends(&mut self) -> Vector {
        let mut ends = self.members.together().clone();
        self.members.sources().for_each(|(server, _, end)| _ = ends.raise(server, end));
        ends
    }

    /// Whether this server lacks writes up to here and may take them now: what the clock rule keeps
    /// out is not asked for.
    fn lacks(&self, writer: ServerId, stamp: Stamp) -> bool {
        writer != self.config.server
            && !self.covered_entry(&self.applied, writer, stamp)
            && !self.is_forgotten(writer)
            && stamp.time() <= self.now + self.config.farm.max_drift
    }

    /// Takes a part of a round.
    pub(crate) fn on_delta(&mut self, from: ServerId, delta: Delta) {
        let current = self.repair.round.as_ref();
        let fits = current.is_some_and(|round| {
            round.holder == from && round.number == delta.round && round.part == delta.part
        });
        if !fits {
            self.counters.ignored_late += 1;
            self.rare.mark(Mark::DeltaLate);
            return;
        }
        let mut changed = BTreeSet::new();
        let mut refused = false;
        for session in &delta.sessions {
            self.rare.completes(&self.facts, session, Mark::PartialCopyCompletedByRepair);
            refused |= self.merge_told(from, session, &mut changed).is_err();
            self.counters.repaired += 1;
            self.counters.repaired_bytes += session.weight() as u64;
        }
        if self.rare.force(Point::RoundBroken) {
            self.break_round();
        } else if refused {
            self.break_round();
            self.misbehaving(from, "it sent a session over the farm's limits in a repair");
        } else {
            for &(writer, stamp) in &delta.complete {
                if writer != self.config.server && !self.is_forgotten(writer) {
                    let gap = !self.applied.covers_entry(writer, stamp);
                    self.rare.mark_if(gap && writer == from, Mark::GapRepairedFromWriter);
                    self.rare.mark_if(gap && writer != from, Mark::GapRepairedFromThirdServer);
                    self.raise_applied(writer, stamp);
                }
            }
            self.next_part(delta.next);
        }
        self.merged(changed);
        self.check_joined();
    }

    fn next_part(&mut self, next: Option<Cursor>) {
        let Some(mut round) = self.repair.round.take() else { return };
        if let Some(mut cursor) = next {
            self.rare.mark(Mark::RoundCutIntoParts);
            round.part += 1;
            cursor.part = round.part;
            (round.cursor, round.again) = (Some(cursor), 0);
            round.until = self.now + self.round_time();
            self.pull(&round);
            self.repair.round = Some(round);
        } else {
            // Others may be ahead of that holder; and whoever waits for this server's word gets it.
            self.repair.broken = None;
            self.outbox.acks.extend(self.members.alive());
            let missing = self.everyones_ends();
            self.notice_behind(missing);
        }
    }
}

// The holder's half.
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
        let start = cursor.map_or(&self.applied, |cursor| &cursor.start);
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
pub(super) fn after_base(base: &Vector, writer: ServerId) -> Entry {
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
