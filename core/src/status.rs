//! What a server can tell about itself: counters, and a summary for people and programs.

use alloc::vec::Vec;

use serde::Serialize;

use crate::engine::Engine;
use crate::id::ServerId;
use crate::member::Member;
use crate::session::Session;
use crate::stamp::{Stamp, Timestamp};
use crate::vector::Vector;

/// How often things happened since the start. Every drop and refusal is counted here under its
/// reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Requests answered, whatever the outcome.
    pub requests: u64,
    /// Sessions created here.
    pub created: u64,
    /// Of these, sessions that took the place of another, by a rotation.
    pub rotated: u64,
    /// Revocations made here.
    pub revocations: u64,
    /// Writes made here, creates included.
    pub writes: u64,
    /// Writes of others merged from batches.
    pub merged: u64,
    /// Sessions merged from repairs.
    pub repaired: u64,
    /// Bytes of them, as they count towards limits.
    pub repaired_bytes: u64,
    /// Look-ups that asked other servers.
    pub queries: u64,
    /// Queries of others answered.
    pub answers: u64,
    /// Queries of others answered by an offer, because the copy is large.
    pub offers: u64,
    /// Requests that joined a look-up under way instead of asking anew.
    pub shared: u64,
    /// Look-ups that asked everybody because those asked first could not help.
    pub widened: u64,
    /// Large copies asked for, of those that were offered.
    pub fetches: u64,
    /// Answers sent to servers that lack the session and did not ask.
    pub answers_unasked: u64,
    /// Queries of others asked on, to servers that they may not reach.
    pub forwards: u64,
    /// Queries of others not asked on, because too many are already.
    pub forwards_refused: u64,
    /// Gaps seen in others' streams.
    pub gaps: u64,
    /// Repair rounds started.
    pub rounds: u64,
    /// Repair rounds broken off: the holder fell silent or its answer did not fit.
    pub rounds_broken: u64,
    /// Responses marked as stale.
    pub served_stale: u64,
    /// Responses marked as lost, and sessions lost as a whole.
    pub served_lost: u64,
    /// Sessions ended here by their idle limit.
    pub expired: u64,
    /// Anonymous sessions ended here to make room for others.
    pub evicted: u64,
    /// Sessions that ended by either limit and of which this server told its application.
    pub expired_told: u64,
    /// Copies dropped after their deadline.
    pub dropped: u64,
    /// Sessions published again, because a writer who is gone wrote to them.
    pub published_again: u64,
    /// Entries of writers who are gone closed: as many as processes came after them.
    pub closed: u64,
    /// Ranges of copies compared with another server's to the end, whatever was found.
    pub verified_ranges: u64,
    /// Sessions compared in them.
    pub verified_sessions: u64,
    /// Ranges that could not be compared: the other was not ready, or did not answer.
    pub verifications_failed: u64,
    /// Sessions that differed from another server's, though both have the same writes.
    pub mismatches: u64,
    /// Of those, how many were merged with the other's copy.
    pub mismatches_repaired: u64,
    /// Requests refused by a limit.
    pub limited: u64,
    /// Commands ignored: a stamp too far ahead of this server's clock.
    pub ignored_skewed: u64,
    /// Commands ignored: the sender's process is not its number's newest, or is not of this farm.
    pub ignored_stranger: u64,
    /// Batches ignored: not the sender's own stream, or not in order within.
    pub ignored_malformed: u64,
    /// Writes ignored: a slot number or a number of servers beyond the limits.
    pub ignored_over_limit: u64,
    /// Answers, offers and deltas ignored: nobody waits for them any more.
    pub ignored_late: u64,
    /// Writes ignored: about a session whose deadline has passed.
    pub ignored_expired: u64,
    /// Writes ignored: the slot already belongs to a later session.
    pub ignored_superseded: u64,
}

/// How far a joining server is. No share of the whole is given: nobody knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Whether it still asks what is known of its number.
    pub starting: bool,
    /// Numbers of servers that have something that it still lacks, or that don't count it yet.
    pub waits_for: Vec<u16>,
    /// How many configured servers it has not heard from, or not for long.
    pub silent: u64,
    /// Copies held here.
    pub copies: u64,
    /// The most copies that another server says to hold; `None` if none has said anything.
    pub copies_elsewhere: Option<u64>,
    /// Sessions that came by repair since the start, repeats included.
    pub sessions: u64,
    /// Their bytes, as they count towards limits.
    pub bytes: u64,
    /// Rounds of repair begun since the start.
    pub rounds: u64,
    /// Of those, rounds that were broken off.
    pub rounds_broken: u64,
}

