//! Customers at work: from a drawn or scripted request to the server that gets it.

use grapevine_core::{Request, Token};
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{Run, START, WARM_UP, index};
use crate::model::Known;
use crate::rare::HarnessMark;
use crate::scenario::{Kind, Scripted};
use crate::shop::{Flight, Intent};

/// One of so many requests goes to any server, whether it is up or not.
const ASKED_BLINDLY: u32 = 12;

impl Run {
    /// A customer's time has come: it asks what the script says, or what it draws.
    pub(super) fn customer(&mut self, n: usize) {
        if let Some(scripted) = self.shop.scripted(self.world.now()) {
            let n = self.shop.customer_of(&scripted);
            return self.ask(n, scripted);
        }
        let Some(kind) = self.shop.choose(n, self.world.now(), &mut self.rng) else { return };
        // Now and then one asks whomever it likes, and finds out by waiting that nobody is there.
        let blind = self.rng.random_ratio(1, ASKED_BLINDLY);
        let asks = |&server: &u16| blind || self.world.is_up(index(server));
        let mut servers: Vec<u16> = (1..=self.scenario.servers).filter(asks).collect();
        servers.shuffle(&mut self.rng);
        // The requests of a double submit and of a log-in go to different servers.
        servers.truncate(if kind.is_double() { 2 } else { 1 });
        let at_s = self.world.now().since(START + WARM_UP).as_secs_f64();
        let at_s = at_s.min(self.scenario.duration_s);
        let (customer, flips) = (n as u32 + 1, self.rng.random());
        self.ask(n, Scripted { at_s, customer, servers, kind, flips });
    }

    fn ask(&mut self, n: usize, scripted: Scripted) {
        let mut rng = ChaCha8Rng::seed_from_u64(u64::from(scripted.flips));
        let requests = self.shop.ask(n, scripted.kind, self.world.now(), &mut rng);
        let asked_of = scripted.servers.len();
        if let Some(asked) = &mut self.asked {
            let creates = requests.len() == 1 && requests[0].1.intent == Intent::Create;
            let kind = if creates { Kind::Create } else { scripted.kind };
            asked.push(Scripted { kind, ..scripted.clone() });
        }
        let mut up = scripted.servers;
        up.retain(|&server| self.world.is_up(index(server)));
        if up.len() < asked_of {
            self.world.rare.mark(HarnessMark::AskedDown);
        }
        // A log-in with one server needs both its requests all the same.
        let again = if scripted.kind == Kind::LogIn { up.first().copied() } else { None };
        for ((request, flight), server) in requests.into_iter().zip(up.into_iter().chain(again)) {
            self.submit(index(server), request, flight);
        }
    }

    /// Whether a request is about a session with a principal, or about a principal.
    fn is_named(&self, request: &Request) -> bool {
        let has = |token: &Token| self.model.get(&token.id).is_some_and(Known::is_named);
        match request {
            Request::Create(create) => create.principal.is_some(),
            Request::Update { token, .. } | Request::Replace { token, .. } => has(token),
            Request::Rotate { token, rotation } => rotation.principal.is_some() || has(token),
            Request::Revoke { .. } => true,
            _ => false,
        }
    }

    /// Hands a request to a server.
    pub(super) fn submit(&mut self, server: usize, request: Request, mut flight: Box<Flight>) {
        flight.server = server;
        // A slow server may take its timers only, and leave what comes waiting.
        let runs = self.world.is_up(server) && !self.world.is_paused(server);
        flight.prompt = runs && !self.world.is_slow(server);
        if let (Intent::Delete, Some(token)) = (&flight.intent, &flight.token)
            && let Some(known) = self.model.get_mut(&token.id)
        {
            known.end_asked = true;
        }
        flight.named = self.is_named(&request);
        // What a read asks for its answer shows.
        let writes = !matches!(request, Request::Read { .. });
        flight.request = writes.then(|| request.clone());
        let id = self.world.announce();
        self.shop.flights.insert(id, flight);
        match &mut self.harness {
            None => match self.world.read_here(server, &request) {
                Some(outcome) => {
                    let from = self.world.as_answered_now(server);
                    self.answered(server, id, &outcome);
                    self.world.answered_from(server, from);
                }
                None => self.world.submit(server, id, request),
            },
            Some(harness) => {
                if !harness.ask(server, id, request) {
                    // Nobody is there: no connection, and no answer.
                    self.shop.flights.remove(&id);
                }
            }
        }
        self.observe();
    }
}
