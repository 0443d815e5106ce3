//! Where a server is with comparing: slowly for ever, and once through everything on demand. One
//! range with one other server at a time, whoever wants it.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::range::{LAST, after};
use super::report::{Compared, Missed, Report};
use crate::action::Response;
use crate::config::Local;
use crate::engine::Engine;
use crate::error::{RequestError, Unavailable};
use crate::event::{Request, RequestId};
use crate::id::{Address, HashedId, ServerId};
use crate::member::State;
use crate::protocol::membership::Members;
use crate::rare::Mark;
use crate::stamp::Timestamp;

/// How often a range is asked about that isn't answered, or isn't mended, before the walk goes on.
const TRIES: u8 = 4;
/// The same for a range that is mended bit by bit.
const MENDED: u8 = 64;

const START: Address = Address { origin: ServerId::ZERO, slot: 0 };

/// A server's way through its array, with one other server after another.
#[derive(Clone, Debug)]
struct Walk {
    /// With whom: a number; `None` before the first.
    number: Option<u16>,
    /// Where the next range begins.
    from: Address,
    tries: u8,
}

impl Walk {
    const fn with(number: Option<u16>) -> Self {
        Self { number, from: START, tries: 0 }
    }
}

/// What was asked for on demand.
#[derive(Clone, Debug)]
struct Pass {
    request: RequestId,
    until: Timestamp,
    walk: Walk,
    report: Vec<Compared>,
    /// The sessions that differ from those of the server under way.
    differing: BTreeSet<Address>,
}

/// All that a server knows of its comparing.
#[derive(Clone, Debug)]
pub(crate) struct Verification {
    pub(super) asked: u64,
    /// The question that waits for an answer.
    pub(super) question: Option<super::Question>,
    slow: Walk,
    /// When the slow walk goes on; `None` if it never does.
    due: Option<Timestamp>,
    pass: Option<Pass>,
}

impl Verification {
    pub(crate) fn new(local: &Local, now: Timestamp) -> Self {
        let due = (!local.verify_every.is_zero()).then(|| now + local.verify_every);
        Self { asked: 0, question: None, slow: Walk::with(None), due, pass: None }
    }

    pub(crate) fn next_review(&self) -> Option<Timestamp> {
        let next = match &self.question {
            Some(question) => Some(question.until),
            None if self.pass.is_some() => Some(Timestamp::ZERO),
            None => self.due,
        };
        match &self.pass {
            Some(pass) => Some(next.map_or(pass.until, |next| next.min(pass.until))),
            None => next,
        }
    }

    fn walk(&mut self) -> &mut Walk {
        self.pass.as_mut().map_or(&mut self.slow, |pass| &mut pass.walk)
    }
}

impl Members {
    /// The first known number after this one.
    fn number_after(&self, number: Option<u16>) -> Option<u16> {
        self.peers.keys().copied().find(|&other| number.is_none_or(|number| other > number))
    }

    /// The process under this number, if its copies can be compared with.
    fn comparable(&self, number: u16) -> Result<ServerId, Missed> {
        let peer = self.peer(number).ok_or(Missed::Down)?;
        match peer.state {
            State::Left => Err(Missed::Left),
            State::Down => Err(Missed::Down),
            _ if !peer.reachable => Err(Missed::Down),
            State::Skewed => Err(Missed::NotReady),
            _ if peer.joining => Err(Missed::NotReady),
            State::Alive | State::Suspect => Ok(peer.server),
        }
    }
}

impl Engine {
    /// Compares everything with everybody, for a request.
    pub(crate) fn verify(&mut self, request: RequestId, within: Duration) {
        if self.verification.pass.is_some() {
            return self.respond(request, Err(RequestError::Unavailable(Unavailable::Verifying)));
        }
        let until = self.now + within.min(Request::LONGEST_VERIFY);
        // What the slow walk has asked is not waited for.
        self.verification.question = None;
        let (walk, report) = (Walk::with(None), Vec::new());
        let differing = BTreeSet::new();
        self.verification.pass = Some(Pass { request, until, walk, report, differing });
        self.next_peer();
    }

