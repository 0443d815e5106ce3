//! The asker's half: asking, taking what comes back, and answering the requests that wait.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::holder::UNASKED;
use super::judge::Verdict;
use super::{Ask, Asker, Fetching, Lookup, Offered, Said};
use crate::action::{Action, Response, To};
use crate::command::{Answer, Command, Fetch, Found, Offer, Query, Write};
use crate::engine::Engine;
use crate::error::{RequestError, Unavailable};
use crate::event::{Acks, RequestId};
use crate::facts::Place;
use crate::id::{Address, ServerId};
use crate::protocol::serve::{Grounds, Standing, standing};
use crate::protocol::write::{Refused, Wanted};
use crate::rare::{Mark, Point};
use crate::session::{Life, Session};
use crate::stamp::Version;
use crate::token::Token;
use crate::vector::Vector;

/// A look-up asks all again this often within its time, because messages may be lost.
const QUERIES_PER_TIMEOUT: u32 = 4;
/// Those that were asked first have this part of the time before all are asked.
const FIRST_PER_TIMEOUT: u32 = 8;
/// The wait of [`Point::LookupWaitTiny`].
const WAIT_TINY: Duration = Duration::from_millis(1);
/// How many servers, of those known to cover what is needed, are asked first. Two, so that one that
/// just died costs nothing.
const ASKED_FIRST: usize = 2;

// Requests.
impl Engine {
    /// Does what a request asks, at once if this server's own array allows it.
    pub(crate) fn look_up(&mut self, request: RequestId, token: Token, ask: Ask) {
        match self.judge(&token, None) {
            Verdict::Serve(..) if self.rare.force(Point::QueryUnneeded) => {
                self.start_lookup(request, token, ask);
            }
            Verdict::Serve(copy, grounds) => self.carry_out(request, &copy, &grounds, &ask),
            Verdict::Fail(error) => self.respond(request, Err(error)),
            Verdict::Ask => self.start_lookup(request, token, ask),
        }
    }

    fn start_lookup(&mut self, request: RequestId, token: Token, ask: Ask) {
        let wait = match &ask {
            Ask::Read(policy) => policy.wait(self.config.local.query_timeout),
            _ => self.config.local.query_timeout,
        };
        let tiny = self.rare.force(Point::LookupWaitTiny);
        let wait = if tiny { wait.min(WAIT_TINY) } else { wait };
        let asker = Asker { request, token, ask, wait, until: self.now + wait };
        if wait.is_zero() {
            return self.give_up(&asker);
        }
        let limit = self.config.local.pending_requests;
        if self.lookups.waiting() + self.waiting.len() >= limit as usize {
            let why = Unavailable::TooManyWaiting(limit);
            return self.respond(request, Err(RequestError::Unavailable(why)));
        }
        let key = (asker.token.id.address, asker.token.id.created);
        if let Some(&number) = self.lookups.by_session.get(&key)
            && let Some(mut lookup) = self.lookups.take(number)
        {
            self.counters.shared += 1;
            self.rare.mark(Mark::CrowdSharedOneQuery);
            lookup.context.join(&asker.token.context);
            lookup.askers.push(asker);
            return self.settle(number, lookup);
        }
        let all = self.rare.force(Point::QueryAll);
        let first = if all { None } else { self.whom_first(&asker.token) };
        let patience = if first.is_some() { self.first_patience() } else { self.query_pace() };
        let mut lookup = Box::new(Lookup {
            id: asker.token.id,
            context: asker.token.context.clone(),
            askers: Vec::from([asker]),
            first,
            said: BTreeMap::new(),
            asked_on: BTreeSet::new(),
            joined: Vector::default(),
            offers: BTreeMap::new(),
            fetching: None,
            fetched: false,
            since: self.now,
            query_at: self.now + patience,
            review: self.now,
        });
        self.counters.queries += 1;
        let number = self.lookups.next_number();
        match lookup.first.clone() {
            Some(first) => first.into_iter().for_each(|to| self.query_one(number, &lookup, to)),
            None => self.query_all(number, &mut lookup, false),
        }
        self.settle(number, lookup);
    }

