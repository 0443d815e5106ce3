//! What every customer asks once more when the farm is healed: it reads, then it writes or makes a session.

use grapevine_core::{Acks, Change, Key, ReadPolicy, Request, Timestamp, Value};
use rand_chacha::ChaCha8Rng;

use super::{Flight, Intent, Shop, flight};

impl Shop {
    /// What does a customer see, after healing? `None` if it has no session.
    pub(crate) fn last_look(&mut self, n: usize, now: Timestamp) -> Option<(Request, Box<Flight>)> {
        let carried = self.customers[n].carried.clone()?;
        let token = carried.token;
        let policy = ReadPolicy::Fresh;
        let read = Request::Read { token: token.clone(), policy };
        let mut flight = flight(n, Intent::Read, Acks::Local, Some(token), carried.known, now);
        flight.last = true;
        Some((read, flight))
    }

    /// Then it writes; who has no session makes one.
    pub(crate) fn last_write(
        &mut self,
        n: usize,
        acks: Acks,
        now: Timestamp,
        rng: &ChaCha8Rng,
    ) -> (Request, Box<Flight>) {
        let Some(carried) = self.customers[n].carried.clone() else {
            let (mut request, mut flight) = self.create(n, now, &mut rng.clone());
            if let Request::Create(create) = &mut request {
                create.acks = acks;
            }
            (flight.acks, flight.last) = (acks, true);
            return (request, flight);
        };
        let token = carried.token;
        let key = Key::new("cart/0").expect("a good key");
        let changes = vec![Change::Set(key, Value::new(format!("{n} at last").as_bytes()))];
        let request = Request::Update { token: token.clone(), changes, acks };
        let mut flight = flight(n, Intent::Write, acks, Some(token), carried.known, now);
        flight.last = true;
        (request, flight)
    }
}
