//! Two tabs of one customer, at once. They change one number: set it, add to it, remove it. So
//! counters meet registers and removals, which customers who only add to a counter never cause. Or both log in:
//! one session gets two new IDs, and the old one two graces, of which the shorter counts.

use std::time::Duration;

use grapevine_core::{Acks, Change, Key, Request, Timestamp, Token, Value, Vector};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::{Flight, Intent, Shop, flight};

/// The number that they change. It is never anything but a whole number, a counter, or nothing.
const STOCK: &str = "stock";

impl Shop {
    /// Two changes of one number, at once, each for a server of its own.
    pub(super) fn number_in_two_tabs(
        &mut self,
        n: usize,
        token: &Token,
        known: &Vector,
        now: Timestamp,
        rng: &mut ChaCha8Rng,
    ) -> Vec<(Request, Flight)> {
        self.customers[n].waits = 2;
        let submit = |_| {
            let change = change(rng);
            let removes = matches!(change, Change::Remove(_));
            let intent = if removes { Intent::Remove } else { Intent::Write };
            let changes = vec![change];
            let (token, acks) = (token.clone(), Acks::Local);
            let request = Request::Update { token: token.clone(), changes, acks };
            (request, flight(n, intent, acks, Some(token), known.clone(), now))
        };
        (0..2).map(submit).collect()
    }

    /// Two new IDs for one session, at once, each from a server of its own.
    pub(super) fn two_new_ids(
        &mut self,
        n: usize,
        token: &Token,
        known: &Vector,
        now: Timestamp,
        rng: &mut ChaCha8Rng,
    ) -> Vec<(Request, Flight)> {
        self.customers[n].waits = 2;
        let submit = |_| {
            let (intent, mut request) = self.new_id(token.clone(), Value::new(b"tab"), rng);
            let Intent::Rotate(acks) = intent else { unreachable!("a new ID") };
            if let Request::Rotate { rotation, .. } = &mut request {
                // So far apart that it is seen which of them counts.
                let ms = [100..600, 2_000..8_000][rng.random_range(0..2)].clone();
                rotation.grace = Duration::from_millis(rng.random_range(ms));
            }
            (request, flight(n, intent, acks, Some(token.clone()), known.clone(), now))
        };
        (0..2).map(submit).collect()
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
