//! Requests that follow from earlier ones: the same once more, and a new session for the old one.

use std::time::Duration;

use grapevine_core::{Acks, Create, Key, Request, Timestamp, Value, Vector};
use rand_chacha::ChaCha8Rng;

use super::login::somebody;
use super::{Carried, Flight, Intent, Shop, best_effort, flight};

impl Shop {
    /// The customer's last request once more, with the token that it has now: as after a time-out.
    /// `None` if there was none.
    pub(super) fn retry(
        &self,
        n: usize,
        carried: &Carried,
        now: Timestamp,
    ) -> Vec<(Request, Box<Flight>)> {
        let Some((intent, mut request)) = self.customers[n].last.clone() else { return Vec::new() };
        let own = carried.token.clone();
        let mut stale_will_do = false;
        let acks = match &mut request {
            Request::Update { token, acks, .. }
            | Request::Replace { token, acks, .. }
            | Request::Delete { token, acks } => {
                *token = own.clone();
                *acks
            }
            Request::Rotate { token, rotation } => {
                *token = own.clone();
                rotation.acks
            }
            Request::Revoke { acks, .. } => *acks,
            Request::Read { token, policy } => {
                stale_will_do = best_effort(*policy);
                *token = own.clone();
                Acks::Local
            }
            _ => return Vec::new(),
        };
        let mut flight = flight(n, intent, acks, Some(own), carried.known.clone(), now);
        flight.stale_will_do = stale_will_do;
        vec![(request, flight)]
    }

    /// A log-in, as an application without rotation makes it: a new session with a principal, and
    /// the end of the old one.
    pub(super) fn log_in(
        &mut self,
        n: usize,
        carried: &Carried,
        now: Timestamp,
        rng: &mut ChaCha8Rng,
    ) -> Vec<(Request, Box<Flight>)> {
        let (mut create, made) = self.create(n, now, rng);
        if let Request::Create(create) = &mut create {
            create.principal = Some(somebody(rng));
        }
        let token = carried.token.clone();
        let acks = Acks::Peers(1);
        let known = carried.known.clone();
        let ended = flight(n, Intent::Delete, acks, Some(token.clone()), known, now);
        let customer = &mut self.customers[n];
        (customer.carried, customer.earlier, customer.last) = (None, Vec::new(), None);
        vec![(create, made), (Request::Delete { token, acks }, ended)]
    }

    /// A new session that nobody comes back to.
    pub(crate) fn nobody(&self, bytes: usize, now: Timestamp) -> (Request, Box<Flight>) {
        let key = Key::new("page").expect("a good key");
        let create = Create {
            attributes: vec![(key, Value::new(&vec![b'x'; bytes]))],
            idle_timeout: Some(Duration::from_secs(self.workload.idle_timeout_s)),
            lifetime: Some(Duration::from_secs(self.workload.lifetime_s)),
            principal: None,
            acks: Acks::Local,
        };
        let mut flight = flight(0, Intent::Create, Acks::Local, None, Vector::default(), now);
        flight.customer = None;
        (Request::Create(create), flight)
    }

    /// Notes what a customer asks, so that it can ask it again.
    pub(super) fn note(&mut self, n: usize, asked: &[(Request, Box<Flight>)]) {
        if let Some((request, flight)) = asked.first()
            && !matches!(flight.intent, Intent::Create | Intent::List)
        {
            self.customers[n].last = Some((flight.intent.clone(), request.clone()));
        }
    }
}
