//! A world: servers, the network between them, and the queue of what happens next.

use std::collections::BTreeMap;
use std::time::Duration;

use grapevine_core::wire;
use grapevine_core::{
    Action, Config, Engine, Event, Farm, Local, Notice, Request, RequestError, RequestId, Response,
    Served, ServerId, Session, Status, Timestamp, To, Token,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::network::Network;

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

#[derive(Debug)]
enum Happening {
    Message { from: ServerId, to: usize, bytes: Vec<u8> },
    Timer { server: usize },
}

#[derive(Debug)]
struct Node {
    engine: Option<Engine>,
    /// How far this server's clock is ahead of the world's, in microseconds.
    skew: i64,
    /// While paused, what happens to it waits.
    paused: bool,
    held: Vec<Happening>,
    timer: Option<Timestamp>,
    boot: Timestamp,
}

/// Servers on one event queue. `check_invariants` runs after every event.
#[derive(Debug)]
pub struct World {
    now: Timestamp,
    farm: Farm,
    local: Local,
    nodes: Vec<Node>,
    queue: BTreeMap<(Timestamp, u64), Happening>,
    scheduled: u64,
    rng: ChaCha8Rng,
    requests: u64,
    answers: BTreeMap<RequestId, Result<Response, RequestError>>,
    notices: Vec<(usize, Notice)>,
    messages: u64,
    /// When the last message of each link arrives: (from, to).
    last_arrival: BTreeMap<(usize, usize), Timestamp>,
    /// The network; change it to cause faults.
    pub network: Network,
    /// Whether [`World::check_claims`] runs after every event. It looks at every copy.
    pub strict: bool,
}

impl World {
    /// A world of `farm.size` servers, all just started, with all links up.
    pub fn new(seed: u64, farm: Farm) -> Self {
        Self::with_local(seed, farm, Local::default())
    }

    /// The same, with each server's own choices.
    pub fn with_local(seed: u64, farm: Farm, local: Local) -> Self {
        let mut world = Self {
            now: START,
            nodes: Vec::new(),
            queue: BTreeMap::new(),
            scheduled: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
            requests: 0,
            answers: BTreeMap::new(),
            notices: Vec::new(),
            messages: 0,
            last_arrival: BTreeMap::new(),
            network: Network::default(),
            strict: false,
            farm,
            local,
        };
        for _ in 0..world.farm.size {
            world.nodes.push(Node {
                engine: None,
                skew: 0,
                paused: false,
                held: Vec::new(),
                timer: None,
                boot: Timestamp::ZERO,
            });
        }
        for server in 0..world.nodes.len() {
            world.start(server);
        }
        world
    }

    /// The world's time.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// How many messages were delivered.
    pub const fn messages(&self) -> u64 {
        self.messages
    }

    /// Notices so far, with the server that gave them.
    pub fn notices(&self) -> &[(usize, Notice)] {
        &self.notices
    }

    /// A server's engine.
    ///
    /// # Panics
    /// If it is down.
    pub fn engine(&self, server: usize) -> &Engine {
        self.nodes[server].engine.as_ref().expect("the server is down")
    }

    /// Whether a server runs.
    pub fn is_up(&self, server: usize) -> bool {
        self.nodes[server].engine.is_some()
    }

    /// A server's summary.
    ///
    /// # Panics
    /// If it is down.
    pub fn status(&self, server: usize) -> Status {
        self.engine(server).status()
    }

    /// Kills a server: its memory is gone.
    pub fn crash(&mut self, server: usize) {
        let Some(engine) = self.nodes[server].engine.take() else { return };
        let id = engine.server();
        self.nodes[server].held.clear();
        for other in 0..self.nodes.len() {
            self.handle(other, Event::PeerDown(id));
        }
    }

    /// Starts a server that is down, empty, as a new process.
    pub fn start(&mut self, server: usize) {
        assert!(self.nodes[server].engine.is_none(), "the server runs");
        let now = self.clock(server);
        // No process starts twice in a millisecond.
        let boot = now.max(self.nodes[server].boot + Duration::from_millis(1));
        self.nodes[server].boot = boot;
        let id = ServerId::new(server as u16 + 1, boot);
        let mut config = Config::new(id, self.farm.clone());
        config.local = self.local.clone();
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        let engine = Engine::new(config, seed, now).expect("a valid configuration");
        self.nodes[server].engine = Some(engine);
        self.nodes[server].paused = false;
        for other in 0..self.nodes.len() {
            if let Some(peer) = self.nodes[other].engine.as_ref().map(Engine::server)
                && other != server
            {
                self.handle(server, Event::PeerUp(peer));
                self.handle(other, Event::PeerUp(id));
            }
        }
        self.handle(server, Event::Timer);
    }

    /// Sets how far a server's clock is ahead of the world's (behind, if negative).
    pub fn skew(&mut self, server: usize, micros: i64) {
        self.nodes[server].skew = micros;
    }

    /// Stops a server from running; what comes for it waits.
    pub fn pause(&mut self, server: usize) {
        self.nodes[server].paused = true;
    }

    /// Lets a paused server run again: everything at once.
    pub fn resume(&mut self, server: usize) {
        self.nodes[server].paused = false;
        for happening in std::mem::take(&mut self.nodes[server].held) {
            self.happen(happening);
        }
    }

    fn clock(&self, server: usize) -> Timestamp {
        let micros = self.now.as_micros().saturating_add_signed(self.nodes[server].skew);
        Timestamp::from_micros(micros)
    }

    /// Hands a request to a server. The answer comes by [`World::answer`].
    pub fn request(&mut self, server: usize, request: Request) -> RequestId {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.handle(server, Event::Request { id, request });
        id
    }

    /// The answer to a request, if it has come.
    pub fn answer(&self, id: RequestId) -> Option<&Result<Response, RequestError>> {
        self.answers.get(&id)
    }

    /// Hands a request to a server and runs the world until it is answered.
    ///
    /// # Errors
    /// The request's error.
    ///
    /// # Panics
    /// If there is no answer within a minute: every request gets one (G7).
    pub fn ask(&mut self, server: usize, request: Request) -> Result<Served, RequestError> {
        match self.ask_any(server, request)? {
            Response::Session(served) => Ok(served),
            other => panic!("expected a session, got {other:?}"),
        }
    }

    /// The same, for requests that don't answer with a session.
    ///
    /// # Errors
    /// The request's error.
    ///
    /// # Panics
    /// If there is no answer within a minute.
    pub fn ask_any(&mut self, server: usize, request: Request) -> Result<Response, RequestError> {
        let id = self.request(server, request);
        let until = self.now + Duration::from_secs(60);
        while !self.answers.contains_key(&id) {
            assert!(self.now < until, "no answer within a minute");
            self.step();
        }
        self.answers.remove(&id).expect("it was just seen")
    }

    /// Runs the world for a time.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some((&(due, _), _)) = self.queue.first_key_value() {
            if due > until {
                break;
            }
            self.step();
        }
        self.now = until;
    }

    fn step(&mut self) {
        if let Some(((due, _), happening)) = self.queue.pop_first() {
            self.now = self.now.max(due);
            self.happen(happening);
        }
    }

    fn happen(&mut self, happening: Happening) {
        let (Happening::Message { to: server, .. } | Happening::Timer { server }) = happening;
        if self.nodes[server].paused {
            self.nodes[server].held.push(happening);
            return;
        }
        match happening {
            Happening::Message { from, to, bytes } => {
                let command = wire::decode(&bytes, &self.farm).expect("own bytes decode");
                self.messages += 1;
                self.handle(to, Event::Command { from, command });
            }
            Happening::Timer { server } => {
                self.nodes[server].timer = None;
                self.handle(server, Event::Timer);
            }
        }
    }

    /// Hands an event to a server, and does what it wants done.
    pub fn handle(&mut self, server: usize, event: Event) {
        let now = self.clock(server);
        let Some(mut engine) = self.nodes[server].engine.take() else { return };
        engine.handle(now, event);
        while let Some(action) = engine.poll_action() {
            self.act(server, engine.server(), action);
        }
        engine.check_invariants();
        if let Some((due, _)) = engine.poll_timeout() {
            self.arm(server, due.since(now));
        }
        self.nodes[server].engine = Some(engine);
        if self.strict {
            self.check_claims(server);
        }
    }

    /// Checks the one invariant that all rests on: an applied vector never lies. What a running
    /// server wrote to a session, `server` has, if its applied entry for that writer says so.
    ///
    /// # Panics
    /// If it lies.
    pub fn check_claims(&self, server: usize) {
        let Some(engine) = &self.nodes[server].engine else { return };
        let applied = engine.status().applied;
        let mine: BTreeMap<_, _> = engine.copies().map(|copy| (copy.id.address, copy)).collect();
        for writer in self.nodes.iter().filter_map(|node| node.engine.as_ref()) {
            let id = writer.server();
            for copy in writer.copies() {
                let wrote = copy.seen.get(id);
                if wrote > applied.get(id) || wrote == grapevine_core::Stamp::ZERO {
                    continue;
                }
                let has = mine.get(&copy.id.address);
                assert!(
                    has.is_some_and(|has| has.id > copy.id || has.seen.get(id) >= wrote),
                    "{} says it has everything of {id} up to {}, but lacks its write {wrote} to {}: \
                     {has:?}",
                    engine.server(),
                    applied.get(id),
                    copy.id
                );
            }
        }
    }

    fn arm(&mut self, server: usize, wait: Duration) {
        // A timer that is due at once still takes a microsecond, or a busy server stops the world.
        let due = self.now + wait.max(Duration::from_micros(1));
        if self.nodes[server].timer.is_none_or(|armed| due < armed) {
            self.nodes[server].timer = Some(due);
            self.schedule(due, Happening::Timer { server });
        }
    }

    fn act(&mut self, server: usize, from: ServerId, action: Action) {
        match action {
            Action::Publish { to, command } => {
                let mut bytes = Vec::new();
                wire::encode(&command, &mut bytes);
                let one = |id: ServerId| usize::from(id.number()) - 1;
                let targets: Vec<usize> = match to {
                    To::All => (0..self.nodes.len()).filter(|&other| other != server).collect(),
                    To::One(id) => vec![one(id)],
                };
                for to in targets {
                    for delay in self.network.deliveries(&mut self.rng, server, to) {
                        let bytes = bytes.clone();
                        let mut due = self.now + delay;
                        if self.network.in_order {
                            let last = self.last_arrival.entry((server, to)).or_insert(due);
                            due = due.max(*last);
                            *last = due;
                        }
                        self.schedule(due, Happening::Message { from, to, bytes });
                    }
                }
            }
            Action::Respond { id, outcome } => {
                let twice = self.answers.insert(id, outcome);
                assert!(twice.is_none(), "a request was answered twice (G7)");
            }
            Action::Notify(notice) => self.notices.push((server, notice)),
            Action::Store { .. } => {}
        }
    }

    fn schedule(&mut self, due: Timestamp, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((due, self.scheduled), happening);
    }

    /// How the servers that run differ: a line for every difference, none if all hold identical
    /// sessions (G1).
    pub fn differences(&self) -> Vec<String> {
        let running: Vec<usize> =
            (0..self.nodes.len()).filter(|&server| self.nodes[server].engine.is_some()).collect();
        let copies = |server: usize| -> BTreeMap<_, Session> {
            self.engine(server).copies().map(|copy| (copy.id.address, (**copy).clone())).collect()
        };
        let Some((&first, others)) = running.split_first() else { return Vec::new() };
        let expected = copies(first);
        let mut differences = Vec::new();
        for &other in others {
            let actual = copies(other);
            for (address, copy) in &expected {
                match actual.get(address) {
                    None => differences.push(format!("{other} lacks {}", copy.id)),
                    Some(theirs) if theirs != copy => {
                        differences.push(format!("{first}: {copy:?}\n{other}: {theirs:?}"));
                    }
                    Some(_) => {}
                }
            }
            let extra = actual.iter().filter(|(address, _)| !expected.contains_key(address));
            differences.extend(extra.map(|(_, copy)| format!("{first} lacks {}", copy.id)));
        }
        differences
    }

    /// Reads a session at a server, as a customer who doesn't know the token's newest form would.
    ///
    /// # Errors
    /// The request's error.
    pub fn read(&mut self, server: usize, token: &Token) -> Result<Served, RequestError> {
        let policy = grapevine_core::ReadPolicy::Fresh;
        self.ask(server, Request::Read { token: token.clone(), policy })
    }
}
