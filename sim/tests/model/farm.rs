//! The model: all that may happen to a farm, one thing at a time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use grapevine_core::{Acks, ServerId, To};
use stateright::{Model, Property};

use crate::engines::{Engines, Input, No, Reply, Running, Step};
use crate::healing::{Healed, farm_at_rest, heal};
use crate::properties;
use crate::script::{Ask, BEAT, Bounds, Crash};

/// A server of the farm.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    /// The state of its process; `None` while it is down.
    pub(crate) engine: Option<No>,
    pub(crate) boots: u8,
    /// How far its clock has come.
    pub(crate) beats: u8,
}

/// A message under way, to the process that runs there now: connections end with their ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Message {
    pub(crate) to: usize,
    pub(crate) from: ServerId,
    pub(crate) command: No,
}

/// What a customer carries and knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Customer {
    token: Option<No>,
    /// The requests whose effects it has seen, as bits.
    knows: u16,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    NotAsked,
    Waits,
    /// Done by a server that lives, and by that one alone as far as the customer knows.
    Local,
    /// Done, and another server has it.
    Kept,
    /// Perhaps done.
    Unsure,
    /// Not done.
    Refused,
}

/// A state of the whole farm.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) servers: Vec<Server>,
    /// In order, for order means nothing.
    pub(crate) network: Vec<Message>,
    pub(crate) customers: Vec<Customer>,
    pub(crate) outcomes: Vec<Outcome>,
    /// All writes so far, in order of their numbers.
    pub(crate) wrote: Vec<No>,
    drops: u8,
    repeats: u8,
    pub(crate) crashes: u8,
    /// What is wrong already. Nothing happens after it.
    pub(crate) fault: Option<No>,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A customer's next request.
    Ask(usize),
    Deliver(Message),
    /// The same, and it will come once more.
    Repeat(Message),
    Drop(Message),
    /// A server's timers come up.
    Beat(usize),
    Crash(usize),
    /// The same, and all that it has sent and that is under way is lost with it.
    CrashUnsent(usize),
    Start(usize),
}

/// The servers of a last state: their engines, or if they are down their clocks.
type LastFarm = Vec<(Option<No>, u8)>;

/// The model.
pub(crate) struct Farm {
    pub(crate) bounds: Bounds,
    pub(crate) engines: Engines,
    healed: Mutex<BTreeMap<LastFarm, Arc<Healed>>>,
    start: State,
    /// Which properties were seen to break. The search keeps the last state that breaks one, and the
    /// first is wanted: it is the one of the fewest steps.
    broken: [AtomicBool; 6],
}

