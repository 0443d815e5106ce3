//! G2: acknowledged writes survive.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use grapevine_core::command::Write;
use grapevine_core::{
    Acks, Member, Response, ServerId, Session, SessionId, Stamp, State, Timestamp, Version,
};

use super::{About, Answered, Check, Judgement, Rule, Scene};
use crate::model::{Name, name};
use crate::shop::Intent;
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
    /// The ends of sessions that servers wrote because they were asked to, or because time was up.
    ends: BTreeMap<(Name, ServerId), (Stamp, Timestamp)>,
}

static ABOUT: About = About {
    name: "G2",
    promise: "A write acknowledged by n other servers is not lost while at most n servers die.",
    source: "Section 7 of the protocol.",
    rule: "At each answer with n acknowledgements: of at least n other numbers the newest process that \
           the writer knows of has applied the write (or had when it died). After each death and at \
           the end, if all servers are healed: for every write (a new ID, an end and a revocation \
           too) that was answered with n acknowledgements (of `all`: as many as the writer, once it has joined, counts as \
           live; of an end: one, unless the request or the farm says otherwise), and since which was made at most n servers died, a running server has a copy \
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
            scene.tally.looked(Rule::Survives);
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

/// How many others an answer speaks for; `None` if for nobody. What ends a session waits for one other
/// unless the request or the farm says otherwise, in a farm that has one (section 7).
fn wanted(world: &World, intent: &Intent, acks: Acks, members: &[Member]) -> Option<usize> {
    let farm = world.farm();
    let ends = matches!(intent, Intent::Delete | Intent::Rotate(_) | Intent::Revoke(_));
    let acks = match (acks, farm.acks) {
        (Acks::Farm, Acks::Farm | Acks::Local | Acks::Peers(0)) if ends && farm.size > 1 => {
            Acks::Peers(1)
        }
        (Acks::Farm, acks) => acks,
        (acks, _) => acks,
    };
    match acks {
        Acks::Farm | Acks::Local => None,
        Acks::Peers(peers) => Some(usize::from(peers)),
        Acks::Majority => Some(usize::from(farm.majority()) - 1),
        Acks::All => {
            let live = |member: &&Member| !matches!(member.state, State::Down | State::Left);
            Some(members.iter().filter(live).count())
        }
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
        if let Write::Delete(session) = write {
            let end = (stamp, session.fixed.deadline);
            self.ends.entry((name(&session.id), by)).or_insert(end);
        }
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
            Ok(Response::Deleted) => {
                let Some(token) = &answered.flight.token else { return Ok(()) };
                match self.ends.get(&(name(&token.id), by)) {
                    Some(&(stamp, deadline)) => (token.id, deadline, stamp),
                    None => {
                        return Err(format!(
                            "{} is over, says {by}, and wrote no such thing",
                            token.id
                        ));
                    }
                }
            }
            _ => return Ok(()),
        };
        let status = engine.status();
        let farm = scene.world.farm().acks;
        let all = match answered.flight.acks {
            Acks::Farm => farm == Acks::All,
            acks => acks == Acks::All,
        };
        if all && (status.joining || scene.world.late()) {
            // Who starts knows at first of nobody who lives, and may hear of the first in this very event;
            // and so may anybody between an answer and the event after which it goes out.
            return Ok(());
        }
        let members = status.members;
        let Some(copies) =
            wanted(scene.world, &answered.flight.intent, answered.flight.acks, &members)
        else {
            return Ok(());
        };
        let applied = |member: &Member| {
            let vector = scene.world.applied_by(member.server);
            vector.is_some_and(|applied| applied.covers_entry(by, stamp))
        };
        let applied = members.iter().filter(|member| applied(member)).count();
        self.looked += 1;
        scene.tally.looked(Rule::Applied);
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
