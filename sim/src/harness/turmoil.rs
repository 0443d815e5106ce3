//! The adapter that ships, on turmoil: each server is a host, and its customers ask it within its own
//! process, through the handle that services have.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use grapevine_core::{Request, RequestId, Timestamp};
use grapevine_tokio_turmoil as adapter;

use super::{Harness, Told};
use crate::network::{Link, Network};
use crate::scenario::{Delay, Fault, Scenario};
use crate::turmoil::{host, network, server};
use crate::world::START;

// Once for each adapter: they have the same source, and types of their own.
#[path = "inside.rs"]
#[allow(clippy::duplicate_mod)]
mod inside;

use inside::Inside;

/// The shortest time that a message takes. Turmoil can't change it when the farm is healed.
const SHORTEST: Duration = Duration::from_micros(100);

/// Of so many messages that the file has lost, one is: it ends its stream for good, and with it what comes
/// next on the link. So as many streams die as where loss is rare.
const STREAMS_PER_LOSS: f64 = 100.0;
/// How probable it is that a link that lost a message carries the next one.
const CARRIES_AGAIN: f64 = 0.05;

/// For so many heartbeats links lose everything that are to swallow: each stream has something to lose.
const SWALLOWS_BEATS: u32 = 3;

/// What harness and hosts share.
#[derive(Clone)]
struct Shared {
    inside: Inside,
    /// Servers that are not to run yet.
    later: Rc<RefCell<Vec<bool>>>,
    /// The process of each server, or of its last one.
    processes: Rc<RefCell<Vec<adapter::Process>>>,
    scenario: Rc<Scenario>,
}

/// A link's state in both directions, and whether what is sent waits.
type Wanted = (bool, bool, bool);

pub(super) struct Turmoil {
    sim: turmoil::Sim<'static>,
    shared: Shared,
    size: usize,
    /// How the links are, and how the world wants them.
    links: BTreeMap<(usize, usize), Wanted>,
    wanted: BTreeMap<(usize, usize), Wanted>,
    /// Links that lose everything until then, which ends all their streams for good.
    swallowing: BTreeMap<(usize, usize), Timestamp>,
    paused: BTreeSet<usize>,
    loss: f64,
}

impl Turmoil {
    pub(super) fn new(scenario: &Scenario) -> (Self, Vec<&'static str>) {
        let mut builder = network(scenario.seed);
        builder
            .epoch(UNIX_EPOCH + Duration::from_micros(START.as_micros()))
            .min_message_latency(SHORTEST)
            .max_message_latency(longest(&scenario.network.delay))
            .fail_rate(scenario.network.loss / STREAMS_PER_LOSS)
            .repair_rate(CARRIES_AGAIN);
        let mut sim = builder.build();
        let size = usize::from(scenario.servers);
        let mut later = vec![false; size];
        scenario.later.iter().for_each(|&number| later[usize::from(number) - 1] = true);
        let shared = Shared {
            inside: Inside::new(size),
            later: Rc::new(RefCell::new(later)),
            processes: Rc::new(RefCell::new((0..size).map(|_| adapter::Process::new()).collect())),
            scenario: Rc::new(scenario.clone()),
        };
        for index in 0..size {
            let shared = shared.clone();
            sim.host(name(index), move || run(index, shared.clone()));
        }
        for own in &scenario.network.own {
            let (from, to) = (host(own.from), host(own.to));
            sim.set_link_max_message_latency(from, to, longest(&own.delay));
        }
        let loss = scenario.network.loss;
        let pairs = (0..size).flat_map(|a| (a + 1..size).map(move |b| ((a, b), Wanted::default())));
        let turmoil = Self {
            sim,
            shared,
            size,
            links: BTreeMap::new(),
            wanted: pairs.collect(),
            swallowing: BTreeMap::new(),
            paused: BTreeSet::new(),
            loss,
        };
        (turmoil, left_out(scenario))
    }

    /// Has all links be as they are wanted, but for those that swallow.
    fn pairs(&mut self) {
        for (pair, mut wanted) in self.wanted.clone() {
            let lost = self.swallowing.contains_key(&pair);
            (wanted.0, wanted.1) = (wanted.0 || lost, wanted.1 || lost);
            self.pair(pair, wanted);
        }
    }

    /// Has a link carry messages again that has lost one, if it is not cut or clogged besides.
    fn mend_at_random(&mut self, (a, b): (usize, usize)) {
        if self.links.get(&(a, b)).is_none_or(|&link| link == Wanted::default()) {
            self.sim.repair(name(a), name(b));
        }
    }

    fn pair(&mut self, (a, b): (usize, usize), wanted: Wanted) {
        let before = self.links.insert((a, b), wanted).unwrap_or_default();
        if before == wanted {
            return;
        }
        let (one, other) = (name(a), name(b));
        if before.2 {
            self.sim.release(&*one, &*other);
        }
        self.sim.repair(&*one, &*other);
        if wanted.2 {
            self.sim.hold(&*one, &*other);
        }
        match (wanted.0, wanted.1) {
            (true, true) => self.sim.partition(&*one, &*other),
            (true, false) => self.sim.partition_oneway(&*one, &*other),
            (false, true) => self.sim.partition_oneway(&*other, &*one),
            (false, false) => {}
        }
    }
}

