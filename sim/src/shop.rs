//! The customers: each with a token that it carries from server to server.

use std::collections::BTreeMap;
use std::time::Duration;

use grapevine_core::{
    Acks, Address, Change, Create, Key, Principal, Request, RequestError, RequestId, Response,
    Timestamp, Token, TokenKey, Value, Vector,
};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::scenario::{Kind, Scenario, Scripted, Workload};

mod again;
mod carry;
mod flights;
mod last;
mod login;
mod several;
mod tabs;
use carry::Carried;
pub(crate) use flights::errand;
use flights::{best_effort, flight, policy, within};
pub(crate) use login::LOGIN;

/// The counter that customers only ever add to.
pub(crate) const COUNTER: &str = "clicks";
/// How many different things there are to be had.
const ITEMS: usize = 6;

/// What a request was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    Create,
    Read,
    Write,
    /// No write, if there is nothing to remove.
    Remove,
    Add(i64),
    Replace,
    Delete,
    /// A new ID, and whom to wait for.
    Rotate(Acks),
    /// Everybody of a name is signed out, and whom to wait for.
    Revoke(Acks),
    /// Which sessions does somebody have?
    List,
    Leave,
    Verify,
}

/// A request that was handed to a server.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) customer: Option<usize>,
    pub(crate) server: usize,
    pub(crate) intent: Intent,
    pub(crate) acks: Acks,
    pub(crate) token: Option<Token>,
    /// What was asked, word for word, if it was not a read.
    pub(crate) request: Option<Request>,
    /// What the customer had read and written when it got the token.
    pub(crate) known: Vector,
    pub(crate) sent: Timestamp,
    /// Whether the server was neither paused, slow nor stepped since.
    pub(crate) prompt: bool,
    /// Whether it would rather read something stale than nothing.
    pub(crate) stale_will_do: bool,
    /// How long it is to wait, if it says so itself.
    pub(crate) within: Option<Duration>,
    /// Whether it is about a session with a principal, or about a principal.
    pub(crate) named: bool,
    /// Whether it is the customer's last request, after healing.
    pub(crate) last: bool,
}

#[derive(Clone, Debug)]
struct Customer {
    /// What its sessions begin with: under `user`, who it is.
    name: (Key, Value),
    next: Timestamp,
    carried: Option<Carried>,
    earlier: Vec<Carried>,
    /// What it asked last, of the session that it has.
    last: Option<(Intent, Request)>,
    /// Where the last page of a list ended, and whose.
    page: Option<(Principal, Address)>,
    waits: usize,
    writes: u64,
}

/// All customers, and what they wait for.
#[derive(Debug)]
pub(crate) struct Shop {
    workload: Workload,
    key: TokenKey,
    /// What lies in carts, and the counter: keys that are made once.
    items: [Key; ITEMS],
    counter: Key,
    /// How many tokens customers got.
    issued: u64,
    customers: Vec<Customer>,
    /// Requests to come, the next one last.
    script: Vec<(Timestamp, Scripted)>,
    closed: bool,
    /// What [`Shop::next`] said, until a customer changes its plans.
    soonest: Option<Option<(Timestamp, usize)>>,
    pub(crate) flights: BTreeMap<RequestId, Box<Flight>>,
    /// Forged tokens that were refused, and those that were not.
    pub(crate) forged: (u64, u64),
}

impl Shop {
    pub(crate) fn new(scenario: &Scenario, now: Timestamp) -> Self {
        let user = Key::new("user").expect("a good key");
        let customer = |n: u32| Customer {
            name: (user.clone(), Value::new(format!("customer {n}").as_bytes())),
            next: now + Duration::from_millis(u64::from(n)),
            carried: None,
            earlier: Vec::new(),
            last: None,
            page: None,
            waits: 0,
            writes: 0,
        };
        let workload = &scenario.workload;
        let at = |scripted: &Scripted| now + Duration::from_secs_f64(scripted.at_s.max(0.0));
        let script = scenario.requests.iter().rev();
        let more = scenario.requests.iter().map(|scripted| scripted.customer).max().unwrap_or(0);
        Self {
            workload: workload.clone(),
            key: crate::harness::token_key(),
            items: std::array::from_fn(|n| Key::new(&format!("cart/{n}")).expect("a good key")),
            counter: Key::new(COUNTER).expect("a good key"),
            issued: 0,
            customers: (0..workload.customers + more).map(customer).collect(),
            script: script.map(|scripted| (at(scripted), scripted.clone())).collect(),
            closed: false,
            soonest: None,
            flights: BTreeMap::new(),
            forged: (0, 0),
        }
    }

