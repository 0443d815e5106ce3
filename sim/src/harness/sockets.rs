//! The adapter that ships, on the real sockets of this machine: each server is a process of its own, and
//! everything between servers goes through a proxy. Time is real.
//!
//! Processes share one clock that nobody can set, so what they tell has one order in which causes come
//! before their effects: a server writes down what it did before anybody else can see it. The run looks
//! at all that was told up to a moment, when it has read all that was written by then.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use grapevine_core::{Request, RequestId, Timestamp};
use rustix::process::{Pid, Signal, kill_process};

use super::{Harness, Told, What};
use crate::network::{Link, Network};
use crate::scenario::{Fault, Scenario};
use crate::world::START;

mod pipe;
mod proxy;
mod server;
mod talk;

pub use server::serve_a_run;

use proxy::Proxy;
use talk::{Order, Plan, Planted, Record, Said, nanos, put, take};

/// The hidden call of the program that makes it a server's process.
const CALL: &str = "serve-a-run";
/// The program.
const PROGRAM: &str = "grapevine-sim";
/// A bug to be planted into servers, for tests of this.
const PLANTED: &str = "GRAPEVINE_SIM_PLANTED";
/// How often is looked at what was told.
const STEP: Duration = Duration::from_millis(1);
/// What was told is looked at so much later, for what a process tells late to be in order too.
const BEHIND: Duration = Duration::from_millis(20);

/// One server, whether it runs or not.
#[derive(Default)]
struct Server {
    process: Option<Process>,
    lives: u8,
    /// What it told and what was not looked at yet.
    told: VecDeque<Record>,
    /// When it last went on after a pause.
    resumed: u64,
}

struct Process {
    child: Child,
    socket: UnixStream,
    read: Vec<u8>,
    to_write: VecDeque<u8>,
    paused: bool,
    ended: bool,
}

pub(super) struct Sockets {
    program: PathBuf,
    planted: Option<Planted>,
    scenario: Scenario,
    began: u64,
    servers: Vec<Server>,
    proxy: Proxy,
    /// All that was told up to this moment was looked at.
    looked: u64,
    stepped: u64,
    late: u64,
}

impl Sockets {
    /// # Panics
    /// If the machine has no ports or processes left, or the program is not found.
    pub(super) fn new(scenario: &Scenario) -> (Self, Vec<&'static str>) {
        let size = usize::from(scenario.servers);
        let mut network = Network::seeded(scenario.seed);
        network.links = scenario.network.clone();
        for own in &scenario.network.own {
            network.delays.insert((index(own.from), index(own.to)), own.delay);
        }
        let proxy = Proxy::new(size, scenario.seed, &scenario.network).expect("free ports");
        proxy.links(&network);
        let planted = std::env::var(PLANTED).ok().and_then(|name| Planted::named(&name));
        let began = nanos();
        let mut sockets = Self {
            program: program(),
            planted,
            scenario: scenario.clone(),
            began,
            servers: (0..size).map(|_| Server::default()).collect(),
            proxy,
            looked: began,
            stepped: began,
            late: 0,
        };
        for server in 0..size {
            if !scenario.later.iter().any(|&number| index(number) == server) {
                sockets.start(server);
            }
        }
        (sockets, left_out(scenario))
    }

    fn time(&self, at: u64) -> Timestamp {
        START + Duration::from_nanos(at.saturating_sub(self.began))
    }

