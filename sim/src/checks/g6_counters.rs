//! G6: counters are exact.

use std::collections::{BTreeMap, BTreeSet};

use grapevine_core::{Life, RequestError, Response, Shown};

use super::{About, Answered, Check, Judgement, Rule, Scene};
use crate::model::{Name, name};
use crate::shop::{COUNTER, Intent};

#[derive(Default)]
pub(super) struct Counters {
    looked: u64,
    sums: BTreeMap<Name, i64>,
    /// Sessions of which it is not known what was added, or that were replaced as a whole.
    unknown: BTreeSet<Name>,
}

static ABOUT: About = About {
    name: "G6",
    promise: "Counters are exact: the sum of the increments that survived, none twice.",
    source: "Sections 3 and 11 of the protocol; counters as per-server subtotals (Shapiro et al., \
             2011).",
    rule: "Where no server died: at the end, on every healed server, the counter that customers \
           only ever add to is the sum of the adds that were answered. (That every read shows the \
           sum of the adds it has seen is checked with G3.)",
    file: "sim/src/checks/g6_counters.rs",
    not_applied: None,
};

impl Check for Counters {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn looked(&self) -> u64 {
        self.looked
    }

    fn answered(&mut self, _: &Scene<'_>, answered: &Answered<'_>) -> Judgement {
        let Some(token) = &answered.flight.token else { return Ok(()) };
        let done = matches!(
            answered.outcome,
            Ok(Response::Session(_)) | Err(RequestError::NotReplicated { .. })
        );
        match answered.flight.intent {
            Intent::Add(amount) if done => *self.sums.entry(name(&token.id)).or_default() += amount,
            // The new session's counter starts where the old one's was.
            Intent::Rotate(_) => match answered.outcome {
                Ok(Response::Session(served)) => {
                    if let Some(Shown::Count(sum)) = served.session.get(COUNTER) {
                        self.sums.insert(name(&served.session.id), sum);
                    }
                }
                Err(RequestError::NotReplicated { token: Some(token), .. }) => {
                    self.unknown.insert(name(&token.id));
                }
                _ => {}
            },
            Intent::Replace => {
                self.unknown.insert(name(&token.id));
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, scene: &Scene<'_>) -> Judgement {
        if !scene.damage.deaths.is_empty() || scene.healed.len() < scene.world.size() {
            return Ok(());
        }
        let pending = scene.flights.values().filter_map(|flight| flight.token.as_ref());
        self.unknown.extend(pending.map(|token| name(&token.id)));
        self.unknown.extend(scene.damaged);
        for &server in scene.healed {
            for copy in scene.world.copies(server).into_values() {
                let Some(&sum) = self.sums.get(&name(&copy.id)) else { continue };
                if copy.life != Life::Live || self.unknown.contains(&name(&copy.id)) {
                    continue;
                }
                self.looked += 1;
                scene.tally.looked(Rule::Sums);
                let count = copy.get(COUNTER);
                if count != Some(Shown::Count(sum)) {
                    return Err(format!("{}: customers added {sum}, it shows {count:?}", copy.id));
                }
            }
        }
        Ok(())
    }
}