    /// The customer of a script, by its number there.
    pub(crate) const fn customer_of(&self, scripted: &Scripted) -> usize {
        (self.workload.customers + scripted.customer) as usize - 1
    }

    pub(crate) fn len(&self) -> usize {
        self.customers.len()
    }

    /// The next customer who does something, and when.
    pub(crate) fn next(&mut self) -> Option<(Timestamp, usize)> {
        if self.soonest.is_none() {
            self.soonest = Some(self.find_next());
        }
        self.soonest.flatten()
    }

    fn find_next(&self) -> Option<(Timestamp, usize)> {
        if self.closed {
            return None;
        }
        let drawn = self.customers.iter().take(self.workload.customers as usize).enumerate();
        let script = self.script.last().map(|(at, scripted)| (*at, self.customer_of(scripted)));
        drawn.map(|(n, customer)| (customer.next, n)).chain(script).min()
    }

    /// What kind of request a customer makes now, and until when it waits. `None` if it thinks on.
    pub(crate) fn choose(
        &mut self,
        n: usize,
        now: Timestamp,
        rng: &mut ChaCha8Rng,
    ) -> Option<Kind> {
        self.soonest = None;
        let (from, to) = self.workload.think_ms;
        let think = Duration::from_millis(rng.random_range(from..=to));
        let patience = Duration::from_millis(self.workload.patience_ms);
        let customer = &mut self.customers[n];
        // If it waited, its patience is over: it goes elsewhere, with the token that it has.
        let tired = std::mem::take(&mut customer.waits) > 0;
        if customer.carried.is_none() {
            (customer.next, customer.waits) = (now + patience, 1);
            return Some(Kind::Create);
        }
        let kinds = &self.workload.kinds;
        let pick = rng.random_range(0..kinds.len() * 2 + 1);
        let mut kind = kinds.get(pick).copied().unwrap_or(Kind::Read);
        if tired && kinds.contains(&Kind::Retry) {
            kind = Kind::Retry;
        }
        if kind == Kind::Idle && rng.random_bool(0.3) {
            let idle = Duration::from_secs(self.workload.idle_timeout_s);
            customer.next = now + idle * 5 / 4;
            return None;
        }
        if kind == Kind::Forge {
            customer.next = now + Duration::from_millis(10);
        } else {
            (customer.next, customer.waits) = (now + patience + think, 1);
        }
        Some(kind)
    }

    /// A customer's requests of this kind, each for a server of its own.
    pub(crate) fn ask(
        &mut self,
        n: usize,
        kind: Kind,
        now: Timestamp,
        rng: &mut ChaCha8Rng,
    ) -> Vec<(Request, Box<Flight>)> {
        let asked = match self.customers[n].carried.clone() {
            Some(carried) if kind == Kind::LogIn => self.log_in(n, &carried, now, rng),
            Some(carried) if kind == Kind::Retry && self.customers[n].last.is_some() => {
                self.retry(n, &carried, now)
            }
            Some(carried) if kind != Kind::Create => {
                self.session_request(n, Some(kind), carried, now, rng)
            }
            _ => {
                let customer = &mut self.customers[n];
                (customer.carried, customer.last) = (None, None);
                vec![self.create(n, now, rng)]
            }
        };
        self.note(n, &asked);
        asked
    }

    /// The next request of the script, if it is due.
    pub(crate) fn scripted(&mut self, now: Timestamp) -> Option<Scripted> {
        self.soonest = None;
        let due = self.script.last().is_some_and(|(at, _)| *at <= now);
        self.script.pop_if(|_| due).map(|(_, scripted)| scripted)
    }

