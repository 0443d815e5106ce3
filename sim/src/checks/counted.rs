//! A part of G3: a revocation says how many sessions of its principal the server had that were not over. What
//! it had is known but for a few: those that others told it of, or that were about to end.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use grapevine_core::command::Write;
use grapevine_core::{ServerId, Version};

use super::{Judgement, Rule, Scene};
use crate::model::{Known, name};

/// How far from its end a session must be to be surely there, besides what clocks are off by.
const SLACK: Duration = Duration::from_secs(1);

/// How many sessions revocations may have counted that are not answered yet.
#[derive(Default)]
pub(super) struct Counted(BTreeMap<Version, RangeInclusive<u64>>);

impl Counted {
    /// Notes what a revocation may count, when it is written.
    pub(super) fn wrote(&mut self, scene: &Scene<'_>, by: ServerId, write: &Write) {
        let record = write.session();
        let server = usize::from(by.number()) - 1;
        let Some(revocation) = scene.model.revocation(&record.id) else { return };
        let Some(engine) = scene.world.running(server) else { return };
        // What is told after other events was counted before them.
        if scene.world.late() || !scene.damage.knows_time(scene.world.size(), server) {
            return;
        }
        let version = revocation.version;
        // The server's own writes until then, and what it had of others'.
        let has = |write: Version| match write.server == by {
            true => write.stamp < version.stamp,
            false => engine.applied().covers_entry(write.server, write.stamp),
        };
        let soon = scene.world.now() + Duration::from_micros(2 * scene.damage.skew) + SLACK;
        let damaged = |known: &Known| scene.damaged.contains(&name(&known.id));
        let surely_here = |known: &&Known| {
            has(Version::new(known.id.created, known.id.address.origin))
                && soon < known.over
                && !damaged(known)
        };
        let maybe_here = |known: &&Known| {
            known.principal.as_ref() == Some(&revocation.principal)
                && (damaged(known) || !scene.model.is_ended_by(known, soon, has))
        };
        let least = scene.model.ended_first_by(&record.id).filter(surely_here).count() as u64;
        let most = scene.model.iter().filter(maybe_here).count() as u64;
        self.0.insert(version, least..=most);
    }

    /// Judges the number that is answered.
    pub(super) fn answered(
        &mut self,
        scene: &Scene<'_>,
        version: Version,
        sessions: u64,
    ) -> Judgement {
        let Some(counts) = self.0.remove(&version) else { return Ok(()) };
        scene.tally.looked(Rule::Counted);
        if counts.contains(&sessions) {
            return Ok(());
        }
        Err(format!(
            "the revocation {version:?} says that it ended {sessions} sessions that its server had, and that \
             had {counts:?}"
        ))
    }
}
