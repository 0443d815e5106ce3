//! What servers may say to each other, and when: repair traffic stays within its limits (G8).
//!
//! Nothing is counted per second, for no number of messages is right for every farm. Instead every
//! message must have its reason: a command came that asks for just this one, a connection came up, an
//! application asked for something, or so much time has passed by the server's own clock since the
//! same was said last. So a storm is noticed at its first message, under faults and while healing.

use std::collections::BTreeMap;

use grapevine_core::rare::Point;
use grapevine_core::{
    Command, Event, Farm, Local, Request, RequestError, Response, ServerId, Stamp, Timestamp, To,
};

mod lookups;
mod pulls;
mod verify;

use lookups::Lookups;
use pulls::Pulls;
use verify::Comparison;

/// How long after rare choices are forced no more what they have put off may still be said.
const AFTERWARDS: std::time::Duration = std::time::Duration::from_secs(1);

/// What a reading of a clock is rounded by.
const MICROSECOND: std::time::Duration = std::time::Duration::from_micros(1);

/// Greetings to one peer that may be due at once: as often as a connection can come up in an event or two.
const GREETINGS: u32 = 8;

/// The rules, as they are counted.
pub(crate) const RULES: [&str; 8] = [
    "pulls",
    "parts of a repair",
    "look-ups' queries",
    "answers and offers",
    "fetches",
    "heartbeats and requests for them",
    "comparisons",
    "batches, acknowledgements and the rest",
];

/// When something was done that came out now: not before the first, not after the second. A server's
/// actions may come out late (`drain_late`); otherwise they are the same.
#[derive(Clone, Copy, Debug)]
struct When(Timestamp, Timestamp);

impl When {
    /// Whether so much may have passed since an earlier one.
    fn is_after(self, earlier: Self, gap: std::time::Duration) -> bool {
        self.1.since(earlier.0) + MICROSECOND >= gap
    }
}

/// What is asked of a server and answered in the same event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    Acknowledge,
    Answer,
    FetchOn,
    Heartbeat,
    Known,
    Mend,
    Mended,
    QueryOn,
    Unasked,
    Verified,
}

/// A part of a repair that was asked for, and how long it may be.
#[derive(Clone, Copy, Debug)]
struct Part {
    to: ServerId,
    round: u64,
    part: u32,
    budget: usize,
}

/// What one process may say.
#[derive(Debug, Default)]
struct Ledger {
    process: Option<ServerId>,
    /// Events of which not all has come out.
    events: u32,
    /// Replies due to them.
    replies: Vec<(Reply, ServerId, u32)>,
    /// Parts of repairs, likewise.
    parts: Vec<Part>,
    /// Acknowledgements to anybody, likewise: a round may have come to its end.
    acknowledge_all: bool,
    /// Answers and offers of others, to be passed on to whoever asked, likewise.
    relays: u32,
    /// It was told to leave, likewise.
    leaves: bool,
    /// Peers whose connections came up: a heartbeat, a request for one, and a question of who starts.
    greetings: Vec<(ServerId, [u32; 3])>,
    /// Its latest heartbeat to all, and how many more of it may come.
    beat: Option<When>,
    repeats: u32,
    /// Its latest question to all while it starts.
    starting: Option<When>,
    /// The last two requests for a heartbeat to each.
    asked: BTreeMap<ServerId, [Option<When>; 2]>,
    has_left: bool,
    /// The end of its stream.
    end: Stamp,
    pulls: Pulls,
    lookups: Lookups,
    comparison: Comparison,
}

/// What all servers have said.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    ledgers: Vec<Ledger>,
    /// Rare choices that may be forced, and until when.
    points: Vec<Point>,
    until: Option<Timestamp>,
    looked: [u64; RULES.len()],
    broken: Option<String>,
}

/// What limits a server's messages.
struct Terms<'a> {
    farm: &'a Farm,
    local: &'a Local,
    points: &'a [Point],
}

impl Terms<'_> {
    fn may(&self, point: Point) -> bool {
        self.points.contains(&point)
    }
}

impl Traffic {
    /// Rare choices that the engines may be made to take.
    pub(crate) fn choices(&mut self, points: Vec<Point>) {
        (self.points, self.until) = (points, None);
    }

    /// Whether the engines were ever made to take this rare choice.
    pub(crate) fn may(&self, point: Point) -> bool {
        self.points.contains(&point)
    }

    /// None any more.
    pub(crate) fn calm(&mut self, now: Timestamp) {
        self.until = Some(now + AFTERWARDS);
    }

    /// How much each of [`RULES`] has looked at.
    pub(crate) const fn looked(&self) -> [u64; RULES.len()] {
        self.looked
    }

