//! The trace of a run: a rolling hash over everything that happened (G9), and on demand a record
//! from which a picture is drawn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use grapevine_core::{
    Address, Command, Engine, Request, RequestError, Response, ServerId, Session, Timestamp, Vector,
};

use crate::network::Link;

mod digest;
mod record;

pub(crate) use digest::digest;
use digest::mixed;
pub use record::Record;

/// The trace of one world.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
    recording: bool,
    records: Vec<Record>,
    /// After every event: its time, its server, and the hash so far.
    steps: Option<Vec<(Timestamp, usize, u64)>>,
    /// While recording: what was recorded last of each server's state.
    states: BTreeMap<usize, State>,
    /// While recording: the links that were cut and those that were clogged, last.
    links: (BTreeSet<Link>, BTreeSet<Link>),
}

/// What was recorded last of one server.
#[derive(Debug, Default)]
struct State {
    applied: Vector,
    copies: BTreeMap<Address, Arc<Session>>,
}

impl Trace {
    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }

    pub(crate) const fn recording(&self) -> bool {
        self.recording
    }

    pub(crate) const fn record(&mut self) {
        self.recording = true;
    }

    pub(crate) fn keep_steps(&mut self) {
        self.steps = Some(Vec::new());
    }

    pub(crate) fn steps(&self) -> &[(Timestamp, usize, u64)] {
        self.steps.as_deref().unwrap_or_default()
    }

    fn mix(&mut self, word: u64) {
        self.hash = mixed(self.hash, word);
    }

    pub(crate) fn message(
        &mut self,
        at: Timestamp,
        from: ServerId,
        link: Link,
        name: &str,
        digest: u64,
    ) {
        self.mix(at.as_micros());
        self.mix(from.to_bits());
        self.mix((link.0 as u64) << 32 | link.1 as u64);
        self.mix(self::digest(name.as_bytes()));
        self.mix(digest);
    }

    /// Takes in the copies that an event has changed: with the fingerprint of all else, a digest of the
    /// server's state.
    pub(crate) fn changed(&mut self, engine: &Engine, changed: &[Address]) {
        for &address in changed {
            self.mix(address.origin.to_bits());
            self.mix(u64::from(address.slot));
            let Some(copy) = engine.copy(address) else { continue };
            self.hash = digest::copy(self.hash, copy);
        }
    }

    pub(crate) fn handled(&mut self, at: Timestamp, server: usize, state: u64) {
        self.mix(at.as_micros());
        self.mix(server as u64);
        self.mix(state);
        if let Some(steps) = &mut self.steps {
            steps.push((at, server, self.hash));
        }
    }

    pub(crate) fn note(&mut self, at: Timestamp, server: usize, what: &'static str) {
        self.handled(at, server, digest(what.as_bytes()));
        if self.recording {
            self.records.push(Record::Fault { at, server, what });
            if what == "crash" {
                self.forget(at, server);
            }
        }
    }

    #[inline]
    pub(crate) fn sent(
        &mut self,
        at: Timestamp,
        due: Timestamp,
        link: Link,
        command: &Command,
        damaged: bool,
    ) {
        if self.recording {
            let (about, command) = (record::sessions(command), command.name());
            self.records.push(Record::Sent { at, due, link, command, about, damaged });
        }
    }

    /// A message waits on a clogged link.
    pub(crate) fn waits(&mut self, at: Timestamp, link: Link, command: &Command) {
        if self.recording {
            let (about, command) = (record::sessions(command), command.name());
            self.records.push(Record::Lost { at, link, command, about, why: "clogged" });
        }
    }

    pub(crate) fn lost(&mut self, at: Timestamp, link: Link, command: &Command, why: &'static str) {
        self.mix(digest(why.as_bytes()));
        if self.recording {
            let (about, command) = (record::sessions(command), command.name());
            self.records.push(Record::Lost { at, link, command, about, why });
        }
    }

    pub(crate) fn answered(
        &mut self,
        at: Timestamp,
        server: usize,
        outcome: &Result<Response, RequestError>,
    ) {
        self.hash = digest::outcome(self.hash, outcome);
        if self.recording {
            let (what, about) = record::answer(outcome);
            let good = outcome.is_ok();
            self.records.push(Record::Answered { at, server, what, good, about });
        }
    }

    pub(crate) fn asked(&mut self, at: Timestamp, server: usize, request: &Request) {
        if self.recording {
            let (what, about) = record::request(request);
            self.records.push(Record::Asked { at, server, what, about });
        }
    }

    /// A fault of the schedule.
    pub(crate) fn scheduled(&mut self, at: Timestamp, what: impl FnOnce() -> String) {
        if self.recording {
            self.records.push(Record::Scheduled { at, what: what() });
        }
    }

    /// Records which links are cut or clogged, if others are than were last.
    pub(crate) fn links(&mut self, at: Timestamp, cut: &BTreeSet<Link>, clogged: &BTreeSet<Link>) {
        let now = (cut.clone(), clogged.clone());
        if self.recording && self.links != now {
            let (cut, clogged) = now.clone();
            self.records.push(Record::Links { at, cut, clogged });
            self.links = now;
        }
    }

    /// Records what has changed in a server's state: at these addresses, or anywhere. It keeps every
    /// copy: for pictures only.
    pub(crate) fn state(
        &mut self,
        at: Timestamp,
        server: usize,
        engine: &Engine,
        changed: Option<&[Address]>,
    ) {
        if !self.recording {
            return;
        }
        let state = self.states.entry(server).or_default();
        if state.applied != *engine.applied() {
            state.applied = engine.applied().clone();
            let applied = record::vector(&state.applied);
            self.records.push(Record::Applied { at, server, applied });
        }
        let all: BTreeSet<Address> = match changed {
            Some(changed) => changed.iter().copied().collect(),
            None => {
                let held = engine.copies().map(|copy| copy.id.address);
                held.chain(state.copies.keys().copied()).collect()
            }
        };
        for address in all {
            let (now, before) = (engine.copy(address), state.copies.get(&address));
            // A copy that is held here is never changed in place: another pointer, another copy.
            if now.zip(before).is_some_and(|(now, before)| Arc::ptr_eq(now, before)) {
                continue;
            }
            if let Some(before) = before.filter(|before| now.is_none_or(|now| now.id != before.id))
            {
                let session = before.id.to_string();
                self.records.push(Record::Copy { at, server, session, shows: None });
            }
            match now {
                Some(copy) => {
                    let (session, shows) = (copy.id.to_string(), Some(record::copy(copy)));
                    self.records.push(Record::Copy { at, server, session, shows });
                    state.copies.insert(address, Arc::clone(copy));
                }
                None => _ = state.copies.remove(&address),
            }
        }
    }

    /// A server's memory is gone.
    fn forget(&mut self, at: Timestamp, server: usize) {
        let State { copies, .. } = self.states.remove(&server).unwrap_or_default();
        let gone = |copy: Arc<Session>| Record::Copy {
            at,
            server,
            session: copy.id.to_string(),
            shows: None,
        };
        self.records.extend(copies.into_values().map(gone));
        self.records.push(Record::Applied { at, server, applied: String::new() });
    }
}
