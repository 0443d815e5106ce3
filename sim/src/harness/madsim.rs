//! The adapter that ships, on madsim: each server is a node, and its customers ask it within its own
//! process, through the handle that services have.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use grapevine_core::{Request, RequestId, Timestamp};
use grapevine_tokio_madsim as adapter;
use madsim::task::spawn_local;

use super::{Harness, Told, no_adapter_can};
use crate::madsim::{Simulation, now};
use crate::network::{Link, Network};
use crate::scenario::{Delay, Fault, Links, Scenario};

// Once for each adapter: they have the same source, and types of their own.
#[path = "inside.rs"]
#[allow(clippy::duplicate_mod)]
mod inside;

use inside::Inside;

pub(super) struct Madsim {
    simulation: Simulation,
    inside: Inside,
    size: usize,
    scenario: Arc<Scenario>,
    paused: BTreeSet<usize>,
}

impl Madsim {
    pub(super) fn new(scenario: &Scenario) -> (Self, Vec<&'static str>) {
        let size = usize::from(scenario.servers);
        let mut madsim = Self {
            simulation: Simulation::new(scenario.servers, scenario.seed),
            inside: Inside::new(size),
            size,
            scenario: Arc::new(scenario.clone()),
            paused: BTreeSet::new(),
        };
        madsim.weather(&scenario.network);
        for number in (1..=scenario.servers).filter(|number| !scenario.later.contains(number)) {
            madsim.run(number);
        }
        (madsim, left_out(scenario))
    }

    fn weather(&self, links: &Links) {
        self.simulation.loss(links.loss);
        self.simulation.latency(range(&links.delay));
    }

    fn run(&mut self, number: u16) {
        let (inside, scenario) = (self.inside.clone(), Arc::clone(&self.scenario));
        let builder = self.simulation.server(number);
        self.simulation.spawn(number, async move {
            if let Err(error) = inside.run(usize::from(number) - 1, &scenario, builder).await {
                panic!("a server failed on madsim: {error}");
            }
        });
    }

    fn set(&mut self, (from, to): Link, cut: bool) {
        let (from, to) = (number(from), number(to));
        if cut {
            self.simulation.cut(from, to);
        } else {
            self.simulation.mend(from, to);
        }
    }
}

impl Harness for Madsim {
    fn step(&mut self) -> Vec<Told> {
        self.simulation.step();
        self.inside.told()
    }

    fn now(&self) -> Timestamp {
        crate::START + self.simulation.elapsed()
    }

    fn submit(&mut self, server: usize, id: RequestId, request: Request) -> bool {
        self.inside.submit(server, id, request)
    }

    fn crash(&mut self, server: usize) -> Vec<Told> {
        self.paused.remove(&server);
        self.inside.dies(server);
        self.simulation.crash(number(server));
        // All that happened was told with the step.
        Vec::new()
    }

    fn start(&mut self, server: usize) {
        // Paused while there was no process to pause.
        self.resume(server);
        self.simulation.revive(number(server));
        self.run(number(server));
    }

    fn pause(&mut self, server: usize) {
        self.paused.insert(server);
        self.simulation.pause(number(server));
    }

    fn resume(&mut self, server: usize) {
        if self.paused.remove(&server) {
            self.simulation.resume(number(server));
        }
    }

    fn links(&mut self, network: &Network) {
        self.weather(&network.links);
        for from in 0..self.size {
            for to in (0..self.size).filter(|&to| to != from) {
                let link = (from, to);
                self.set(link, network.cut.contains(&link) || network.clogged.contains(&link));
            }
        }
    }

    fn calm(&mut self, _longest_ms: f64) {
        // The world's network is calm, and so are the links.
    }

    fn look(&mut self) -> usize {
        let paused = &self.paused;
        self.inside.look(|server| !paused.contains(&server))
    }

    fn cannot(&self, fault: &Fault) -> Option<&'static str> {
        match fault {
            Fault::Swallow { .. } => {
                Some("swallow: what a stream holds arrives at last, on madsim; left out")
            }
            _ => no_adapter_can(fault),
        }
    }

    fn otherwise(&self, fault: &Fault) -> Option<&'static str> {
        match fault {
            Fault::Partition { .. }
            | Fault::Isolate { .. }
            | Fault::OneWay { .. }
            | Fault::Bridge { .. }
            | Fault::Cut { .. } => Some(
                "cut: what is sent meanwhile arrives when the link is mended, and new connections are \
                 refused at once",
            ),
            Fault::Clog { .. } | Fault::Unclog { .. } => {
                Some("clog: new connections are refused at once meanwhile")
            }
            Fault::Weather { loss, repeats, corruption } => {
                if *repeats + *corruption > 0.0 {
                    Some("weather: streams have no repeats and madsim no corruption; both left out")
                } else {
                    (*loss > 0.0).then_some(LOSS)
                }
            }
            _ => None,
        }
    }
}

/// How loss shows on a stream.
const LOSS: &str = "loss: what a stream loses is sent again, later and later from 1 ms on; a connection \
                    that would come up with it is refused";

/// What of a scenario, but for its faults, madsim can't do, or does in another way.
fn left_out(scenario: &Scenario) -> Vec<&'static str> {
    let network = &scenario.network;
    let all = [
        (network.loss > 0.0, LOSS),
        (network.repeats > 0.0, "repeats: streams have none; left out"),
        (network.corruption > 0.0, "corruption: madsim has none; left out"),
        (!network.in_order, "order: a stream keeps it; messages of one link never overtake"),
        (true, "delay: anything from the shortest to the longest alike"),
        (!network.own.is_empty(), "link: all links have the same delays; left out"),
        (!scenario.buggify.is_empty(), "buggify: rare choices are not forced; left out"),
    ];
    all.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect()
}

fn range(delay: &Delay) -> std::ops::Range<Duration> {
    let (shortest, longest) = delay.range_ms();
    let of = |ms: f64| Duration::from_secs_f64(ms.max(0.0) / 1000.0);
    of(shortest)..of(longest)
}

/// The number of the server with this index.
const fn number(index: usize) -> u16 {
    index as u16 + 1
}
