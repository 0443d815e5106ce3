//! A world: servers, the network between them, and the queue of what happens next.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use grapevine_core::command::Write;
use grapevine_core::rare::Point;
use grapevine_core::{
    Address, Engine, Event, Farm, Local, Notice, RequestError, RequestId, Response, ServerId,
    Session, SessionId, Stamp, Status, Stop, Timestamp, Vector,
};

use crate::network::{Link, Network};
use crate::rare::{HarnessMark, Rare};
use crate::trace::Trace;
use crate::traffic::Traffic;

mod engines;
mod faults;
mod linked;
mod local;
mod order;
mod queue;
mod recording;
mod requests;
mod sent;
mod twin;

use queue::{Happening, Queue};
use sent::Sent;

/// What an engine may want done after one event: batches, answers, copies to store, messages. Far more
/// than there can be to do, so that an engine that never stops is noticed.
pub(crate) const ACTIONS_PER_EVENT: usize = 200_000;

/// When every world starts.
pub const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// What an onlooker sees: the input of the reference model and the checks.
#[derive(Clone, Debug)]
pub(crate) enum Observation {
    /// A server made this write.
    Wrote { by: ServerId, write: Write },
    /// A request was answered.
    Answered { server: usize, id: RequestId, outcome: Result<Response, RequestError> },
    /// A server keeps this copy now, for request threads to read.
    Stored { by: ServerId, copy: Arc<Session> },
    /// A server died; whoever waits for it gets no answer.
    Crashed { server: usize },
}

/// A message that waits on a clogged link: its sender, its receiver's life, and what is sent.
type Waiting = (ServerId, u64, Rc<Sent>);

#[derive(Debug)]
struct Node {
    engine: Option<Box<Engine>>,
    /// The how-manieth process of this server it is, and the boots of those before.
    life: u64,
    boots: BTreeSet<Timestamp>,
    /// When it started.
    since: Timestamp,
    /// Whether its process can't have its number, and why.
    stop: Option<Stop>,
    /// How far this server's clock is ahead of the world's, in microseconds.
    skew: i64,
    /// How fast its clock runs, beyond one, in parts per million, and since when.
    drift: (i64, Timestamp),
    /// The latest reading it was given: time never goes back for it.
    latest: Timestamp,
    /// The reading at the first event whose answers are not out yet.
    answered_from: Timestamp,
    /// The same by the world's clock.
    given_at: Timestamp,
    /// How many events are to pass before all of its engine's state is looked at.
    unlooked: u64,
    /// The processes that it was told it has a connection to.
    linked: linked::Linked,
    /// When each server was last heard from, by this one's clock.
    heard: Vec<Timestamp>,
    /// While paused, what happens to it waits.
    paused: bool,
    held: Vec<Happening>,
    /// Whether it wants something done that is not done yet.
    undrained: bool,
    /// Of a twin: whether it was given several events since it was drained, a command among them, and one while it
    /// was joining.
    given: (bool, bool, bool),
    timer: Option<Timestamp>,
    /// What its request threads can see; kept up only where they read.
    shown: local::Shown,
    /// What each event costs it, and until when it is busy.
    cost: Duration,
    busy: Timestamp,
}

