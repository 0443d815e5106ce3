//! Reads without the engine: what a real server's request threads do. They read what its engine last
//! had stored and said, by the engine's own rule ([`serve_locally`]). So the rule is judged here as
//! everything else is.

use std::collections::BTreeMap;
use std::sync::Arc;

use grapevine_core::{
    Address, Engine, Locally, Request, RequestError, Response, Session, Timestamp, View,
    serve_locally,
};

use super::World;
use crate::rare::HarnessMark;

/// What the request threads of one server can see.
#[derive(Debug, Default)]
pub(super) struct Shown {
    copies: BTreeMap<Address, (Arc<Session>, bool)>,
    view: View,
    generation: Option<u64>,
}

impl Shown {
    /// A copy is put where request threads read, or taken away.
    pub(super) fn store(&mut self, address: Address, copy: Option<&Arc<Session>>, settled: bool) {
        match copy {
            Some(copy) => drop(self.copies.insert(address, (Arc::clone(copy), settled))),
            None => drop(self.copies.remove(&address)),
        }
    }

    /// All that an engine wanted done is done: its view may be seen.
    fn show(&mut self, engine: &Engine) {
        let generation = Some(engine.view_generation());
        if self.generation != generation {
            (self.generation, self.view) = (generation, engine.view());
        }
    }
}

impl World {
    /// Answers a read without the engine, if a request thread may. Nothing comes of it but the answer.
    pub(crate) fn read_here(
        &mut self,
        server: usize,
        request: &Request,
    ) -> Option<Result<Response, RequestError>> {
        let Request::Read { token, .. } = request else { return None };
        self.show_drained(server);
        let node = &self.nodes[server];
        let runs = self.local_reads && node.engine.is_some() && !node.paused;
        let (copy, settled) = node.shown.copies.get(&token.id.address).filter(|_| runs)?;
        let now = self.clock(server);
        match serve_locally(copy, *settled, &node.shown.view, token, now) {
            Locally::Serve(served) => {
                let outcome = Ok(Response::Session(served));
                self.trace.asked(self.now, server, request);
                self.trace.answered(self.now, server, &outcome);
                self.rare.mark(HarnessMark::ReadHere);
                Some(outcome)
            }
            Locally::Ask => None,
        }
    }

    /// Has a server's view seen by its request threads, if all that it wanted done is done: before they look,
    /// and before an event after which something may be left to do. (A view takes long to make, and few are
    /// looked at.)
    pub(super) fn show_drained(&mut self, server: usize) {
        let node = &mut self.nodes[server];
        if let (Some(engine), true) = (&node.engine, self.local_reads && !node.undrained) {
            node.shown.show(engine);
        }
    }

    /// Does something as of an answer that a request thread makes now, whatever the engine has not given out
    /// yet: and so by what was there before an event whose outcome has not been shown.
    pub(crate) fn as_answered_now(&mut self, server: usize) -> (Timestamp, bool) {
        let now = self.clock(server);
        let node = &mut self.nodes[server];
        let late = std::mem::replace(&mut self.late, node.undrained);
        (std::mem::replace(&mut node.answered_from, now), late)
    }

    /// Takes back what [`World::as_answered_now`] changed.
    pub(crate) fn answered_from(&mut self, server: usize, (from, late): (Timestamp, bool)) {
        (self.nodes[server].answered_from, self.late) = (from, late);
    }
}