    fn query_pace(&self) -> Duration {
        self.config.local.query_timeout / QUERIES_PER_TIMEOUT
    }

    fn first_patience(&self) -> Duration {
        self.config.local.query_timeout / FIRST_PER_TIMEOUT
    }

    /// Answers those askers that can be answered now; the others go on waiting.
    fn settle(&mut self, number: u64, lookup: Box<Lookup>) {
        self.settle_from(number, lookup, 0, None);
    }

    /// The same, where so many askers are known to go on waiting, and what can be said to the one
    /// after them.
    fn settle_from(
        &mut self,
        number: u64,
        mut lookup: Box<Lookup>,
        waiting: usize,
        mut said: Option<Verdict>,
    ) {
        let others = lookup.askers.split_off(waiting);
        for asker in others {
            let said = said.take();
            match said.unwrap_or_else(|| self.judge(&asker.token, Some(&lookup))) {
                Verdict::Serve(copy, grounds) => {
                    self.mark_served(&copy, &grounds);
                    self.carry_out(asker.request, &copy, &grounds, &asker.ask);
                }
                Verdict::Fail(error) => {
                    self.counters.served_lost += u64::from(error == RequestError::Lost);
                    self.respond(asker.request, Err(error));
                }
                Verdict::Ask if asker.until <= self.now => self.give_up(&asker),
                Verdict::Ask => lookup.askers.push(asker),
            }
        }
        if !lookup.askers.is_empty() {
            self.lookups.put(number, lookup);
        }
    }

    /// Counts what it took to serve a request.
    fn mark_served(&self, copy: &Session, grounds: &Grounds) {
        if !self.rare.counts() {
            return;
        }
        let mut needed = grounds.context.clone();
        needed.join(&copy.seen);
        let alone = self.covered(&self.applied, &needed);
        self.rare.mark_if(!alone && grounds.lost.is_empty(), Mark::ServedByJoinedVectors);
        self.rare.mark_if(self.members.joining(), Mark::JoiningServerConfirmed);
    }

    fn give_up(&mut self, asker: &Asker) {
        self.rare.mark(Mark::LookupGivenUp);
        let serves_stale = matches!(&asker.ask, Ask::Read(policy) if policy.serves_stale());
        if serves_stale
            && let Place::Here(copy) = self.facts.find(&asker.token.id)
            && standing(copy, self.now) == Standing::Ready
        {
            let copy = Arc::clone(copy);
            let context = asker.token.context.clone();
            let served =
                self.served(&copy, &Grounds { context, lost: Vector::default(), stale: true });
            return self.respond(asker.request, Ok(Response::Session(served)));
        }
        let why = Unavailable::NoAnswer(asker.wait);
        self.respond(asker.request, Err(RequestError::Unavailable(why)));
    }

    /// Fails every request that waits for a look-up.
    pub(crate) fn fail_lookups(&mut self, why: Unavailable) {
        while let Some(number) = self.lookups.by_number.first_key_value().map(|(&n, _)| n) {
            for asker in self.lookups.take(number).into_iter().flat_map(|lookup| lookup.askers) {
                self.respond(asker.request, Err(RequestError::Unavailable(why)));
            }
        }
    }

    /// Looks at all look-ups again, because what this server has changed.
    pub(crate) fn settle_lookups(&mut self) {
        let mut from = 0;
        let last = self.lookups.last;
        while from <= last
            && let Some((&number, _)) = self.lookups.by_number.range(from..=last).next()
        {
            from = number + 1;
            // Mostly all go on waiting: the look-up stays where it is.
            if let Some((waiting, verdict)) = self.first_settled(number)
                && let Some(lookup) = self.lookups.take(number)
            {
                self.settle_from(number, lookup, waiting, Some(verdict));
            }
        }
    }

