//! A world: servers, the network between them, and the queue of what happens next.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;
use std::time::Duration;

use grapevine_core::command::Write;
use grapevine_core::wire;
use grapevine_core::{
    Action, Command, Config, Engine, Event, Farm, Life, Local, Notice, Request, RequestError,
    RequestId, Response, Served, ServerId, Session, SessionId, Status, Timestamp, To, Token,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::network::{Fate, Link, Network};
use crate::trace::{Record, Trace};

/// When every world starts.
pub const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Something that may happen to a server.
#[derive(Clone, Debug)]
enum Happening {
    Message { from: ServerId, link: Link, bytes: Rc<Vec<u8>>, flipped: bool },
    Timer { server: usize },
    Request { server: usize, id: RequestId, request: Rc<Request> },
}

impl Happening {
    const fn server(&self) -> usize {
        match self {
            Self::Message { link, .. } => link.1,
            Self::Timer { server } | Self::Request { server, .. } => *server,
        }
    }
}

/// The queue's order: by time, then as scheduled.
#[derive(Debug)]
struct Entry(Reverse<(Timestamp, u64)>, Happening);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// What an onlooker sees: the input of the reference model and the checks.
#[derive(Clone, Debug)]
pub(crate) enum Observation {
    /// A server made this write.
    Wrote { by: ServerId, write: Write },
    /// A request was answered.
    Answered { server: usize, id: RequestId, outcome: Result<Response, RequestError> },
    /// A server keeps this copy now, for request threads to read.
    Stored { by: ServerId, id: SessionId, life: Life },
    /// A server died; whoever waits for it gets no answer.
    Crashed { server: usize },
}

#[derive(Debug)]
struct Node {
    engine: Option<Engine>,
    boot: Timestamp,
    /// How far this server's clock is ahead of the world's, in microseconds.
    skew: i64,
    /// How fast its clock runs, beyond one, in parts per million, and since when.
    drift: (i64, Timestamp),
    /// The latest reading it was given: time never goes back for it.
    latest: Timestamp,
    /// While paused, what happens to it waits.
    paused: bool,
    held: Vec<Happening>,
    timer: Option<Timestamp>,
    /// What each event costs it, and until when it is busy.
    cost: Duration,
    busy: Timestamp,
}

/// Servers on one event queue. `check_invariants` runs after every event.
#[derive(Debug)]
pub struct World {
    now: Timestamp,
    farm: Farm,
    local: Local,
    nodes: Vec<Node>,
    queue: BinaryHeap<Entry>,
    scheduled: u64,
    clogged: BTreeMap<Link, Vec<(ServerId, Rc<Vec<u8>>)>>,
    rng: ChaCha8Rng,
    requests: u64,
    answers: BTreeMap<RequestId, Result<Response, RequestError>>,
    notices: Vec<(usize, Notice)>,
    observations: Vec<Observation>,
    messages: u64,
    events: u64,
    refused: u64,
    undetected: u64,
    trace: Trace,
    /// The network; change it to cause faults.
    pub network: Network,
    /// Whether [`World::check_claims`] runs after every event. It looks at every copy.
    pub strict: bool,
    /// Whether answers are kept for [`World::answer`].
    pub keep_answers: bool,
}

impl World {
    /// A world of `farm.size` servers, all just started, with all links up.
    pub fn new(seed: u64, farm: Farm) -> Self {
        Self::with_local(seed, farm, Local::default())
    }

    /// The same, with each server's own choices.
    pub fn with_local(seed: u64, farm: Farm, local: Local) -> Self {
        let node = || Node {
            engine: None,
            boot: Timestamp::ZERO,
            skew: 0,
            drift: (0, START),
            latest: Timestamp::ZERO,
            paused: false,
            held: Vec::new(),
            timer: None,
            cost: Duration::ZERO,
            busy: START,
        };
        let mut world = Self {
            now: START,
            nodes: (0..farm.size).map(|_| node()).collect(),
            farm,
            local,
            queue: BinaryHeap::new(),
            scheduled: 0,
            clogged: BTreeMap::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            requests: 0,
            answers: BTreeMap::new(),
            notices: Vec::new(),
            observations: Vec::new(),
            messages: 0,
            events: 0,
            refused: 0,
            undetected: 0,
            trace: Trace::default(),
            network: Network::default(),
            strict: false,
            keep_answers: true,
        };
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

    /// How many events were handled.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// How many messages with flipped bits were not refused.
    pub const fn undetected(&self) -> u64 {
        self.undetected
    }

    /// How many messages with flipped bits were refused.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// The rolling hash over everything that happened so far (G9).
    pub const fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// What was recorded; see [`World::record`].
    pub fn trace(&self) -> &[Record] {
        self.trace.records()
    }

    /// Has everything recorded from now on, for a picture.
    pub fn record(&mut self) {
        self.trace.record();
    }

    /// Notices so far, with the server that gave them.
    pub fn notices(&self) -> &[(usize, Notice)] {
        &self.notices
    }

    /// The number of configured servers.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// What the farm agrees on.
    pub const fn farm(&self) -> &Farm {
        &self.farm
    }

    pub(crate) fn take_observations(&mut self) -> Vec<Observation> {
        std::mem::take(&mut self.observations)
    }

    /// A server's engine, if it runs.
    pub fn running(&self, server: usize) -> Option<&Engine> {
        self.nodes[server].engine.as_ref()
    }

    /// A server's engine.
    ///
    /// # Panics
    /// If it is down.
    pub fn engine(&self, server: usize) -> &Engine {
        self.running(server).expect("the server is down")
    }

    /// Whether a server runs.
    pub fn is_up(&self, server: usize) -> bool {
        self.nodes[server].engine.is_some()
    }

    /// Whether a server is paused.
    pub fn is_paused(&self, server: usize) -> bool {
        self.nodes[server].paused
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
        self.trace.note(self.now, server, "crash");
        self.nodes[server].held.clear();
        self.nodes[server].paused = false;
        self.observations.push(Observation::Crashed { server });
        for other in 0..self.nodes.len() {
            if !self.nodes[other].paused {
                self.handle(other, Event::PeerDown(id));
            }
        }
    }

    /// Starts a server that is down, empty, as a new process.
    pub fn start(&mut self, server: usize) {
        assert!(self.nodes[server].engine.is_none(), "the server runs");
        self.nodes[server].latest = Timestamp::ZERO;
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
        self.trace.note(self.now, server, "start");
        let node = &mut self.nodes[server];
        (node.engine, node.paused, node.timer, node.busy) = (Some(engine), false, None, self.now);
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

    /// Sets how far a server's clock is ahead of the world's (behind, if negative). For a server
    /// time never goes back: it stands until the world has caught up.
    pub fn skew(&mut self, server: usize, micros: i64) {
        self.trace.note(self.now, server, "clock");
        self.nodes[server].skew = micros;
    }

    /// How far a server's clock is ahead of the world's, in microseconds.
    pub fn skew_of(&self, server: usize) -> i64 {
        let now = self.clock(server).as_micros() as i64;
        now - self.now.as_micros() as i64
    }

    /// Sets how fast a server's clock runs beyond one, in parts per million.
    pub fn drift(&mut self, server: usize, ppm: i64) {
        let ahead = self.skew_of(server);
        let node = &mut self.nodes[server];
        (node.skew, node.drift) = (ahead, (ppm, self.now));
    }

    /// Sets what each event costs a server.
    pub fn slow(&mut self, server: usize, cost: Duration) {
        self.nodes[server].cost = cost;
    }

    /// Stops a server from running; what comes for it waits.
    pub fn pause(&mut self, server: usize) {
        self.trace.note(self.now, server, "pause");
        self.nodes[server].paused = true;
    }

    /// Lets a paused server run again: everything at once.
    pub fn resume(&mut self, server: usize) {
        self.trace.note(self.now, server, "resume");
        self.nodes[server].paused = false;
        for happening in std::mem::take(&mut self.nodes[server].held) {
            self.happen(happening);
        }
    }

    /// Lets a clogged link flow again: everything that waited leaves now.
    pub fn unclog(&mut self, link: Link) {
        self.network.clogged.remove(&link);
        for (from, bytes) in self.clogged.remove(&link).unwrap_or_default() {
            self.network.arrived(link);
            let due = self.network.arrival(&mut self.rng, link, self.now);
            self.schedule(due, Happening::Message { from, link, bytes, flipped: false });
        }
    }

    fn clock(&self, server: usize) -> Timestamp {
        let node = &self.nodes[server];
        let gained = self.now.since(node.drift.1).as_micros() as i64 / 1000 * node.drift.0 / 1000;
        let micros = self.now.as_micros().saturating_add_signed(node.skew + gained);
        Timestamp::from_micros(micros).max(node.latest)
    }

    /// Hands a request to a server. The answer comes by [`World::answer`].
    pub fn request(&mut self, server: usize, request: Request) -> RequestId {
        let id = self.announce();
        self.submit(server, id, request);
        id
    }

    /// The number of the next request.
    pub(crate) const fn announce(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    /// Hands over a request whose number is known already: its answer may come at once.
    pub(crate) fn submit(&mut self, server: usize, id: RequestId, request: Request) {
        let request = Rc::new(request);
        self.happen(Happening::Request { server, id, request });
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
        loop {
            if let Some(answer) = self.answers.remove(&id) {
                return answer;
            }
            assert!(self.now < until, "no answer within a minute");
            self.step();
        }
    }

    /// Runs the world for a time.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.next_due().is_some_and(|due| due <= until) {
            self.step();
        }
        self.now = until;
    }

    /// When the next thing happens.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.queue.peek().map(|entry| entry.0.0.0)
    }

    /// Moves time on to when something outside the queue happens.
    pub(crate) fn advance(&mut self, to: Timestamp) {
        self.now = self.now.max(to);
    }

    /// Lets the next thing happen.
    pub(crate) fn step(&mut self) {
        if let Some(Entry(Reverse((due, _)), happening)) = self.queue.pop() {
            self.now = self.now.max(due);
            if let Happening::Message { link, .. } = &happening {
                self.network.arrived(*link);
            }
            self.happen(happening);
        }
    }

    fn happen(&mut self, happening: Happening) {
        let server = happening.server();
        let node = &mut self.nodes[server];
        if node.paused {
            node.held.push(happening);
            return;
        }
        if node.busy > self.now && !matches!(happening, Happening::Timer { .. }) {
            let due = node.busy;
            return self.schedule(due, happening);
        }
        match happening {
            Happening::Message { from, link, bytes, flipped } => {
                self.receive(from, link, &bytes, flipped);
            }
            Happening::Timer { server } => {
                self.nodes[server].timer = None;
                self.handle(server, Event::Timer);
            }
            Happening::Request { server, id, request } => {
                let request = Rc::unwrap_or_clone(request);
                self.handle(server, Event::Request { id, request });
            }
        }
    }

    fn receive(&mut self, from: ServerId, link: Link, bytes: &[u8], flipped: bool) {
        if flipped {
            let mut sealed = bytes.to_vec();
            wire::seal(&mut sealed);
            let mut bytes = sealed.clone();
            for _ in 0..self.rng.random_range(1..=3) {
                let bit = self.rng.random_range(0..bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            match wire::open(&bytes) {
                Err(_) => self.refused += 1,
                Ok(_) => self.undetected += u64::from(bytes != sealed),
            }
            return;
        }
        let command = wire::decode(bytes, &self.farm).expect("own bytes decode");
        self.messages += 1;
        self.trace.message(self.now, from, link, &command, bytes);
        self.handle(link.1, Event::Command { from, command });
    }

    /// Hands an event to a server, and does what it wants done.
    pub fn handle(&mut self, server: usize, event: Event) {
        let now = self.clock(server);
        let Some(mut engine) = self.nodes[server].engine.take() else { return };
        self.events += 1;
        engine.handle(now, event);
        while let Some(action) = engine.poll_action() {
            self.act(server, engine.server(), action);
        }
        engine.check_invariants();
        self.trace.handled(self.now, server, engine.fingerprint());
        if let Some((due, _)) = engine.poll_timeout() {
            self.arm(server, due.since(now));
        }
        let node = &mut self.nodes[server];
        node.latest = now;
        node.busy = self.now + node.cost;
        node.engine = Some(engine);
        if self.strict {
            self.check_claims(server);
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
                assert!(bytes.len() <= self.farm.frame_bytes as usize, "a frame too long (G8)");
                let bytes = Rc::new(bytes);
                match to {
                    To::All => {
                        let others = (0..self.nodes.len()).filter(|&other| other != server);
                        others.collect::<Vec<_>>().into_iter().for_each(|other| {
                            self.transmit(from, (server, other), &command, &bytes);
                        });
                    }
                    To::One(id) => {
                        let link = (server, usize::from(id.number()) - 1);
                        self.transmit(from, link, &command, &bytes);
                    }
                }
                if let Command::Batch(batch) = command {
                    let wrote = |write| Observation::Wrote { by: from, write };
                    self.observations.extend(batch.writes.into_iter().map(wrote));
                }
            }
            Action::Respond { id, outcome } => {
                if self.keep_answers {
                    let twice = self.answers.insert(id, outcome.clone());
                    assert!(twice.is_none(), "a request was answered twice (G7)");
                }
                self.trace.answered(self.now, server, &outcome);
                self.observations.push(Observation::Answered { server, id, outcome });
            }
            Action::Notify(notice) => self.notices.push((server, notice)),
            Action::Store { copy, .. } => {
                if let Some(copy) = copy {
                    let (id, life) = (copy.id, copy.life);
                    self.observations.push(Observation::Stored { by: from, id, life });
                }
            }
        }
    }

    fn transmit(&mut self, from: ServerId, link: Link, command: &Command, bytes: &Rc<Vec<u8>>) {
        match self.network.send(&mut self.rng, link, self.now) {
            Fate::Arrives(times) => {
                for (due, flipped) in times {
                    self.trace.sent(self.now, due, from, link, command);
                    let bytes = Rc::clone(bytes);
                    self.schedule(due, Happening::Message { from, link, bytes, flipped });
                }
            }
            Fate::Waits => {
                self.clogged.entry(link).or_default().push((from, Rc::clone(bytes)));
            }
            Fate::Lost(why) => self.trace.lost(self.now, from, link, command, why),
        }
    }

    fn schedule(&mut self, due: Timestamp, happening: Happening) {
        self.scheduled += 1;
        self.queue.push(Entry(Reverse((due, self.scheduled)), happening));
    }

    /// Reads a session at a server, as a customer who doesn't know the token's newest form would.
    ///
    /// # Errors
    /// The request's error.
    pub fn read(&mut self, server: usize, token: &Token) -> Result<Served, RequestError> {
        let policy = grapevine_core::ReadPolicy::Fresh;
        self.ask(server, Request::Read { token: token.clone(), policy })
    }

    /// A server's copies, by address.
    pub(crate) fn copies(&self, server: usize) -> BTreeMap<grapevine_core::Address, &Session> {
        let copies = self.running(server).into_iter().flat_map(Engine::copies);
        copies.map(|copy| (copy.id.address, &**copy)).collect()
    }
}