    fn plan(&self, server: usize) -> Plan {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.scenario.seed.to_le_bytes());
        seed[8] = self.servers[server].lives;
        seed[9..11].copy_from_slice(&(server as u16).to_le_bytes());
        Plan {
            number: server as u16 + 1,
            began: self.began,
            seed,
            farm: self.scenario.limits.farm(self.scenario.servers),
            local: self.scenario.limits.local(),
            queue: self.scenario.network.queue,
            peers: self.proxy.peers_of(server),
            planted: self.planted,
        }
    }

    /// Reads and writes what can be without waiting.
    fn exchange(&mut self) {
        for (index, server) in self.servers.iter_mut().enumerate() {
            let Some(process) = &mut server.process else { continue };
            let was_there = !process.ended;
            process.exchange();
            let mut rest = &process.read[..];
            while let Some(record) = take::<Record>(&mut rest) {
                // What was said before or while it was paused says nothing of the machine.
                let in_one_go = !process.paused && record.at > server.resumed;
                match record.said {
                    Said::Listens(port) => self.proxy.listens(index, port),
                    Said::Late(late) => {
                        if in_one_go && record.at - late > server.resumed {
                            self.late = self.late.max(late);
                        }
                    }
                    _ => {
                        if in_one_go {
                            self.late = self.late.max(nanos().saturating_sub(record.at));
                        }
                        server.told.push_back(record);
                    }
                }
            }
            let done = process.read.len() - rest.len();
            process.read.drain(..done);
            if was_there && process.ended {
                let said = Said::Stops("its process ended".into());
                server.told.push_back(Record { at: nanos(), said });
            }
        }
    }

    /// What was told up to a moment, in order.
    fn told_until(&mut self, until: u64) -> Vec<Told> {
        self.looked = self.looked.max(until);
        let mut all = Vec::new();
        for (index, server) in self.servers.iter_mut().enumerate() {
            while let Some(record) = server.told.pop_front_if(|record| record.at <= until) {
                all.push((index, record));
            }
        }
        all.sort_by_key(|(_, record)| record.at);
        all.into_iter().filter_map(|(index, record)| self.told(index, record)).collect()
    }

    fn told(&self, server: usize, record: Record) -> Option<Told> {
        let what = match record.said {
            Said::Starts { config, seed, now } => What::Starts { config, seed, now },
            Said::Serves => What::Serves,
            Said::Handles { now, event } => What::Handles { now, event },
            Said::CarriesOut => What::CarriesOut,
            Said::Answers { id, outcome } => What::Answers { id, outcome },
            Said::Shows { sessions, overflow } => What::Shows { sessions, overflow },
            Said::Stops(why) => What::Stops(why),
            Said::Listens(_) | Said::Late(_) => return None,
        };
        Some(Told { server, at: self.time(record.at), what })
    }

    fn order(&mut self, server: usize, order: &Order) -> bool {
        let process = self.servers[server].process.as_mut().filter(|process| !process.ended);
        process.is_some_and(|process| {
            let mut bytes = Vec::new();
            put(&mut bytes, order);
            process.to_write.extend(bytes);
            process.write();
            true
        })
    }

    fn signal(&mut self, server: usize, signal: Signal) -> Option<&mut Process> {
        let process = self.servers[server].process.as_mut()?;
        // The process was not waited for, so its number is its own, even if it has ended.
        let pid = i32::try_from(process.child.id()).ok().and_then(Pid::from_raw)?;
        kill_process(pid, signal).ok().map(|()| process)
    }
}

