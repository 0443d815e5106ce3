//! G10: no bytes from the network and no token from a customer do harm.

use grapevine_core::Response;

use crate::shop::Intent;

use super::{About, Answered, Check, Judgement, Rule, Scene};

#[derive(Default)]
pub(super) struct Input {
    looked: u64,
}

static ABOUT: About = About {
    name: "G10",
    promise: "No bytes from the network and no token from a customer make a server panic, \
              over-allocate or answer for a session that isn't theirs.",
    source: "Section 11 of the protocol.",
    rule: "A message with flipped bits is refused by the frame's checksum. A token with flipped \
           bits is refused before the engine sees it. Every response is about the session of the \
           token that it answers, or after a rotation about the one that took its place. A panic anywhere stops the run. (`fuzz/` goes deeper, and measures how much memory an input takes.)",
    file: "sim/src/checks/g10_input.rs",
    not_applied: None,
};

impl Check for Input {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn looked(&self) -> u64 {
        self.looked
    }

    fn answered(&mut self, scene: &Scene<'_>, answered: &Answered<'_>) -> Judgement {
        let Some(token) = &answered.flight.token else { return Ok(()) };
        let rotates = matches!(answered.flight.intent, Intent::Rotate(_));
        let Ok(Response::Session(served)) = answered.outcome else { return Ok(()) };
        self.looked += 1;
        scene.tally.looked(Rule::SameSession);
        let id = served.session.id;
        if rotates {
            let replaced = served.session.fixed.replaces.map(|replaces| replaces.id);
            if replaced != Some(token.id) || served.token.id != id {
                return Err(format!("{} was rotated, and answered with another", token.id));
            }
        } else if id != token.id || served.token.id != id {
            return Err(format!("asked for {}, served {id}", token.id));
        }
        Ok(())
    }

    fn end(&mut self, scene: &Scene<'_>) -> Judgement {
        if scene.world.undetected() > 0 {
            let count = scene.world.undetected();
            return Err(format!("{count} messages with flipped bits were taken for good ones"));
        }
        let (refused, taken) = scene.forged;
        if taken > 0 {
            return Err(format!("{taken} tokens with flipped bits were taken for good ones"));
        }
        self.looked += scene.world.refused() + refused;
        scene.tally.add(Rule::Flipped, scene.world.refused());
        scene.tally.add(Rule::Forged, refused);
        Ok(())
    }
}
