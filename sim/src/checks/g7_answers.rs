//! G7: every request gets exactly one response, in bounded time.

use std::time::Duration;

use grapevine_core::{Acks, Life, Local, Request, RequestError, Unavailable};

use super::{About, Answered, Check, Judgement, Rule, Scene};
use crate::shop::{Flight, Intent};

#[derive(Default)]
pub(super) struct Answers {
    looked: u64,
    /// How many requests have been answered.
    answered: u64,
}

/// Beyond the engine's own time-outs: what slow servers and skewed clocks may add.
const SLACK: Duration = Duration::from_secs(1);

/// The longest that a request may wait: while its server starts, then for what it asks for, then for those that
/// are to have it.
fn longest(flight: &Flight) -> Duration {
    let local = Local::default();
    let asks = match flight.intent {
        Intent::Create | Intent::List | Intent::Revoke(_) => Duration::ZERO,
        Intent::Leave => local.leave_timeout,
        Intent::Verify => match flight.request {
            Some(Request::Verify { within }) => within,
            _ => Duration::ZERO,
        },
        _ => flight.within.unwrap_or(local.query_timeout),
    };
    let waits =
        matches!(flight.intent, Intent::Read | Intent::List | Intent::Leave | Intent::Verify);
    let acks = if waits || flight.acks == Acks::Local { Duration::ZERO } else { local.ack_timeout };
    local.query_timeout + asks + acks + SLACK
}

static ABOUT: About = About {
    name: "G7",
    promise: "Every request gets exactly one response, in bounded time, whatever fails.",
    source: "Section 11 of the protocol.",
    rule: "No request waits longer than its kind may, at a server that was not paused, slow or stepped meanwhile \
           and did not die: `query_timeout` while its server starts; then, if it is about a session, that time once more or the time that \
           it names itself (a leave: `leave_timeout`, a comparison: what it was given); then `ack_timeout`, if it waits for others; and a \
           second. Looked at when it is answered, and every 256 events if it is not (in a large farm as often in its own time). A second \
           response stops the run, and who asked a healed server and has none at the end breaks this. From 50 heartbeats after healing on (on turmoil and sockets connections may be dead then: \
           they count from when adapters have given those up, after `silence_timeout`, and have dialled anew), every customer that asks a \
           healed server is served, or told for certain that the session is over or lost: to read, and then to write or \
           to create a session, where a majority, or all if all are healed and have by then what that server wrote before, are to have it (unless not all are, and a server holds a part of which the rest is \
           elsewhere: it acknowledges nothing beyond). If a \
           majority only is healed, `unavailable` counts as an answer too, but only while the copy \
           there looks idle (the rest may know better, section 9), or while no healed server has \
           something that the token or the copy asks for and the rest, which runs or was not silent \
           for `give_up_after`, may have it (section 5). If a clock was far off, a token may be from a time \
           that has not come yet, and be refused as such. Sessions that a server lost by damage to its \
           memory are not judged so: the others may hold a part only.",
    file: "sim/src/checks/g7_answers.rs",
    not_applied: None,
};

/// Whether the servers outside of the healed majority may have what a customer asks for, or know that
/// an idle session is in use.
fn may_be_elsewhere(scene: &Scene<'_>, answered: &Answered<'_>) -> bool {
    let Some(token) = &answered.flight.token else { return false };
    let healed = || scene.healed.iter().filter_map(|&server| scene.world.running(server));
    let copies = || {
        let copies = healed().filter_map(|engine| engine.copy(token.id.address));
        copies.filter(|copy| copy.id == token.id)
    };
    if copies().any(|copy| copy.life == Life::Live && copy.idle_deadline() <= scene.world.now()) {
        return true;
    }
    let mut needed = token.context.clone();
    needed.raise(token.id.address.origin, token.id.created);
    copies().for_each(|copy| needed.join(&copy.seen));
    let here =
        |(server, stamp)| healed().any(|engine| engine.applied().covers_entry(server, stamp));
    let all_here = needed.iter().all(here) && copies().any(|copy| copy.complete);
    let rest = (0..scene.world.size()).filter(|server| !scene.healed.contains(server));
    let given_up = scene.world.farm().give_up_after
        < scene.world.farm().heartbeat_every * crate::run::SERVED_AFTER_BEATS;
    let nobody_else = given_up && rest.into_iter().all(|server| !scene.world.is_up(server));
    !all_here && !nobody_else
}

/// Whether a healed server holds a session in part, of which the rest is where nothing is healed: no write after
/// the one that it got in part is acknowledged until then (section 7).
fn holds_parts(scene: &Scene<'_>) -> bool {
    let engines = scene.healed.iter().filter_map(|&server| scene.world.running(server));
    scene.healed.len() < scene.world.size() && { engines }.any(|engine| engine.partial() > 0)
}

impl Answers {
    /// How long a request has waited so far.
    fn in_time(&mut self, scene: &Scene<'_>, flight: &Flight) -> Judgement {
        if !flight.prompt {
            return Ok(());
        }
        self.looked += 1;
        scene.tally.looked(Rule::Waits);
        let (waited, longest) = (scene.world.now().since(flight.sent), longest(flight));
        if waited > longest {
            return Err(format!(
                "a request ({:?}) waits for {waited:?} at server {}; {longest:?} are allowed",
                flight.intent,
                flight.server + 1,
            ));
        }
        Ok(())
    }
}

impl Check for Answers {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn looked(&self) -> u64 {
        self.looked
    }

    fn answered(&mut self, scene: &Scene<'_>, answered: &Answered<'_>) -> Judgement {
        self.answered += 1;
        let flight = answered.flight;
        self.in_time(scene, flight)?;
        // Of a session that one server's memory lost, the others may have a part only.
        let name = flight.token.as_ref().map(|token| (token.id.address, token.id.created));
        let damaged = name.is_some_and(|name| scene.damaged.contains(&name));
        if flight.last && !damaged && flight.intent != Intent::Verify {
            self.looked += 1;
            let reads = flight.intent == Intent::Read;
            scene.tally.looked(if reads { Rule::Last } else { Rule::LastWrite });
        }
        if flight.last
            && !damaged
            && let Err(why @ RequestError::NotReplicated { .. }) = answered.outcome
            && !holds_parts(scene)
        {
            return Err(format!("a majority is healed, and a customer is told that {why}"));
        }
        if flight.last
            && !damaged
            && let Err(RequestError::Unavailable(why)) = answered.outcome
            && (scene.damage.far.is_empty() || *why != Unavailable::FromTheFuture)
        {
            let all = scene.healed.len() == scene.world.size();
            if all {
                return Err(format!("all is healed, and a customer is told that {why}"));
            }
            if !may_be_elsewhere(scene, answered) {
                return Err(format!(
                    "a majority is healed and has what a customer asks for, or nobody else can have \
                     it, and it is told that {why}"
                ));
            }
        }
        Ok(())
    }

    fn now_and_then(&mut self, scene: &Scene<'_>) -> Judgement {
        scene.flights.values().try_for_each(|flight| self.in_time(scene, flight))
    }

    fn end(&mut self, scene: &Scene<'_>) -> Judgement {
        let mut flights =
            scene.flights.values().filter(|flight| scene.healed.contains(&flight.server));
        scene.tally.add(Rule::Responded, self.answered);
        match flights.next() {
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
