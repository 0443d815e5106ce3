//! The holder's half: saying what this server has of a session (R66 to R69, R93 to R96).

use alloc::vec::Vec;

use crate::action::{Action, To};
use crate::command::{Answer, Command, Fetch, Found, Offer, Query};
use crate::engine::Engine;
use crate::facts::Place;
use crate::id::{ServerId, SessionId};
use crate::rare::Point;
use crate::session::Session;
use crate::vector::Vector;

/// The number of a look-up in an answer that goes to servers that did not ask: nobody's.
pub(super) const UNASKED: u64 = 0;

impl Engine {
    /// Says what this server has of a session: a small copy at once, a large one as an offer. Where
    /// that won't do for the asker, it asks on.
    pub(crate) fn on_query(&mut self, from: ServerId, query: Query) {
        if self.rare.force(Point::QueryIgnored) {
            return;
        }
        self.counters.answers += 1;
        let found = self.found(&query.id, &query.context);
        let Query { lookup, id, .. } = query;
        let asks = if self.will_do(&found, &query.context) {
            Vec::new()
        } else {
            self.ask_on(from, &query)
        };
        let applied = self.applied.vector().clone();
        let by = self.config.server;
        if let Found::Whole(session) | Found::Joining(Some(session)) = &found
            && self.offers(session)
        {
            self.counters.offers += 1;
            let bytes = u32::try_from(session.weight()).unwrap_or(u32::MAX);
            return self.send(from, Command::Offer(Offer { lookup, id, applied, bytes, by, asks }));
        }
        self.answer(from, Answer { lookup, id, applied, found, by, asks });
    }

    /// Whether a copy is offered first, because it is large (R69, R96).
    fn offers(&self, session: &Session) -> bool {
        let large = session.weight() > self.config.local.offer_above as usize;
        let otherwise = if large { Point::AnswerLarge } else { Point::OfferSmall };
        large != self.rare.force(otherwise)
    }

    /// Whether the asker can serve its customer with this answer.
    fn will_do(&self, found: &Found, context: &Vector) -> bool {
        let Found::Whole(session) = found else { return false };
        self.covered(&self.applied, &session.seen) && self.covered(&self.applied, context)
    }

    /// Sends a session that was offered, or has it sent by the server that it was asked on for.
    pub(crate) fn on_fetch(&mut self, from: ServerId, fetch: Fetch) {
        let by = self.config.server;
        if fetch.of != by {
            return self.fetch_on(from, &fetch);
        }
        let found = self.found(&fetch.id, &Vector::default());
        let applied = self.applied.vector().clone();
        let Fetch { lookup, id, .. } = fetch;
        let answer = Answer { lookup, id, applied, found, by, asks: Vec::new() };
        self.send(from, Command::Answer(answer));
    }

    /// Answers the asker and, where this server is told to, all who lack what the copy shows (R68,
    /// R94).
    fn answer(&mut self, asker: ServerId, answer: Answer) {
        if (self.config.local.answer_all || self.rare.force(Point::AnswerAll))
            && let Found::Whole(session) = &answer.found
        {
            let lacks = |source: &(ServerId, &Vector, _)| !self.covered(source.1, &session.seen);
            let others = self.members.sources().filter(lacks).map(|source| source.0);
            let others: Vec<ServerId> = others.filter(|&other| other != asker).collect();
            for other in others {
                self.counters.answers_unasked += 1;
                let command = Command::Answer(Answer { lookup: UNASKED, ..answer.clone() });
                self.act(Action::Publish { to: To::One(other), command });
            }
        }
        self.send(asker, Command::Answer(answer));
    }

    fn found(&self, id: &SessionId, context: &Vector) -> Found {
        // Customers' tokens need not name what every server has; one that joins, or has left, is not
        // counted for that.
        let joining = self.members.joining() || self.has_left();
        match self.facts.find(id) {
            Place::Here(copy) | Place::Superseded(copy) if copy.complete => {
                let copy = alloc::sync::Arc::clone(copy);
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