    /// How many askers of a look-up go on waiting before one that can be answered, and what can be
    /// said to that one. `None` if all go on waiting.
    fn first_settled(&self, number: u64) -> Option<(usize, Verdict)> {
        let lookup = self.lookups.by_number.get(&number)?;
        lookup.askers.iter().enumerate().find_map(|(nth, asker)| {
            match self.judge(&asker.token, Some(lookup)) {
                Verdict::Ask if asker.until > self.now => None,
                verdict => Some((nth, verdict)),
            }
        })
    }

    /// Asks all again, fetches from the next holder, gives up: whatever is due.
    pub(crate) fn review_lookups(&mut self) {
        while let Some(&(due, number)) = self.lookups.reviews.first() {
            if due > self.now {
                return;
            }
            if let Some(mut lookup) = self.lookups.take(number) {
                if lookup.query_at <= self.now {
                    lookup.query_at = self.now + self.query_pace();
                    let again = lookup.first.is_none();
                    self.query_all(number, &mut lookup, again);
                    lookup.fetching = lookup.fetching.filter(|fetching| fetching.until > self.now);
                    self.fetch_next(number, &mut lookup, true);
                }
                self.settle(number, lookup);
            }
        }
    }

    /// Does what was asked, on a copy that may be served.
    fn carry_out(&mut self, id: RequestId, copy: &Arc<Session>, grounds: &Grounds, ask: &Ask) {
        if copy.life != Life::Live && !matches!(ask, Ask::Read(_)) {
            self.rare.mark(Mark::WriteToRetiredRefused);
            return self.respond(id, Err(RequestError::Rotated));
        }
        let (wanted, acks) = match ask {
            Ask::Read(_) => {
                if copy.wants_touch(self.now)
                    && copy.life == Life::Live
                    && let Err(full) = self.check_place()
                {
                    // An access that isn't written down could end the session early (G5).
                    return self.respond(id, Err(full.into()));
                }
                let touched = self.touch(copy);
                let served = self.served(&touched, grounds);
                return self.respond(id, Ok(Response::Session(served)));
            }
            Ask::Update(changes, acks) => (Wanted::Update(changes.clone()), *acks),
            Ask::Replace(attributes, acks) => (Wanted::Replace(attributes.clone()), *acks),
            Ask::Delete(acks) => (Wanted::Delete, *acks),
            Ask::Rotate(rotation) => {
                if let Err(error) = self.rotate(id, copy, grounds, rotation) {
                    self.respond(id, Err(error));
                }
                return;
            }
        };
        if let Err(error) = self.write(id, copy, grounds, &wanted, acks) {
            self.respond(id, Err(error));
        }
    }

    /// Writes an access down, if the last one is long enough ago. Returns the copy after it.
    pub(crate) fn touch(&mut self, copy: &Arc<Session>) -> Arc<Session> {
        if copy.life != Life::Live {
            // It was rotated away: an access keeps nothing alive.
            self.rare.mark(Mark::RetiredServed);
        } else if copy.wants_touch(self.now) {
            let version = Version::new(self.clock.tick(self.now), self.config.server);
            let delta = Arc::new(copy.delta(version));
            self.publish(Write::Update(delta), Acks::Local);
        } else if self.covered(&self.applied, &copy.seen) {
            // Request threads may have asked because the copy was not settled when it was stored.
            self.store(copy.id.address);
        }
        self.facts.array().get(copy.id.address).map_or_else(|| Arc::clone(copy), Arc::clone)
    }
}

