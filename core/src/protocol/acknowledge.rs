//! Acknowledgement: `Ack`, and writes that wait for it (section 7 of the protocol page; G2).
//!
//! A server acknowledges by its applied entry, no further than the first write whose session it
//! holds only in part. It counts once per number, and only as its number's newest process.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::action::{Action, Response, To};
use crate::command::Command;
use crate::engine::Engine;
use crate::error::{RequestError, Unavailable};
use crate::event::{Acks, RequestId};
use crate::id::ServerId;
use crate::rare::{Mark, Point};
use crate::stamp::{Stamp, Timestamp};

/// Whom a write waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitsFor {
    pub(crate) acks: Acks,
    /// At least so many, whoever lives.
    least: u16,
}

#[derive(Clone, Debug)]
struct Write {
    request: RequestId,
    waits: WaitsFor,
    until: Timestamp,
    response: Response,
}

/// Writes made here that wait for others, by stamp.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting {
    writes: BTreeMap<Stamp, Write>,
    deadlines: BTreeSet<(Timestamp, Stamp)>,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.writes.len()
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|&(due, _)| due)
    }

    fn take(&mut self, stamp: Stamp) -> Option<Write> {
        let write = self.writes.remove(&stamp)?;
        self.deadlines.remove(&(write.until, stamp));
        Some(write)
    }
}

// The writer's half.
impl Engine {
    /// What a write waits for, where the request may leave it to the farm.
    pub(crate) fn acks_of_write(&self, asked: Acks) -> WaitsFor {
        let acks = if asked == Acks::Farm { self.config.farm.acks } else { asked };
        WaitsFor { acks, least: 0 }
    }

    /// The same for what ends a session: by default one other server has it, so that no single crash
    /// can undo a logout; nor where it waits for all that live, and a server that is cut off knows of none.
    /// A farm of one waits for nobody.
    pub(crate) fn acks_of_end(&self, asked: Acks) -> WaitsFor {
        let others = self.config.farm.size > 1;
        let acks = match (asked, self.config.farm.acks) {
            (Acks::Farm, Acks::Farm | Acks::Local | Acks::Peers(0)) if others => Acks::Peers(1),
            (Acks::Farm, acks) => acks,
            (asked, _) => asked,
        };
        WaitsFor { acks, least: u16::from(others && acks == Acks::All) }
    }

    /// Answers a write when enough other servers have it.
    pub(crate) fn wait_for_acks(
        &mut self,
        request: RequestId,
        stamp: Stamp,
        waits: WaitsFor,
        response: Response,
    ) {
        if waits.acks == Acks::Local || self.enough(stamp, waits) {
            return self.respond(request, Ok(response));
        }
        let limit = self.config.local.pending_requests;
        let until = if self.lookups.waiting() + self.waiting.len() >= limit as usize {
            // No room to wait: the answer is honest at once.
            self.rare.mark(Mark::NoRoomToWait);
            self.now
        } else if self.rare.force(Point::AckWaitTiny) {
            self.now
        } else {
            self.now + self.config.local.ack_timeout
        };
        let write = Write { request, waits, until, response };
        if until <= self.now {
            return self.not_replicated(stamp, write);
        }
        self.waiting.deadlines.insert((until, stamp));
        self.waiting.writes.insert(stamp, write);
    }

    fn wanted(&self, waits: WaitsFor) -> u16 {
        match waits.acks {
            Acks::Farm | Acks::Local => 0,
            Acks::Peers(peers) => peers,
            Acks::Majority => self.config.farm.majority() - 1,
            Acks::All => self.members.live().max(waits.least),
        }
    }

    fn enough(&self, stamp: Stamp, waits: WaitsFor) -> bool {
        let acked = self.members.acked(stamp);
        match waits.acks {
            Acks::All => self.members.all_acked(stamp) && acked >= waits.least,
            _ => acked >= self.wanted(waits),
        }
    }

    fn not_replicated(&mut self, stamp: Stamp, write: Write) {
        self.rare.mark(Mark::NotReplicatedInTime);
        let (token, lost) = match write.response {
            Response::Session(served) => (Some(served.token), served.lost),
            _ => (None, false),
        };
        let (acked, wanted) = (self.members.acked(stamp), self.wanted(write.waits));
        let error = RequestError::NotReplicated { acked, wanted, token, lost };
        self.respond(write.request, Err(error));
    }

    /// Takes how far a server has applied this server's stream; `way` is how it said so.
    pub(crate) fn on_ack(&mut self, from: ServerId, applied: Stamp, way: Mark) {
        if applied > self.end() {
            self.counters.ignored_malformed += 1;
            return self.misbehaving(from, "it acknowledged writes that were never made");
        }
        if self.members.on_ack(from, applied) {
            self.rare.mark(way);
            self.answer_up_to(applied);
            self.review_leaving();
        }
    }

    fn answer_up_to(&mut self, applied: Stamp) {
        let stamps: Vec<Stamp> = self.waiting.writes.range(..=applied).map(|(&s, _)| s).collect();
        for stamp in stamps {
            let waits = self.waiting.writes.get(&stamp).map(|write| write.waits);
            if waits.is_some_and(|waits| self.enough(stamp, waits))
                && let Some(write) = self.waiting.take(stamp)
            {
                self.respond(write.request, Ok(write.response));
            }
        }
    }

    /// Answers writes that have waited long enough, and those that no longer need to.
    pub(crate) fn review_waiting(&mut self) {
        self.answer_up_to(Stamp::MAX);
        while let Some(&(due, stamp)) = self.waiting.deadlines.first() {
            if due > self.now {
                return;
            }
            if let Some(write) = self.waiting.take(stamp) {
                self.not_replicated(stamp, write);
            }
        }
    }

    /// Answers everything that waits, because this server stops serving.
    pub(crate) fn stop_waiting(&mut self) {
        let stamps: Vec<Stamp> = self.waiting.writes.keys().copied().collect();
        for stamp in stamps {
            if let Some(write) = self.waiting.take(stamp) {
                self.rare.mark(Mark::WaitingEndedByLeave);
                self.not_replicated(stamp, write);
            }
        }
        self.fail_lookups(Unavailable::Leaving);
    }
}

// The subscriber's half.
impl Engine {
    /// What this server acknowledges of a publisher's stream now.
    pub(crate) fn ack_for(&mut self, publisher: ServerId) -> Action {
        let entry = self.applied.get(publisher);
        let applied = self.facts.whole_up_to(publisher, entry);
        self.rare.mark_if(applied < entry, Mark::AckStopsAtPartial);
        Action::Publish { to: To::One(publisher), command: Command::Ack { applied } }
    }
}
