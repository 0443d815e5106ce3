//! G1: convergence.

use super::{About, Check, Judgement, Scene};
use crate::model::shown;

#[derive(Default)]
pub(super) struct Convergence {
    looked: u64,
}

static ABOUT: About = About {
    name: "G1",
    promise: "Once servers can talk and writes stop, all live servers hold identical sessions, \
              within a bounded number of heartbeats.",
    source: "Section 11 of the protocol; strong eventual consistency (Shapiro et al., 2011).",
    rule: "100 heartbeats after healing, the healed servers' copies are equal, to the last stamp. \
           Without a death they are also what the reference model makes of all writes. At any \
           time, what an applied vector claims is there.",
    file: "sim/src/checks/g1_convergence.rs",
    not_applied: None,
};

impl Check for Convergence {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn looked(&self) -> u64 {
        self.looked
    }

    fn now_and_then(&mut self, scene: &Scene<'_>) -> Judgement {
        scene.world.any_false_claim().map_or(Ok(()), Err)
    }

    fn end(&mut self, scene: &Scene<'_>) -> Judgement {
        let died = !scene.damage.deaths.is_empty();
        self.looked += 1;
        let differences = scene.world.differences_among(scene.healed);
        if let Some(difference) = differences.first() {
            let count = differences.len();
            return Err(format!("{count} differences after healing; the first: {difference}"));
        }
        if died || scene.healed.len() < scene.world.size() {
            return Ok(());
        }
        let copies = scene.world.copies(scene.healed[0]);
        for known in scene.model.iter() {
            let Some(copy) = copies.get(&known.id.address) else { continue };
            if copy.id != known.id || copy.life != grapevine_core::Life::Live {
                continue;
            }
            self.looked += 1;
            let all = known.everything();
            let expected = known.contents(&all);
            if Some(shown(copy)) != expected {
                return Err(format!(
                    "{} shows {:?}, but all writes amount to {expected:?}",
                    copy.id,
                    shown(copy)
                ));
            }
        }
        Ok(())
    }
}
