//! What the tests of simulated farms need of turmoil.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use grapevine_sim::turmoil::{PORT, Process, host, network, server};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub(crate) use grapevine_sim::turmoil as adapter;

use crate::farm::Handles;

/// What a customer does, to be done within the simulation: only there time is the simulation's.
type Job = Pin<Box<dyn Future<Output = ()>>>;

pub(crate) struct Net {
    sim: turmoil::Sim<'static>,
    jobs: UnboundedSender<Job>,
    processes: BTreeMap<u16, Process>,
}

impl Net {
    /// A network with servers that start by themselves.
    pub(crate) fn new(size: u16, seed: u64, handles: &Handles) -> Self {
        let mut sim = network(seed).build();
        let process = |number| (number, Process::new());
        let processes: BTreeMap<u16, Process> = (1..=size).map(process).collect();
        for (&number, process) in &processes {
            let (handles, process) = (handles.clone(), process.clone());
            sim.host(host(number), move || {
                let handles = handles.clone();
                process.run(async move {
                    let started = server(number, size, seed).start().await?;
                    handles.insert(number, started.clone());
                    started.stopped().await;
                    Ok(())
                })
            });
        }
        let (jobs, mut to_do) = unbounded_channel::<Job>();
        sim.client("customers", async move {
            while let Some(job) = to_do.recv().await {
                tokio::task::spawn_local(job);
            }
            Ok(())
        });
        Self { sim, jobs, processes }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.sim.elapsed()
    }

    pub(crate) fn step(&mut self) {
        self.sim.step().expect("no host fails");
    }

    /// Has a customer do something.
    pub(crate) fn begin(&mut self, job: impl Future<Output = ()> + 'static) {
        self.jobs.send(Box::pin(job)).expect("customers for as long as the farm");
    }

    /// What is sent between the two is lost, and the streams with it.
    pub(crate) fn partition(&mut self, one: u16, other: u16) {
        self.sim.partition(host(one), host(other));
    }

    pub(crate) fn repair(&mut self, one: u16, other: u16) {
        self.sim.repair(host(one), host(other));
    }

    pub(crate) fn crash(&mut self, number: u16) {
        self.sim.crash(host(number));
    }

    pub(crate) fn pause(&mut self, number: u16) {
        self.processes[&number].pause();
    }

    pub(crate) fn resume(&mut self, number: u16) {
        self.processes[&number].resume();
    }

    pub(crate) fn start(&mut self, number: u16) {
        self.sim.bounce(host(number));
    }
}

/// Sends garbage to the port of each server of three in turn. Returns how many pieces were taken.
pub(crate) async fn flood() -> u32 {
    let mut sent = 0;
    for n in 0..400_u32 {
        let to = format!("{}:{PORT}", host(1 + (n % 3) as u16));
        let Ok(mut stream) = turmoil::net::TcpStream::connect(to).await else { continue };
        let garbage = vec![n as u8; 8 << 10];
        for _ in 0..4 {
            sent += u32::from(stream.write_all(&garbage).await.is_ok());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sent
}
