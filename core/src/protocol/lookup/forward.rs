//! Asking on (R70): a server that is asked for a session, and can't help the asker, asks servers that
//! it can reach and the asker may not. The halves: [`Engine::ask_on`] asks, the `relay`s pass on what
//! comes back.
//!
//! An asker that asks everybody names in its query the numbers that it reaches: that it hears from
//! and that, when it asks again, have answered. The others are asked on, with a query that says that
//! nobody is to be asked on: so a query goes one hop further at most, and one query makes no more
//! than one message to each server. What a third server says is passed on as its own word.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::command::{Answer, Command, Fetch, Offer, Query};
use crate::engine::Engine;
use crate::id::{ServerId, SessionId};
use crate::rare::Mark;
use crate::stamp::Timestamp;

/// A query that was asked on.
#[derive(Clone, Debug)]
struct Forward {
    asker: ServerId,
    /// The asker's number for it.
    lookup: u64,
    id: SessionId,
    /// Those that have not answered yet.
    asked: BTreeSet<ServerId>,
    until: Timestamp,
}

/// All queries that this server has asked on. Those whose time is up make room for new ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Forwards {
    by_number: BTreeMap<u64, Forward>,
    by_asker: BTreeMap<(ServerId, u64), u64>,
}

impl Forwards {
    fn take(&mut self, number: u64) -> Option<Forward> {
        let forward = self.by_number.remove(&number)?;
        self.by_asker.remove(&(forward.asker, forward.lookup));
        Some(forward)
    }

    fn put(&mut self, number: u64, forward: Forward) {
        self.by_asker.insert((forward.asker, forward.lookup), number);
        self.by_number.insert(number, forward);
    }

    /// Numbers grow with time, so the oldest come first.
    fn drop_late(&mut self, now: Timestamp) {
        while let Some((&number, forward)) = self.by_number.first_key_value()
            && forward.until <= now
        {
            self.take(number);
        }
    }

    /// The query that this server was asked to answer by `from`.
    fn asked_on(&self, number: u64, id: &SessionId, by: ServerId) -> Option<&Forward> {
        let forward = self.by_number.get(&number)?;
        (forward.id == *id && forward.asked.contains(&by)).then_some(forward)
    }

    pub(super) fn check_invariants(&self, limit: u32) {
        assert_eq!(self.by_number.len(), self.by_asker.len(), "one forward per asker's look-up");
        assert!(self.by_number.len() <= limit as usize, "more forwards than allowed");
        let all = || self.by_number.values().all(|forward| !forward.asked.is_empty());
        assert!(self.by_number.is_empty() || all(), "a forward that nobody was asked for");
    }
}

impl Engine {
    /// Asks on for `asker`: of those that it may not reach, the ones that are heard from here.
    /// Returns them.
    pub(super) fn ask_on(&mut self, asker: ServerId, query: &Query) -> Vec<ServerId> {
        let Some(reaches) = &query.reaches else { return Vec::new() };
        let others = self.members.alive().filter(|&server| server != asker);
        let targets = others.filter(|server| !reaches.contains(&server.number()));
        let targets: Vec<ServerId> = targets.collect();
        if targets.is_empty() {
            return targets;
        }
        let forwards = &mut self.lookups.forwards;
        forwards.drop_late(self.now);
        let known = forwards.by_asker.get(&(asker, query.lookup)).copied();
        let before = known.and_then(|number| Some((number, forwards.take(number)?)));
        if before.is_none()
            && forwards.by_number.len() >= self.config.local.pending_forwards as usize
        {
            self.counters.forwards_refused += 1;
            return Vec::new();
        }
        let fresh = self.now + self.config.local.query_timeout;
        let until = before.as_ref().map_or(fresh, |(_, forward)| forward.until);
        let number = before.map_or_else(|| self.lookups.next_number(), |(number, _)| number);
        let asked = targets.iter().copied().collect();
        let forward = Forward { asker, lookup: query.lookup, id: query.id, asked, until };
        self.lookups.forwards.put(number, forward);
        self.counters.forwards += 1;
        for &target in &targets {
            let context = query.context.clone();
            let on = Query { lookup: number, id: query.id, context, reaches: None };
            self.send(target, Command::Query(on));
        }
        targets
    }

    /// Has a server send what it offered, for an asker that may not reach it.
    pub(super) fn fetch_on(&mut self, asker: ServerId, fetch: &Fetch) {
        let forwards = &self.lookups.forwards;
        let number = forwards.by_asker.get(&(asker, fetch.lookup)).copied();
        match number {
            Some(number) if forwards.asked_on(number, &fetch.id, fetch.of).is_some() => {
                let fetch = Fetch { lookup: number, id: fetch.id, of: fetch.of };
                self.send(fetch.of, Command::Fetch(fetch));
            }
            _ => self.counters.ignored_late += 1,
        }
    }

    /// Passes an answer on to the server that it was asked for. Returns whether there is one.
    pub(super) fn relay_answer(&mut self, from: ServerId, answer: &Answer) -> bool {
        let forwards = &mut self.lookups.forwards;
        if answer.by != from || forwards.asked_on(answer.lookup, &answer.id, from).is_none() {
            return false;
        }
        let Some(mut forward) = forwards.take(answer.lookup) else { return false };
        let (asker, lookup) = (forward.asker, forward.lookup);
        forward.asked.remove(&from);
        if !forward.asked.is_empty() {
            forwards.put(answer.lookup, forward);
        }
        let command = Command::Answer(Answer { lookup, asks: Vec::new(), ..answer.clone() });
        self.send(asker, command);
        self.rare.mark(Mark::AnswerForwarded);
        true
    }

    /// Passes an offer on to the server that it was asked for. Returns whether there is one.
    pub(super) fn relay_offer(&mut self, from: ServerId, offer: &Offer) -> bool {
        let forwards = &self.lookups.forwards;
        let forward = forwards.asked_on(offer.lookup, &offer.id, from).filter(|_| offer.by == from);
        let Some(&Forward { asker, lookup, .. }) = forward else { return false };
        let command = Command::Offer(Offer { lookup, asks: Vec::new(), ..offer.clone() });
        self.send(asker, command);
        true
    }
}
