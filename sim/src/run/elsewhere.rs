//! Runs whose servers are real adapters on another harness: what happens there is told to the twins in
//! the world, in the order in which it happened, and judged as ever.

use std::time::Duration;

use grapevine_core::{Event, RequestId, Response, Timestamp};

use super::Run;
use super::faults::silence;
use crate::harness::{Elsewhere, Outcome, Told, What};
use crate::scenario::Fault;

/// Frames that found no room in the queues of adapters that ran to the end, among the figures.
const OVERFLOW: &str = "queue_overflow";
/// How long adapters wait, at most, between two attempts to connect, and some more for the attempt.
const DIALS_ANEW: Duration = Duration::from_secs(3);
/// How long servers may take to tell what they show, and to give answers that were decided.
const PATIENCE: Duration = Duration::from_secs(20);

impl Run {
    /// Whether the harness can't do a fault. What it does in another way, or not at all, is noted.
    pub(super) fn is_left_out(&mut self, fault: &Fault) -> bool {
        let Some(harness) = &self.harness else { return false };
        let cannot = harness.servers.cannot(fault);
        self.left_out.extend(cannot);
        self.left_out.extend(harness.servers.otherwise(fault));
        cannot.is_some()
    }

    /// Kills a server.
    pub(super) fn crash(&mut self, server: usize) {
        match &mut self.harness {
            None => self.world.crash(server),
            Some(harness) => {
                let told = harness.servers.crash(server);
                self.tell_all(told);
                if let Some(harness) = &mut self.harness {
                    harness.died(server);
                }
                self.world.twin_dies(server);
            }
        }
    }

    /// Pauses a server.
    pub(super) fn pause(&mut self, server: usize) {
        self.world.pause(server);
        if let Some(harness) = &mut self.harness {
            harness.paused.insert(server);
            harness.servers.pause(server);
        }
    }

    /// Lets a paused server go on.
    pub(super) fn resume(&mut self, server: usize) {
        self.world.resume(server);
        if let Some(harness) = &mut self.harness {
            harness.paused.remove(&server);
            harness.servers.resume(server);
        }
    }

    /// Starts a server that is down.
    pub(super) fn start(&mut self, server: usize) {
        match &mut self.harness {
            None => self.world.start(server),
            Some(harness) => {
                harness.paused.remove(&server);
                harness.servers.start(server);
            }
        }
    }

    /// Has the links elsewhere be as the world's are.
    pub(super) fn links_elsewhere(&mut self) {
        if let Some(harness) = &mut self.harness {
            harness.servers.links(&self.world.network);
        }
    }

    /// The same as on the queue: lets everything happen that happens until then.
    pub(super) fn run_elsewhere_until(&mut self, until: Timestamp) {
        while self.broken.is_none() && self.world.now() < until {
            while let Some((_, n)) =
                self.shop.next().filter(|&(due, _)| due <= self.world.now().min(until))
            {
                self.customer(n);
            }
            let Some(harness) = &mut self.harness else { return };
            let (told, now) = (harness.servers.step(), harness.servers.now());
            self.tell_all(told);
            self.world.advance(now);
            self.look_now_and_then();
        }
    }

    /// For how long after healing connections may still be dead, though nothing disturbs them any more: until
    /// adapters give them up and have dialled anew.
    pub(super) fn dead_after_healing(&self) -> Duration {
        let Some(harness) = &self.harness else {
            return self.world.network.swallows_for(self.world.now());
        };
        if self.damage.disturbed && harness.servers.streams_stay_dead() {
            silence(self.world.farm()) + DIALS_ANEW
        } else {
            Duration::ZERO
        }
    }

    fn tell_all(&mut self, told: Vec<Told>) {
        for told in told {
            if self.broken.is_none() {
                self.tell(told);
            }
        }
    }

