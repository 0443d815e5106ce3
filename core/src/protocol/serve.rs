//! Serving: what may be shown to a customer, and the token that goes with it (G3, G5).
//!
//! A server serves from its own array when its copy is complete and live, and it covers both the
//! token's context and the copy's own `seen`: a copy may show a write from beyond a gap, or depend
//! on a write that is not here yet. That is the common case, and costs a slot read.

use alloc::sync::Arc;
use core::time::Duration;

use crate::action::{Response, Served};
use crate::engine::Engine;
use crate::error::{NotFound, RequestError};
use crate::id::ServerId;
use crate::rare::{Mark, Point};
use crate::session::{Expiry, Life, Session};
use crate::stamp::{Stamp, Timestamp};
use crate::status::View;
use crate::token::Token;
use crate::vector::Vector;

/// What may be done with a copy, as far as the copy itself and the clock tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It may be served, if it is covered.
    Ready,
    /// It looks idle; whether it is, others may know better.
    Idle,
    /// Rotated away: it may be read, if it is covered.
    Retired,
    /// Its create has not come yet.
    Partial,
    /// It is over.
    Ended(NotFound),
}

pub(crate) fn standing(copy: &Session, now: Timestamp) -> Standing {
    match copy.life {
        Life::Retired { until } if now < until => {}
        Life::Live => {}
        _ => return Standing::Ended(NotFound::Ended),
    }
    match copy.expiry(now, Duration::ZERO) {
        Expiry::Over | Expiry::Gone => Standing::Ended(NotFound::Deadline),
        _ if !copy.complete => Standing::Partial,
        Expiry::Idle => Standing::Idle,
        Expiry::Fresh if copy.life != Life::Live => Standing::Retired,
        Expiry::Fresh => Standing::Ready,
    }
}

/// What request threads may do with a copy of the local array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locally {
    /// Serve this.
    Serve(Served),
    /// Ask the engine: by a request.
    Ask,
}

/// Whether a request thread may serve this copy without the engine, and what the customer gets.
///
/// `copy` and `settled` are what the last [`crate::Action::Store`] for the token's address said;
/// `view` is the engine's newest. Never wrong, but careful: when anything is unusual (an access is
/// to be written down, the copy looks idle, a part of the context is not here), the answer is to
/// ask.
pub fn serve_locally(
    copy: &Arc<Session>,
    settled: bool,
    view: &View,
    token: &Token,
    now: Timestamp,
) -> Locally {
    let isolated = now > view.hears_majority_until;
    let plain = view.serving
        && !(isolated && view.refuses_when_isolated)
        && settled
        && copy.id == token.id
        && standing(copy, now) == Standing::Ready
        && !copy.wants_touch(now)
        && view.applied.covers(&token.context);
    if !plain {
        return Locally::Ask;
    }
    let mut token = next_token(copy, &token.context);
    token.context = without(token.context, &view.stable);
    Locally::Serve(Served { token, session: Arc::clone(copy), stale: false, lost: false, isolated })
}

/// The token after a response: the old context joined with what the copy has seen.
fn next_token(copy: &Session, context: &Vector) -> Token {
    let mut context = context.clone();
    context.join(&copy.seen);
    Token { id: copy.id, deadline: copy.fixed.deadline, context }
}

/// A context without what every server is known to have.
fn without(mut context: Vector, stable: &Vector) -> Vector {
    context.retain(|server, stamp| !stable.covers_entry(server, stamp));
    context
}

/// On what a response rests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grounds {
    /// The customer's context.
    pub(crate) context: Vector,
    /// The part that is lost, of the context and of what the copy has seen.
    pub(crate) lost: Vector,
    /// Whether nobody could tell in time if the copy covers it.
    pub(crate) stale: bool,
}

impl Engine {
    /// A copy as it is served. What of its context can be dropped is found when the response goes out.
    pub(crate) fn served(&mut self, copy: &Arc<Session>, grounds: &Grounds) -> Served {
        let lost = !grounds.lost.is_empty();
        self.counters.served_lost += u64::from(lost);
        self.counters.served_stale += u64::from(grounds.stale);
        self.rare.mark_if(lost, Mark::LostPartLeftOut);
        self.rare.mark_if(grounds.stale, Mark::StaleServed);
        let context = &grounds.context;
        let token = if grounds.stale {
            // What this copy lacks must stay in the context.
            Token { id: copy.id, deadline: copy.fixed.deadline, context: context.clone() }
        } else {
            let mut token = next_token(copy, context);
            token.context.retain(|server, _| grounds.lost.get(server) == Stamp::ZERO);
            token
        };
        let isolated = self.isolated();
        Served { token, session: Arc::clone(copy), stale: grounds.stale, lost, isolated }
    }

    /// Drops from a response's context what every server has, as it goes out: one that waited for
    /// acknowledgements may be told of a server that it had not heard of when the write was made.
    pub(crate) fn drop_context(&mut self, outcome: &mut Result<Response, RequestError>) {
        let token = match outcome {
            Ok(Response::Session(served)) if !served.stale => &mut served.token,
            Err(RequestError::NotReplicated { token: Some(token), .. }) => token,
            _ => return,
        };
        if self.rare.force(Point::ContextKept) {
            return;
        }
        let stable = self.stable();
        self.rare.mark_if(stable.is_empty(), Mark::ContextCarriedForDownServer);
        let before = token.context.len();
        token.context = without(core::mem::take(&mut token.context), &stable);
        self.rare.mark_if(token.context.len() < before, Mark::ContextEntryDropped);
    }

    /// Whether `base` covers a vector. Entries from longer ago than any session lives are covered
    /// by everyone: all that they could speak of has expired.
    pub(crate) fn covered(&self, base: &Vector, vector: &Vector) -> bool {
        base.beyond(vector).all(|(_, stamp)| self.is_of_long_ago(stamp))
    }

    /// Whether `base` covers one entry, or age does.
    pub(crate) fn covered_entry(&self, base: &Vector, server: ServerId, stamp: Stamp) -> bool {
        base.covers_entry(server, stamp) || self.is_of_long_ago(stamp)
    }

    /// Whether all that a write of this stamp could speak of has expired: not by this server's clock
    /// alone, which may be far ahead, and what is covered is never asked for again.
    pub(crate) fn is_of_long_ago(&self, stamp: Stamp) -> bool {
        let farm = &self.config.farm;
        let over = stamp.time() + farm.max_lifetime + farm.margin();
        over < self.now && over < self.sure_now_of_others()
    }
}
