//! Looking a session up: `Query`, `Offer`, `Fetch`, `Answer` (R63, R66, R67, R69, R93 to R96).
//!
//! A server that can't serve a request from its own array asks the others, waits a bounded time and
//! merges the answers. The request is then served when its own applied vector joined with those of
//! the servers whose whole copies it merged covers the customer's context and the merged copy's
//! `seen`. Requests for one session share one look-up.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::action::{Action, Response, To};
use crate::command::{Answer, Command, Fetch, Found, Offer, Query, Write};
use crate::engine::Engine;
use crate::error::{NotFound, RequestError, Unavailable};
use crate::event::{Acks, ReadPolicy, RequestId};
use crate::facts::Place;
use crate::id::{Address, ServerId, SessionId};
use crate::protocol::serve::{Grounds, Standing, standing};
use crate::protocol::write::Wanted;
use crate::session::{Change, Key, Session, Value};
use crate::stamp::{Stamp, Timestamp, Version};
use crate::token::Token;
use crate::vector::Vector;

/// A look-up repeats its query this often within its time, because messages may be lost.
const QUERIES_PER_TIMEOUT: u32 = 4;

/// What a request wants with a session.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Read(ReadPolicy),
    Update(Vec<Change>, Acks),
    Replace(Vec<(Key, Value)>, Acks),
    Delete(Acks),
}

#[derive(Clone, Debug)]
struct Asker {
    request: RequestId,
    token: Token,
    ask: Ask,
    until: Timestamp,
}

/// What an asked server said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    /// It has nothing of the session.
    lacks: bool,
    /// It was joining.
    joining: bool,
}

/// One session that others are asked for.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    id: SessionId,
    context: Vector,
    askers: Vec<Asker>,
    said: BTreeMap<ServerId, Said>,
    /// The applied vectors of the servers whose whole copies were merged.
    joined: Vector,
    /// Servers that offered and have not been asked to send yet.
    offers: BTreeSet<ServerId>,
    fetching: Option<ServerId>,
    review: Timestamp,
}

/// All look-ups under way.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    next: u64,
    by_number: BTreeMap<u64, Lookup>,
    by_session: BTreeMap<(Address, Stamp), u64>,
    reviews: BTreeSet<(Timestamp, u64)>,
    waiting: usize,
}

impl Lookups {
    /// How many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// When to call [`Engine::review_lookups`].
    pub(crate) fn next_review(&self) -> Option<Timestamp> {
        self.reviews.first().map(|&(due, _)| due)
    }

    fn take(&mut self, number: u64) -> Option<Lookup> {
        let lookup = self.by_number.remove(&number)?;
        self.by_session.remove(&(lookup.id.address, lookup.id.created));
        self.reviews.remove(&(lookup.review, number));
        self.waiting -= lookup.askers.len();
        Some(lookup)
    }

    fn put(&mut self, number: u64, lookup: Lookup) {
        self.by_session.insert((lookup.id.address, lookup.id.created), number);
        self.reviews.insert((lookup.review, number));
        self.waiting += lookup.askers.len();
        self.by_number.insert(number, lookup);
    }

    fn get(&mut self, number: u64, id: &SessionId) -> Option<&mut Lookup> {
        self.by_number.get_mut(&number).filter(|lookup| lookup.id == *id)
    }

    pub(crate) fn check_invariants(&self, limit: u32) {
        assert_eq!(self.by_number.len(), self.by_session.len(), "one look-up per session");
        assert_eq!(self.by_number.len(), self.reviews.len(), "one review per look-up");
        let askers = self.by_number.values().map(|lookup| lookup.askers.len()).sum::<usize>();
        assert_eq!(askers, self.waiting, "waiting requests");
        assert!(askers <= limit as usize, "more requests wait than allowed");
        assert!(self.by_number.values().all(|l| !l.askers.is_empty()), "a look-up for nobody");
    }
}

/// What can be said to a request about a session now.
enum Verdict {
    Serve(Arc<Session>, Grounds),
    Fail(RequestError),
    /// Others must be asked, or have not answered yet.
    Ask,
}

// The asker's half.
impl Engine {
    /// Does what a request asks, at once if this server's own array allows it.
    pub(crate) fn look_up(&mut self, request: RequestId, token: Token, ask: Ask) {
        match self.judge(&token, None) {
            Verdict::Serve(copy, grounds) => self.carry_out(request, &copy, &grounds, &ask),
            Verdict::Fail(error) => self.respond(request, Err(error)),
            Verdict::Ask => self.start_lookup(request, token, ask),
        }
    }

