//! The adapter that ships, on madsim: the same source, with simulated sockets, timers and tasks. Only in
//! builds with `--cfg madsim`, for madsim takes the place of the system's clock and entropy in the whole
//! program.
//!
//! Here tasks run in any order, streams go on after a partition, messages that are lost are sent again,
//! and a process can be paused. Turmoil errs in other ways, so use both.
//!
//! ```
//! use std::time::Duration;
//! use grapevine_sim::madsim::{Create, Simulation};
//!
//! let mut farm = Simulation::new(3, 7);
//! for number in 1..=3 {
//!     let starting = farm.server(number);
//!     farm.spawn(number, async move {
//!         let grapevine = starting.start().await.unwrap();
//!         grapevine.create(Create::default()).await.unwrap();
//!         grapevine.stopped().await;
//!     });
//! }
//! farm.run_for(Duration::from_secs(2));
//! farm.cut(1, 2);
//! farm.run_for(Duration::from_secs(5));
//! ```

use std::collections::BTreeSet;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use madsim::net::NetSim;
use madsim::plugin::node;
use madsim::runtime::{NodeHandle, Runtime};
use madsim::task::{NodeId, spawn_local};
use madsim::time::{TimeHandle, sleep};

pub use grapevine_tokio_madsim::*;

/// The port at which the servers listen for each other.
pub const PORT: u16 = 7400;

/// The name under which the others find the server with this number.
pub fn host(number: u16) -> String {
    format!("server-{number}")
}

/// The time of the simulation that runs in this thread: it begins at the same moment in each.
pub fn now() -> Timestamp {
    crate::START + TimeHandle::try_current().map_or(Duration::ZERO, |time| time.elapsed())
}

/// A simulated network with a node for each server of a farm, and a place for customers. All that happens
/// comes from its seed, if it is made in a thread that has hashed nothing before: madsim hashes.
pub struct Simulation {
    runtime: Runtime,
    network: Arc<NetSim>,
    seed: u64,
    /// Of the servers, in the order of their numbers.
    nodes: Vec<NodeHandle>,
    cut: BTreeSet<(u16, u16)>,
    elapsed: Duration,
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation").field("elapsed", &self.elapsed).finish_non_exhaustive()
    }
}

impl Simulation {
    /// A network for a farm of this size, on which nothing runs yet. Messages take from 0.1 to 5 ms.
    pub fn new(size: u16, seed: u64) -> Self {
        let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
        let (network, customers) = runtime.block_on(async { (NetSim::current(), node()) });
        let address = |number| {
            let [high, low] = u16::to_be_bytes(number);
            IpAddr::V4(Ipv4Addr::new(10, 0, high, low))
        };
        network.set_ip(customers, address(0));
        let node = |number| {
            network.add_dns_record(&host(number), address(number));
            runtime.create_node().name(host(number)).ip(address(number)).build()
        };
        let nodes = (1..=size).map(node).collect();
        let (cut, elapsed) = (BTreeSet::new(), Duration::ZERO);
        let simulation = Self { runtime, network, seed, nodes, cut, elapsed };
        simulation.latency(Duration::from_micros(100)..Duration::from_millis(5));
        simulation
    }

    /// A server of this farm, with its peers' addresses, its clock and everything random set: each process
    /// draws other numbers, as it starts at another time. To be started on its node.
    pub fn server(&self, number: u16) -> Builder {
        let mut all = [0; 32];
        all[..8].copy_from_slice(&self.seed.to_le_bytes());
        all[8..10].copy_from_slice(&number.to_le_bytes());
        all[16..].copy_from_slice(&self.elapsed.as_micros().to_le_bytes());
        let builder = Grapevine::builder(number)
            .listen((Ipv4Addr::UNSPECIFIED, PORT).into())
            .wall_clock(|| now().as_micros())
            .seed(all);
        let peers = (1..=self.nodes.len() as u16).filter(|&peer| peer != number);
        peers.fold(builder, |builder, peer| builder.peer(format!("{}:{PORT}", host(peer))))
    }

    /// Runs a task in the process of a server.
    pub fn spawn(&self, number: u16, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.nodes[usize::from(number) - 1].spawn(task));
    }

    /// Has a customer do something, beside all servers.
    pub fn begin(&self, doing: impl Future<Output = ()> + 'static) {
        self.runtime.block_on(async { drop(spawn_local(doing)) });
    }

    /// How much time has gone by.
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Lets a little time go by: a millisecond.
    pub fn step(&mut self) {
        self.elapsed = self.runtime.block_on(async {
            sleep(Duration::from_millis(1)).await;
            TimeHandle::current().elapsed()
        });
    }

    /// Lets time go by.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.elapsed + time;
        while self.elapsed < until {
            self.step();
        }
    }

    /// Kills a server's process: nothing of it is left.
    pub fn crash(&mut self, number: u16) {
        let id = self.id(number);
        // What a paused process still had to do is not done either.
        self.runtime.handle().resume(id);
        self.runtime.handle().kill(id);
    }

    /// Has a process that was killed, or has ended, be a new one: tasks can be run in it.
    pub fn revive(&mut self, number: u16) {
        let id = self.id(number);
        self.runtime.handle().restart(id);
        self.nodes[usize::from(number) - 1] = self.runtime.handle().get_node(id).expect("its node");
    }

    /// Stops a process where it is. What is sent to it waits.
    pub fn pause(&self, number: u16) {
        self.runtime.handle().pause(self.id(number));
    }

    /// Has a paused process go on.
    pub fn resume(&self, number: u16) {
        self.runtime.handle().resume(self.id(number));
    }

    /// From now on nothing gets from the one server to the other, and no connection comes up. What is
    /// sent waits: when the link is mended it arrives, at most some seconds later.
    pub fn cut(&mut self, from: u16, to: u16) {
        if self.cut.insert((from, to)) {
            self.network.clog_link(self.id(from), self.id(to));
        }
    }

    /// Mends a link.
    pub fn mend(&mut self, from: u16, to: u16) {
        if self.cut.remove(&(from, to)) {
            self.network.unclog_link(self.id(from), self.id(to));
        }
    }

    /// How long messages take, on all links.
    pub fn latency(&self, range: Range<Duration>) {
        let range = range.start..range.end.max(range.start + Duration::from_micros(1));
        self.network.update_config(|config| config.send_latency = range);
    }

    /// How probable it is that a message is lost, on all links. It is sent again: after a millisecond, after two
    /// more, and so on. A connection that would come up with a lost message does not.
    pub fn loss(&self, probability: f64) {
        self.network.update_config(|config| config.packet_loss_rate = probability);
    }

    fn id(&self, number: u16) -> NodeId {
        self.nodes[usize::from(number) - 1].id()
    }
}