/// Servers on one event queue. After every event, what it may have changed is checked, and now and
/// then everything.
#[derive(Debug)]
pub struct World {
    now: Timestamp,
    farm: Farm,
    local: Local,
    nodes: Vec<Node>,
    /// A server that wanted more done after one event than there can be to do.
    endless: Option<usize>,
    queue: Queue,
    clogged: BTreeMap<Link, Vec<Waiting>>,
    seed: u64,
    requests: u64,
    answers: BTreeMap<RequestId, Result<Response, RequestError>>,
    notices: Vec<(usize, Notice)>,
    observations: Vec<Observation>,
    /// Sessions of which some server's memory was damaged.
    damaged: BTreeSet<(Address, Stamp)>,
    /// Requests that twins' servers were asked: by server and its own number of it, ours.
    asked: BTreeMap<(usize, RequestId), RequestId>,
    /// Whether a process ran whose boot is older than that of one before it.
    older_boot: bool,
    /// How often two servers' copies differed, as they say.
    mismatches: u64,
    /// Sessions that were ended to make room for others.
    evicted: BTreeSet<(Address, Stamp)>,
    /// Whether what is observed now was done by an event before the last one.
    late: bool,
    /// Whether it was done by a command, which may have told of one more acknowledgement.
    by_command: bool,
    /// Whether its server was joining before it.
    was_joining: bool,
    /// How many copies went or ended by what is observed now, besides those that made room.
    ended: i64,
    expired: Vec<(ServerId, SessionId)>,
    /// What each dead process had applied.
    obituaries: BTreeMap<ServerId, Vector>,
    messages: u64,
    events: u64,
    refused: u64,
    undetected: u64,
    /// Addresses whose copies the event under way has changed.
    changed: Vec<Address>,
    /// Where commands were encoded, for the next ones to be encoded in the same places.
    free: Vec<Vec<u8>>,
    /// The last message that was read, for the next one to be read in its memory.
    read: Option<Box<Event>>,
    trace: Trace,
    /// What servers have said, and whether each message had its reason.
    pub(crate) traffic: Traffic,
    pub(crate) rare: Rare,
    /// The network; change it to cause faults.
    pub network: Network,
    /// Whether [`World::check_claims`] runs after every event. It looks at every copy.
    pub strict: bool,
    /// Whether engines are checked after every event; see [`grapevine_core::Engine::check_changed`].
    pub checked: bool,
    /// After how many of its events all of an engine's state is checked, not only what changed: 1 for after
    /// every one (every second one from 16 copies on, and so on), more for no sooner than after so many and
    /// four times as many as the engine has copies; see [`grapevine_core::Engine::check_invariants`].
    pub whole_state_every: u64,
    /// Whether reads are answered without the engine where its rule allows that. Set it before anything
    /// happens.
    pub(crate) local_reads: bool,
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
        Self::without(seed, farm, local, &[])
    }

    /// The same, but some servers, by index, are yet to be started.
    pub fn without(seed: u64, farm: Farm, local: Local, later: &[usize]) -> Self {
        let node = || Node {
            engine: None,
            life: 0,
            since: Timestamp::ZERO,
            boots: BTreeSet::new(),
            stop: None,
            skew: 0,
            drift: (0, START),
            latest: Timestamp::ZERO,
            answered_from: Timestamp::ZERO,
            given_at: START,
            unlooked: 0,
            linked: linked::Linked::default(),
            heard: vec![Timestamp::ZERO; farm.size.into()],
            paused: false,
            held: Vec::new(),
            undrained: false,
            given: (false, false, false),
            timer: None,
            shown: local::Shown::default(),
            cost: Duration::ZERO,
            busy: START,
        };
        let mut world = Self {
            now: START,
            nodes: (0..farm.size).map(|_| node()).collect(),
            endless: None,
            farm,
            local,
            queue: Queue::default(),
            clogged: BTreeMap::new(),
            seed,
            requests: 0,
            answers: BTreeMap::new(),
            notices: Vec::new(),
            observations: Vec::new(),
            damaged: BTreeSet::new(),
            asked: BTreeMap::new(),
            older_boot: false,
            mismatches: 0,
            evicted: BTreeSet::new(),
            late: false,
            by_command: false,
            was_joining: false,
            ended: 0,
            expired: Vec::new(),
            obituaries: BTreeMap::new(),
            messages: 0,
            events: 0,
            refused: 0,
            undetected: 0,
            changed: Vec::new(),
            free: Vec::new(),
            read: None,
            trace: Trace::default(),
            traffic: Traffic::default(),
            rare: Rare::none(),
            network: Network::seeded(seed),
            strict: false,
            checked: true,
            whole_state_every: 1,
            local_reads: false,
            keep_answers: true,
        };
        for server in (0..world.nodes.len()).filter(|server| !later.contains(server)) {
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

    /// The server that wanted more done after one event than there can be to do, if one did.
    pub(crate) const fn endless(&self) -> Option<usize> {
        self.endless
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

    /// Notices so far, with the server that gave them.
    pub fn notices(&self) -> &[(usize, Notice)] {
        &self.notices
    }

    /// Which sessions expired, as processes told their applications.
    pub(crate) fn expired(&self) -> &[(ServerId, SessionId)] {
        &self.expired
    }

    /// Whether a process ran whose boot is older than that of one before it: its clock was set back, and
    /// nobody told it.
    pub(crate) const fn older_boot(&self) -> bool {
        self.older_boot
    }

    /// How often a server found that its copies and another's differ.
    pub const fn mismatches(&self) -> u64 {
        self.mismatches
    }

    /// Sessions of which some server's memory was damaged, by address and create.
    pub(crate) const fn damaged(&self) -> &BTreeSet<(Address, Stamp)> {
        &self.damaged
    }

    /// Whether this session was ended to make room for others.
    pub(crate) fn was_evicted(&self, session: &SessionId) -> bool {
        self.evicted.contains(&(session.address, session.created))
    }

    /// Whether what is observed now was done by an event before the last one: then servers may have
    /// changed since.
    pub(crate) const fn late(&self) -> bool {
        self.late
    }

    /// Whether what is observed now was done by a command that came in.
    pub(crate) const fn by_command(&self) -> bool {
        self.by_command
    }

    /// Whether servers may have more room than they had when they did what is observed now.
    pub(crate) const fn has_shrunk(&self) -> bool {
        self.late || self.ended != 0
    }

    /// The number of configured servers.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// What the farm agrees on.
    pub const fn farm(&self) -> &Farm {
        &self.farm
    }

    /// What each server chooses for itself.
    pub(crate) const fn local(&self) -> &Local {
        &self.local
    }

    /// Since when a process may have done what is observed of it now: it may have waited to be given out, with
    /// what was done after it. So this may be too early, where actions are forced to come out late.
    pub(crate) fn done_since(&self, by: ServerId) -> Timestamp {
        self.nodes[usize::from(by.number()) - 1].given_at
    }

    /// Whether a server had heard from a majority of the farm within `down_after`, by its own clock,
    /// when it made what it answers now.
    pub(crate) fn hears_majority(&self, server: usize) -> bool {
        let node = &self.nodes[server];
        let lately = |heard: &&Timestamp| node.answered_from <= **heard + self.farm.down_after;
        node.heard.iter().filter(lately).count() + 1 >= self.farm.majority().into()
    }

    /// Whether a server heard from another one within this time, by its own clock.
    pub(crate) fn heard_within(&self, server: usize, other: usize, time: Duration) -> bool {
        self.clock(server) <= self.nodes[server].heard[other] + time
    }

    /// A server's engine, if it runs.
    pub fn running(&self, server: usize) -> Option<&Engine> {
        self.nodes[server].engine.as_deref()
    }

    /// A server's engine.
    ///
    /// # Panics
    /// If it is down.
    pub fn engine(&self, server: usize) -> &Engine {
        self.running(server).expect("the server is down")
    }

    /// What a process has applied, or had when it died. `None` if it never was.
    pub(crate) fn applied_by(&self, process: ServerId) -> Option<&Vector> {
        let running = self.running(usize::from(process.number()) - 1);
        let started = |engine: &&Engine| engine.server() == process && !engine.starting();
        let running = running.filter(started).map(Engine::applied);
        running.or_else(|| self.obituaries.get(&process))
    }

    /// Whether engines were made to take this rare choice.
    pub(crate) fn may_force(&self, point: Point) -> bool {
        self.traffic.may(point)
    }

    /// For how long a server runs.
    pub(crate) fn runs_for(&self, server: usize) -> Duration {
        self.now.since(self.nodes[server].since)
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

    /// What a server's clock shows; it never goes back.
    pub(crate) fn clock(&self, server: usize) -> Timestamp {
        self.bare_clock(server).max(self.nodes[server].latest)
    }

    fn bare_clock(&self, server: usize) -> Timestamp {
        let node = &self.nodes[server];
        let gained = match node.drift.0 {
            // Of most clocks; and clocks are read many times in every event.
            0 => 0,
            drift => self.now.since(node.drift.1).as_micros() as i64 / 1000 * drift / 1000,
        };
        let micros = self.now.as_micros().saturating_add_signed(node.skew + gained);
        Timestamp::from_micros(micros)
    }

    /// Runs the world for a time.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.next_due().is_some_and(|due| due <= until) {
            self.step();
        }
        self.now = until;
    }

    /// Lets the next thing happen.
    pub(crate) fn step(&mut self) {
        if let Some((due, happening)) = self.queue.pop() {
            self.now = self.now.max(due);
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
            Happening::Message { from, link, life, sent, flipped } => {
                // It was on its way until now: what a server has not taken fills the link.
                self.network.arrived(link);
                if self.nodes[server].life == life {
                    self.receive(from, link, sent, flipped);
                } else {
                    self.rare.mark(HarnessMark::MessageForPredecessor);
                }
            }
            Happening::Timer { server, due } => {
                // One that was armed anew meanwhile is stale.
                if self.nodes[server].timer == Some(due) {
                    self.nodes[server].timer = None;
                    self.reconnect(server);
                    self.handle(server, Event::Timer);
                }
            }
            Happening::Dial { server, life, peer } => self.dial(server, life, peer),
            Happening::Restart { server, life } => self.restart(server, life),
            Happening::Connection { server, life, peer, up } => {
                if self.nodes[server].life == life {
                    self.connected(server, peer, up);
                }
            }
            Happening::Request { server, life, id, request } => {
                if self.nodes[server].life == life {
                    self.take_request(server, id, Rc::unwrap_or_clone(request));
                }
            }
        }
    }

    /// A server's copies, by address.
    pub(crate) fn copies(&self, server: usize) -> BTreeMap<Address, &Session> {
        let copies = self.running(server).into_iter().flat_map(Engine::copies);
        copies.map(|copy| (copy.id.address, &**copy)).collect()
    }
}

#[cfg(test)]
mod tests;
