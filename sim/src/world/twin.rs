//! A world of twins: each engine is given just what a real adapter's engine was given, at the same
//! readings of its clock. So checks and model see all of a server's state and writes, whatever harness
//! it runs in, without a way of looking into it. Nothing is sent here, and no timer is set.

use std::time::Duration;

use grapevine_core::command::Write;
use grapevine_core::{
    Action, Command, Config, Engine, Event, Farm, Life, Local, RequestId, Session, Timestamp,
};

use super::{Observation, World};

impl World {
    /// A world whose servers all run elsewhere.
    pub(crate) fn of_twins(seed: u64, farm: Farm, local: Local) -> Self {
        let all: Vec<usize> = (0..farm.size.into()).collect();
        Self::without(seed, farm, local, &all)
    }

    /// A process started with this engine.
    pub(crate) fn twin_starts(&mut self, config: Config, seed: [u8; 32], now: Timestamp) {
        let server = usize::from(config.server.number()) - 1;
        let boot = config.server.boot();
        let engine = Engine::new(config, seed, now).expect("it is valid elsewhere");
        self.trace.note(self.now, server, "start");
        let node = &mut self.nodes[server];
        node.latest = Timestamp::ZERO;
        node.heard.fill(Timestamp::ZERO);
        node.life += 1;
        node.since = self.now;
        self.older_boot |= node.boots.last().is_some_and(|&before| boot < before);
        node.boots.insert(boot);
        node.undrained = false;
        node.engine = Some(Box::new(engine));
    }

    /// An engine was given this.
    pub(crate) fn twin_handles(&mut self, server: usize, now: Timestamp, event: Event) {
        let Some(mut engine) = self.nodes[server].engine.take() else { return };
        self.events += 1;
        let node = &mut self.nodes[server];
        if !node.undrained {
            (node.answered_from, node.given_at) = (now, self.now);
            node.given = (false, false, false);
        }
        node.given.0 |= node.undrained;
        node.given.1 |= matches!(event, Event::Command { .. });
        node.given.2 |= engine.joining();
        match &event {
            Event::Command { from, .. } => {
                self.messages += 1;
                node.heard[usize::from(from.number()) - 1] = now;
            }
            Event::Request { request, .. } => self.trace.asked(self.now, server, request),
            _ => {}
        }
        engine.handle(now, event);
        self.trace.handled(self.now, server, engine.fingerprint());
        self.trace.state(self.now, server, &engine, None);
        let node = &mut self.nodes[server];
        node.latest = now;
        node.undrained = true;
        node.engine = Some(engine);
    }

    /// What an engine wanted done was done.
    pub(crate) fn twin_carries_out(&mut self, server: usize) {
        let Some(mut engine) = self.nodes[server].engine.take() else { return };
        let from = engine.server();
        // An adapter drains its engine after all events that have come: what is observed now may have been
        // done before the last of them.
        (self.late, self.by_command, self.was_joining) = self.nodes[server].given;
        while let Some(action) = engine.poll_action() {
            match action {
                Action::Publish { command: Command::Batch(batch), .. } => {
                    let wrote = |write: Write| Observation::Wrote { by: from, write };
                    self.observations.extend(batch.writes.into_iter().map(wrote));
                }
                Action::Respond { id, outcome } => {
                    self.trace.answered(self.now, server, &outcome);
                    if let Some(id) = self.asked.remove(&(server, id)) {
                        self.observations.push(Observation::Answered { server, id, outcome });
                    }
                }
                Action::Publish { .. } | Action::Stop(_) => {}
                other => self.act(server, from, other),
            }
        }
        self.check(server, &engine);
        let node = &mut self.nodes[server];
        (node.undrained, node.given) = (false, (false, false, false));
        node.engine = Some(engine);
    }

    /// A process died.
    pub(crate) fn twin_dies(&mut self, server: usize) {
        let Some(engine) = self.nodes[server].engine.take() else { return };
        self.obituaries.insert(engine.server(), engine.applied().clone());
        self.trace.note(self.now, server, "crash");
        self.nodes[server].paused = false;
        self.asked.retain(|&(by, _), _| by != server);
        self.observations.push(Observation::Crashed { server });
    }

    /// A server answered now, by a clock that shows as much as the world's: in time for nothing that it
    /// was given before.
    pub(crate) fn answers_now(&mut self, server: usize) {
        self.nodes[server].answered_from = self.now;
    }

    /// A twin was given a request of this number, which is ours of that.
    pub(crate) fn twin_asked(&mut self, server: usize, own: RequestId, id: RequestId) {
        self.asked.insert((server, own), id);
    }

    /// Copies of a server that everybody should be shown: for a comparison with what it does show.
    /// Those whose deadline is near may be gone there already.
    pub(crate) fn to_be_shown(&self, server: usize) -> Vec<&Session> {
        let soon = self.now + Duration::from_secs(1);
        let mut copies: Vec<&Session> = self.copies(server).into_values().collect();
        copies
            .retain(|copy| copy.life == Life::Live && copy.complete && copy.fixed.deadline > soon);
        copies
    }
}