impl Farm {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let engines = Engines::default();
        let (running, token) = farm_at_rest(&bounds).expect("a farm at rest");
        let servers = running.into_iter().map(|running| Server {
            engine: Some(engines.keep(running)),
            boots: 0,
            beats: 0,
        });
        let token = token.map(|token| engines.keep_token(token));
        let start = State {
            servers: servers.collect(),
            network: Vec::new(),
            customers: vec![Customer { token, knows: 0 }; bounds.customers()],
            outcomes: vec![Outcome::NotAsked; bounds.script.len()],
            wrote: Vec::new(),
            drops: 0,
            repeats: 0,
            crashes: 0,
            fault: None,
        };
        Self { bounds, engines, healed: Mutex::default(), start, broken: Default::default() }
    }

    /// Whether a property holds, or was seen to break before.
    pub(crate) fn breaks_once(&self, property: usize, holds: bool) -> bool {
        holds || self.broken[property].swap(true, Ordering::Relaxed)
    }

    /// How many farms were healed.
    pub(crate) fn ends(&self) -> usize {
        self.healed.lock().expect("no panic under the lock").len()
    }

    /// Whether nothing more can happen.
    pub(crate) fn at_end(&self, state: &State) -> bool {
        let mut actions = Vec::new();
        self.actions(state, &mut actions);
        actions.is_empty() && state.fault.is_none()
    }

    /// What becomes of this state once messages arrive again and nobody asks for anything.
    pub(crate) fn healed(&self, state: &State) -> Arc<Healed> {
        let key = state.servers.iter().map(|server| (server.engine, server.beats));
        let key: Vec<_> = key.collect();
        if let Some(known) = self.healed.lock().expect("no panic under the lock").get(&key) {
            return Arc::clone(known);
        }
        let running = |(number, server): (usize, &Server)| match server.engine {
            Some(engine) => Some(self.engines.get(engine)),
            None if self.bounds.crash == Crash::One => Some(self.process(state, number)),
            None => None,
        };
        let farm = state.servers.iter().enumerate().map(running).collect();
        let healed = Arc::new(heal(&self.bounds, farm));
        self.healed.lock().expect("no panic under the lock").insert(key, Arc::clone(&healed));
        healed
    }

    /// The next process of a server that is down.
    fn process(&self, state: &State, server: usize) -> Running {
        let now = self.engines.get(self.start.servers[server].engine.expect("it ran")).now;
        let now = now + BEAT * state.servers[server].beats.into();
        Running::start(&self.bounds, server, state.servers[server].boots + 1, now)
    }

    /// The script's next request of each customer who waits for none and has a session.
    fn askable(&self, state: &State, op: usize) -> bool {
        let Bounds { script, .. } = &self.bounds;
        let asked = script[op];
        let mut earlier = script[..op].iter().zip(&state.outcomes);
        let after = earlier.all(|(other, outcome)| {
            other.customer != asked.customer
                || !matches!(outcome, Outcome::NotAsked | Outcome::Waits)
        });
        let token = asked.ask == Ask::Create || self.token(state, asked.customer).is_some();
        state.outcomes[op] == Outcome::NotAsked
            && after
            && token
            && state.servers[asked.server].engine.is_some()
    }

    /// What a customer carries: its own, or what whoever made the session passes on.
    fn token(&self, state: &State, customer: usize) -> Option<No> {
        state.customers[customer].token.or(state.customers[0].token)
    }

    fn apply(&self, state: &mut State, server: usize, input: Input) {
        let Some(engine) = state.servers[server].engine else { return };
        let step = self.engines.step(&self.bounds, engine, input);
        state.servers[server].engine = Some(step.engine);
        state.fault = state.fault.or(step.fault);
        let from = self.engines.server(engine);
        self.send(state, server, from, &step);
        for &(op, reply) in &step.replies {
            if let Err(fault) = self.answer(state, op.into(), reply) {
                state.fault = Some(self.engines.keep_fault(fault));
            }
        }
        for &write in &step.wrote {
            if let Err(place) = state.wrote.binary_search(&write) {
                state.wrote.insert(place, write);
            }
        }
    }

    fn send(&self, state: &mut State, server: usize, from: ServerId, step: &Step) {
        for &(to, command) in &step.sent {
            for other in (0..state.servers.len()).filter(|&other| other != server) {
                let Some(engine) = state.servers[other].engine else { continue };
                if to == To::All || to == To::One(self.engines.server(engine)) {
                    let message = Message { to: other, from, command };
                    let place = state.network.partition_point(|&before| before < message);
                    state.network.insert(place, message);
                }
            }
        }
    }

    /// A customer hears what became of its request.
    fn answer(&self, state: &mut State, op: usize, reply: Reply) -> Result<(), String> {
        let asked = self.bounds.script[op];
        if state.outcomes[op] != Outcome::Waits {
            return Err("a request is answered twice (G7)".to_owned());
        }
        let writes = asked.ask != Ask::Read;
        let done = if asked.acks == Acks::Local { Outcome::Local } else { Outcome::Kept };
        let ending = |(op, outcome): (&crate::script::Op, &Outcome)| {
            op.ask == Ask::Delete && *outcome != Outcome::NotAsked
        };
        let ended = self.bounds.script.iter().zip(&state.outcomes).any(ending);
        let customer = &mut state.customers[asked.customer];
        state.outcomes[op] = match reply {
            Reply::Served { token, shows, stale, lost } => {
                if lost && state.crashes == 0 {
                    return Err("lost, though nobody died (G3)".to_owned());
                }
                if !lost && !stale && customer.knows & !shows != 0 {
                    return Err(format!(
                        "a customer that knows {:b} is shown {shows:b} (G3)",
                        customer.knows
                    ));
                }
                customer.token = Some(token);
                customer.knows = if stale { customer.knows | shows } else { shows };
                if writes { done } else { Outcome::Local }
            }
            Reply::Deleted => {
                customer.knows |= 1 << op;
                done
            }
            Reply::NotReplicated { token } => {
                customer.token = token.or(customer.token);
                if asked.ask.shown() {
                    customer.knows |= 1 << op;
                }
                // It stands where it was made, as if nobody had been waited for.
                Outcome::Local
            }
            Reply::NotFound if !ended => {
                return Err("not found, though nobody ended it (G5)".to_owned());
            }
            Reply::Lost if state.crashes == 0 => {
                return Err("lost, though nobody died (G3)".to_owned());
            }
            Reply::NotFound | Reply::Lost | Reply::Unavailable => Outcome::Refused,
        };
        Ok(())
    }

    fn crash(&self, state: &mut State, server: usize) {
        let Some(engine) = state.servers[server].engine.take() else { return };
        state.crashes += 1;
        state.network.retain(|message| message.to != server);
        for (op, outcome) in self.bounds.script.iter().zip(&mut state.outcomes) {
            if op.server == server && matches!(outcome, Outcome::Waits | Outcome::Local) {
                *outcome = Outcome::Unsure;
            }
        }
        let id = self.engines.server(engine);
        for other in 0..state.servers.len() {
            self.apply(state, other, Input::Down(id));
        }
    }

    fn start(&self, state: &mut State, server: usize) {
        let running = self.process(state, server);
        let id = running.engine.server();
        state.servers[server].boots += 1;
        state.servers[server].engine = Some(self.engines.keep(running));
        for other in (0..state.servers.len()).filter(|&other| other != server) {
            if let Some(engine) = state.servers[other].engine {
                self.apply(state, server, Input::Up(self.engines.server(engine)));
                self.apply(state, other, Input::Up(id));
            }
        }
    }

    /// An action, for people.
    pub(crate) fn tell(&self, action: &Action) -> String {
        let message = |message: &Message| {
            let name = self.engines.name(&self.bounds, message.command);
            format!("{name}: {} to server {}", message.from, message.to + 1)
        };
        match action {
            Action::Ask(op) => {
                let asked = self.bounds.script[*op];
                format!(
                    "customer {} asks server {} to {:?}",
                    asked.customer,
                    asked.server + 1,
                    asked.ask
                )
            }
            Action::Deliver(it) => format!("comes: {}", message(it)),
            Action::Repeat(it) => format!("comes, and once more: {}", message(it)),
            Action::Drop(it) => format!("is lost: {}", message(it)),
            Action::Beat(server) => format!("server {}: timers", server + 1),
            Action::Crash(server) => format!("server {} dies", server + 1),
            Action::CrashUnsent(server) => {
                format!("server {} dies, and with it what it has sent", server + 1)
            }
            Action::Start(server) => format!("server {} starts", server + 1),
        }
    }
}