    fn create(&self, n: usize, now: Timestamp, rng: &mut ChaCha8Rng) -> (Request, Box<Flight>) {
        let acks = self.acks(rng);
        let (lifetime, idle_timeout) = self.times(rng);
        let create = Create {
            attributes: vec![self.customers[n].name.clone()],
            idle_timeout,
            lifetime,
            principal: rng.random_bool(0.5).then(|| login::somebody(rng)),
            acks,
        };
        let flight = flight(n, Intent::Create, acks, None, Vector::default(), now);
        (Request::Create(create), flight)
    }

    /// A new session's lifetime and idle timeout; `None` if that is left to the farm.
    fn times(&self, rng: &ChaCha8Rng) -> (Option<Duration>, Option<Duration>) {
        let mut apart = apart(rng);
        let mut named = |seconds| {
            let left_out = self.workload.farm_times && apart.random_bool(0.3);
            (!left_out).then(|| Duration::from_secs(seconds))
        };
        (named(self.workload.lifetime_s), named(self.workload.idle_timeout_s))
    }

    fn acks(&self, rng: &mut ChaCha8Rng) -> Acks {
        if !self.workload.kinds.contains(&Kind::Acks) {
            return Acks::Local;
        }
        let all =
            [Acks::Local, Acks::Peers(1), Acks::Peers(2), Acks::Majority, Acks::All, Acks::Farm];
        all[rng.random_range(0..all.len())]
    }

    fn session_request(
        &mut self,
        n: usize,
        kind: Option<Kind>,
        carried: Carried,
        now: Timestamp,
        rng: &mut ChaCha8Rng,
    ) -> Vec<(Request, Box<Flight>)> {
        let mut carried = carried;
        if kind == Some(Kind::StaleToken) && !self.customers[n].earlier.is_empty() {
            let earlier = &self.customers[n].earlier;
            carried = earlier[rng.random_range(0..earlier.len())].clone();
        }
        if kind == Some(Kind::Forge) {
            self.forge(&carried.token, rng);
            return Vec::new();
        }
        let token = carried.token;
        if kind == Some(Kind::DoubleSubmit) && rng.random_bool(0.5) {
            let rotates = self.workload.kinds.contains(&Kind::Rotate);
            return if rotates && apart(rng).random_bool(0.4) {
                self.two_new_ids(n, (&token, &carried.known), now, rng)
            } else if rng.random_bool(0.5) {
                self.two_tabs(n, (&token, &carried.known), now, rng)
            } else {
                self.number_in_two_tabs(n, (&token, &carried.known), now, rng)
            };
        }
        let acks = if kind == Some(Kind::Acks) { self.acks(rng) } else { Acks::Local };
        let Some((intent, request)) = self.request(n, kind, token.clone(), acks, rng) else {
            let policy = policy(kind, rng);
            let read = Request::Read { token: token.clone(), policy };
            let mut flight = flight(n, Intent::Read, Acks::Local, Some(token), carried.known, now);
            flight.stale_will_do = best_effort(policy);
            flight.within = within(policy);
            return vec![(read, flight)];
        };
        let acks = match (&intent, &request) {
            (Intent::Rotate(own) | Intent::Revoke(own), _) => *own,
            (_, Request::Delete { acks: own, .. }) => *own,
            _ => acks,
        };
        let flight = flight(n, intent, acks, Some(token), carried.known, now);
        if kind == Some(Kind::DoubleSubmit) {
            self.customers[n].waits = 2;
            return vec![(request.clone(), flight.clone()), (request, flight)];
        }
        vec![(request, flight)]
    }

