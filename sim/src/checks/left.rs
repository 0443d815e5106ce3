//! G2: what a leaving server says of itself. Who runs it takes its word, and stops it.

use grapevine_core::rare::Point;
use grapevine_core::{Engine, Member, State};

use super::{Answered, Judgement, Rule, Scene};

/// Judges the answer to a server that has left.
pub(super) fn as_said(scene: &Scene<'_>, answered: &Answered<'_>, complete: bool) -> Judgement {
    let Some(engine) = scene.world.running(answered.server) else { return Ok(()) };
    let by = engine.server();
    if !complete {
        // The leave itself is a fault too.
        let calm = scene.damage.faults <= 1 && scene.world.size() > 1;
        scene.tally.add(Rule::LeftCalm, u64::from(calm));
        if calm {
            return Err(format!(
                "{by} left before all had its stream, and nothing kept them from it"
            ));
        }
        return waited(scene, answered, engine);
    }
    if scene.damage.faults <= 1 {
        scene.tally.looked(Rule::LeftCalm);
    }
    if scene.world.late() {
        // It may write once it has said so, and hear of others.
        return Ok(());
    }
    scene.tally.looked(Rule::Left);
    let end = engine.applied().get(by);
    let members = engine.peers();
    let live = || members.iter().filter(|m| !matches!(m.state, State::Down | State::Left));
    let lacks = |member: &&Member| {
        let applied = scene.world.applied_by(member.server);
        !applied.is_some_and(|applied| applied.covers_entry(by, end))
    };
    if let Some(other) = live().find(lacks) {
        return Err(format!(
            "{by} says that all have its stream, and {} has not got to its end, {end}",
            other.server
        ));
    }
    // Who was paused may find within one event first that its time is over, and then that nobody is there.
    let acked = |member: &Member| member.state == State::Down && member.acked >= end;
    if live().next().is_none() && !members.iter().any(acked) && scene.world.size() > 1 {
        return Err(format!("{by} says that all have its stream, and hears nobody"));
    }
    Ok(())
}

/// Who gives up waiting for the others has waited for as long as it is set to; or it was stopped.
fn waited(scene: &Scene<'_>, answered: &Answered<'_>, engine: &Engine) -> Judgement {
    let at_once = scene.world.may_force(Point::LeaveAtOnce) || engine.stopped();
    let flight = answered.flight;
    if at_once || !flight.prompt || scene.world.late() {
        return Ok(());
    }
    scene.tally.looked(Rule::LeftWaits);
    let waited = scene.world.now().since(flight.sent);
    // Clocks that drift run a little faster.
    let least = scene.world.local().leave_timeout * 9 / 10;
    if waited < least {
        let by = engine.server();
        return Err(format!("{by} left before all had its stream, and waited for {waited:?} only"));
    }
    Ok(())
}
