//! A part of G3: the part of a session that never changes is what was asked for. The reference model takes
//! it from the server that makes the session, so somebody must hold it against the request: whose the session
//! is, how long it lives, with and without an access, and how long the one that it replaces is still shown.

use std::time::Duration;

use grapevine_core::command::Write;
use grapevine_core::{Farm, LimitError, Principal, Request, Rotation, SessionId, Timestamp, Token};

use super::{Answered, Judgement, Rule, Scene};
use crate::model::Known;

/// The shortest time that a session may be given.
const SHORTEST: Duration = Duration::from_secs(1);
/// Stamps have whole milliseconds, and clocks more.
const ROUNDING: Duration = Duration::from_millis(2);

/// What a request says of the session that it makes, with what the farm says where it says nothing.
struct Asked<'a> {
    lifetime: Duration,
    idle_timeout: Duration,
    principal: Option<&'a Principal>,
    /// The session that it is to replace.
    old: Option<(&'a Token, &'a Known, &'a Rotation)>,
}

impl<'a> Asked<'a> {
    /// `None` if the request makes no session.
    fn of(scene: &Scene<'a>, answered: &Answered<'a>) -> Option<Self> {
        let farm = scene.world.farm();
        let (lifetime, idle_timeout, principal, old) = match answered.flight.request.as_ref()? {
            Request::Create(create) => {
                let idle_timeout = create.idle_timeout.unwrap_or(farm.default_idle_timeout);
                (create.lifetime, idle_timeout, create.principal.as_ref(), None)
            }
            Request::Rotate { token, rotation } => {
                let old = scene.model.get(&token.id)?;
                // Who is logged in stays so, and its habits stay what they are.
                let idle_timeout = rotation.idle_timeout.unwrap_or(old.idle_timeout);
                let principal = rotation.principal.as_ref().or(old.principal.as_ref());
                (rotation.lifetime, idle_timeout, principal, Some((token, old, rotation)))
            }
            _ => return None,
        };
        let longest = longest(farm, principal);
        let lifetime = lifetime.unwrap_or(farm.default_lifetime.min(longest));
        Some(Self { lifetime, idle_timeout, principal, old })
    }
}

/// The longest life of a session of this principal.
fn longest(farm: &Farm, principal: Option<&Principal>) -> Duration {
    match principal {
        Some(_) => farm.max_lifetime,
        None => farm.max_lifetime.min(farm.anonymous_lifetime),
    }
}

/// Judges a session that a request has made, by what its create says.
pub(super) fn as_asked(scene: &Scene<'_>, answered: &Answered<'_>, id: &SessionId) -> Judgement {
    let Some(asked) = Asked::of(scene, answered) else { return Ok(()) };
    let Some(known) = scene.model.get(id) else {
        return Err(format!("{id} was answered to a request that makes a session, and never made"));
    };
    scene.tally.looked(Rule::Fixed);
    let longest = longest(scene.world.farm(), asked.principal);
    let made = id.created.time();
    let over = Timestamp::from_millis((made + asked.lifetime).as_millis());
    let wrong = |what: &str, wanted: &dyn std::fmt::Debug, is: &dyn std::fmt::Debug| {
        Err(format!("{id}: its {what} was to be {wanted:?}, and is {is:?}"))
    };
    if known.principal.as_ref() != asked.principal {
        return wrong("principal", &asked.principal, &known.principal);
    }
    if known.idle_timeout != asked.idle_timeout {
        return wrong("idle timeout", &asked.idle_timeout, &known.idle_timeout);
    }
    if known.over != over {
        return wrong("lifetime", &asked.lifetime, &known.over.since(made));
    }
    if !(SHORTEST..=longest).contains(&asked.lifetime) {
        return wrong("lifetime", &(SHORTEST..=longest), &asked.lifetime);
    }
    // By the clock of who makes it, which may be off, and behind what it has heard.
    let off = Duration::from_micros(2 * scene.damage.worst) + ROUNDING;
    let latest = scene.world.now() + scene.world.farm().max_drift + off;
    if made < answered.flight.sent.before(off) || made > latest {
        return wrong("create", &(answered.flight.sent..scene.world.now()), &made);
    }
    match (asked.old, known.replaces) {
        (None, None) => Ok(()),
        (Some((token, old, rotation)), Some(replaces)) => {
            if replaces.id != token.id || replaces.deadline != old.deadline {
                return wrong("forerunner", &(token.id, old.deadline), &replaces);
            }
            let grace = grace(answered, made, old.over, rotation.grace, off);
            if !grace.contains(&replaces.until) {
                return wrong("forerunner's grace", &grace, &replaces.until);
            }
            Ok(())
        }
        (old, new) => wrong("forerunner", &old.map(|(token, ..)| token.id), &new),
    }
}

/// From when to when a session's forerunner must still be shown at the least and at the most; none without
/// a grace, which is less than any. Never beyond its own end.
fn grace(
    answered: &Answered<'_>,
    made: Timestamp,
    end: Timestamp,
    grace: Duration,
    off: Duration,
) -> std::ops::RangeInclusive<Option<Timestamp>> {
    if grace.is_zero() {
        return None..=None;
    }
    let least = (answered.flight.sent + grace).before(off).min(end);
    let most = (made + grace + ROUNDING).min(end);
    Some(least)..=Some(most)
}

/// Whether who is refused for a time that it asked for had asked for one that the farm does not allow.
pub(super) fn refused(scene: &Scene<'_>, answered: &Answered<'_>, why: &LimitError) -> Judgement {
    let Some(asked) = Asked::of(scene, answered) else { return Ok(()) };
    let farm = scene.world.farm();
    let allowed = match why {
        LimitError::Lifetime { .. } => {
            (SHORTEST..=longest(farm, asked.principal)).contains(&asked.lifetime)
        }
        LimitError::IdleTimeout { .. } => {
            (SHORTEST..=farm.max_lifetime).contains(&asked.idle_timeout)
        }
        _ => return Ok(()),
    };
    scene.tally.looked(Rule::TimesRefused);
    if allowed { Err(format!("the farm allows what a customer asked for: {why}")) } else { Ok(()) }
}

/// Judges the record of a revocation: it is kept for as long as anything may live that it ends.
pub(super) fn record(scene: &Scene<'_>, write: &Write) -> Judgement {
    let session = write.session();
    if !session.is_revocation() {
        return Ok(());
    }
    scene.tally.looked(Rule::Records);
    let needed = session.id.created.time() + scene.world.farm().max_lifetime;
    if session.fixed.deadline.as_millis() < needed.as_millis() {
        return Err(format!(
            "the revocation {} is kept until {:?} only: a session that it ends may live until {needed:?}",
            session.id, session.fixed.deadline
        ));
    }
    Ok(())
}
