//! G3: the four session guarantees.

use grapevine_core::{NotFound, RequestError, Response};

use super::{About, Answered, Check, Judgement, Scene};
use crate::model::shown;

#[derive(Default)]
pub(super) struct Sessions {
    looked: u64,
}

static ABOUT: About = About {
    name: "G3",
    promise: "Read-your-writes, monotonic reads, monotonic writes and writes-follow-reads hold for \
              every customer that carries its token from request to request, or the response says \
              lost or stale.",
    source: "Terry et al., Session Guarantees for Weakly Consistent Replicated Data, 1994.",
    rule: "A response that is neither lost nor stale shows a copy that has seen every write that \
           the customer read or made before it got the token it came with; and the copy shows \
           exactly what the reference model makes of the writes that it says it has seen. No \
           session is lost, or unknown, while no server died or left.",
    file: "sim/src/checks/g3_sessions.rs",
    not_applied: None,
};

impl Check for Sessions {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn looked(&self) -> u64 {
        self.looked
    }

    fn answered(&mut self, scene: &Scene<'_>, answered: &Answered<'_>) -> Judgement {
        let flight = answered.flight;
        match answered.outcome {
            Ok(Response::Session(served)) if !served.stale => {
                self.looked += 1;
                if served.lost {
                    return lost_for_a_reason(scene, "a part of a session");
                }
                let seen = &served.session.seen;
                if let Some((server, stamp)) =
                    flight.known.iter().find(|&(server, stamp)| !seen.covers_entry(server, stamp))
                {
                    return Err(format!(
                        "{}: the customer knew of {server}'s write {stamp}, and server {} showed a \
                         copy that has only seen {}",
                        served.session.id,
                        answered.server + 1,
                        seen.get(server)
                    ));
                }
                let Some(known) = scene.model.get(&served.session.id) else {
                    return Err(format!("{} was never created", served.session.id));
                };
                if !known.is_shown_by(&served.session) {
                    let (expected, actual) = (known.contents(seen), shown(&served.session));
                    return Err(format!(
                        "{} at server {} shows {actual:?}, but the writes that it has seen amount \
                         to {expected:?}",
                        served.session.id,
                        answered.server + 1
                    ));
                }
                Ok(())
            }
            Err(RequestError::Lost) => lost_for_a_reason(scene, "a session"),
            Err(RequestError::NotFound(NotFound::Unknown)) => {
                Err("a session ID that was issued is said to be unknown".to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn lost_for_a_reason(scene: &Scene<'_>, what: &str) -> Judgement {
    if scene.damage.deaths.is_empty() && !scene.damage.left {
        return Err(format!("{what} is said to be lost, and no server died or left"));
    }
    Ok(())
}
