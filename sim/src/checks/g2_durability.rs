//! G2: acknowledged writes survive.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use grapevine_core::command::Write;
use grapevine_core::{
    Acks, Member, Response, ServerId, Session, SessionId, Stamp, Timestamp, Version,
};

use super::{About, Answered, Check, Judgement, Scene};
use crate::model::name;
use crate::world::World;

/// Writes remembered.
const REMEMBERED: usize = 4096;

#[derive(Debug)]
struct Acknowledged {
    id: SessionId,
    by: ServerId,
    stamp: Stamp,
    copies: usize,
    deaths: usize,
    deadline: Timestamp,
}

#[derive(Default)]
pub(super) struct Durability {
    looked: u64,
    writes: Vec<Acknowledged>,
    /// The latest writes, and how many servers had died when each was made.
    made: BTreeMap<(ServerId, Stamp), usize>,
    /// The same writes, as they were made.
    order: VecDeque<(ServerId, Stamp)>,
}

static ABOUT: About = About {
    name: "G2",
    promise: "A write acknowledged by n other servers is not lost while at most n servers die.",
    source: "Section 7 of the protocol.",
    rule: "At each answer with n acknowledgements: of at least n other numbers the newest process that \
           the writer knows of has applied the write (or had when it died). After each death and at \
           the end: for every write (a new ID and a revocation too) that was answered with n \
           acknowledgements, and since which was made at most n servers died, a running server has a copy \
           (or tombstone) that has seen it, unless the session's lifetime is over.",
    file: "sim/src/checks/g2_durability.rs",
    not_applied: None,
};

impl Durability {
    fn check(&mut self, scene: &Scene<'_>) -> Judgement {
        let deaths = scene.damage.deaths.len();
        self.writes.retain(|write| {
            deaths - write.deaths <= write.copies
                && scene.world.now() < write.deadline
                && !scene.damaged.contains(&name(&write.id))
        });
        for write in &self.writes {
            self.looked += 1;
            if !survives(scene.world, write) {
                return Err(format!(
                    "the write {} of {} to {} was acknowledged by {} others, {} died since, and no \
                     server has it",
                    write.stamp,
                    write.by,
                    write.id,
                    write.copies,
                    deaths - write.deaths
                ));
            }
        }
        Ok(())
    }
}

fn survives(world: &World, write: &Acknowledged) -> bool {
    (0..world.size()).filter_map(|server| world.running(server)).any(|engine| {
        engine
            .copy(write.id.address)
            .is_some_and(|copy| copy.id > write.id || copy.seen.get(write.by) >= write.stamp)
    })
}

impl Check for Durability {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn looked(&self) -> u64 {
        self.looked
    }

    fn wrote(&mut self, scene: &Scene<'_>, by: ServerId, write: &Write, _: bool) -> Judgement {
        let stamp = write.session().seen.get(by);
        // Long before so many others are made, a write is acknowledged or has waited long enough.
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.made.remove(&oldest);
        }
        self.order.push_back((by, stamp));
        self.made.insert((by, stamp), scene.damage.deaths.len());
        Ok(())
    }

    fn answered(&mut self, scene: &Scene<'_>, answered: &Answered<'_>) -> Judgement {
        let copies = match answered.flight.acks {
            Acks::Peers(peers) => usize::from(peers),
            Acks::Majority => usize::from(scene.world.farm().majority()) - 1,
            // `Farm`: customers of a run always say what they want.
            Acks::Farm | Acks::Local | Acks::All => return Ok(()),
        };
        let Some(engine) = scene.world.running(answered.server) else { return Ok(()) };
        let by = engine.server();
        // A record of a revocation lies in a slot of the server that made it.
        let record = |version: &Version| {
            let is_it = |copy: &&Arc<Session>| {
                copy.is_revocation()
                    && Version::new(copy.id.created, copy.id.address.origin) == *version
            };
            engine.copies().find(is_it).map(|copy| (copy.id, copy.fixed.deadline, version.stamp))
        };
        let (id, deadline, stamp) = match answered.outcome {
            Ok(Response::Session(served)) => {
                (served.token.id, served.token.deadline, served.session.seen.get(by))
            }
            Ok(Response::Revoked { version, .. }) => match record(version) {
                Some(record) => record,
                None => return Err(format!("{by} has not got its revocation {version:?}")),
            },
            _ => return Ok(()),
        };
        let applied = |member: &Member| {
            let vector = scene.world.applied_by(member.server);
            vector.is_some_and(|applied| applied.covers_entry(by, stamp))
        };
        let applied = engine.status().members.iter().filter(|member| applied(member)).count();
        self.looked += 1;
        if applied < copies {
            return Err(format!(
                "the write {stamp} of {by} to {id} was answered as acknowledged by {copies} \
                 others, and the newest processes of only {applied} have applied it"
            ));
        }
        // A server may die between its acknowledgement and the answer; one that died before the write
        // was made has acknowledged nothing.
        let made = self.made.get(&(by, stamp));
        let deaths = made.map_or(scene.damage.deaths.len(), |&deaths| deaths);
        self.writes.push(Acknowledged { id, by, stamp, copies, deaths, deadline });
        Ok(())
    }

    fn crashed(&mut self, scene: &Scene<'_>) -> Judgement {
        self.check(scene)
    }

    fn end(&mut self, scene: &Scene<'_>) -> Judgement {
        if scene.healed.len() < scene.world.size() { Ok(()) } else { self.check(scene) }
    }
}