/// A summary of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This process.
    pub server: ServerId,
    /// The configured size of the farm.
    pub farm_size: u16,
    /// The others.
    pub members: Vec<Member>,
    /// What this server has of each stream, its own included.
    pub applied: Vector,
    /// The end of its own stream.
    pub end: Stamp,
    /// Copies held: live and complete ones.
    pub sessions: u64,
    /// Copies whose create has not come yet.
    pub partial: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Bytes that all copies count towards limits; see [`crate::Session::footprint`].
    pub bytes: u64,
    /// What the sessions that this server made take of what they may.
    pub own: Usage,
    /// Requests that wait.
    pub waiting: u64,
    /// Whether it is still joining.
    pub joining: bool,
    /// How far joining is; `None` once it has joined.
    pub progress: Option<Progress>,
    /// Whether it hears from fewer than a majority of the configured farm.
    pub isolated: bool,
    /// Whether its own clock differs too much from the majority's.
    pub skewed: bool,
    /// Whether it is leaving or has left.
    pub leaving: bool,
    /// How often things happened.
    pub counters: Counters,
}

/// What the sessions of one origin take of the slots and bytes that one server's sessions may take,
/// tombstones included. Those without a principal are anonymous, and may not take all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Sessions with a principal, and records of revocations.
    pub named_sessions: u64,
    /// Their bytes.
    pub named_bytes: u64,
    /// Sessions without a principal.
    pub anonymous_sessions: u64,
    /// Their bytes.
    pub anonymous_bytes: u64,
}

impl Usage {
    /// All sessions: so many slots are in use.
    pub const fn sessions(&self) -> u64 {
        self.named_sessions + self.anonymous_sessions
    }

    /// The bytes of all of them.
    pub const fn bytes(&self) -> u64 {
        self.named_bytes + self.anonymous_bytes
    }

    fn of(&mut self, copy: &Session) -> (&mut u64, &mut u64) {
        if copy.fixed.principal.is_none() {
            (&mut self.anonymous_sessions, &mut self.anonymous_bytes)
        } else {
            (&mut self.named_sessions, &mut self.named_bytes)
        }
    }

    /// Adds a copy. Returns its bytes.
    pub(crate) fn add(&mut self, copy: &Session) -> u64 {
        let footprint = copy.footprint() as u64;
        let (sessions, bytes) = self.of(copy);
        *sessions += 1;
        *bytes += footprint;
        footprint
    }

    /// Takes the contents of a copy out, which ends and keeps its place.
    pub(crate) fn free(&mut self, copy: &Session) {
        *self.of(copy).1 -= copy.contents() as u64;
    }

    /// Takes a copy out. Returns its bytes.
    pub(crate) fn remove(&mut self, copy: &Session) -> u64 {
        let footprint = copy.footprint() as u64;
        let (sessions, bytes) = self.of(copy);
        *sessions -= 1;
        *bytes -= footprint;
        footprint
    }
}

/// What request threads need to serve reads without the engine. It changes when `generation` does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// What this server has of each stream.
    pub applied: Vector,
    /// What every configured server is known to have: context that need not be carried any more.
    /// Empty while a configured server is down or was never heard from.
    pub stable: Vector,
    /// Whether settled copies may be served without asking anybody: not while joining, leaving or
    /// skewed.
    pub serving: bool,
    /// Until when this server hears from a majority of the farm, if it hears nothing more; beyond that
    /// it is isolated.
    pub hears_majority_until: Timestamp,
    /// Whether it serves nothing while it is isolated.
    pub refuses_when_isolated: bool,
}

/// Parts of a [`Status`], for who needs no more and asks often.
impl Engine {
    /// The others: [`Status::members`].
    pub fn peers(&self) -> Vec<Member> {
        self.members.show(self.now, self.steady)
    }

    /// Whether it is leaving or has left: [`Status::leaving`].
    pub const fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Copies held whose create has not come yet: [`Status::partial`].
    pub fn partial(&self) -> u64 {
        self.facts.totals().partial
    }
}
