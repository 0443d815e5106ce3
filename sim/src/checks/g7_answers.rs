//! G7: every request gets exactly one response, in bounded time.

use std::time::Duration;

use super::{About, Answered, Check, Judgement, Scene};

#[derive(Default)]
pub(super) struct Answers {
    looked: u64,
}

/// Beyond the engine's own time-outs: what slow servers and skewed clocks may add.
const SLACK: Duration = Duration::from_secs(2);

static ABOUT: About = About {
    name: "G7",
    promise: "Every request gets exactly one response, in bounded time, whatever fails.",
    source: "Section 11 of the protocol.",
    rule: "No request waits longer than the query and acknowledgement time-outs and two seconds, at \
           a server that was not paused, slow or stepped meanwhile and did not die. A second \
           response stops the run. After healing, every customer is served by a healed server, or \
           told for certain that the session is over or lost.",
    file: "sim/src/checks/g7_answers.rs",
    not_applied: None,
};

impl Check for Answers {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn looked(&self) -> u64 {
        self.looked
    }

    fn answered(&mut self, scene: &Scene<'_>, answered: &Answered<'_>) -> Judgement {
        self.looked += 1;
        let flight = answered.flight;
        if flight.last
            && scene.healed.len() == scene.world.size()
            && !scene.damage.far
            && let Err(grapevine_core::RequestError::Unavailable(why)) = answered.outcome
        {
            return Err(format!("all is healed, and a customer is told that {why}"));
        }
        Ok(())
    }

    fn now_and_then(&mut self, scene: &Scene<'_>) -> Judgement {
        let local = grapevine_core::Local::default();
        let longest = local.query_timeout + local.ack_timeout + local.leave_timeout + SLACK;
        for flight in scene.flights.values() {
            let waited = scene.world.now().since(flight.sent);
            if flight.prompt && waited > longest {
                return Err(format!(
                    "a request waits for {waited:?} at server {}",
                    flight.server + 1
                ));
            }
        }
        Ok(())
    }

    fn end(&mut self, scene: &Scene<'_>) -> Judgement {
        let healed = |flight: &&crate::shop::Flight| scene.healed.contains(&flight.server);
        match scene.flights.values().find(healed) {
            Some(flight) => Err(format!(
                "a request at server {} never got a response: {:?} sent at {:?}",
                flight.server + 1,
                flight.intent,
                flight.sent
            )),
            None => Ok(()),
        }
    }
}
