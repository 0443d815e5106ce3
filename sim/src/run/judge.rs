//! Tells the model, the customers and the checks what happened, and keeps the first complaint.

use grapevine_core::{Engine, RequestId, Response, SessionId};

use super::{Broken, Run};
use crate::checks::{Answered, Check, Judgement, Scene};
use crate::model::name;
use crate::rare::HarnessMark;
use crate::shop::{Flight, Intent};
use crate::world::Observation;

impl Run {
    pub(super) fn look(&mut self) {
        self.judge_all(|check, scene| check.now_and_then(scene));
    }

    /// Tells the model, the customers and the checks what has happened.
    pub(super) fn observe(&mut self) {
        let Some(mut observations) = self.world.take_observations() else { return };
        for observation in observations.drain(..) {
            if self.broken.is_some() {
                return;
            }
            match observation {
                Observation::Wrote { .. } | Observation::Stored { .. }
                    if self.checks.is_empty() => {}
                Observation::Wrote { by, write } => {
                    let first = self.model.wrote(by, &write, self.world.done_since(by));
                    if self.is_damaged(&write.session().id) {
                        continue;
                    }
                    self.judge_all(|check, scene| check.wrote(scene, by, &write, first));
                }
                Observation::Stored { copy, .. } if self.is_damaged(&copy.id) => {}
                Observation::Stored { by, copy } => {
                    self.judge_all(|check, scene| check.stored(scene, by, &copy));
                }
                Observation::Answered { server, id, outcome } => {
                    self.decided(server, id, &outcome);
                    self.answered(server, id, &outcome);
                }
                Observation::Crashed { server } => {
                    self.damage.deaths.push(self.world.now());
                    let there = |flight: &Flight| flight.server == server;
                    let mut flights = self.shop.flights.values();
                    if flights.any(|flight| there(flight) && flight.intent == Intent::Leave) {
                        self.world.rare.mark(HarnessMark::DiedLeaving);
                    }
                    self.shop.flights.retain(|_, flight| !there(flight));
                    self.judge_all(|check, scene| check.crashed(scene));
                }
            }
        }
        self.world.reuse(observations);
    }

    pub(super) fn answered(
        &mut self,
        server: usize,
        id: RequestId,
        outcome: &Result<Response, grapevine_core::RequestError>,
    ) {
        let Some(flight) = self.shop.flights.remove(&id) else {
            return self
                .fail("G7", "a request was answered twice, or after its server died".into());
        };
        let answered = Answered::new(server, &flight, outcome);
        let about = flight.token.as_ref().map(|token| token.id);
        let damaged = about.is_some_and(|id| self.is_damaged(&id));
        self.judge_all(|check, scene| {
            if damaged && check.is_about_contents() {
                return Ok(());
            }
            check.answered(scene, &answered)
        });
        if let Ok(Response::Session(served)) = outcome
            && !served.stale
            && let Some(known) = self.model.get_mut(&served.session.id)
        {
            // The access was somewhere between the request and now.
            let by = self.world.running(server).map(Engine::server);
            by.into_iter().for_each(|by| known.served(by, flight.sent));
        }
        let kind = outcome.as_ref().map_or_else(word, |_| "answered_ok");
        match self.coverage.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(self.coverage.insert(kind.to_owned(), 1)),
        }
        self.shop.take(&flight, outcome, self.world.now(), &mut self.rng);
    }

    /// Whether some server's copy of this session was damaged in its memory. What is served of it, and
    /// what becomes of it, nobody can promise; only that all servers hold the same in the end.
    fn is_damaged(&self, id: &SessionId) -> bool {
        self.world.damaged().contains(&name(id))
    }

    pub(super) fn judge_all(
        &mut self,
        mut judge: impl FnMut(&mut dyn Check, &Scene<'_>) -> Judgement,
    ) {
        let scene = Scene {
            world: &self.world,
            model: &self.model,
            damage: &self.damage,
            healed: &self.healed,
            forged: self.shop.forged,
            damaged: self.world.damaged(),
            flights: &self.shop.flights,
            tally: &self.tally,
        };
        let mut broken = None;
        for check in &mut self.checks {
            if let Err(sentence) = judge(&mut **check, &scene) {
                broken = broken.or(Some((check.about().name, sentence)));
            }
        }
        if let Some((name, sentence)) = broken {
            self.fail(name, sentence);
        }
    }

    pub(super) fn fail(&mut self, guarantee: &str, sentence: String) {
        if self.broken.is_none() {
            self.broken = Some(Broken {
                guarantee: guarantee.to_owned(),
                sentence,
                place: None,
                at_s: Broken::seconds(self.world.now()),
                event: self.world.events(),
            });
        }
    }
}

fn word(error: &grapevine_core::RequestError) -> &'static str {
    use grapevine_core::RequestError;
    match error {
        RequestError::NotFound(_) => "answered_not_found",
        RequestError::Lost => "answered_lost",
        RequestError::Unavailable(_) => "answered_unavailable",
        RequestError::NotReplicated { .. } => "answered_not_replicated",
        RequestError::Limit(_) => "answered_limit",
        _ => "answered_refused",
    }
}