// Queries.
impl Engine {
    /// Who is asked first: a few of the servers that are known, by their heartbeats, to cover what
    /// this customer needs. `None` if there is none, or if everybody must be heard.
    fn whom_first(&mut self, token: &Token) -> Option<BTreeSet<ServerId>> {
        let mut needed = token.context.clone();
        needed.raise(token.id.address.origin, token.id.created);
        if let Place::Here(copy) = self.facts.find(&token.id) {
            if standing(copy, self.now) == Standing::Idle {
                return None;
            }
            needed.join(&copy.seen);
        }
        let members = &self.members;
        let level =
            |server: ServerId| members.peer(server.number()).is_some_and(|peer| !peer.joining);
        let covers = |server: ServerId, applied: &Vector| {
            // A server has what it wrote itself, whatever its last heartbeat said.
            needed.iter().all(|(writer, stamp)| {
                writer == server || self.covered_entry(applied, writer, stamp)
            })
        };
        let sources = members
            .sources()
            .filter(|&(server, applied, _)| level(server) && covers(server, applied));
        let mut sources: Vec<ServerId> = sources.map(|(server, ..)| server).collect();
        while sources.len() > ASKED_FIRST {
            let one = self.random.below(sources.len());
            sources.swap_remove(one);
        }
        (!sources.is_empty()).then(|| sources.into_iter().collect())
    }

    fn query_one(&mut self, number: u64, lookup: &Lookup, to: ServerId) {
        let (id, context) = (lookup.id, lookup.context.clone());
        let query = Query { lookup: number, id, context, reaches: None };
        self.send(to, Command::Query(query));
    }

    /// Asks everybody, and says whom it reaches: others can ask the rest. If it asks `again`, it
    /// reaches only those that have answered lately.
    fn query_all(&mut self, number: u64, lookup: &mut Lookup, again: bool) {
        let widened = lookup.first.take().is_some();
        self.counters.widened += u64::from(widened);
        self.rare.mark_if(widened, Mark::QueryWidened);
        let heard = self.members.sources().map(|(server, ..)| server);
        let answered =
            |server: &ServerId| lookup.said.get(server).is_some_and(|s| self.still_counts(s));
        let reached = heard.filter(|server| !again || answered(server));
        let reaches = Some(reached.map(ServerId::number).collect());
        let (id, context) = (lookup.id, lookup.context.clone());
        let query = Query { lookup: number, id, context, reaches };
        self.act(Action::Publish { to: To::All, command: Command::Query(query) });
    }

    /// Asks those that were not asked yet, because those that were could not help.
    fn widen(&mut self, number: u64, lookup: &mut Lookup) {
        if lookup.first.is_some() {
            lookup.query_at = self.now + self.query_pace();
            self.query_all(number, lookup, false);
        }
    }

    /// A link went down: what was asked there is asked elsewhere.
    pub(crate) fn lookups_lose(&mut self, server: ServerId) {
        let numbers: Vec<u64> = self.lookups.by_number.keys().copied().collect();
        for number in numbers {
            let Some(mut lookup) = self.lookups.take(number) else { continue };
            lookup.offers.retain(|_, offered| offered.via != server);
            if lookup.fetching.is_some_and(|fetching| fetching.via == server) {
                lookup.fetching = None;
                self.fetch_next(number, &mut lookup, true);
            }
            if lookup.first.as_ref().is_some_and(|first| first.contains(&server)) {
                self.widen(number, &mut lookup);
            }
            self.lookups.put(number, lookup);
        }
    }
}