impl Harness for Turmoil {
    fn step(&mut self) -> Vec<Told> {
        if let Err(error) = self.sim.step() {
            panic!("a server failed on turmoil: {error}");
        }
        let now = self.now();
        let swallowing = self.swallowing.len();
        self.swallowing.retain(|_, &mut until| now < until);
        if self.swallowing.len() < swallowing {
            self.pairs();
        }
        self.shared.inside.told()
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.sim.since_epoch().as_micros() as u64)
    }

    fn submit(&mut self, server: usize, id: RequestId, request: Request) -> bool {
        self.shared.inside.submit(server, id, request)
    }

    fn crash(&mut self, server: usize) -> Vec<Told> {
        self.shared.inside.dies(server);
        let process = self.shared.processes.borrow()[server].clone();
        process.end();
        // Its tasks end one after another, in an order that is the seed's.
        let told = self.step();
        self.sim.crash(name(server));
        told
    }

    fn start(&mut self, server: usize) {
        self.shared.later.borrow_mut()[server] = false;
        self.paused.remove(&server);
        self.shared.processes.borrow_mut()[server] = adapter::Process::new();
        self.sim.bounce(name(server));
    }

    fn pause(&mut self, server: usize) {
        self.paused.insert(server);
        self.shared.processes.borrow()[server].pause();
    }

    fn resume(&mut self, server: usize) {
        if self.paused.remove(&server) {
            self.shared.processes.borrow()[server].resume();
        }
    }

    fn links(&mut self, network: &Network) {
        let loss = network.links.loss;
        if loss != self.loss {
            self.loss = loss;
            self.sim.set_fail_rate(loss / STREAMS_PER_LOSS);
        }
        for a in 0..self.size {
            for b in a + 1..self.size {
                let (to, fro) = ((a, b), (b, a));
                if loss == 0.0 {
                    self.mend_at_random((a, b));
                }
                let clogged = network.clogged.contains(&to) || network.clogged.contains(&fro);
                let cut = (network.cut.contains(&to), network.cut.contains(&fro));
                self.wanted.insert(to, (cut.0, cut.1, clogged));
            }
        }
        self.pairs();
    }

    fn swallow(&mut self, links: &[Link]) {
        let beat = self.shared.scenario.limits.farm(self.shared.scenario.servers).heartbeat_every;
        let until = self.now() + beat * SWALLOWS_BEATS;
        self.swallowing.extend(links.iter().map(|&(a, b)| ((a.min(b), a.max(b)), until)));
        self.pairs();
    }

    fn streams_stay_dead(&self) -> bool {
        true
    }

    fn calm(&mut self, longest_ms: f64) {
        let longest = Duration::from_secs_f64(longest_ms / 1000.0);
        self.sim.set_max_message_latency(longest);
        for own in &self.shared.scenario.network.own {
            let (from, to) = (host(own.from), host(own.to));
            self.sim.set_link_max_message_latency(from, to, longest);
        }
    }

    fn look(&mut self) -> usize {
        let paused = &self.paused;
        self.shared.inside.look(|server| !paused.contains(&server))
    }

    fn otherwise(&self, fault: &Fault) -> Option<&'static str> {
        match fault {
            Fault::Clog { .. } | Fault::Unclog { .. } => {
                Some("clog: turmoil holds both directions of a link, never one")
            }
            Fault::Swallow { .. } => Some(
                "swallow: all that is sent within three heartbeats is lost, and with it every stream",
            ),
            Fault::Weather { repeats, corruption, .. } if *repeats + *corruption > 0.0 => {
                Some("weather: loss as of a stream; repeats and corruption are left out")
            }
            Fault::Weather { loss, .. } if *loss > 0.0 => Some(LOSS),
            _ => None,
        }
    }
}

/// What loss is to streams that can't mend it.
const LOSS: &str = "loss: a lost segment ends its stream for good, so a hundredth of it, and the link with it for a moment";

/// What of a scenario, but for its faults, turmoil can't do, or does in another way.
fn left_out(scenario: &Scenario) -> Vec<&'static str> {
    let network = &scenario.network;
    let all = [
        (network.loss > 0.0, LOSS),
        (network.repeats > 0.0, "repeats: streams have none; left out"),
        (network.corruption > 0.0, "corruption: turmoil has none; left out"),
        (!network.in_order, "order: a stream keeps it; messages of one link never overtake"),
        (true, "delay: turmoil's own curve, from 0.1 ms to the longest"),
        (!network.own.is_empty(), "link: its longest delay only, and in both directions"),
        (!scenario.buggify.is_empty(), "buggify: rare choices are not forced; left out"),
    ];
    all.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect()
}

/// The longest time that a message takes: more than the shortest, in any case.
fn longest(delay: &Delay) -> Duration {
    Duration::from_secs_f64(delay.range_ms().1 / 1000.0).max(2 * SHORTEST)
}

/// The host of the server with this index.
fn name(index: usize) -> String {
    host(index as u16 + 1)
}

/// One process.
async fn run(index: usize, shared: Shared) -> turmoil::Result {
    if shared.later.borrow()[index] {
        return std::future::pending().await;
    }
    let scenario = &shared.scenario;
    let builder = server(index as u16 + 1, scenario.servers, scenario.seed);
    let process = shared.processes.borrow()[index].clone();
    process.run(shared.inside.run(index, scenario, builder)).await?;
    Ok(())
}

/// Begins a task of the process whose task this is.
fn spawn_local(task: impl Future<Output = ()> + 'static) {
    drop(tokio::task::spawn_local(adapter::Process::within(task)));
}

/// Turmoil's time.
fn now() -> Timestamp {
    let since = turmoil::since_epoch().unwrap_or_default();
    Timestamp::from_micros(since.as_micros() as u64)
}
