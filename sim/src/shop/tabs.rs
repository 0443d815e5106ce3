//! Two tabs of one customer, at once. They change one number: set it, add to it, remove it. So
//! counters meet registers and removals, which customers who only add to a counter never cause. Or both log in:
//! one session gets two new IDs, and the old one two graces, of which the shorter counts.

use std::time::Duration;

use grapevine_core::{Acks, Change, Key, Request, Timestamp, Token, Value, Vector};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::{Flight, Intent, Shop, flight};
use crate::scenario::Kind;

/// The number that they change. It is never anything but a whole number, a counter, or nothing.
const STOCK: &str = "stock";

impl Shop {
    /// Two requests about one session, at once, each for a server of its own.
    fn twice(
        &mut self,
        n: usize,
        (token, known): (&Token, &Vector),
        now: Timestamp,
        mut request: impl FnMut(&mut Self) -> (Intent, Request),
    ) -> Vec<(Request, Box<Flight>)> {
        self.customers[n].waits = 2;
        let submit = |_| {
            let (intent, request) = request(self);
            let acks = if let Intent::Rotate(acks) = intent { acks } else { Acks::Local };
            (request, flight(n, intent, acks, Some(token.clone()), known.clone(), now))
        };
        (0..2).map(submit).collect()
    }

    /// Two writes of different values to one item.
    pub(super) fn two_tabs(
        &mut self,
        n: usize,
        has: (&Token, &Vector),
        now: Timestamp,
        rng: &mut ChaCha8Rng,
    ) -> Vec<(Request, Box<Flight>)> {
        // The same coins: the same item.
        let tab = rng.clone();
        self.twice(n, has, now, |shop| {
            let (token, rng) = (has.0.clone(), &mut tab.clone());
            shop.request(n, Some(Kind::Set), token, Acks::Local, rng).expect("a write")
        })
    }

    /// Two changes of one number.
    pub(super) fn number_in_two_tabs(
        &mut self,
        n: usize,
        has: (&Token, &Vector),
        now: Timestamp,
        rng: &mut ChaCha8Rng,
    ) -> Vec<(Request, Box<Flight>)> {
        self.twice(n, has, now, |_| {
            let change = change(rng);
            let removes = matches!(change, Change::Remove(_));
            let intent = if removes { Intent::Remove } else { Intent::Write };
            let (token, changes, acks) = (has.0.clone(), vec![change], Acks::Local);
            (intent, Request::Update { token, changes, acks })
        })
    }

    /// Two new IDs for one session.
    pub(super) fn two_new_ids(
        &mut self,
        n: usize,
        has: (&Token, &Vector),
        now: Timestamp,
        rng: &mut ChaCha8Rng,
    ) -> Vec<(Request, Box<Flight>)> {
        self.twice(n, has, now, |shop| {
            let (intent, mut request) = shop.new_id(has.0.clone(), Value::new(b"tab"), rng);
            if let Request::Rotate { rotation, .. } = &mut request {
                // So far apart that it is seen which of them counts.
                let ms = [100..600, 2_000..8_000][rng.random_range(0..2)].clone();
                rotation.grace = Duration::from_millis(rng.random_range(ms));
            }
            (intent, request)
        })
    }
}

fn change(rng: &mut ChaCha8Rng) -> Change {
    let key = Key::new(STOCK).expect("a good key");
    match rng.random_range(0..4) {
        0 => Change::Remove(key),
        1 => Change::Set(key, Value::new(b"10")),
        _ => Change::Add(key, rng.random_range(-3..10)),
    }
}