    fn judge(&self, token: &Token, lookup: Option<&Lookup>) -> Verdict {
        let fail = |why| Verdict::Fail(RequestError::NotFound(why));
        let unavailable = |why| Verdict::Fail(RequestError::Unavailable(why));
        if self.members.self_skewed() {
            return unavailable(Unavailable::Skewed);
        }
        if self.now >= token.deadline {
            // Clocks may differ a little; one that stepped far ahead says nothing of deadlines.
            let over = self.trusted_now() + self.config.farm.max_drift >= token.deadline;
            return if over { fail(NotFound::Deadline) } else { unavailable(Unavailable::Skewed) };
        }
        let newest = token.context.newest().stamp.max(token.id.created);
        if newest.time() > self.now + self.config.farm.max_drift {
            return unavailable(Unavailable::FromTheFuture);
        }
        let copy = match self.facts.find(&token.id) {
            Place::Unknown => return fail(NotFound::Unknown),
            Place::Superseded(_) => return fail(NotFound::Ended),
            Place::Lacking => return self.judge_missing(token, lookup),
            Place::Here(copy) => copy,
        };
        match standing(copy, self.now) {
            Standing::Ended(why) => fail(why),
            Standing::Partial => self.judge_missing(token, lookup),
            Standing::Idle => {
                if self.idle_is_certain(copy) || self.all_answered(lookup, |_| true) {
                    fail(NotFound::Idle)
                } else {
                    Verdict::Ask
                }
            }
            Standing::Ready => self.judge_ready(copy, token, lookup),
        }
    }

    fn judge_ready(&self, copy: &Arc<Session>, token: &Token, lookup: Option<&Lookup>) -> Verdict {
        let mut known = self.applied.clone();
        if let Some(lookup) = lookup {
            known.join(&lookup.joined);
        }
        let mut needed = token.context.clone();
        needed.join(&copy.seen);
        needed.retain(|server, stamp| !self.covered_entry(&known, server, stamp));
        let confirmed = !self.members.joining()
            || lookup.is_some_and(|lookup| lookup.said.values().any(|said| !said.joining))
            || self.all_answered(lookup, |_| true);
        if !confirmed {
            return Verdict::Ask;
        }
        if needed.is_empty() {
            let grounds = Grounds { context: token.context.clone(), ..Grounds::default() };
            return Verdict::Serve(Arc::clone(copy), grounds);
        }
        if self.is_lost(&needed, lookup) {
            let context = token.context.clone();
            let grounds = Grounds { context, lost: needed, stale: false };
            return Verdict::Serve(Arc::clone(copy), grounds);
        }
        Verdict::Ask
    }

    fn judge_missing(&self, token: &Token, lookup: Option<&Lookup>) -> Verdict {
        let partial = matches!(self.facts.find(&token.id), Place::Here(_));
        let nobody = !partial && self.all_answered(lookup, |said| said.lacks);
        let created = (token.id.address.origin, token.id.created);
        let gone = self.is_lost(&Vector::from_iter([created]), lookup);
        if nobody || gone { Verdict::Fail(RequestError::Lost) } else { Verdict::Ask }
    }

    /// Whether every other configured number answered, each in this way.
    fn all_answered(&self, lookup: Option<&Lookup>, way: impl Fn(&Said) -> bool) -> bool {
        let said = lookup.map(|lookup| &lookup.said);
        let current =
            said.into_iter().flatten().filter(|(server, _)| self.members.counts(**server));
        let (mut answered, mut fits) = (0, true);
        for (_, said) in current {
            answered += 1;
            fits &= way(said);
        }
        fits && answered >= self.members.expected()
    }

    /// Whether what is missing lies beyond closed entries; or was written by servers that are gone or
    /// given up, and a majority of the configured farm, with every server that lives, answered
    /// without it.
    fn is_lost(&self, missing: &Vector, lookup: Option<&Lookup>) -> bool {
        let mut missing = missing.clone();
        missing.retain(|writer, stamp| !self.beyond_closed(writer, stamp));
        let Some(lookup) = lookup else { return missing.is_empty() };
        let gone = missing
            .iter()
            .all(|(server, _)| self.members.given_up(server, self.steady, &self.config));
        let answered = lookup.said.keys().filter(|server| self.members.counts(**server)).count();
        let all_alive = self.members.alive().all(|server| lookup.said.contains_key(&server));
        let heard = all_alive && answered + 1 >= usize::from(self.config.farm.majority());
        missing.is_empty() || gone && heard
    }

