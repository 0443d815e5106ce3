//! Looking a session up: `Query`, `Offer`, `Fetch`, `Answer` (R63, R66 to R70, R93 to R96).
//!
//! A server that can't serve a request from its own array asks others, waits a bounded time and
//! merges the answers. The request is then served when its own applied vector joined with those of
//! the servers whose whole copies it merged covers the customer's context and the merged copy's
//! `seen`. Requests for one session share one look-up.
//!
//! The halves of the conversation: [`asker`] asks and takes answers, [`judge`] says what can be
//! said to a request now, [`holder`] answers, and [`forward`] asks on for an asker that may not
//! reach everybody.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::event::{Acks, ReadPolicy, RequestId, Rotation};
use crate::id::{Address, ServerId, SessionId};
use crate::session::{Change, Key, Value};
use crate::stamp::{Stamp, Timestamp};
use crate::token::Token;
use crate::vector::Vector;

mod asker;
mod forward;
mod holder;
mod judge;

/// What a request wants with a session.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Read(ReadPolicy),
    Update(Vec<Change>, Acks),
    Replace(Vec<(Key, Value)>, Acks),
    Delete(Acks),
    Rotate(Rotation),
}

#[derive(Clone, Debug)]
struct Asker {
    request: RequestId,
    token: Token,
    ask: Ask,
    /// How long it waits, and until when that is.
    wait: core::time::Duration,
    until: Timestamp,
}

/// What an asked server said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    /// It has nothing of the session.
    lacks: bool,
    /// It was joining.
    joining: bool,
    /// When it said so last, by this server's steady time.
    at: Timestamp,
}

/// A large copy that can be had.
#[derive(Clone, Copy, Debug)]
struct Offered {
    /// Who sent the offer: the holder itself, or who asked it on.
    via: ServerId,
    /// Whether the holder covers what the look-up is for.
    covers: bool,
}

/// A copy that is being sent.
#[derive(Clone, Copy, Debug)]
struct Fetching {
    holder: ServerId,
    via: ServerId,
    /// When another holder is tried.
    until: Timestamp,
}

/// One session that others are asked for.
#[derive(Clone, Debug)]
struct Lookup {
    id: SessionId,
    context: Vector,
    askers: Vec<Asker>,
    /// Those that were asked first, as long as they are the only ones.
    first: Option<BTreeSet<ServerId>>,
    said: BTreeMap<ServerId, Said>,
    /// Servers that are being asked on, by those that were asked.
    asked_on: BTreeSet<ServerId>,
    /// The applied vectors of the servers whose whole copies were merged.
    joined: Vector,
    /// Holders that offered and have not been asked to send yet.
    offers: BTreeMap<ServerId, Offered>,
    fetching: Option<Fetching>,
    /// Whether one was asked to send already.
    fetched: bool,
    /// When the first were asked: what others answer is as of then or later.
    since: Timestamp,
    /// When all are asked (again).
    query_at: Timestamp,
    review: Timestamp,
}

impl Lookup {
    /// Whether there may be something to ask for next, now that something has come.
    fn may_fetch(&self) -> bool {
        self.fetching.is_none() && (self.first.is_some() || !self.offers.is_empty())
    }
}

/// All look-ups under way, own ones and those for others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lookups {
    /// The number of the last look-up, or of the last query that was asked on.
    last: u64,
    /// In boxes, for they are taken out and put back all the time.
    by_number: BTreeMap<u64, Box<Lookup>>,
    by_session: BTreeMap<(Address, Stamp), u64>,
    reviews: BTreeSet<(Timestamp, u64)>,
    waiting: usize,
    forwards: forward::Forwards,
}

impl Lookups {
    /// How many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// When to call [`crate::Engine::review_lookups`].
    pub(crate) fn next_review(&self) -> Option<Timestamp> {
        self.reviews.first().map(|&(due, _)| due)
    }

    fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn take(&mut self, number: u64) -> Option<Box<Lookup>> {
        let lookup = self.by_number.remove(&number)?;
        self.by_session.remove(&(lookup.id.address, lookup.id.created));
        self.reviews.remove(&(lookup.review, number));
        self.waiting -= lookup.askers.len();
        Some(lookup)
    }

    fn put(&mut self, number: u64, mut lookup: Box<Lookup>) {
        let patience = lookup.askers.iter().map(|asker| asker.until).min();
        lookup.review = patience.unwrap_or(lookup.query_at).min(lookup.query_at);
        self.by_session.insert((lookup.id.address, lookup.id.created), number);
        self.reviews.insert((lookup.review, number));
        self.waiting += lookup.askers.len();
        self.by_number.insert(number, lookup);
    }

    fn get(&mut self, number: u64, id: &SessionId) -> Option<&mut Lookup> {
        let lookup = self.by_number.get_mut(&number)?;
        (lookup.id == *id).then_some(lookup)
    }

    pub(crate) fn check_invariants(&self, requests: u32, forwards: u32) {
        assert_eq!(self.by_number.len(), self.by_session.len(), "one look-up per session");
        assert_eq!(self.by_number.len(), self.reviews.len(), "one review per look-up");
        self.forwards.check_invariants(forwards);
        if self.by_number.is_empty() {
            return assert_eq!(self.waiting, 0, "waiting requests");
        }
        let mut askers = 0;
        for lookup in self.by_number.values() {
            assert!(!lookup.askers.is_empty(), "a look-up for nobody");
            askers += lookup.askers.len();
        }
        assert_eq!(askers, self.waiting, "waiting requests");
        assert!(askers <= requests as usize, "more requests wait than allowed");
    }
}
