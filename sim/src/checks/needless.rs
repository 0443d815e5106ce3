//! A part of G8: who is refused for a limit has reached it, and is told the limit that the farm has.

use grapevine_core::{LimitError, Usage};

use super::g8_limits::{REQUEST, TO_GROW};
use super::{Answered, Judgement, Rule, Scene};
use crate::shop::Intent;

/// Judges a refusal by what the server has when it answers.
pub(super) fn refused(scene: &Scene<'_>, answered: &Answered<'_>, why: &LimitError) -> Judgement {
    let Some(engine) = scene.world.running(answered.server) else { return Ok(()) };
    let farm = scene.world.farm();
    let token = answered.flight.token.as_ref();
    let copy = token.and_then(|token| engine.copy(token.id.address));
    let more = copy.map_or(0, |copy| copy.footprint() as u64) + REQUEST;
    let origin = match (&answered.flight.intent, token) {
        (Intent::Create | Intent::Rotate(_) | Intent::Revoke(_), _) | (_, None) => engine.server(),
        (_, Some(token)) => token.id.address.origin,
    };
    let used: Usage = engine.usage(origin);
    let new = !matches!(answered.flight.intent, Intent::Write | Intent::Add(_) | Intent::Replace);
    let reached = match *why {
        LimitError::Attributes { count, allowed } => {
            count > allowed as usize && allowed == farm.attributes_per_session
        }
        LimitError::Value { bytes, allowed, .. } => {
            bytes > allowed as usize && allowed == farm.value_bytes
        }
        LimitError::Session { bytes, allowed } => {
            bytes > allowed as usize && allowed == farm.session_bytes
        }
        LimitError::Slots { allowed } => {
            used.sessions() >= u64::from(farm.slots_per_origin - farm.revocation_slots())
                && allowed <= farm.slots_per_origin
        }
        LimitError::AnonymousSlots { allowed } => {
            used.anonymous_sessions >= allowed && allowed == farm.anonymous_slots()
        }
        LimitError::Bytes { .. } => {
            used.bytes() + more > farm.bytes_per_origin - farm.revocation_bytes()
        }
        LimitError::AnonymousBytes { allowed } => {
            let kept = if new { allowed / TO_GROW } else { 0 };
            used.anonymous_bytes + more > allowed - kept && allowed == farm.anonymous_bytes()
        }
        LimitError::Principal { bytes, allowed } => bytes > allowed,
        // Times are judged with what never changes of a session (G3); places hang on what is forgotten.
        _ => return Ok(()),
    };
    scene.tally.looked(Rule::Needless);
    if reached {
        Ok(())
    } else {
        Err(format!("a customer is told that {why}, which is not so: {used:?}"))
    }
}