// What comes back.
impl Engine {
    /// Takes an answer (R63, R67, R95). One that nobody waits for is merged all the same.
    pub(crate) fn on_answer(&mut self, from: ServerId, answer: Answer) {
        if self.is_gone(answer.by) {
            self.counters.ignored_stranger += 1;
            return;
        }
        let mut changed = BTreeSet::new();
        let (session, joining) = match &answer.found {
            Found::Whole(session) => (Some(session), false),
            Found::Joining(session) => (session.as_ref(), true),
            _ => (None, false),
        };
        if let Some(session) = session
            && (!session.complete || self.merge_answer(from, session, &mut changed).is_err())
        {
            return self.misbehaving(
                from,
                "it answered with a session that is not whole or over the limits",
            );
        }
        let relayed = self.relay_answer(from, &answer);
        let offered = |lookup: &Lookup| lookup.fetching.is_some_and(|f| f.holder == answer.by);
        let at = self.steady;
        match self.lookups.get(answer.lookup, &answer.id) {
            Some(lookup) => {
                self.rare.mark_if(session.is_some() && offered(lookup), Mark::OfferFetched);
                self.rare.mark_if(session.is_some() && joining, Mark::QueryAnsweredByJoiningServer);
                let partial = matches!(answer.found, Found::Partial);
                self.rare.mark_if(partial, Mark::QueryAnsweredByPartialHolder);
                let lacks = session.is_none() && !partial;
                let said = lookup.said.entry(answer.by).or_insert(Said { lacks, joining, at });
                // Of answers that overtook each other, what was had once counts.
                said.lacks &= lacks;
                said.joining &= joining;
                said.at = at;
                lookup.asked_on.extend(&answer.asks);
                lookup.offers.remove(&answer.by);
                lookup.fetching = lookup.fetching.filter(|fetching| fetching.holder != answer.by);
                if session.is_some_and(|session| session.id == answer.id) {
                    lookup.joined.join(&answer.applied);
                }
            }
            None if relayed || answer.lookup == UNASKED => {}
            None => {
                self.counters.ignored_late += 1;
                self.rare.mark(Mark::AnswerLate);
            }
        }
        self.merged(changed);
        let lookup = self.lookups.by_number.get(&answer.lookup);
        if lookup.is_some_and(|lookup| lookup.may_fetch())
            && let Some(mut lookup) = self.lookups.take(answer.lookup)
        {
            self.fetch_next(answer.lookup, &mut lookup, false);
            self.lookups.put(answer.lookup, lookup);
        }
    }

    fn merge_answer(
        &mut self,
        from: ServerId,
        session: &Arc<Session>,
        changed: &mut BTreeSet<Address>,
    ) -> Result<(), Refused> {
        self.rare.completes(&self.facts, session, Mark::PartialCopyCompletedByAnswer);
        self.merge_told(from, session, changed)
    }

    /// Takes an offer (R69, R96).
    pub(crate) fn on_offer(&mut self, from: ServerId, offer: Offer) {
        if self.relay_offer(from, &offer) {
            return;
        }
        if self.lookups.get(offer.lookup, &offer.id).is_none() {
            self.counters.ignored_late += 1;
            return;
        }
        if let Some(mut lookup) = self.lookups.take(offer.lookup) {
            lookup.asked_on.extend(&offer.asks);
            if lookup.fetching.is_none_or(|fetching| fetching.holder != offer.by) {
                let covers = self.covered(&offer.applied, &lookup.context);
                let offered = Offered { via: from, covers };
                // Straight from the holder rather than by way of another.
                let known = lookup.offers.get(&offer.by).is_some_and(|o| o.via == offer.by);
                if !known || from == offer.by {
                    lookup.offers.insert(offer.by, offered);
                }
            }
            if !self.rare.force(Point::FetchLate) {
                self.fetch_next(offer.lookup, &mut lookup, false);
            }
            self.lookups.put(offer.lookup, lookup);
        }
    }

    /// Fetches from one of those that offered, if none is being fetched from: from one that covers
    /// what is needed; if it is `late`, from any. If there is none, all are asked.
    fn fetch_next(&mut self, number: u64, lookup: &mut Lookup, late: bool) {
        if lookup.fetching.is_some() {
            return;
        }
        let offers = &lookup.offers;
        let best = offers.iter().find(|(_, offered)| offered.covers);
        let best = best.or_else(|| offers.iter().next().filter(|_| late));
        let Some((&holder, &Offered { via, .. })) = best else {
            // What those that were asked first sent did not help.
            return self.widen(number, lookup);
        };
        lookup.offers.remove(&holder);
        lookup.fetching = Some(Fetching { holder, via, until: self.now + self.query_pace() });
        self.counters.fetches += 1;
        self.rare.mark_if(lookup.fetched, Mark::FetchFailedOver);
        lookup.fetched = true;
        self.send(via, Command::Fetch(Fetch { lookup: number, id: lookup.id, of: holder }));
    }
}
