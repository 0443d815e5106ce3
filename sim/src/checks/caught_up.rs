//! A part of G1: what one healed server has, all healed ones come to have, though who wrote it is not healed and
//! may not hear them. (What nobody has but beyond a gap comes later: see the rule for the end.)

use grapevine_core::{Engine, ServerId, Stamp};

use super::{Judgement, Rule, Scene};

/// How far each server that is not healed was heard by those who are, some time after healing.
#[derive(Default)]
pub(super) struct CaughtUp(Vec<(ServerId, Stamp)>);

fn healed<'a>(scene: &'a Scene<'_>) -> impl Iterator<Item = &'a Engine> {
    scene.healed.iter().filter_map(|&server| scene.world.running(server))
}

impl CaughtUp {
    pub(super) fn note(&mut self, scene: &Scene<'_>) {
        let rest = (0..scene.world.size()).filter(|server| !scene.healed.contains(server));
        let writers = rest.filter_map(|server| scene.world.running(server).map(Engine::server));
        let has = |writer| healed(scene).map(|engine| engine.applied().get(writer)).max();
        self.0 = writers.filter_map(|writer| Some((writer, has(writer)?))).collect();
    }

    /// Judges how far each has come since.
    pub(super) fn judge(&self, scene: &Scene<'_>) -> Judgement {
        let farm = scene.world.farm();
        for &(writer, stamp) in &self.0 {
            // What is older than any session lives nobody need have.
            if stamp.time() + farm.max_lifetime <= scene.world.now() {
                continue;
            }
            for engine in healed(scene) {
                let applied = engine.applied().get(writer);
                // A writer may be forgotten once it is given up.
                if applied == Stamp::ZERO {
                    continue;
                }
                scene.tally.looked(Rule::CaughtUp);
                if applied < stamp {
                    return Err(format!(
                        "a healed server has all of {writer} up to {stamp}, and {} still has it up to {applied} \
                         only",
                        engine.server()
                    ));
                }
            }
        }
        Ok(())
    }
}
