//! A farm on turmoil whose servers' handles the test has in its hands, as a service has.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use grapevine_sim::turmoil::{
    Acks, Change, Error, Grapevine, Key, Served, Value, host, network, server,
};

/// What a customer does, to be done within the simulation: only there time is the simulation's.
type Job = Pin<Box<dyn Future<Output = ()>>>;

/// The handles of the servers that run, by number.
pub(crate) type Handles = Rc<RefCell<BTreeMap<u16, Grapevine>>>;

pub(crate) struct Simulated {
    pub(crate) sim: turmoil::Sim<'static>,
    handles: Handles,
    jobs: UnboundedSender<Job>,
}

impl Simulated {
    /// A farm of this size, whose servers have just started.
    pub(crate) fn new(size: u16, seed: u64) -> Self {
        let mut sim = network(seed).build();
        let handles = Handles::default();
        for number in 1..=size {
            let handles = Rc::clone(&handles);
            sim.host(host(number), move || {
                let handles = Rc::clone(&handles);
                async move {
                    let started = server(number, size, seed).start().await?;
                    handles.borrow_mut().insert(number, started.clone());
                    started.stopped().await;
                    Ok(())
                }
            });
        }
        let (jobs, mut to_do) = unbounded_channel::<Job>();
        sim.client("customers", async move {
            while let Some(job) = to_do.recv().await {
                tokio::task::spawn_local(job);
            }
            Ok(())
        });
        let mut farm = Self { sim, handles, jobs };
        farm.run_for(Duration::from_secs(4));
        farm
    }

    pub(crate) fn server(&self, number: u16) -> Grapevine {
        self.handles.borrow().get(&number).expect("a server that was started").clone()
    }

    /// Lets time go on.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let until = self.sim.elapsed() + time;
        while self.sim.elapsed() < until {
            self.sim.step().expect("no host fails");
        }
    }

    /// Has a customer begin something. Its answer will lie in what is returned.
    pub(crate) fn begin<T: 'static>(
        &self,
        asking: impl Future<Output = T> + 'static,
    ) -> Rc<RefCell<Option<T>>> {
        let answer = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&answer);
        let job: Job = Box::pin(async move {
            let answer = asking.await;
            *slot.borrow_mut() = Some(answer);
        });
        self.jobs.send(job).expect("customers for as long as the farm");
        answer
    }

    /// Has a customer do something, and lets time go on until it is done.
    pub(crate) fn ask<T: 'static>(&mut self, asking: impl Future<Output = T> + 'static) -> T {
        let answer = self.begin(asking);
        for _ in 0..60_000 {
            self.sim.step().expect("no host fails");
            if let Some(answer) = answer.borrow_mut().take() {
                return answer;
            }
        }
        panic!("no answer within a minute");
    }

    pub(crate) fn create(&mut self, at: u16) -> String {
        let server = self.server(at);
        self.ask(async move { server.create(Default::default()).await }).expect("a session").token
    }

    /// Sets an attribute.
    pub(crate) fn set(
        &mut self,
        at: u16,
        token: &str,
        key: &str,
        value: &str,
    ) -> Result<Served, Error> {
        let (server, token) = (self.server(at), token.to_owned());
        let set = Change::Set(Key::new(key).unwrap(), Value::new(value.as_bytes()));
        self.ask(async move { server.change(&token, vec![set], Acks::Local).await })
    }

    pub(crate) fn read(&mut self, at: u16, token: &str) -> Result<Served, Error> {
        let (server, token) = (self.server(at), token.to_owned());
        self.ask(async move { server.read(&token).await })
    }

    pub(crate) fn partition(&self, one: &[u16], other: &[u16]) {
        pairs(one, other, |a, b| self.sim.partition(a, b));
    }

    pub(crate) fn repair(&self, one: &[u16], other: &[u16]) {
        pairs(one, other, |a, b| self.sim.repair(a, b));
    }

    /// Kills a process: nothing of it is left.
    pub(crate) fn crash(&mut self, number: u16) {
        self.sim.crash(host(number));
        self.handles.borrow_mut().remove(&number);
    }

    /// Starts it again, empty.
    pub(crate) fn start(&mut self, number: u16) {
        self.sim.bounce(host(number));
    }

    /// Whether all servers that run hold the same.
    pub(crate) fn is_level(&mut self) -> bool {
        let handles: Vec<Grapevine> = self.handles.borrow().values().cloned().collect();
        self.ask(async move {
            let mut digests = handles.iter().map(Grapevine::digest);
            let first = digests.next();
            digests.all(|digest| Some(digest) == first)
        })
    }

    pub(crate) fn is_isolated(&mut self, number: u16) -> bool {
        let server = self.server(number);
        self.ask(async move { server.is_isolated() })
    }

    /// Lets time go on until all servers that run hold the same; at most a minute.
    pub(crate) fn level(&mut self) {
        for _ in 0..600 {
            if self.is_level() {
                return;
            }
            self.run_for(Duration::from_millis(100));
        }
        panic!("the servers still differ after a minute");
    }
}

/// Does something to the link of each server of the one side with each other server of the other.
fn pairs(one: &[u16], other: &[u16], mut link: impl FnMut(String, String)) {
    for &a in one {
        other.iter().filter(|&&b| b != a).for_each(|&b| link(host(a), host(b)));
    }
}