impl Model for Farm {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.start.clone()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.fault.is_some() {
            return;
        }
        let bounds = &self.bounds;
        let ops = 0..bounds.script.len();
        actions.extend(ops.filter(|&op| self.askable(state, op)).map(Action::Ask));
        let mut last = None;
        for &message in &state.network {
            if last.replace(message) == Some(message) {
                continue;
            }
            actions.push(Action::Deliver(message));
            if state.drops < bounds.drops {
                actions.push(Action::Drop(message));
            }
            if state.repeats < bounds.repeats {
                actions.push(Action::Repeat(message));
            }
        }
        let beats: u8 = state.servers.iter().map(|server| server.beats).sum();
        for (number, server) in state.servers.iter().enumerate() {
            if server.engine.is_none() {
                if bounds.crash == Crash::One {
                    actions.push(Action::Start(number));
                }
                continue;
            }
            if beats < bounds.beats {
                actions.push(Action::Beat(number));
            }
            if bounds.crash != Crash::Never && state.crashes == 0 {
                actions.push(Action::Crash(number));
                actions.push(Action::CrashUnsent(number));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let take = |message: Message, state: &mut State| {
            let place = state.network.binary_search(&message).expect("it is under way");
            state.network.remove(place);
        };
        match action {
            Action::Ask(op) => {
                let asked = self.bounds.script[op];
                let token = self.token(&state, asked.customer).filter(|_| asked.ask != Ask::Create);
                state.outcomes[op] = Outcome::Waits;
                self.apply(&mut state, asked.server, Input::Ask { op: op as u8, token });
            }
            Action::Deliver(message) | Action::Repeat(message) => {
                if matches!(action, Action::Repeat(_)) {
                    state.repeats += 1;
                } else {
                    take(message, &mut state);
                }
                let Message { to, from, command } = message;
                self.apply(&mut state, to, Input::Deliver { from, command });
            }
            Action::Drop(message) => {
                state.drops += 1;
                take(message, &mut state);
            }
            Action::Beat(server) => {
                state.servers[server].beats += 1;
                self.apply(&mut state, server, Input::Beat);
            }
            Action::Crash(server) => self.crash(&mut state, server),
            Action::CrashUnsent(server) => {
                let id = state.servers[server].engine.map(|engine| self.engines.server(engine));
                state.network.retain(|message| Some(message.from) != id);
                self.crash(&mut state, server);
            }
            Action::Start(server) => self.start(&mut state, server),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(&self.bounds)
    }
}