    /// The same, by what the rules are called.
    pub(crate) fn rules(&self) -> impl Iterator<Item = (String, u64)> {
        let name = |rule: &str| format!("G8: {rule} have their reason");
        RULES.into_iter().map(name).zip(self.looked)
    }

    /// The first message that had no reason.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// A process is given this.
    pub(crate) fn heard(&mut self, server: usize, process: ServerId, event: &Event) {
        if self.ledgers.len() <= server {
            self.ledgers.resize_with(server + 1, Ledger::default);
        }
        let ledger = &mut self.ledgers[server];
        if ledger.process != Some(process) {
            *ledger = Ledger { process: Some(process), ..Ledger::default() };
        }
        ledger.heard(process, event, &self.points);
    }

    /// All that a process wants done has come out.
    pub(crate) fn drained(&mut self, server: usize, starting: bool) {
        let Some(ledger) = self.ledgers.get_mut(server) else { return };
        ledger.replies.clear();
        ledger.parts.clear();
        (ledger.acknowledge_all, ledger.relays, ledger.events) = (false, 0, 0);
        if !starting {
            // What comes while a process starts is seen to when it has started.
            ledger.leaves = false;
            ledger.comparison.drained();
            ledger.greetings.clear();
            ledger.lookups.drained();
        }
    }

    /// An answer to a request comes out.
    pub(crate) fn responded(&mut self, server: usize, outcome: &Result<Response, RequestError>) {
        if let (Ok(Response::Verified(_)), Some(ledger)) = (outcome, self.ledgers.get_mut(server)) {
            ledger.comparison.ended();
        }
    }

    /// A process sends this; it was done between these two readings of its clock.
    pub(crate) fn sent(
        &mut self,
        server: usize,
        (to, command): (To, &Command),
        when: (Timestamp, Timestamp),
        world: (Timestamp, &Farm, &Local),
    ) {
        if self.until.is_some_and(|until| until < world.0) {
            self.points.clear();
        }
        let Some(ledger) = self.ledgers.get_mut(server) else { return };
        let terms = Terms { farm: world.1, local: world.2, points: &self.points };
        let (rule, judged) = ledger.sent(to, command, When(when.0, when.1), &terms);
        self.looked[rule] += 1;
        if let (Err(why), None) = (judged, &self.broken) {
            let whom = match to {
                To::All => "all".to_owned(),
                To::One(peer) => peer.to_string(),
            };
            let (name, at) = (command.name(), when.1);
            self.broken =
                Some(format!("server {} sent {name} to {whom} at {at:?}: {why}", server + 1));
        }
    }
}

/// What is wrong with a message, if anything is.
type Judged = Result<(), &'static str>;

fn must(good: bool, why: &'static str) -> Judged {
    if good { Ok(()) } else { Err(why) }
}

impl Ledger {
    fn owe(&mut self, reply: Reply, to: ServerId, times: u32) {
        self.replies.push((reply, to, times));
    }

    /// Takes one of the replies that are due.
    fn pay(&mut self, reply: Reply, to: ServerId) -> bool {
        let due = |&&mut (what, whom, times): &&mut (Reply, ServerId, u32)| {
            what == reply && whom == to && times > 0
        };
        let due = self.replies.iter_mut().find(due);
        due.map(|(.., times)| *times -= 1).is_some()
    }

    fn greet(&mut self, peer: ServerId, what: usize) -> bool {
        let due = |(whom, times): &&mut (ServerId, [u32; 3])| *whom == peer && times[what] > 0;
        let due = self.greetings.iter_mut().find(due);
        due.map(|(_, times)| times[what] -= 1).is_some()
    }

    fn heard(&mut self, process: ServerId, event: &Event, points: &[Point]) {
        self.events += 1;
        match event {
            Event::PeerUp(peer) => match self.greetings.iter_mut().find(|due| due.0 == *peer) {
                Some((_, times)) => {
                    times.iter_mut().for_each(|times| *times = GREETINGS.min(*times + 1));
                }
                None => self.greetings.push((*peer, [1; 3])),
            },
            Event::Request { request, .. } => match request {
                Request::Leave => self.leaves = true,
                Request::Verify { .. } => self.comparison.demanded(),
                _ => self.lookups.requested(),
            },
            Event::Command { from, command } => {
                self.heard_command(process, *from, command, points);
            }
            Event::PeerDown(_) | Event::Timer => {}
        }
    }

