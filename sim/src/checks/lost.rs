//! G3's word `lost`: when it may be said, and what it does not excuse.

use std::sync::Arc;
use std::time::Duration;

use grapevine_core::{
    Acks, Engine, Life, Member, Served, ServerId, Session, SessionId, State, Vector,
};

use super::{Answered, Judgement, Rule, Scene};
use crate::shop::Intent;

/// The answer that only a part of a session is left. What it shows must lack something; whatever it
/// lacks was written by processes that are gone; and after healing no server has it any more. A new session lacks
/// what its forerunner did: the copy that is shown.
pub(super) fn in_part(
    scene: &Scene<'_>,
    answered: &Answered<'_>,
    served: &Served,
    shown: Option<&Session>,
) -> Judgement {
    let id = served.session.id;
    let seen = &served.session.seen;
    if answered.flight.acks != Acks::Local {
        // It waited for others, and whoever was given up may have been heard again meanwhile.
        return Ok(());
    }
    somebody_is_gone(scene, answered, "a part of a session")?;
    let mut missing = answered.flight.known.clone();
    // After a rotation the customer knows what was written to the session before.
    let rotates = matches!(answered.flight.intent, Intent::Rotate(_));
    missing.retain(|server, stamp| !rotates && !seen.covers_entry(server, stamp));
    scene.tally.add(Rule::LostInPart, u64::from(!missing.is_empty()));
    let living = missing.iter().find(|&(writer, _)| !is_excused(scene, answered, writer));
    if let Some((writer, stamp)) = living {
        return Err(format!(
            "{id}: {writer}'s write {stamp} is said to be lost, and that process runs"
        ));
    }
    let Some(by) = scene.world.running(answered.server) else { return Ok(()) };
    // Of a write the answer may have waited for acknowledgements, and more came meanwhile.
    if answered.flight.intent == Intent::Read && !scene.world.late() {
        let context = answered.flight.token.as_ref().map(|token| &token.context);
        let has = by.applied();
        if has.covers(seen) && context.is_none_or(|context| has.covers(context)) {
            return Err(format!("{id} is said to be lost in part, and nothing is missing"));
        }
    }
    let shown = shown.into_iter().flat_map(|copy| copy.seen.iter());
    let writers = answered.flight.known.iter().chain(seen.iter()).chain(shown);
    majority_says(scene, answered, writers.map(|(writer, _)| writer))?;
    let left = |copy: &Session| missing.iter().any(|(w, stamp)| copy.seen.covers_entry(w, stamp));
    nobody_has(scene, answered, &id, |copy| copy.complete && left(copy))
}

/// The answer that a session is lost as a whole: some process that wrote to it is gone, and after healing no
/// server has it any more.
pub(super) fn as_a_whole(scene: &Scene<'_>, answered: &Answered<'_>) -> Judgement {
    somebody_is_gone(scene, answered, "a session")?;
    let Some(token) = &answered.flight.token else { return Ok(()) };
    scene.tally.looked(Rule::LostAsAWhole);
    let origin = token.id.address.origin;
    let writers = answered.flight.known.iter().map(|(writer, _)| writer);
    if !writers.chain([origin]).any(|writer| is_excused(scene, answered, writer)) {
        return Err(format!("{} is said to be lost, and all who wrote to it run", token.id));
    }
    let writers = answered.flight.known.iter().map(|(writer, _)| writer);
    majority_says(scene, answered, writers.chain([origin]))?;
    nobody_has(scene, answered, &token.id, |copy| copy.complete && copy.life == Life::Live)
}

/// Whether all who wrote what a copy has seen are there.
pub(super) fn all_writers_live(scene: &Scene<'_>, answered: &Answered<'_>, seen: &Vector) -> bool {
    seen.iter().all(|(writer, _)| !is_excused(scene, answered, writer))
}

/// What of a vector is not written by processes that are gone: a lost response owes it all the same.
pub(super) fn owed(scene: &Scene<'_>, answered: &Answered<'_>, vector: &Vector) -> Vector {
    let mut owed = vector.clone();
    // Of what waited for others nobody knows who was given up when it was done.
    let waited = answered.flight.acks != Acks::Local;
    owed.retain(|writer, _| !waited && !is_excused(scene, answered, writer));
    owed
}

/// Whether what a process wrote may be lost: it does not run any more, left, or was given up by the
/// server that answers.
fn is_excused(scene: &Scene<'_>, answered: &Answered<'_>, writer: ServerId) -> bool {
    let by = answered.server;
    let runs = scene.world.running(usize::from(writer.number()) - 1);
    let Some(runs) = runs.filter(|engine| engine.server() == writer) else { return true };
    let gone = |member: &Member| {
        member.server > writer
            || silent(scene, by, member)
            || member.server == writer && left(member)
    };
    let gone = |member: &Member| member.server.number() == writer.number() && gone(member);
    let own = |id: ServerId| id.number() == writer.number() && id != writer;
    runs.is_leaving()
        || scene.world.running(by).map(Engine::server).is_some_and(own)
        || answered.peers(scene).is_none_or(|peers| {
            peers.iter().any(gone) || never_heard(scene, by, peers, writer.number())
        })
}