    /// Asks about the next range, or finds that an answer or the end is overdue.
    pub(crate) fn review_verification(&mut self) {
        let now = self.now;
        let verification = &mut self.verification;
        if verification.question.as_ref().is_some_and(|question| question.until <= now) {
            verification.question = None;
            self.rare.mark(Mark::VerificationUnanswered);
            self.failed(Missed::NoAnswer);
        }
        if self.verification.pass.as_ref().is_some_and(|pass| pass.until <= now) {
            self.verification.question = None;
            while self.verification.pass.is_some() {
                self.missed(Missed::NoTime);
            }
        }
        if self.verification.question.is_some() {
            return;
        }
        if self.verification.pass.is_none() {
            if self.verification.due.is_none_or(|due| due > now) {
                return;
            }
            self.verification.due = Some(now + self.config.local.verify_every);
        }
        self.go_on();
    }

    /// Asks about the next range of the walk. One of the slow walk's servers that can't be compared
    /// with is passed over; on demand the report says so.
    fn go_on(&mut self) {
        for _ in 0..=self.members.size {
            let Walk { number, from, .. } = *self.verification.walk();
            let Some(number) = number else { return self.next_peer() };
            let why = if self.may_compare() {
                match self.members.comparable(number) {
                    Ok(server) => return self.ask_about(server, from),
                    Err(why) => why,
                }
            } else {
                Missed::OwnNotReady
            };
            let demanded = self.verification.pass.is_some();
            self.missed(why);
            if demanded && self.verification.pass.is_none() {
                return;
            }
        }
    }

    /// Whether this server's own copies say what they should.
    pub(super) fn may_compare(&self) -> bool {
        !self.members.joining() && !self.members.self_skewed() && self.leaving.is_none()
    }

    /// A range was compared to its end.
    pub(super) fn compared(&mut self, to: Address, (sessions, left_out): (u64, u64)) {
        self.counters.verified_ranges += 1;
        self.counters.verified_sessions += sessions;
        if let Some(report) = self.reported() {
            report.sessions += sessions;
            report.left_out += left_out;
        }
        let walk = self.verification.walk();
        walk.tries = 0;
        if to == LAST {
            self.next_peer();
        } else {
            walk.from = after(to);
        }
    }

    /// Sessions of a range differ.
    pub(super) fn found_differing(&mut self, differing: &[(Address, HashedId)]) {
        let Some(pass) = &mut self.verification.pass else { return };
        let fresh: Vec<HashedId> = differing
            .iter()
            .filter(|(address, _)| pass.differing.insert(*address))
            .map(|&(_, id)| id)
            .collect();
        let Some(report) = self.reported() else { return };
        report.differing += fresh.len() as u64;
        let room = Compared::NAMED - report.named.len();
        report.named.extend(fresh.into_iter().take(room));
    }

    /// So many of them were merged; the range is asked about again, if that may help.
    pub(super) fn mended(&mut self, to: Address, repaired: u64) {
        if let Some(report) = self.reported() {
            report.repaired += repaired;
        }
        let walk = self.verification.walk();
        walk.tries += 1;
        if walk.tries >= MENDED || walk.tries >= TRIES && repaired == 0 {
            self.compared(to, (0, 0));
        }
    }

    /// A range could not be compared. The walk asks again, and then goes on to the next server.
    pub(super) fn failed(&mut self, why: Missed) {
        self.counters.verifications_failed += 1;
        let walk = self.verification.walk();
        walk.tries += 1;
        if walk.tries >= TRIES {
            self.missed(why);
        }
    }

    /// This process ends.
    pub(in crate::protocol) fn stop_verifying(&mut self) {
        while self.verification.pass.is_some() {
            self.missed(Missed::OwnNotReady);
        }
    }

    /// The server under way is not compared with any further.
    fn missed(&mut self, why: Missed) {
        if let Some(report) = self.reported() {
            report.missed = Some(why);
        }
        self.next_peer();
    }

    /// Goes on to the next number. A pass that has come to the last is answered.
    fn next_peer(&mut self) {
        let number = self.verification.walk().number;
        let next = self.members.number_after(number);
        let Some(pass) = &mut self.verification.pass else {
            self.verification.slow = Walk::with(next.or(self.members.number_after(None)));
            return;
        };
        pass.differing.clear();
        if let Some(next) = next {
            pass.walk = Walk::with(Some(next));
            let server = self.members.peer(next).map(|peer| peer.server);
            pass.report.push(Compared { number: next, server, ..Compared::default() });
        } else if let Some(Pass { request, report: peers, .. }) = self.verification.pass.take() {
            let unheard = self.members.size.saturating_sub(1 + self.members.peers.len());
            let report = Report { peers, unheard: unheard as u16 };
            self.respond(request, Ok(Response::Verified(report)));
        }
    }

    fn reported(&mut self) -> Option<&mut Compared> {
        self.verification.pass.as_mut()?.report.last_mut()
    }
}