    fn heard_command(
        &mut self,
        process: ServerId,
        from: ServerId,
        command: &Command,
        points: &[Point],
    ) {
        match command {
            Command::HeartbeatRequest => self.owe(Reply::Heartbeat, from, 1),
            Command::Pull(pull) => self.parts.push(Part {
                to: from,
                round: pull.round,
                part: pull.cursor.as_ref().map_or(0, |cursor| cursor.part),
                budget: pull.budget as usize,
            }),
            Command::Delta(delta) => {
                self.pulls.came(from, delta);
                self.acknowledge_all |= delta.next.is_none();
            }
            Command::Query(query) => {
                self.owe(Reply::Answer, from, 1);
                self.owe(Reply::Unasked, from, 1);
                if query.reaches.is_some() {
                    self.owe(Reply::QueryOn, from, 1);
                }
            }
            Command::Fetch(fetch) if fetch.of == process => self.owe(Reply::Answer, from, 1),
            Command::Fetch(fetch) => self.owe(Reply::FetchOn, fetch.of, 1),
            Command::Offer(offer) => {
                self.relays += 1;
                self.lookups.offered(offer.lookup);
            }
            Command::Answer(_) => self.relays += 1,
            Command::Batch(batch) if batch.ack => {
                let twice = points.contains(&Point::AckAtOnce);
                self.owe(Reply::Acknowledge, from, 1 + u32::from(twice));
            }
            Command::Starting => self.owe(Reply::Known, from, 1),
            Command::Verify(_) => self.owe(Reply::Verified, from, 1),
            Command::Verified(verified) => {
                self.comparison.answered(verified.number);
                self.owe(Reply::Mend, from, 1);
            }
            Command::Mend(_) => self.owe(Reply::Mended, from, 1),
            Command::Mended { number, .. } => self.comparison.answered(*number),
            _ => {}
        }
    }

    /// Which rule judges it, and how.
    fn sent(
        &mut self,
        to: To,
        command: &Command,
        when: When,
        terms: &Terms<'_>,
    ) -> (usize, Judged) {
        match (to, command) {
            (To::One(peer), Command::Pull(pull)) => (0, self.pulls.sent(peer, pull, when, terms)),
            (To::One(peer), Command::Delta(delta)) => (1, self.part(peer, delta, terms)),
            (to, Command::Query(query)) => (2, self.query(to, query.lookup, when, terms)),
            (To::One(peer), Command::Answer(_) | Command::Offer(_)) => {
                (3, self.answer(peer, command, terms))
            }
            (To::One(peer), Command::Fetch(fetch)) => {
                // Its own first: the numbers of what it asks on for others are not offered to it.
                let due = self.lookups.fetches(fetch.lookup) || self.pay(Reply::FetchOn, peer);
                (4, must(due, "nobody offered that or asked for it"))
            }
            (to, Command::Heartbeat(_)) => (5, self.heartbeat(to, when, terms)),
            (to, Command::HeartbeatRequest) => (5, self.request(to, when, terms)),
            (To::One(peer), Command::Verify(verify)) => {
                (6, self.comparison.asks(peer, verify.number, when, terms))
            }
            (To::One(peer), Command::Verified(_)) => {
                (6, must(self.pay(Reply::Verified, peer), "it did not ask"))
            }
            (To::One(peer), Command::Mend(mend)) => {
                self.comparison.asked(mend.number, when);
                (6, must(self.pay(Reply::Mend, peer), "it did not answer a comparison"))
            }
            (To::One(peer), Command::Mended { .. }) => {
                (6, must(self.pay(Reply::Mended, peer), "it did not ask"))
            }
            (To::All, Command::Batch(batch)) => {
                let before = std::mem::replace(&mut self.end, batch.last);
                (7, must(before == batch.prev, "it does not begin where the last one ended"))
            }
            (To::One(peer), Command::Ack { .. }) => (7, self.acknowledgement(peer)),
            (To::One(peer), Command::Known { .. }) => {
                (7, must(self.pay(Reply::Known, peer), "it did not ask"))
            }
            (to, Command::Starting) => (7, self.starts(to, when, terms)),
            (To::All, Command::Leave { .. }) => {
                let again = std::mem::replace(&mut self.has_left, true);
                (7, must(!again, "it has left before"))
            }
            _ => (7, Err("that is not said to all, or not to one")),
        }
    }

    /// A part of a repair goes to who pulled it, once, and takes no more than was asked for but for the
    /// last session.
    fn part(
        &mut self,
        peer: ServerId,
        delta: &grapevine_core::command::Delta,
        terms: &Terms<'_>,
    ) -> Judged {
        let but_last = &delta.sessions[..delta.sessions.len().saturating_sub(1)];
        let before_last: usize = but_last.iter().map(|session| session.weight()).sum();
        let most = terms.farm.frame_bytes as usize / 4;
        let asked =
            |due: &&Part| due.to == peer && due.round == delta.round && due.part == delta.part;
        must(self.parts.iter().any(|due| asked(&due)), "it was not asked for, or sent already")?;
        // Asked for twice, with less the one time, it is the question that it fits.
        let fits = |due: &&Part| before_last < due.budget.clamp(1, most);
        let fitting = self.parts.iter().filter(asked).filter(fits).map(|due| due.budget).min();
        let Some(budget) = fitting else { return Err("it is larger than was asked for") };
        let place = self.parts.iter().position(|due| asked(&due) && due.budget == budget);
        place.map(|place| self.parts.remove(place));
        Ok(())
    }