/// Whether a server runs for `give_up_after` and has not heard of a number in all that time.
fn never_heard(scene: &Scene<'_>, by: usize, peers: &[Member], number: u16) -> bool {
    let known = peers.iter().any(|member| member.server.number() == number);
    let own = usize::from(number) == by + 1;
    !known
        && !own
        && scene.world.runs_for(by) + Duration::from_secs(1) >= scene.world.farm().give_up_after
}

/// Who hears no majority, also not by way of others, says of nothing that it is lost because its writer is silent:
/// that one may be with the majority. Only that a process is gone for good (its number is known under a newer
/// boot) can be known without them. Not judged where anybody left, for who is counted then are fewer, nor just after a death,
/// nor of a server that was held up, which had its answers before.
fn majority_says(
    scene: &Scene<'_>,
    answered: &Answered<'_>,
    writers: impl Iterator<Item = ServerId>,
) -> Judgement {
    let by = scene.world.running(answered.server).filter(|_| answered.flight.prompt);
    let Some(by) = by.filter(|_| !scene.world.late()).map(Engine::server) else { return Ok(()) };
    let peers = answered.peers(scene).unwrap_or_default();
    // Who has answered may have died since.
    let lately = scene.world.now().before(scene.world.farm().down_after);
    let died = scene.damage.deaths.last().is_some_and(|&death| death > lately);
    if died || peers.iter().any(left) {
        return Ok(());
    }
    scene.tally.looked(Rule::LostByMajority);
    let gone = |writer: ServerId| {
        let of_number = |member: &&Member| member.server.number() == writer.number();
        let newest = peers.iter().find(of_number).map(|member| member.server);
        let own = writer.number() == by.number();
        if own { writer != by } else { newest.is_some_and(|newest| newest > writer) }
    };
    let majority = usize::from(scene.world.farm().majority());
    if within_reach(scene, answered.server) < majority && !{ writers }.any(gone) {
        let by = answered.server + 1;
        return Err(format!(
            "server {by} says of what silent servers wrote that it is lost, and hears no majority"
        ));
    }
    Ok(())
}

/// How many servers this one has heard lately, with itself and those that they have: they ask on for it.
fn within_reach(scene: &Scene<'_>, server: usize) -> usize {
    let lately = scene.world.farm().down_after;
    let hears =
        |by: usize, other: usize| by == other || scene.world.heard_within(by, other, lately);
    let all = 0..scene.world.size();
    let by_way = |other| all.clone().any(|via| hears(server, via) && hears(via, other));
    all.clone().filter(|&other| by_way(other)).count()
}

fn left(member: &Member) -> bool {
    member.state == State::Left
}

/// Whether a member was silent for `give_up_after`, by the clock of who says so.
fn silent(scene: &Scene<'_>, by: usize, member: &Member) -> bool {
    let longest = scene.world.farm().give_up_after.saturating_sub(Duration::from_secs(1));
    scene.world.clock(by).since(member.heard) >= longest
}

/// After healing of the whole farm, all servers hear each other: what one of them has is not lost.
fn nobody_has(
    scene: &Scene<'_>,
    answered: &Answered<'_>,
    id: &SessionId,
    has: impl Fn(&Session) -> bool,
) -> Judgement {
    if !answered.flight.last || scene.healed.len() < scene.world.size() {
        return Ok(());
    }
    scene.tally.looked(Rule::LostNowhere);
    for server in 0..scene.world.size() {
        let copy = scene.world.running(server).and_then(|engine| engine.copy(id.address));
        if copy.map(Arc::as_ref).is_some_and(|copy| copy.id == *id && has(copy)) {
            return Err(format!("{id} is said to be lost, and server {} has it", server + 1));
        }
    }
    Ok(())
}

/// What is lost was with a server that died, left, or was silent for `give_up_after`. Leaving is a reason
/// by itself: a server that leaves "waits (bounded) for its stream to be applied elsewhere" (section 8 of
/// the protocol), so what it alone has of a third server's stream goes with it; and "what the context
/// asks for was written by a server that is gone or silent for `give_up_after`" may be said to be lost
/// (section 5), where one that left is gone (section 6), though it may have stopped only later.
fn somebody_is_gone(scene: &Scene<'_>, answered: &Answered<'_>, what: &str) -> Judgement {
    let silent = |member: &Member| silent(scene, answered.server, member);
    let given_up = || {
        let peers = answered.peers(scene).unwrap_or_default();
        let numbers = || 1..=scene.world.size() as u16;
        scene.world.is_up(answered.server)
            && (peers.iter().any(silent)
                || numbers().any(|number| never_heard(scene, answered.server, peers, number)))
    };
    if scene.damage.deaths.is_empty() && !scene.damage.left && !given_up() {
        return Err(format!("{what} is said to be lost, and no server died, left or was given up"));
    }
    Ok(())
}