    fn start_lookup(&mut self, request: RequestId, token: Token, ask: Ask) {
        let limit = self.config.local.pending_requests;
        if self.lookups.waiting + self.waiting.len() >= limit as usize {
            let why = Unavailable::TooManyWaiting(limit);
            return self.respond(request, Err(RequestError::Unavailable(why)));
        }
        let until = self.now + self.config.local.query_timeout;
        let key = (token.id.address, token.id.created);
        let asker = Asker { request, token, ask, until };
        if let Some(&number) = self.lookups.by_session.get(&key)
            && let Some(mut lookup) = self.lookups.take(number)
        {
            lookup.context.join(&asker.token.context);
            lookup.askers.push(asker);
            return self.settle(number, lookup);
        }
        self.lookups.next += 1;
        let lookup = Lookup {
            id: asker.token.id,
            context: asker.token.context.clone(),
            askers: Vec::from([asker]),
            said: BTreeMap::new(),
            joined: Vector::default(),
            offers: BTreeSet::new(),
            fetching: None,
            review: self.now + self.query_pace(),
        };
        self.counters.queries += 1;
        self.query(self.lookups.next, &lookup);
        self.settle(self.lookups.next, lookup);
    }

    fn query_pace(&self) -> core::time::Duration {
        self.config.local.query_timeout / QUERIES_PER_TIMEOUT
    }

    fn query(&mut self, lookup: u64, of: &Lookup) {
        let query = Query { lookup, id: of.id, context: of.context.clone() };
        self.act(Action::Publish { to: To::All, command: Command::Query(query) });
    }