    /// Tells the twins, the customers and the checks what happened at a server.
    fn tell(&mut self, told: Told) {
        let Told { server, at, what } = told;
        self.world.advance(at);
        match what {
            What::Starts { config, seed, now } => self.world.twin_starts(*config, seed, now),
            What::Handles { now, event } => {
                if let Event::Request { id: own, request } = &*event
                    && let Some(harness) = &mut self.harness
                    && let Some(id) = harness.came(server, request)
                {
                    self.world.twin_asked(server, *own, id);
                }
                self.world.twin_handles(server, now, *event);
            }
            What::CarriesOut => self.world.twin_carries_out(server),
            What::Serves => {}
            What::Answers { id, outcome } => self.got(server, id, outcome),
            What::Shows { sessions, overflow } => {
                *self.coverage.entry(OVERFLOW.to_owned()).or_default() += overflow;
                if let Some(harness) = &mut self.harness {
                    harness.to_show -= 1;
                }
                self.compare(server, &sessions);
            }
            What::Stops(why) => {
                self.fail("G7", format!("server {} stopped by itself: {why}", server + 1));
            }
        }
        self.observe();
    }

    /// A customer has its answer. What the engine decided was judged when it did; what was read without
    /// asking it is judged now.
    fn got(&mut self, server: usize, id: RequestId, outcome: Option<Outcome>) {
        let Some(harness) = &mut self.harness else { return };
        harness.forget(id);
        let decided = harness.decided.remove(&id);
        match (outcome, decided) {
            (None, _) => drop(self.shop.flights.remove(&id)),
            (Some(outcome), None) => {
                self.world.answers_now(server);
                self.answered(server, id, &outcome);
            }
            (Some(outcome), Some((_, decided))) => {
                if !is_same(&outcome, &decided) {
                    let sentence = format!(
                        "server {} decided {decided:?}, and its customer got {outcome:?}",
                        server + 1
                    );
                    self.fail("G7", sentence);
                }
            }
        }
    }

    /// An engine elsewhere has decided an answer, which its customer is to get.
    pub(super) fn decided(&mut self, server: usize, id: RequestId, outcome: &Outcome) {
        if let Some(harness) = &mut self.harness {
            harness.decided.insert(id, (server, outcome.clone()));
        }
    }

    /// At rest, what a server shows is what its engine has.
    pub(super) fn compare_with_twins(&mut self) {
        self.wait_elsewhere(|harness| harness.overdue().is_none());
        let Some(harness) = &mut self.harness else { return };
        if let Some((server, outcome)) = harness.overdue() {
            let sentence =
                format!("server {} decided {outcome:?}, and its customer never got it", server + 1);
            return self.fail("G7", sentence);
        }
        harness.to_show = harness.servers.look();
        self.wait_elsewhere(|harness| harness.to_show == 0);
        if let Some(Elsewhere { to_show: missing @ 1.., .. }) = self.harness {
            self.fail(
                "G7",
                format!("{missing} servers don't tell what they show within {PATIENCE:?}"),
            );
        }
    }

    /// Waits for what takes no time where time is simulated, and as long as the machine pleases elsewhere.
    fn wait_elsewhere(&mut self, come: impl Fn(&Elsewhere) -> bool) {
        let until = self.world.now() + PATIENCE;
        while self.broken.is_none()
            && self.world.now() < until
            && self.harness.as_ref().is_some_and(|harness| !come(harness))
        {
            self.run_elsewhere_until(self.world.now() + Duration::from_millis(1));
        }
    }

    fn compare(&mut self, server: usize, sessions: &[std::sync::Arc<grapevine_core::Session>]) {
        let copies = self.world.copies(server);
        let other = sessions
            .iter()
            .find(|shown| copies.get(&shown.id.address).is_none_or(|copy| *copy != &***shown));
        let shown: std::collections::BTreeSet<_> =
            sessions.iter().map(|session| session.id).collect();
        let expected = self.world.to_be_shown(server);
        let missing = expected.iter().find(|copy| !shown.contains(&copy.id));
        let sentence = match (other, missing) {
            (Some(other), _) => {
                format!("server {} shows {}, which its engine has not so", server + 1, other.id)
            }
            (None, Some(missing)) => {
                format!("server {} does not show {}, which its engine has", server + 1, missing.id)
            }
            (None, None) => return,
        };
        self.fail("G1", sentence);
    }
}

/// Whether two answers are one; a handle does not say which revocation it was.
fn is_same(one: &Outcome, other: &Outcome) -> bool {
    match (one, other) {
        (
            Ok(Response::Revoked { sessions, .. }),
            Ok(Response::Revoked { sessions: decided, .. }),
        ) => sessions == decided,
        _ => one == other,
    }
}
