//! A simulated farm whose servers' handles the test has in its hands, as a service has. The same tests are
//! compiled for each simulator, which is in `crate::net`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::net::Net;
use crate::net::adapter::{Acks, Change, Error, Grapevine, Key, Served, Value};

/// The handles of the servers that run, by number.
#[derive(Clone, Default)]
pub(crate) struct Handles(Arc<Mutex<BTreeMap<u16, Grapevine>>>);

impl Handles {
    pub(crate) fn insert(&self, number: u16, server: Grapevine) {
        self.0.lock().unwrap().insert(number, server);
    }

    fn remove(&self, number: u16) {
        let removed = self.0.lock().unwrap().remove(&number);
        drop(removed);
    }

    pub(crate) fn all(&self) -> Vec<(u16, Grapevine)> {
        let handles = self.0.lock().unwrap();
        handles.iter().map(|(&number, server)| (number, server.clone())).collect()
    }
}

pub(crate) struct Simulated {
    pub(crate) net: Net,
    handles: Handles,
}

impl Simulated {
    /// A farm of this size, whose servers have just started.
    pub(crate) fn new(size: u16, seed: u64) -> Self {
        let handles = Handles::default();
        let net = Net::new(size, seed, &handles);
        let mut farm = Self { net, handles };
        farm.run_for(Duration::from_secs(4));
        farm
    }

    pub(crate) fn server(&self, number: u16) -> Grapevine {
        let handles = self.handles.0.lock().unwrap();
        handles.get(&number).expect("a server that was started").clone()
    }

    /// Lets time go on.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let until = self.net.elapsed() + time;
        while self.net.elapsed() < until {
            self.net.step();
        }
    }

    /// Has a customer begin something. Its answer will lie in what is returned.
    pub(crate) fn begin<T: 'static>(
        &mut self,
        asking: impl Future<Output = T> + 'static,
    ) -> Rc<RefCell<Option<T>>> {
        let answer = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&answer);
        self.net.begin(async move {
            let answer = asking.await;
            *slot.borrow_mut() = Some(answer);
        });
        answer
    }

    /// Has a customer do something, and lets time go on until it is done.
    pub(crate) fn ask<T: 'static>(&mut self, asking: impl Future<Output = T> + 'static) -> T {
        let answer = self.begin(asking);
        for _ in 0..60_000 {
            self.net.step();
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

    pub(crate) fn partition(&mut self, one: &[u16], other: &[u16]) {
        pairs(one, other, |a, b| self.net.partition(a, b));
    }

    pub(crate) fn repair(&mut self, one: &[u16], other: &[u16]) {
        pairs(one, other, |a, b| self.net.repair(a, b));
    }

    /// Kills a process: nothing of it is left.
    pub(crate) fn crash(&mut self, number: u16) {
        self.net.crash(number);
        self.handles.remove(number);
    }

    /// Starts it again, empty.
    pub(crate) fn start(&mut self, number: u16) {
        self.net.start(number);
    }

    /// Stops a process where it is.
    pub(crate) fn pause(&mut self, number: u16) {
        self.net.pause(number);
    }

    /// Has it go on.
    pub(crate) fn resume(&mut self, number: u16) {
        self.net.resume(number);
    }

    /// Whether all servers that run hold the same.
    pub(crate) fn is_level(&mut self) -> bool {
        let handles = self.handles.all();
        self.ask(async move {
            let mut digests = handles.iter().map(|(_, server)| server.digest());
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
fn pairs(one: &[u16], other: &[u16], mut link: impl FnMut(u16, u16)) {
    for &a in one {
        other.iter().filter(|&&b| b != a).for_each(|&b| link(a, b));
    }
}
