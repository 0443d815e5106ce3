//! G4: what is over stays over.

use std::collections::BTreeSet;

use grapevine_core::{Life, Response, ServerId, SessionId};

use super::{About, Answered, Check, Judgement, Scene};
use crate::model::{Name, name};

#[derive(Default)]
pub(super) struct Ended {
    looked: u64,
    /// Which server has heard that which session is over.
    heard: BTreeSet<(ServerId, Name)>,
}

static ABOUT: About = About {
    name: "G4",
    promise: "A deleted session is never served by a server that has heard of it, and never comes \
              back after healing.",
    source: "Section 3 of the protocol: life only goes forward.",
    rule: "A server that has stored a tombstone never stores a live copy of that session again and \
           never serves it. At the end no healed server has a live copy of a session that another \
           healed server knows to be over.",
    file: "sim/src/checks/g4_ended.rs",
    not_applied: Some("Rotation and revocation: the engine does not have them yet."),
};

impl Check for Ended {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn looked(&self) -> u64 {
        self.looked
    }

    fn stored(&mut self, _: &Scene<'_>, by: ServerId, id: SessionId, life: Life) -> Judgement {
        let entry = (by, name(&id));
        if life == Life::Deleted {
            self.heard.insert(entry);
            self.looked += 1;
        } else if self.heard.contains(&entry) {
            return Err(format!("{id} came back to life at {by}"));
        }
        Ok(())
    }

    fn answered(&mut self, scene: &Scene<'_>, answered: &Answered<'_>) -> Judgement {
        let Some(engine) = scene.world.running(answered.server) else { return Ok(()) };
        if let Ok(Response::Session(served)) = answered.outcome {
            // A write that waited for acknowledgements is answered with what it made.
            let at_once = answered.flight.acks == grapevine_core::Acks::Local;
            let entry = (engine.server(), name(&served.session.id));
            if at_once && self.heard.contains(&entry) {
                return Err(format!("{} is over and was served", served.session.id));
            }
        }
        Ok(())
    }

    fn end(&mut self, scene: &Scene<'_>) -> Judgement {
        let over: BTreeSet<Name> = scene
            .healed
            .iter()
            .flat_map(|&server| scene.world.copies(server).into_values())
            .filter(|copy| copy.life == Life::Deleted)
            .map(|copy| name(&copy.id))
            .filter(|name| !scene.damaged.contains(name))
            .collect();
        for &server in scene.healed {
            for copy in scene.world.copies(server).into_values() {
                if copy.life == Life::Live && over.contains(&name(&copy.id)) {
                    return Err(format!(
                        "{} is over and lives on at server {}",
                        copy.id,
                        server + 1
                    ));
                }
            }
        }
        Ok(())
    }
}