    fn query(&mut self, to: To, lookup: u64, when: When, terms: &Terms<'_>) -> Judged {
        if let To::One(_) = to {
            // Asked on: one message to each server for a query. Who asked is not asked on.
            let due = |&&mut (what, whom, times): &&mut (Reply, ServerId, u32)| {
                what == Reply::QueryOn && To::One(whom) != to && times < terms.farm.size.into()
            };
            if let Some((.., times)) = self.replies.iter_mut().find(due) {
                *times += 1;
                if self.events > 1 {
                    // Of what came out late, nobody can tell it from a look-up that begins.
                    self.lookups.may_begin(lookup);
                }
                return Ok(());
            }
            return self.lookups.asks_one(lookup);
        }
        self.lookups.asks_all(lookup, when, terms)
    }

    fn answer(&mut self, peer: ServerId, command: &Command, terms: &Terms<'_>) -> Judged {
        if let Command::Answer(answer) = command
            && answer.lookup == 0
        {
            // Sent to those that lack it, besides to who asked.
            let may = terms.local.answer_all || terms.may(Point::AnswerAll);
            let due = |&&mut (what, whom, times): &&mut (Reply, ServerId, u32)| {
                what == Reply::Unasked && whom != peer && times < terms.farm.size.into()
            };
            let due = self.replies.iter_mut().find(due).map(|(.., times)| *times += 1);
            return must(may && due.is_some(), "nobody asked");
        }
        if self.pay(Reply::Answer, peer) {
            return Ok(());
        }
        must(self.relays > 0, "it was answered already, or did not ask")?;
        self.relays -= 1;
        Ok(())
    }

    fn heartbeat(&mut self, to: To, when: When, terms: &Terms<'_>) -> Judged {
        let To::All = to else {
            let To::One(peer) = to else { return Ok(()) };
            let due = self.pay(Reply::Heartbeat, peer) || self.greet(peer, 0);
            return must(due, "it did not ask");
        };
        let gap = beat(terms);
        if self.leaves || self.beat.is_none_or(|before| when.is_after(before, gap)) {
            self.beat = Some(when);
            self.repeats = terms.may(Point::HeartbeatRepeated).into();
            return Ok(());
        }
        must(self.repeats > 0, "it is not time for another one")?;
        self.repeats -= 1;
        Ok(())
    }

    /// Requests for a heartbeat: to who is suspect, when that begins and with each own heartbeat; and
    /// so no more than two while one is due.
    fn request(&mut self, to: To, when: When, terms: &Terms<'_>) -> Judged {
        let To::One(peer) = to else {
            let may = self.leaves || terms.may(Point::HeartbeatsAsked);
            return must(may, "it does not leave");
        };
        if self.leaves || self.greet(peer, 1) || terms.may(Point::SuspectEarly) {
            return Ok(());
        }
        let gap = beat(terms).min(terms.farm.suspect_after);
        let asked = self.asked.entry(peer).or_default();
        let early = asked[0].is_some_and(|earlier| !when.is_after(earlier, gap));
        *asked = [asked[1], Some(when)];
        must(!early, "it was asked twice already since it had to be")
    }

    fn acknowledgement(&mut self, peer: ServerId) -> Judged {
        if self.pay(Reply::Acknowledge, peer) {
            return Ok(());
        }
        must(self.acknowledge_all, "it did not ask, and no repair came to its end")?;
        let told = (Reply::Acknowledge, peer, 0);
        must(!self.replies.contains(&told), "it was told so already")?;
        self.replies.push(told);
        Ok(())
    }

    fn starts(&mut self, to: To, when: When, terms: &Terms<'_>) -> Judged {
        if let To::One(peer) = to {
            return must(self.greet(peer, 2), "it was asked already");
        }
        let gap = terms.local.start_wait / 4;
        let before = self.starting.replace(when);
        must(before.is_none_or(|before| when.is_after(before, gap)), "it asked just now")
    }
}

/// The time between two heartbeats to all, at least.
fn beat(terms: &Terms<'_>) -> std::time::Duration {
    let every = terms.farm.heartbeat_every;
    if terms.may(Point::HeartbeatEarly) { every / 2 } else { every }
}
