//! A part of G3: a list of somebody's sessions has all that the answering server must know of, and
//! nothing of anybody else's. (That none of them is known there to be over is checked with G4.)

use std::time::Duration;

use grapevine_core::{Address, Engine, Listed, Request};

use super::{Answered, Judgement, Rule, Scene};
use crate::model::{Known, name};

/// How far from its end a session must be to be judged, besides what clocks are off by: a server may
/// have seen its end by then, or take it for idle for want of an access that is on its way.
const SLACK: Duration = Duration::from_secs(1);

/// Judges a list by the model: of every session of this principal that the server's vector says is here,
/// that nobody has ended, and that is far from its end, it must be in the list, if it belongs to the page.
pub(super) fn as_listed(scene: &Scene<'_>, answered: &Answered<'_>, listed: &Listed) -> Judgement {
    let Some(Request::Sessions { principal, after, most }) = &answered.flight.request else {
        return Ok(());
    };
    let number = answered.server + 1;
    let most = usize::from((*most).clamp(1, grapevine_core::MAX_LISTED));
    if listed.sessions.len() > most {
        let count = listed.sessions.len();
        return Err(format!("server {number} listed {count} sessions; {most} were asked for"));
    }
    // Each page begins after the last one's end, in order: so together they are the list.
    let mut last = *after;
    for copy in &listed.sessions {
        let address = Some(copy.id.address);
        if address <= last || listed.next.is_some_and(|next| address > Some(next)) {
            return Err(format!(
                "server {number} listed {} on the page after {after:?} and up to {:?}, out of order",
                copy.id, listed.next
            ));
        }
        last = address;
    }
    if listed.next.is_some_and(|next| Some(next) <= *after) {
        return Err(format!("server {number} listed a page after {after:?} that leads back"));
    }
    let other =
        |id| scene.model.get(id).is_none_or(|known| known.principal.as_ref() != Some(principal));
    if let Some(copy) = listed.sessions.iter().find(|copy| other(&copy.id)) {
        return Err(format!("server {number} listed {}, which is not {principal:?}'s", copy.id));
    }
    let Some(engine) = scene.world.running(answered.server) else { return Ok(()) };
    // What is told after other events was listed before them.
    if scene.world.late() || !scene.damage.knows_time(scene.world.size(), answered.server) {
        return Ok(());
    }
    scene.tally.looked(Rule::Listed);
    scene.tally.add(Rule::Pages, u64::from(after.is_some()));
    let page =
        |address: Address| Some(address) > *after && listed.next.is_none_or(|last| address <= last);
    let missing = scene.model.iter().find(|known| {
        known.principal.as_ref() == Some(principal)
            && page(known.id.address)
            && must_be_listed(scene, engine, known)
            && listed.sessions.iter().all(|copy| copy.id != known.id)
    });
    match missing {
        Some(known) => Err(format!(
            "server {number} has {} of {principal:?}, and left it out of its list",
            known.id
        )),
        None => Ok(()),
    }
}

fn must_be_listed(scene: &Scene<'_>, engine: &Engine, known: &Known) -> bool {
    let id = known.id;
    let soon = scene.world.now() + Duration::from_micros(2 * scene.damage.skew) + SLACK;
    let maker = usize::from(id.address.origin.number()) - 1;
    let here = engine.applied().covers_entry(id.address.origin, id.created);
    // What was made by the event that answered may have been made after the list.
    here && known.made < scene.world.done_since(engine.server())
        && !known.ended
        && !known.end_asked
        // By a clock that is behind, a session may be idle as soon as it is made.
        && scene.damage.knows_time(scene.world.size(), maker)
        && soon < known.over
        && soon < known.made + known.idle_timeout
        && !scene.world.was_evicted(&id)
        && !scene.damaged.contains(&name(&id))
}
