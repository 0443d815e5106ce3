//! What the tests of simulated farms need of madsim.

use std::future::Future;
use std::time::Duration;

use grapevine_sim::madsim::{PORT, Simulation, host};
use madsim::net::{Endpoint, lookup_host};

pub(crate) use grapevine_sim::madsim as adapter;

use crate::farm::Handles;

pub(crate) struct Net {
    simulation: Simulation,
    handles: Handles,
}

impl Net {
    /// A network with servers that start by themselves.
    pub(crate) fn new(size: u16, seed: u64, handles: &Handles) -> Self {
        let simulation = Simulation::new(size, seed);
        let net = Self { simulation, handles: handles.clone() };
        (1..=size).for_each(|number| net.run(number));
        net
    }

    fn run(&self, number: u16) {
        let builder = self.simulation.server(number);
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

    pub(crate) fn repair(&mut self, one: u16, other: u16) {
        self.simulation.mend(one, other);
        self.simulation.mend(other, one);
    }

    pub(crate) fn crash(&mut self, number: u16) {
        self.simulation.crash(number);
    }

    pub(crate) fn pause(&mut self, number: u16) {
        self.simulation.pause(number);
    }

    pub(crate) fn resume(&mut self, number: u16) {
        self.simulation.resume(number);
    }

    pub(crate) fn start(&mut self, number: u16) {
        self.simulation.revive(number);
        self.run(number);
    }
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
        madsim::time::sleep(Duration::from_millis(10)).await;
    }
    sent
}
