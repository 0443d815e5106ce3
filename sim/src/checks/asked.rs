//! A part of G3: what a server wrote is what the customer asked for. The reference model takes what was
//! written from the servers' own deltas, so somebody must hold those against the requests. (What never changes
//! of a session: `fixed`.)

use grapevine_core::{Change, Key, Request, ServerId, Session, Value, Version};

use super::{Answered, Judgement, Rule, Scene};
use crate::model::Known;

/// Judges a session that was answered to a write, by what the model knows of the write that the answering
/// server made last: responses are made with the write.
pub(super) fn as_asked(
    scene: &Scene<'_>,
    answered: &Answered<'_>,
    by: ServerId,
    known: &Known,
    session: &Session,
) -> Judgement {
    let Some(request) = &answered.flight.request else { return Ok(()) };
    let version = Version::new(session.seen.get(by), by);
    let wrong = |what: String| {
        Err(format!(
            "{} at {by}: {what}, and the write {} did not do that",
            session.id, version.stamp
        ))
    };
    match request {
        Request::Create(create) => {
            scene.tally.looked(Rule::Created);
            sets(known, version, &create.attributes).map_or(Ok(()), wrong)
        }
        Request::Update { changes, .. } => {
            scene.tally.looked(Rule::Updated);
            all(known, version, changes, Some(session)).map_or(Ok(()), wrong)
        }
        Request::Replace { attributes, .. } => {
            scene.tally.looked(Rule::Replaced);
            if !known.replaced(version) {
                return wrong("all of it was to be replaced".to_owned());
            }
            sets(known, version, attributes).map_or(Ok(()), wrong)
        }
        Request::Rotate { rotation, .. } => {
            scene.tally.looked(Rule::NewIdAsked);
            all(known, version, &rotation.changes, None).map_or(Ok(()), wrong)
        }
        _ => Ok(()),
    }
}

/// What of these attributes was not set.
fn sets(known: &Known, version: Version, attributes: &[(Key, Value)]) -> Option<String> {
    let missing = |(key, value): &&(Key, Value)| {
        !known.did(version, &Change::Set(key.clone(), value.clone()))
    };
    attributes.iter().find(missing).map(|(key, value)| format!("`{key}` was to be {value:?}"))
}

/// What changes in one update come to: of an attribute that is set or removed the last word, of one that is
/// added to the sum. (Customers don't do both to one attribute in one update.)
fn together(changes: &[Change]) -> Vec<Change> {
    let key = |change: &Change| match change {
        Change::Set(key, _) | Change::Remove(key) | Change::Add(key, _) => key.clone(),
    };
    let mut all: Vec<Change> = Vec::new();
    for change in changes {
        match (all.iter_mut().find(|before| key(before) == key(change)), change) {
            (Some(Change::Add(_, sum)), Change::Add(_, amount)) => *sum += amount,
            (Some(before), _) => *before = change.clone(),
            (None, _) => all.push(change.clone()),
        }
    }
    all
}

/// What of these changes was not made. Removing what is not there is no write: it must not be shown then.
fn all(
    known: &Known,
    version: Version,
    changes: &[Change],
    shown: Option<&Session>,
) -> Option<String> {
    let changes = together(changes);
    let missing = |change: &&Change| {
        let nothing = match (change, shown) {
            (Change::Remove(key), Some(session)) => session.get(key.as_str()).is_none(),
            _ => false,
        };
        !nothing && !known.did(version, change)
    };
    changes.iter().find(missing).map(|change| format!("this was asked for: {change:?}"))
}