impl Process {
    fn exchange(&mut self) {
        self.write();
        let mut part = [0; 64 << 10];
        while !self.ended {
            match self.socket.read(&mut part) {
                Ok(0) => self.ended = true,
                Ok(read) => self.read.extend(&part[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.ended = true,
            }
        }
    }

    fn write(&mut self) {
        while !self.to_write.is_empty() {
            match self.socket.write(self.to_write.as_slices().0) {
                Ok(written) => drop(self.to_write.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // It takes no more now, or never again: then reading says so.
                Err(_) => return,
            }
        }
    }

    /// Ends it, and reads what it said last.
    fn kill(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
        self.exchange();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Harness for Sockets {
    fn step(&mut self) -> Vec<Told> {
        let next = self.stepped + STEP.as_nanos() as u64;
        let now = nanos();
        std::thread::sleep(Duration::from_nanos(next.saturating_sub(now)));
        let now = nanos();
        self.late = self.late.max(now.saturating_sub(next));
        self.stepped = now;
        // All that was written by now is read after it.
        self.exchange();
        self.told_until(now - BEHIND.as_nanos() as u64)
    }

    fn now(&self) -> Timestamp {
        self.time(self.looked)
    }

    fn submit(&mut self, server: usize, id: RequestId, request: Request) -> bool {
        self.order(server, &Order::Ask(id, Box::new(request)))
    }

    fn crash(&mut self, server: usize) -> Vec<Told> {
        if let Some(mut process) = self.servers[server].process.take() {
            self.proxy.listens(server, 0);
            process.kill();
            process.ended = true;
            self.servers[server].process = Some(process);
        }
        let now = nanos();
        self.exchange();
        let told = self.told_until(now);
        self.servers[server].process = None;
        self.servers[server].told.clear();
        told
    }

    fn start(&mut self, server: usize) {
        if self.servers[server].process.is_some() {
            return;
        }
        self.servers[server].lives += 1;
        let (ours, its) = UnixStream::pair().expect("two sockets");
        let its_too = its.try_clone().expect("one more socket");
        ours.set_nonblocking(true).expect("a socket need not block");
        let child = Command::new(&self.program)
            .arg(CALL)
            .stdin(Stdio::from(OwnedFd::from(its)))
            .stdout(Stdio::from(OwnedFd::from(its_too)))
            .spawn();
        let child = child.unwrap_or_else(|error| {
            panic!("{} can't be started: {error}", self.program.display());
        });
        self.servers[server].process = Some(Process {
            child,
            socket: ours,
            read: Vec::new(),
            to_write: VecDeque::new(),
            paused: false,
            ended: false,
        });
        let plan = self.plan(server);
        self.order(server, &Order::Start(Box::new(plan)));
    }

    fn pause(&mut self, server: usize) {
        if let Some(process) = self.signal(server, Signal::STOP) {
            process.paused = true;
        }
    }

    fn resume(&mut self, server: usize) {
        let paused = self.servers[server].process.as_ref().is_some_and(|process| process.paused);
        if paused && let Some(process) = self.signal(server, Signal::CONT) {
            process.paused = false;
            self.servers[server].resumed = nanos();
        }
    }

    fn links(&mut self, network: &Network) {
        self.proxy.links(network);
    }

    fn swallow(&mut self, links: &[Link]) {
        links.iter().for_each(|&link| self.proxy.swallow(link));
    }

    fn streams_stay_dead(&self) -> bool {
        true
    }

    fn calm(&mut self, _longest_ms: f64) {
        // The world's network is calm, and so are the links.
    }

    fn look(&mut self) -> usize {
        (0..self.servers.len()).filter(|&server| self.order(server, &Order::Show)).count()
    }

    fn late(&self) -> Option<Duration> {
        Some(Duration::from_nanos(self.late.max(self.proxy.late())))
    }

    fn otherwise(&self, fault: &Fault) -> Option<&'static str> {
        match fault {
            Fault::Partition { .. }
            | Fault::Isolate { .. }
            | Fault::OneWay { .. }
            | Fault::Bridge { .. }
            | Fault::Cut { .. } => Some(
                "cut: a stream loses no part of itself; one that meets a cut waits for the mending, or \
                 is dead from then on, half of the times each",
            ),
            Fault::Weather { repeats, .. } if *repeats > 0.0 => {
                Some("weather: streams have no repeats; loss and corruption as of a stream")
            }
            Fault::Weather { loss, .. } if *loss > 0.0 => Some(LOSS),
            Fault::Weather { corruption, .. } if *corruption > 0.0 => Some(CORRUPTION),
            _ => None,
        }
    }
}

/// How loss shows on a stream.
const LOSS: &str = "loss: what a stream loses is sent again, later and later from 200 ms on, and after \
                    seven losses in a row the connection breaks";

/// What corruption does to a stream.
const CORRUPTION: &str = "corruption: of one bit of what is read at once, and the stream goes on";

/// What of a scenario, but for its faults, real sockets can't do, or do in another way.
fn left_out(scenario: &Scenario) -> Vec<&'static str> {
    let network = &scenario.network;
    let all = [
        (true, "time: it is real, so no two runs of one seed are the same"),
        (network.loss > 0.0, LOSS),
        (network.repeats > 0.0, "repeats: streams have none; left out"),
        (network.corruption > 0.0, CORRUPTION),
        (!network.in_order, "order: a stream keeps it; messages of one link never overtake"),
        (!scenario.buggify.is_empty(), "buggify: rare choices are not forced; left out"),
    ];
    all.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect()
}

/// The program whose processes are servers: this one, or the one beside it (or a folder above, where
/// tests are) if this is another.
fn program() -> PathBuf {
    let this = std::env::current_exe().expect("every program has a file");
    let beside = this.ancestors().skip(1).take(2).map(|folder| folder.join(PROGRAM));
    let is_it = |path: &PathBuf| path.file_name().is_some_and(|name| name == PROGRAM);
    let mut all = std::iter::once(this.clone()).chain(beside);
    all.find(|path| is_it(path) && path.is_file()).unwrap_or(this)
}

/// The index of the server with this number.
fn index(number: u16) -> usize {
    usize::from(number) - 1
}
