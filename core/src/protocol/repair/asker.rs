//! The asker's half of a repair: whom to ask, and what to do with what comes.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::round::{Round, Talk};
use crate::command::{Command, Cursor, Delta, Pull, Share};
use crate::engine::Engine;
use crate::id::ServerId;
use crate::rare::{Mark, Point};
use crate::stamp::Stamp;
use crate::vector::Vector;

/// How often a part of a round is asked for again before its holder is given up, and how often a share
/// is asked of another holder before the round is.
const AGAIN: u32 = 3;

/// Of so many parts a holder may have one asked for again, or it is slow.
const PUNCTUAL: u32 = 8;

/// Holders that are asked at once, at most: so many parts an asker has in memory.
const HOLDERS: usize = 4;

/// Copies that a joining server must lack before it asks more than one: fewer come in a few parts.
const MUCH: u64 = 512;

// When to ask, and whom.
impl Engine {
    /// Starts the round that is due, or gives up the holders that are too slow.
    pub(crate) fn review_repair(&mut self) {
        if let Some(round) = &self.repair.round {
            let Some(late) = round.late(self.now) else { return };
            if self.ask_again(late) || self.ask_another(late) {
                return;
            }
            self.break_round(late);
        }
        if self.repair.due.is_some_and(|due| due <= self.now) {
            self.repair.due = None;
            let missing = core::mem::take(&mut self.repair.missing);
            if missing.iter().any(|(writer, stamp)| self.lacks(writer, stamp)) {
                self.start_round();
            }
        }
    }

    /// Asks the same holder for the same part again, if the talk has come to something: a lost link
    /// or message need not cost all that came before. For the holder, which keeps nothing, it is as if
    /// the question had been late.
    fn ask_again(&mut self, talk: usize) -> bool {
        let until = self.now + self.round_time();
        let better = self.knows_better(talk);
        let Some(late) = self.repair.round.as_mut().and_then(|round| round.talks.get_mut(talk))
        else {
            return false;
        };
        let lives = self.members.alive().any(|server| server == late.holder);
        if late.part == 0 || late.again >= AGAIN || !lives || better {
            return false;
        }
        (late.again, late.until) = (late.again + 1, Some(until));
        late.again_in_all += 1;
        self.rare.mark(Mark::PartAskedAgain);
        self.pull(talk);
        true
    }

    /// Whether a holder is slow, though each part comes in the end, and another one that has some of all
    /// that is missing was not given up before it. Who is asked in the place of a slow one may be as
    /// slow: where all links are, a list comes to its end all the same.
    fn knows_better(&mut self, talk: usize) -> bool {
        let Some(round) = &self.repair.round else { return false };
        let Some(Talk { holder, part, again_in_all, handed_on, .. }) = round.talks.get(talk) else {
            return false;
        };
        let slow = *again_in_all >= AGAIN && again_in_all.saturating_mul(PUNCTUAL) > *part;
        let stands_in =
            *handed_on > 0 || self.repair.broken.is_some_and(|broken| broken != *holder);
        if !slow || stands_in {
            return false;
        }
        let (holder, base) = (*holder, round.base.clone());
        self.sharers(&base).iter().any(|&other| other != holder)
    }

    /// Asks another holder for a share, from the beginning: what came of the others stands.
    fn ask_another(&mut self, talk: usize) -> bool {
        let Some(round) = self.repair.round.as_ref().filter(|round| round.talks.len() > 1) else {
            return false;
        };
        let Some(slow) = round.talks.get(talk).cloned() else { return false };
        let mut others = self.sharers(&round.base.clone());
        others.retain(|&other| other != slow.holder);
        if others.is_empty() || slow.handed_on >= AGAIN {
            return false;
        }
        self.rare.mark(Mark::ShareTakenOver);
        self.counters.rounds_broken += 1;
        let holder = others[self.random.below(others.len())];
        let mut anew = self.talk(holder, slow.share);
        anew.handed_on = slow.handed_on + 1;
        if let Some(round) = &mut self.repair.round {
            round.talks[talk] = anew;
        }
        self.pull(talk);
        true
    }

    fn break_round(&mut self, talk: usize) {
        if let Some(mut round) = self.repair.round.take() {
            self.counters.rounds_broken += 1;
            self.rare.mark(Mark::RoundBrokenOff);
            self.repair.broken = Some(round.talks.swap_remove(talk).holder);
            let missing = self.everyones_ends();
            self.repair.due = None;
            self.notice_behind(missing);
        }
    }

    fn start_round(&mut self) {
        let restarted = self.repair.broken.is_some();
        let nothing = self.rare.force(Point::BaseNothing);
        let base = if nothing { Vector::default() } else { self.applied.vector().clone() };
        let holders = self.choose_holders(&base);
        if holders.is_empty() {
            return;
        }
        self.counters.rounds += 1;
        self.rare.mark_if(restarted, Mark::RoundRestarted);
        self.rare.mark_if(base.is_empty(), Mark::PulledFromNothing);
        self.rare.mark_if(holders.len() > 1, Mark::RoundShared);
        let mut talks = Vec::with_capacity(holders.len());
        for (&holder, share) in holders.iter().zip(Share::all(holders.len())) {
            self.rare.mark_if(self.members.is_joining(holder), Mark::PulledFromJoiningServer);
            talks.push(self.talk(holder, share));
        }
        self.repair.round = Some(Round { base, talks });
        (0..holders.len()).for_each(|talk| self.pull(talk));
    }

    fn talk(&mut self, holder: ServerId, share: Share) -> Talk {
        self.repair.talks += 1;
        Talk::new(self.repair.talks, holder, share, self.now + self.round_time())
    }