    /// A write of this kind; `None` for reads.
    fn request(
        &mut self,
        n: usize,
        kind: Option<Kind>,
        token: Token,
        acks: Acks,
        rng: &mut ChaCha8Rng,
    ) -> Option<(Intent, Request)> {
        let customer = &mut self.customers[n];
        customer.writes += 1;
        let writes = customer.writes;
        let item = |rng: &mut ChaCha8Rng| self.items[rng.random_range(0..ITEMS)].clone();
        let value = || Value::new(format!("{n}.{writes}").as_bytes());
        let update = |token, change| Request::Update { token, changes: vec![change], acks };
        Some(match kind? {
            Kind::Set | Kind::Acks => {
                (Intent::Write, update(token, Change::Set(item(rng), value())))
            }
            Kind::Large => {
                let large = Value::new(&[7; 900]);
                (Intent::Write, update(token, Change::Set(item(rng), large)))
            }
            Kind::Remove => (Intent::Remove, update(token, Change::Remove(item(rng)))),
            Kind::Add | Kind::DoubleSubmit => {
                let amount = rng.random_range(-3..10);
                (Intent::Add(amount), update(token, Change::Add(self.counter.clone(), amount)))
            }
            Kind::Replace => {
                let attributes = vec![(item(rng), value())];
                (Intent::Replace, Request::Replace { token, attributes, acks })
            }
            Kind::Delete if rng.random_bool(0.3) => {
                // Mostly as applications do, which leave it to the farm.
                let choices = [Acks::Farm, Acks::Farm, Acks::Local, Acks::Majority, Acks::All];
                let acks = choices[rng.random_range(0..choices.len())];
                (Intent::Delete, Request::Delete { token, acks })
            }
            Kind::Several => {
                let (amount, changes) = self.several(&item(rng), &item(rng), &value(), rng);
                (Intent::Add(amount), Request::Update { token, changes, acks })
            }
            Kind::List => (Intent::List, login::list(customer.page.as_ref(), rng)),
            Kind::Rotate => self.new_id(token, value(), rng),
            Kind::Revoke if rng.random_bool(0.3) => Self::sign_out_everywhere(rng),
            _ => return None,
        })
    }

    /// A customer gets the answer to a request, and carries on.
    pub(crate) fn take(
        &mut self,
        flight: &Flight,
        outcome: &Result<Response, RequestError>,
        now: Timestamp,
        rng: &mut ChaCha8Rng,
    ) {
        let Some(n) = flight.customer else { return };
        self.soonest = None;
        let (from, to) = self.workload.think_ms;
        let customer = &mut self.customers[n];
        if customer.carried.as_ref().map(Carried::session)
            != flight.token.as_ref().map(|token| &token.id)
        {
            // The answer to a request about a session that it has given up.
            return;
        }
        match outcome {
            Ok(Response::Session(served)) => {
                let known = if served.lost {
                    // What is lost must not be asked for again.
                    let mut seen = served.session.seen.clone();
                    seen.retain(|server, stamp| served.token.context.get(server) == stamp);
                    seen
                } else if served.stale {
                    flight.known.clone()
                } else {
                    served.session.seen.clone()
                };
                let carried = self.carry(&served.token, known);
                let customer = &mut self.customers[n];
                customer.earlier.truncate(4);
                customer.earlier.extend(customer.carried.replace(carried));
            }
            Ok(Response::Deleted) | Err(RequestError::NotFound(_) | RequestError::Lost) => {
                (customer.carried, customer.earlier, customer.last) = (None, Vec::new(), None);
            }
            Err(RequestError::NotReplicated { token: Some(token), lost, .. }) => {
                let fresh = *lost || matches!(flight.intent, Intent::Rotate(_));
                let mut known = if fresh { Vector::default() } else { flight.known.clone() };
                known.join(&token.context);
                self.customers[n].carried = Some(self.carry(token, known));
            }
            Err(RequestError::NotReplicated { token: None, .. }) => customer.carried = None,
            Ok(Response::Sessions(listed)) => {
                if let Some(Request::Sessions { principal, .. }) = &flight.request {
                    customer.page = listed.next.map(|next| (principal.clone(), next));
                }
            }
            _ => {}
        }
        let customer = &mut self.customers[n];
        customer.waits = customer.waits.saturating_sub(1);
        if customer.waits == 0 {
            customer.next = now + Duration::from_millis(rng.random_range(from..=to));
        }
    }

    /// Everybody goes home: nobody asks any more.
    pub(crate) const fn close(&mut self) {
        self.soonest = None;
        self.closed = true;
    }
}

/// Coins of their own: what is drawn with them moves no other draw.
fn apart(rng: &ChaCha8Rng) -> ChaCha8Rng {
    let mut apart = rng.clone();
    apart.set_stream(1);
    apart
}
