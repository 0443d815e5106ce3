//! G2: acknowledged writes survive.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use grapevine_core::command::Write;
use grapevine_core::{
    Acks, Engine, Member, Principal, Request, RequestError, Response, ServerId, Session, SessionId,
    Stamp, State, Timestamp, Token, Version,
};

use super::left;
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
    /// The revocations that servers wrote, and when that was seen.
    revocations: BTreeMap<(Principal, ServerId), Vec<(Timestamp, Stamp)>>,
}

static ABOUT: About = About {
    name: "G2",
    promise: "A write acknowledged by n other servers is not lost while at most n servers die.",
    source: "Section 7 of the protocol.",
    rule: "At each answer with n acknowledgements: of at least n other numbers the newest process that \
           the writer knows of has applied the write (or had when it died). After each death and at \
           the end, if all servers are healed: for every write (a new ID, an end and a revocation \
           too) that was answered with n acknowledgements (of `all`: as many as the writer, once it has joined, counts as \
           live, of an end at least one; of an end: one, unless the request or the farm says otherwise), and since which was made at most n servers died, a running server has a copy \
           (or tombstone) that has seen it, unless the session's lifetime is over. Who answers that too few have a write \
           says how many were to be waited for, and how many newest processes have acknowledged it: no fewer than \
           it heard, no more than have applied it, and less than enough. Who leaves and says that its leave is complete: every \
           server that is not down or gone in its eyes has applied its stream to the end; in a farm in which \
           nothing else has gone wrong, it is complete.",
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
            // No single crash may undo an end, whoever is thought to live.
            let least = usize::from(ends && farm.size > 1);
            Some(members.iter().filter(live).count().max(least))
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

impl Durability {
    /// The stamp of a write that is answered with this token, or of what ended a session, or several; of a
    /// revocation perhaps an earlier one's.
    fn stamp_of(
        &self,
        answered: &Answered<'_>,
        by: ServerId,
        token: Option<&Token>,
    ) -> Option<Stamp> {
        if let Some(token) = token {
            // What was written last is in it, unless nobody else is there to be waited for.
            return Some(token.context.get(by)).filter(|&stamp| stamp != Stamp::ZERO);
        }
        let flight = answered.flight;
        if let Some(Request::Revoke { principal, .. }) = &flight.request {
            let made = self.revocations.get(&(principal.clone(), by))?;
            return made.iter().find(|(at, _)| *at >= flight.sent).map(|&(_, stamp)| stamp);
        }
        let token = flight.token.as_ref()?;
        self.ends.get(&(name(&token.id), by)).map(|&(stamp, _)| stamp)
    }
}

/// A record of a revocation, which lies in a slot of the server that made it: its ID, end and stamp.
fn record(engine: &Engine, version: &Version) -> Option<(SessionId, Timestamp, Stamp)> {
    let is_it = |copy: &&Arc<Session>| {
        copy.is_revocation() && Version::new(copy.id.created, copy.id.address.origin) == *version
    };
    engine.copies().find(is_it).map(|copy| (copy.id, copy.fixed.deadline, version.stamp))
}

/// The answer that too few have a write yet: it wants as many as were asked for, fewer have acknowledged it
/// (or, of all that live, not each), and so many have it indeed.
fn too_few(
    scene: &Scene<'_>,
    answered: &Answered<'_>,
    (acked, wanted): (usize, usize),
    stamp: Option<Stamp>,
) -> Judgement {
    let flight = answered.flight;
    let Some(engine) = scene.world.running(answered.server) else { return Ok(()) };
    let (by, members) = (engine.server(), answered.peers(scene).unwrap_or_default());
    let said = format!("{by} says of {:?} that {acked} of {wanted} have it", flight.intent);
    scene.tally.looked(Rule::NotReplicated);
    let Some(asked) = self::wanted(scene.world, &flight.intent, flight.acks, members) else {
        return Err(format!("{said}, and it was to wait for nobody"));
    };
    let all = waits_for_all(scene.world, flight.acks);
    // Of all that live one may be taken for dead later in the event that answered; more of them by the time
    // that the answer goes out. An end waits for one, though nobody is known.
    let most = if all { members.len().max(asked) } else { asked };
    let fits = (asked..=most).contains(&wanted);
    if !(fits || all && scene.world.late()) {
        return Err(format!("{said}, and it was to wait for {asked}"));
    }
    if acked >= wanted && !all {
        return Err(format!("{said}, which are enough"));
    }
    let Some(stamp) = stamp.filter(|_| !scene.world.late()) else { return Ok(()) };
    // Who hears later of a process with a later boot has applied it, and forgotten it.
    let forgotten = scene.world.older_boot();
    let has = |member: &&Member| {
        let applied = scene.world.applied_by(member.server);
        applied.is_some_and(|applied| applied.covers_entry(by, stamp))
            || forgotten && member.acked >= stamp
    };
    let have = members.iter().filter(has).count();
    if acked > have {
        return Err(format!(
            "{said}, and the newest processes of only {have} have applied {stamp}"
        ));
    }
    // Its time may have been up before it took the command of the same event in.
    let told = members.iter().filter(|member| member.acked >= stamp).count();
    let late = usize::from(scene.world.by_command());
    if acked + late < told && !matches!(flight.intent, Intent::Revoke(_)) {
        return Err(format!("{said}, and {told} have acknowledged {stamp}"));
    }
    Ok(())
}

/// Whether a write waits for all that live.
fn waits_for_all(world: &World, acks: Acks) -> bool {
    match acks {
        Acks::Farm => world.farm().acks == Acks::All,
        acks => acks == Acks::All,
    }
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
        if let (Write::Revoke(_), Some(whose)) = (write, &write.session().fixed.principal) {
            let made = self.revocations.entry((whose.clone(), by)).or_default();
            made.push((scene.world.now(), stamp));
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
        let (id, deadline, stamp) = match answered.outcome {
            Ok(Response::Session(served)) => {
                (served.token.id, served.token.deadline, served.session.seen.get(by))
            }
            Ok(Response::Revoked { version, .. }) => match record(engine, version) {
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
            Ok(Response::Left { complete }) => return left::as_said(scene, answered, *complete),
            Err(RequestError::NotReplicated { acked, wanted, token, .. }) => {
                let said = (usize::from(*acked), usize::from(*wanted));
                let stamp = self.stamp_of(answered, by, token.as_ref());
                return too_few(scene, answered, said, stamp);
            }
            _ => return Ok(()),
        };
        let all = waits_for_all(scene.world, answered.flight.acks);
        if all && (engine.joining() || scene.world.late()) {
            // Who starts knows at first of nobody who lives, and may hear of the first in this very event;
            // and so may anybody between an answer and the event after which it goes out.
            return Ok(());
        }
        let (intent, acks) = (&answered.flight.intent, answered.flight.acks);
        // Most wait for nobody, whoever there is.
        if wanted(scene.world, intent, acks, &[]).is_none() {
            return Ok(());
        }
        let members = answered.peers(scene).unwrap_or_default();
        let Some(copies) = wanted(scene.world, intent, acks, members) else { return Ok(()) };
        let late = scene.world.late();
        let applied = |member: &Member| {
            let vector = scene.world.applied_by(member.server);
            vector.is_some_and(|applied| applied.covers_entry(by, stamp))
                // It was given before that process was heard of, by the word of one before it.
                || late && scene.world.died_with(member.server.number(), by, stamp)
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
