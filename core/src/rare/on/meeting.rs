//! What happens when a session or delta meets the copy that is here: the marks of merging. The
//! merge itself knows nothing of this.

use crate::facts::{Facts, Place};
use crate::rare::Mark;
use crate::session::{Attribute, Expiry, Life, Session};
use crate::stamp::{Timestamp, Version};

/// Finds the marks of a merge that is about to be made.
pub(super) fn marks(facts: &Facts, session: &Session, now: Timestamp, mark: &mut dyn FnMut(Mark)) {
    let place = facts.find(&session.id);
    ends(facts, session, &place, mark);
    let copy = match place {
        Place::Here(copy) => copy,
        Place::Superseded(_) => return mark(Mark::SupersededSessionIgnored),
        Place::Lacking => return met_nothing(facts, session, mark),
        Place::Unknown => return,
    };
    let (ours, theirs) = (concurrent(copy, session), concurrent(session, copy));
    let both_new = ours && theirs;
    match (copy.life, session.life) {
        (Life::Deleted, Life::Deleted) if both_new => mark(Mark::ConcurrentDeletesMet),
        (Life::Deleted, Life::Live) if theirs => mark(Mark::WriteMetTombstone),
        (Life::Live, Life::Deleted) if ours => mark(Mark::WriteMetTombstone),
        (Life::Live, Life::Live) => met_live(copy, session, now, mark),
        _ => {}
    }
}

/// What a session that is new here ends, and what ends it.
fn ends(facts: &Facts, session: &Session, place: &Place<'_>, mark: &mut dyn FnMut(Mark)) {
    match place {
        Place::Here(copy) if copy.stands_in() && !session.stands_in() => {
            mark(Mark::RotatedSessionMetItsEnd);
        }
        Place::Here(_) => return,
        _ => {}
    }
    if let Some(replaces) = &session.fixed.replaces {
        match facts.find(&replaces.id) {
            Place::Here(copy) if copy.life == Life::Live => mark(Mark::RotationRetiredCopy),
            Place::Lacking => mark(Mark::RotationMergedBeforeOld),
            _ => {}
        }
    }
    let Some(principal) = &session.fixed.principal else { return };
    let owners = facts.owners();
    if session.is_revocation() {
        let copies = owners.sessions(principal).filter_map(|at| facts.array().get(at));
        if copies.into_iter().any(|copy| copy.life != Life::Deleted) {
            mark(Mark::RevocationEndedSessions);
        }
    } else if session.life == Life::Live {
        let newest = owners.newest(principal);
        if newest.is_some_and(|newest| facts.revokes(newest, session)) {
            mark(Mark::SessionMetRevocation);
        } else if newest.is_some() {
            mark(Mark::SessionSurvivedRevocation);
        }
    }
}

fn met_nothing(facts: &Facts, session: &Session, mark: &mut dyn FnMut(Mark)) {
    if facts.array().get(session.id.address).is_some() {
        mark(Mark::SupersededCopyReplaced);
    }
    if session.life == Life::Deleted {
        mark(Mark::TombstoneMergedBeforeCreate);
    } else if !session.complete {
        mark(Mark::UpdateMergedBeforeCreate);
    }
}

/// Whether `one` shows a write that `other` has not seen.
fn concurrent(one: &Session, other: &Session) -> bool {
    !other.seen.covers(&one.seen)
}

/// Whether this session has seen a version's write.
fn saw(session: &Session, version: Version) -> bool {
    version == Version::ZERO || session.seen.covers_entry(version.server, version.stamp)
}

fn met_live(copy: &Session, delta: &Session, now: Timestamp, mark: &mut dyn FnMut(Mark)) {
    let idle = |session: &Session| now >= session.accessed.time() + session.fixed.idle_timeout;
    if copy.expiry(now, core::time::Duration::ZERO) == Expiry::Idle && !idle(delta) {
        mark(Mark::IdleCopyWasInUse);
    }
    for (replaced, other) in [(copy, delta), (delta, copy)] {
        if replaced.floor <= other.floor || saw(other, replaced.floor) {
            continue;
        }
        for attribute in other.attributes.values() {
            let version = attribute.newest();
            if !saw(replaced, version) {
                mark(if attribute.version() < replaced.floor {
                    Mark::ReplaceSweptConcurrentChange
                } else {
                    Mark::ChangeSurvivedConcurrentReplace
                });
            }
        }
    }
    if copy.floor != delta.floor && copy.floor.stamp == delta.floor.stamp {
        mark(Mark::EqualStampTie);
    }
    for (ours, theirs) in copy.attributes.both(&delta.attributes) {
        met_attribute((copy, ours), (delta, theirs), mark);
    }
}

fn met_attribute(
    (copy, ours): (&Session, &Attribute),
    (delta, theirs): (&Session, &Attribute),
    mark: &mut dyn FnMut(Mark),
) {
    let (a, b) = (ours.version(), theirs.version());
    if a.stamp == b.stamp && a.server != b.server {
        mark(Mark::EqualStampTie);
    }
    let unseen = !saw(delta, ours.newest()) && !saw(copy, theirs.newest());
    match (ours, theirs) {
        (Attribute::Counter(ours), Attribute::Counter(theirs)) => {
            let apart = !theirs.subtotals.keys().any(|server| ours.subtotals.get(server).is_some());
            let began = !ours.subtotals.is_empty() && !theirs.subtotals.is_empty();
            if a == b && apart && began {
                mark(Mark::CounterMetAfterConcurrentFirstAdds);
            }
        }
        (Attribute::Counter(_), _) | (_, Attribute::Counter(_)) if a == b => {
            mark(Mark::CounterWonAtEqualVersions);
        }
        (Attribute::Removed { .. }, Attribute::Counter(_))
        | (Attribute::Counter(_), Attribute::Removed { .. })
            if unseen =>
        {
            mark(Mark::RemovalMetConcurrentAdd);
        }
        (Attribute::Register { .. }, Attribute::Register { .. }) if unseen => {
            mark(Mark::ConcurrentSetsMet);
        }
        _ => {}
    }
}
