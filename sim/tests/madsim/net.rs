//! What the tests of simulated farms need of madsim.

use std::future::Future;
use std::time::Duration;

use grapevine_sim::madsim::{PORT, Simulation, host, now};
use madsim::net::{Endpoint, lookup_host};

pub(crate) use grapevine_sim::madsim as adapter;
pub(crate) use madsim::time::{sleep, timeout};

use crate::farm::{Configure, Handles};

/// The variable by which a process of these tests is told to print the trace of a seed.
pub(crate) const SEED: &str = "GRAPEVINE_MADSIM_SEED";
/// The variable that says how many seeds are tried.
pub(crate) const SEEDS: &str = "GRAPEVINE_MADSIM_SEEDS";

pub(crate) struct Net {
    simulation: Simulation,
    configure: Configure,
    handles: Handles,
}

impl Net {
    /// A network with servers that start by themselves.
    pub(crate) fn new(size: u16, seed: u64, configure: Configure, handles: &Handles) -> Self {
        let simulation = Simulation::new(size, seed);
        let net = Self { simulation, configure, handles: handles.clone() };
        (1..=size).for_each(|number| net.run(number));
        net
    }

    fn run(&self, number: u16) {
        let builder = (self.configure)(self.simulation.server(number));
        let handles = self.handles.clone();
        self.simulation.spawn(number, async move {
            let started = builder.start().await.expect("a server that starts");
            handles.insert(number, started.clone());
            started.stopped().await;
        });
    }

    pub(crate) const fn elapsed(&self) -> Duration {
        self.simulation.elapsed()
    }

    pub(crate) fn step(&mut self) {
        self.simulation.step();
    }

    /// Has a customer do something.
    pub(crate) fn begin(&mut self, job: impl Future<Output = ()> + 'static) {
        self.simulation.begin(job);
    }

    /// What is sent between the two waits, and no connection comes up.
    pub(crate) fn partition(&mut self, one: u16, other: u16) {
        self.simulation.cut(one, other);
        self.simulation.cut(other, one);
    }

    /// The same in one direction.
    pub(crate) fn cut_off(&mut self, from: u16, to: u16) {
        self.simulation.cut(from, to);
    }

    pub(crate) fn repair(&mut self, one: u16, other: u16) {
        self.simulation.mend(one, other);
        self.simulation.mend(other, one);
    }

    pub(crate) fn hold(&mut self, one: u16, other: u16) {
        self.partition(one, other);
    }

    pub(crate) fn release(&mut self, one: u16, other: u16) {
        self.repair(one, other);
    }

    /// From now on one message of twenty is lost, or none.
    pub(crate) fn lossy(&mut self, lossy: bool) {
        self.simulation.loss(if lossy { 0.05 } else { 0.0 });
    }

    pub(crate) fn crash(&mut self, number: u16) {
        self.simulation.crash(number);
    }

    pub(crate) fn start(&mut self, number: u16) {
        self.simulation.revive(number);
        self.run(number);
    }

    /// Stops a process where it is.
    pub(crate) fn pause(&self, number: u16) {
        self.simulation.pause(number);
    }

    pub(crate) fn resume(&self, number: u16) {
        self.simulation.resume(number);
    }
}

/// How much simulated time has gone by.
pub(crate) fn elapsed() -> Duration {
    now().since(grapevine_sim::START)
}

/// Sends garbage to the port of each server of three in turn. Returns how many pieces were taken.
pub(crate) async fn flood() -> u32 {
    let mut sent = 0;
    for n in 0..400_u32 {
        let to = format!("{}:{PORT}", host(1 + (n % 3) as u16));
        let mut addresses = lookup_host(to).await.expect("a name");
        let stranger = Endpoint::bind("0.0.0.0:0").await.expect("a free port");
        let connected = stranger.connect1(addresses.next().expect("an address")).await;
        let Ok((sender, _receiver)) = connected else { continue };
        for _ in 0..4 {
            let garbage = vec![n as u8; 8 << 10];
            sent += u32::from(sender.send(Box::new(garbage)).await.is_ok());
        }
    }
    sent
}