    fn round_time(&self) -> Duration {
        let time = self.config.local.round_timeout;
        if self.rare.force(Point::RoundTimeoutTiny) { time / 128 } else { time }
    }

    /// Asks for the part that is next in a talk.
    fn pull(&mut self, talk: usize) {
        let one = self.rare.force(Point::PullOne);
        let newest = self.members.newest();
        let partial = self.facts.has_partial(|server| newest.contains(&server));
        let Some(round) = &self.repair.round else { return };
        let Some(talk) = round.talks.get(talk) else { return };
        let pull = Pull {
            round: talk.number,
            base: round.base.clone(),
            cursor: talk.cursor.clone(),
            budget: if one { 1 } else { self.config.local.pull_budget },
            partial,
            share: talk.share,
        };
        self.send(talk.holder, Command::Pull(pull));
    }

    /// Those to ask at once: several if this server joins and lacks much that each of them has, else
    /// one.
    fn choose_holders(&mut self, base: &Vector) -> Vec<ServerId> {
        let copies = self.members.peers.values().map(|peer| peer.copies()).max().unwrap_or(0);
        let much = copies.saturating_sub(self.facts.totals().copies()) >= MUCH;
        if self.members.joining && (much || self.rare.force(Point::ShortRoundShared)) {
            let mut sharers = self.sharers(base);
            if let Some(broken) = self.repair.broken {
                sharers.retain(|&server| server != broken);
            }
            if sharers.len() > 1 {
                let first = self.random.below(sharers.len());
                sharers.rotate_left(first);
                sharers.truncate(HOLDERS);
                self.repair.broken = None;
                return sharers;
            }
        }
        self.choose_holder().into_iter().collect()
    }

    /// Servers that have joined and are ahead of a base in all that is missing beyond it: no share of
    /// theirs would hold the others' back.
    fn sharers(&mut self, base: &Vector) -> Vec<ServerId> {
        let ends = self.everyones_ends();
        let missing = ends.iter().filter(|&(writer, stamp)| self.lacks(writer, stamp));
        let missing: Vec<ServerId> = missing.map(|(writer, _)| writer).collect();
        let sources = self.members.sources().filter(|&(server, applied, end)| {
            let mut has = applied.clone();
            has.raise(server, end);
            let ahead = |&writer: &ServerId| has.get(writer) > base.get(writer);
            !self.members.is_joining(server) && missing.iter().all(ahead)
        });
        sources.map(|(server, _, _)| server).collect()
    }

    /// A server that is ahead: the writer of something that is missing, if it can be reached; else
    /// any that has it. Until a round has ended well after a broken one, any other: writers may be
    /// heard and not hear.
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
        let broken = self.repair.broken;
        if let Some(broken) = broken
            && ahead.len() > 1
        {
            ahead.retain(|&(server, _)| server != broken);
        }
        let writers = broken.is_none() && ahead.iter().any(|&(_, writer)| writer);
        if writers && !self.rare.force(Point::HolderAny) {
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
}

// What comes.
impl Engine {
    /// Takes a part of a round.
    pub(crate) fn on_delta(&mut self, from: ServerId, delta: Delta) {
        let round = self.repair.round.as_ref();
        let Some(talk) = round.and_then(|round| round.fitting(from, &delta)) else {
            self.counters.ignored_late += 1;
            self.rare.mark(Mark::DeltaLate);
            return;
        };
        let mut changed = BTreeSet::new();
        let mut refused = false;
        for session in &delta.sessions {
            self.rare.completes(&self.facts, session, Mark::PartialCopyCompletedByRepair);
            refused |= self.merge_told(from, session, &mut changed).is_err();
            self.counters.repaired += 1;
            self.counters.repaired_bytes += session.weight() as u64;
        }
        if self.rare.force(Point::RoundBroken) {
            self.break_round(talk);
        } else if refused {
            self.break_round(talk);
            self.misbehaving(from, "it sent a session over the farm's limits in a repair");
        } else {
            for (writer, stamp) in delta.complete {
                self.list_ended(talk, from, writer, stamp);
            }
            self.next_part(talk, delta.next);
        }
        self.merged(changed);
        self.check_joined();
    }

    /// A writer's list has come to its end in one talk: all of it is here if it has in all.
    fn list_ended(&mut self, talk: usize, from: ServerId, writer: ServerId, stamp: Stamp) {
        let Some(round) = &mut self.repair.round else { return };
        let known = self.config.farm.known_servers as usize;
        let Some(reached) = round.ended(talk, (writer, stamp), known) else { return };
        if writer != self.config.server && !self.is_forgotten(writer) {
            let gap = !self.applied.covers_entry(writer, reached);
            self.rare.mark_if(gap && writer == from, Mark::GapRepairedFromWriter);
            self.rare.mark_if(gap && writer != from, Mark::GapRepairedFromThirdServer);
            self.raise_applied(writer, reached);
        }
    }

    fn next_part(&mut self, talk: usize, next: Option<Cursor>) {
        let until = self.now + self.round_time();
        let Some(round) = &mut self.repair.round else { return };
        let Some(talking) = round.talks.get_mut(talk) else { return };
        if let Some(mut cursor) = next {
            self.rare.mark(Mark::RoundCutIntoParts);
            talking.part += 1;
            cursor.part = talking.part;
            (talking.cursor, talking.again) = (Some(cursor), 0);
            talking.until = Some(until);
            self.pull(talk);
            return;
        }
        (talking.cursor, talking.until) = (None, None);
        if round.is_over() {
            // Others may be ahead of those holders; and whoever waits for this server's word gets it.
            self.repair.round = None;
            self.repair.broken = None;
            self.outbox.acks.extend(self.members.alive());
            let missing = self.everyones_ends();
            self.notice_behind(missing);
        }
    }
}
