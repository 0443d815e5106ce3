//! What is known of a request that is under way.

use std::time::Duration;

use grapevine_core::{Acks, ReadPolicy, Timestamp, Token, Vector};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::{Flight, Intent};
use crate::scenario::Kind;

/// How a read waits: as all do, or for a time of its own.
pub(super) fn policy(kind: Option<Kind>, rng: &mut ChaCha8Rng) -> ReadPolicy {
    if kind != Some(Kind::BestEffort) {
        return ReadPolicy::Fresh;
    }
    let time = Duration::from_millis(rng.random_range(0..1500));
    let policies = [
        ReadPolicy::BestEffort,
        ReadPolicy::BestEffortWithin(time),
        ReadPolicy::BestEffortWithin(Duration::ZERO),
        ReadPolicy::FreshWithin(time),
    ];
    policies[rng.random_range(0..policies.len())]
}

/// A request of a customer, about the session of this token. In a box: it is handed on several times.
pub(super) fn flight(
    customer: usize,
    intent: Intent,
    acks: Acks,
    token: Option<Token>,
    known: Vector,
    sent: Timestamp,
) -> Box<Flight> {
    Box::new(Flight {
        customer: Some(customer),
        server: 0,
        intent,
        acks,
        token,
        request: None,
        known,
        sent,
        prompt: true,
        stale_will_do: false,
        within: None,
        named: false,
        last: false,
    })
}

/// What no customer asks for, but whoever runs the farm.
pub(crate) fn errand(server: usize, intent: Intent, sent: Timestamp) -> Box<Flight> {
    let mut flight = flight(0, intent, Acks::Local, None, Vector::default(), sent);
    (flight.customer, flight.server) = (None, server);
    flight
}

/// How long this read waits, if it says so itself.
pub(super) const fn within(policy: ReadPolicy) -> Option<Duration> {
    match policy {
        ReadPolicy::FreshWithin(time) | ReadPolicy::BestEffortWithin(time) => Some(time),
        _ => None,
    }
}

/// Whether this read would rather show something stale than nothing.
pub(super) const fn best_effort(policy: ReadPolicy) -> bool {
    matches!(policy, ReadPolicy::BestEffort | ReadPolicy::BestEffortWithin(_))
}