    /// Answers those askers that can be answered now; the others go on waiting.
    fn settle(&mut self, number: u64, mut lookup: Lookup) {
        let askers = core::mem::take(&mut lookup.askers);
        for asker in askers {
            match self.judge(&asker.token, Some(&lookup)) {
                Verdict::Serve(copy, grounds) => {
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

    fn give_up(&mut self, asker: &Asker) {
        let best_effort = matches!(asker.ask, Ask::Read(ReadPolicy::BestEffort));
        if best_effort
            && let Place::Here(copy) = self.facts.find(&asker.token.id)
            && standing(copy, self.now) == Standing::Ready
        {
            let copy = Arc::clone(copy);
            let context = asker.token.context.clone();
            let served =
                self.served(&copy, &Grounds { context, lost: Vector::default(), stale: true });
            return self.respond(asker.request, Ok(Response::Session(served)));
        }
        let why = Unavailable::NoAnswer(self.config.local.query_timeout);
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
        let numbers: Vec<u64> = self.lookups.by_number.keys().copied().collect();
        for number in numbers {
            if let Some(lookup) = self.lookups.take(number) {
                self.settle(number, lookup);
            }
        }
    }

    /// Asks again, fetches from the next offer, gives up: whatever is due.
    pub(crate) fn review_lookups(&mut self) {
        while let Some(&(due, number)) = self.lookups.reviews.first() {
            if due > self.now {
                return;
            }
            if let Some(mut lookup) = self.lookups.take(number) {
                lookup.review = self.now + self.query_pace();
                lookup.fetching = None;
                self.query(number, &lookup);
                self.fetch_next(number, &mut lookup);
                self.settle(number, lookup);
            }
        }
    }

    /// Does what was asked, on a copy that may be served.
    fn carry_out(&mut self, id: RequestId, copy: &Arc<Session>, grounds: &Grounds, ask: &Ask) {
        let (wanted, acks) = match ask {
            Ask::Read(_) => {
                let touched = self.touch(copy);
                let served = self.served(&touched, grounds);
                return self.respond(id, Ok(Response::Session(served)));
            }
            Ask::Update(changes, acks) => (Wanted::Update(changes.clone()), *acks),
            Ask::Replace(attributes, acks) => (Wanted::Replace(attributes.clone()), *acks),
            Ask::Delete(acks) => (Wanted::Delete, *acks),
        };
        if let Err(error) = self.write(id, copy, grounds, &wanted, acks) {
            self.respond(id, Err(error));
        }
    }

    /// Writes an access down, if the last one is long enough ago. Returns the copy after it.
    pub(crate) fn touch(&mut self, copy: &Arc<Session>) -> Arc<Session> {
        if copy.wants_touch(self.now) {
            let version = Version::new(self.clock.tick(self.now), self.config.server);
            let delta = Arc::new(copy.delta(version));
            self.publish(Write::Update(delta), Acks::Local);
        } else if self.covered(&self.applied, &copy.seen) {
            // Request threads may have asked because the copy was not settled when it was stored.
            self.store(copy.id.address);
        }
        self.facts.array().get(copy.id.address).map_or_else(|| Arc::clone(copy), Arc::clone)
    }

    /// Takes an answer (R63, R67, R95). One that nobody waits for any more is merged all the same.
    pub(crate) fn on_answer(&mut self, from: ServerId, answer: Answer) {
        let mut changed = BTreeSet::new();
        let (session, joining) = match &answer.found {
            Found::Whole(session) => (Some(session), false),
            Found::Joining(session) => (session.as_ref(), true),
            _ => (None, false),
        };
        if let Some(session) = session
            && (!session.complete || self.merge_told(from, session, &mut changed).is_err())
        {
            return self.misbehaving(
                from,
                "it answered with a session that is not whole or over the limits",
            );
        }
        match self.lookups.get(answer.lookup, &answer.id) {
            Some(lookup) => {
                let lacks = session.is_none() && !matches!(answer.found, Found::Partial);
                lookup.said.insert(from, Said { lacks, joining });
                lookup.offers.remove(&from);
                if lookup.fetching == Some(from) {
                    lookup.fetching = None;
                }
                if session.is_some_and(|session| session.id == answer.id) {
                    lookup.joined.join(&answer.applied);
                }
            }
            None => self.counters.ignored_late += 1,
        }
        self.merged(changed);
        if let Some(mut lookup) = self.lookups.take(answer.lookup) {
            self.fetch_next(answer.lookup, &mut lookup);
            self.lookups.put(answer.lookup, lookup);
        }
    }

    /// Takes an offer (R69, R96).
    pub(crate) fn on_offer(&mut self, from: ServerId, offer: Offer) {
        if self.lookups.get(offer.lookup, &offer.id).is_none() {
            self.counters.ignored_late += 1;
            return;
        }
        if let Some(mut lookup) = self.lookups.take(offer.lookup) {
            if lookup.fetching != Some(from) {
                lookup.offers.insert(from);
            }
            self.fetch_next(offer.lookup, &mut lookup);
            self.lookups.put(offer.lookup, lookup);
        }
    }

    /// Fetches from one of those that offered, if none is being fetched from.
    fn fetch_next(&mut self, number: u64, lookup: &mut Lookup) {
        if lookup.fetching.is_none()
            && let Some(holder) = lookup.offers.pop_first()
        {
            lookup.fetching = Some(holder);
            self.send(holder, Command::Fetch(Fetch { lookup: number, id: lookup.id }));
        }
    }
}

// The holder's half.
impl Engine {
    /// Says what this server has of a session (R66, R67, R93, R95): a small copy at once, a large
    /// one as an offer.
    pub(crate) fn on_query(&mut self, from: ServerId, query: Query) {
        self.counters.answers += 1;
        let found = self.found(&query.id, &query.context);
        let lookup = query.lookup;
        let applied = self.applied.clone();
        if let Found::Whole(session) = &found
            && session.weight() > self.config.local.offer_above as usize
        {
            self.counters.offers += 1;
            let bytes = u32::try_from(session.weight()).unwrap_or(u32::MAX);
            let offer = Offer { lookup, id: query.id, applied, bytes };
            return self.send(from, Command::Offer(offer));
        }
        self.answer(from, Answer { lookup, id: query.id, applied, found });
    }

    /// Sends a session that was offered.
    pub(crate) fn on_fetch(&mut self, from: ServerId, fetch: Fetch) {
        let found = self.found(&fetch.id, &Vector::default());
        let applied = self.applied.clone();
        self.answer(from, Answer { lookup: fetch.lookup, id: fetch.id, applied, found });
    }

    /// Answers the asker, or all who may lack the session (R68, R94).
    fn answer(&mut self, asker: ServerId, answer: Answer) {
        let whole = matches!(answer.found, Found::Whole(_));
        let to = if whole && self.config.local.answer_all { To::All } else { To::One(asker) };
        self.act(Action::Publish { to, command: Command::Answer(answer) });
    }

    fn found(&self, id: &SessionId, context: &Vector) -> Found {
        let joining = self.members.joining();
        match self.facts.find(id) {
            Place::Here(copy) | Place::Superseded(copy) if copy.complete => {
                let copy = Arc::clone(copy);
                if joining { Found::Joining(Some(copy)) } else { Found::Whole(copy) }
            }
            Place::Here(_) | Place::Superseded(_) => Found::Partial,
            _ if joining => Found::Joining(None),
            _ => {
                let created = self.covered_entry(&self.applied, id.address.origin, id.created);
                if created && self.covered(&self.applied, context) {
                    Found::Lacking
                } else {
                    Found::Behind
                }
            }
        }
    }
}
