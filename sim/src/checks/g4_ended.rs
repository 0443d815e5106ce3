//! G4: what is over stays over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use grapevine_core::command::Write;
use grapevine_core::{
    Acks, Engine, Life, Listed, Principal, Response, Served, ServerId, Session, SessionId, Stamp,
    Timestamp, WhenIsolated,
};

use super::half_heard::HalfHeard;
use super::{About, Answered, Check, Judgement, Rule, Scene};
use crate::model::{Name, Revocation, name};
use crate::named::Named;
use crate::shop::Intent;

#[derive(Default)]
pub(super) struct Ended {
    looked: u64,
    /// What each server knows of sessions that are over.
    known: BTreeMap<ServerId, Named<Known>>,
    /// The servers that have a copy which does not live any more, or had.
    with_ends: BTreeSet<ServerId>,
    /// The newest revocation that a server has heard of.
    revoked: BTreeMap<ServerId, BTreeMap<Principal, Revocation>>,
}

/// What one server knows of a session's end.
#[derive(Default)]
struct Known {
    /// Whether it has heard that it is over.
    heard: bool,
    /// If its copy does not live any more: its own last write in it.
    over: Option<Stamp>,
    /// If it has heard that it was rotated away: when its grace ends, if it has one.
    rotated: Option<Option<Timestamp>>,
}

/// How long after its grace a session may still be there, besides what clocks are off by.
const SLACK: Duration = Duration::from_secs(1);

static ABOUT: About = About {
    name: "G4",
    promise: "A deleted, rotated-away or revoked session is never served by a server that has heard \
              of it, and never comes back after healing.",
    source: "Sections 3 and 9 of the protocol: life only goes forward, and what ends a session \
             carries its end.",
    rule: "A server that has stored a tombstone never stores a live copy of that session again and \
           never serves it, writes to it or lists it. A server that has stored any part of a session never has the one that \
           it replaced alive, and serves it only in its grace and only to be read. A server that \
           has stored a revocation never has a session of that principal alive that names none as \
           new and was made before the record's time was over, nor serves it, until that time (by its own clock, if it has made the record). Who replaced and revoked what is taken from the writes, not from \
           the servers' copies (and, beside that, from the copies: what ended a session does not lie beside it alive, \
           looked at when what took its place is stored, and everything every 256 events, in a large farm as often in its own time). At the end no healed server has a live copy of a session that \
           another healed server knows to be over, by any of these (but for what a server that is not healed, and that \
           only some of them hear, wrote beyond a gap: G1). (That an old session never \
           shows the new one's contents is checked with G3.) Where cut-off servers are to refuse, \
           none serves anything when it has not heard from a majority of the farm for \
           `down_after`, by its own clock: so nobody uses a session there for longer after it was \
           ended elsewhere. How long a grace lasts is not judged once a clock has been far off in a run.",
    file: "sim/src/checks/g4_ended.rs",
    not_applied: None,
};

impl Ended {
    /// Notes what a server hears by storing a copy. What it has by now may be more: where several events were
    /// handled before anything was told of them, it heard some of that after other copies.
    fn hear(&mut self, scene: &Scene<'_>, by: ServerId, copy: &Session) {
        let id = &copy.id;
        if let Some(revocation) = scene.model.revocation(id) {
            note_newest(self.revoked.entry(by).or_default(), revocation);
        }
        let Some(replaces) = scene.model.get(id).and_then(|known| known.replaces) else { return };
        // What stands in for the middle of a chain of new IDs doesn't say what that one replaced.
        if copy.stands_in() {
            return;
        }
        let earliest = &mut self.known(by, &replaces.id).rotated;
        // No grace is the shortest.
        *earliest = Some(earliest.map_or(replaces.until, |before| before.min(replaces.until)));
    }

    /// What a server knows of a session's end, to be noted.
    fn known(&mut self, by: ServerId, id: &SessionId) -> &mut Known {
        self.known.entry(by).or_default().or_insert_with(name(id), Known::default)
    }

    /// What a server knows of a session's end, if anything.
    fn knows(&self, by: ServerId, id: &SessionId) -> Option<&Known> {
        self.known.get(&by)?.get(&name(id))
    }

    /// Whether this server has heard of a revocation that ends the session, and still has it.
    fn is_revoked(&self, scene: &Scene<'_>, by: ServerId, id: &SessionId) -> bool {
        let Some(heard) = self.revoked.get(&by) else { return false };
        let Some(known) = scene.model.get(id) else { return false };
        // One of its principal, or it would not end it.
        let Some(of) = known.principal.as_ref().and_then(|whose| heard.get(whose)) else {
            return false;
        };
        let clock = scene.world.clock(usize::from(by.number()) - 1);
        // What a server made itself is over by its own clock, and be that far ahead.
        let dropped = of.version.server == by && of.until <= clock;
        is_kept(scene, of) && !dropped && known.ends_with(of)
    }

    fn served(&mut self, scene: &Scene<'_>, answered: &Answered<'_>, id: SessionId) -> Judgement {
        let Some(engine) = scene.world.running(answered.server) else { return Ok(()) };
        let by = engine.server();
        if self.knows(by, &id).is_some_and(|known| known.heard) {
            return Err(format!("{id} is over and was served"));
        }
        if self.is_revoked(scene, by, &id) {
            return Err(format!("{id} is revoked and was served"));
        }
        let Some(until) = self.knows(by, &id).and_then(|known| known.rotated) else {
            return Ok(());
        };
        self.looked += 1;
        scene.tally.looked(Rule::Grace);
        let off = Duration::from_micros(2 * scene.damage.skew) + SLACK;
        let in_grace = until.is_some_and(|until| scene.world.now() < until + off);
        if !in_grace && scene.damage.knows_time(scene.world.size(), answered.server) {
            return Err(format!("{id} was rotated away and was served after its grace"));
        }
        if answered.flight.intent != Intent::Read {
            return Err(format!("{id} was rotated away and was written to"));
        }
        Ok(())
    }
}

impl Ended {
    /// What a server that hears from no majority may answer.
    fn cut_off(&mut self, scene: &Scene<'_>, server: usize, served: &Served) -> Judgement {
        let id = served.session.id;
        let refuses = scene.world.farm().when_isolated == WhenIsolated::Refuse;
        if scene.world.hears_majority(server) {
            return Ok(());
        }
        self.looked += 1;
        scene.tally.looked(Rule::CutOff);
        match served.isolated {
            _ if refuses => Err(format!("{id} was served by a cut-off server")),
            false => Err(format!("a cut-off server served {id} as if it were not")),
            true => Ok(()),
        }
    }
}

impl Ended {
    /// What a server lists it would serve.
    fn listed(&mut self, scene: &Scene<'_>, server: usize, listed: &Listed) -> Judgement {
        let Some(by) = scene.world.running(server).map(Engine::server) else { return Ok(()) };
        for copy in &listed.sessions {
            self.looked += 1;
            scene.tally.looked(Rule::ListedOver);
            let known = self.knows(by, &copy.id);
            let over = known.is_some_and(|known| known.heard || known.rotated.is_some());
            if over || self.is_revoked(scene, by, &copy.id) {
                return Err(format!("{} is over and was listed by {by}", copy.id));
            }
        }
        Ok(())
    }
}

impl Check for Ended {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn looked(&self) -> u64 {
        self.looked
    }

    fn wrote(&mut self, scene: &Scene<'_>, by: ServerId, write: &Write, _: bool) -> Judgement {
        // What waits for acknowledgements is served when it is written.
        let Write::Update(delta) = write else { return Ok(()) };
        if self.with_ends.contains(&by) {
            self.looked += 1;
            scene.tally.looked(Rule::NotWritten);
        }
        let Some(last) = self.knows(by, &delta.id).and_then(|known| known.over) else {
            return Ok(());
        };
        if delta.seen.get(by) > last {
            return Err(format!("{by} wrote to {}, which it knows to be over", delta.id));
        }
        Ok(())
    }

    fn stored(&mut self, scene: &Scene<'_>, by: ServerId, copy: &Arc<Session>) -> Judgement {
        let (id, life) = (copy.id, copy.life);
        let over = |known: &Known| known.heard || known.rotated.is_some();
        let judged = self.knows(by, &id).is_some_and(over)
            || life == Life::Live && self.revoked.contains_key(&by);
        self.looked += u64::from(judged);
        scene.tally.add(Rule::Heard, u64::from(judged));
        self.hear(scene, by, copy);
        let engine = scene.world.running(usize::from(by.number()) - 1);
        if let Some(engine) = engine.filter(|engine| engine.server() == by)
            && let Some(old) = replaced_beside(scene, engine, copy)
        {
            return Err(beside(old, by));
        }
        if life != Life::Live {
            let known = self.known(by, &id);
            known.over.get_or_insert_with(|| copy.seen.get(by));
            known.heard |= life == Life::Deleted;
            self.with_ends.insert(by);
            // What stands in for a session that was rotated away may be put where its tombstone was
            // dropped, and doesn't say whose it is; it has nothing to show. If it is ever served,
            // `served` judges it by what is heard.
            return Ok(());
        }
        match self.knows(by, &id) {
            Some(known) if known.heard => {
                return Err(format!("{id} came back to life at {by}"));
            }
            Some(known) if known.rotated.is_some() => {
                return Err(format!("{id} was rotated away and lives at {by}"));
            }
            _ => {}
        }
        if self.is_revoked(scene, by, &id) {
            return Err(format!("{id} was revoked and lives at {by}"));
        }
        Ok(())
    }

    fn answered(&mut self, scene: &Scene<'_>, answered: &Answered<'_>) -> Judgement {
        // A write that waited for acknowledgements is answered with what it made.
        match answered.outcome {
            Ok(Response::Session(served)) if answered.flight.acks == Acks::Local => {
                self.cut_off(scene, answered.server, served)?;
                self.served(scene, answered, served.session.id)
            }
            Ok(Response::Sessions(listed)) if !scene.world.late() => {
                self.listed(scene, answered.server, listed)
            }
            _ => Ok(()),
        }
    }

    fn now_and_then(&mut self, scene: &Scene<'_>) -> Judgement {
        let running = (0..scene.world.size()).filter_map(|server| scene.world.running(server));
        for engine in running {
            if let Some(copy) = beside_its_end(scene, engine) {
                return Err(beside(copy, engine.server()));
            }
        }
        Ok(())
    }

    fn end(&mut self, scene: &Scene<'_>) -> Judgement {
        let copies = || {
            let healed = scene.healed.iter();
            healed.flat_map(|&server| {
                scene.world.copies(server).into_values().map(move |copy| (server, copy))
            })
        };
        let half_heard = HalfHeard::among(scene);
        let known = copies().filter(|(_, copy)| !half_heard.wrote_of(scene, copy.id.address));
        let over = over(known.map(|(_, copy)| copy));
        let judged =
            |copy: &Session| copy.life != Life::Deleted && !scene.damaged.contains(&name(&copy.id));
        for (server, copy) in copies().filter(|(_, copy)| judged(copy)) {
            if !over.is_empty() {
                self.looked += 1;
                scene.tally.looked(Rule::OverAtTheEnd);
            }
            let rotated = over
                .rotated
                .get(&name(&copy.id))
                .is_some_and(|until| until.is_none_or(|until| scene.world.now() > until + SLACK));
            if over.deleted.contains(&name(&copy.id)) || rotated || over.revoked(scene, copy) {
                return Err(format!("{} is over and lives on at server {}", copy.id, server + 1));
            }
        }
        Ok(())
    }
}

/// What some copies say is over.
#[derive(Default)]
struct Over {
    deleted: BTreeSet<Name>,
    rotated: BTreeMap<Name, Option<Timestamp>>,
    revoked: BTreeMap<Principal, Revocation>,
}

impl Over {
    fn is_empty(&self) -> bool {
        self.deleted.is_empty() && self.rotated.is_empty() && self.revoked.is_empty()
    }

    fn revoked(&self, scene: &Scene<'_>, copy: &Session) -> bool {
        let newest = copy.fixed.principal.as_ref().and_then(|whose| self.revoked.get(whose));
        newest.is_some_and(|newest| is_kept(scene, newest) && newest.ends(&copy.id, &copy.fixed))
    }
}

/// Whether nobody has dropped a revocation's record yet: later a session may come from who had never heard of it.
fn is_kept(scene: &Scene<'_>, revocation: &Revocation) -> bool {
    scene.world.now() < revocation.until
}

/// Keeps each principal's newest revocation: it ends whatever an older one ends that is kept for a shorter time.
fn note_newest(of: &mut BTreeMap<Principal, Revocation>, revocation: &Revocation) {
    match of.get_mut(&revocation.principal) {
        Some(newest) if newest.version >= revocation.version => {}
        Some(newest) => newest.clone_from(revocation),
        None => drop(of.insert(revocation.principal.clone(), revocation.clone())),
    }
}

fn beside(copy: &Session, server: ServerId) -> String {
    format!("{} lives at {server} beside what ended it", copy.id)
}

/// Whether a copy is judged by what lies beside it: memory that lost one and got it back may have had what ended it
/// meanwhile.
fn is_judged(scene: &Scene<'_>, copy: &Session) -> bool {
    !scene.damaged.contains(&name(&copy.id))
}

/// The live copy of the session that this copy's took the place of, at the same server.
fn replaced_beside<'a>(
    scene: &Scene<'_>,
    engine: &'a Engine,
    copy: &Session,
) -> Option<&'a Session> {
    let replaces = copy.fixed.replaces.as_ref()?;
    let old = engine.copy(replaces.id.address)?;
    if name(&old.id) != name(&replaces.id) || !is_judged(scene, old) {
        return None;
    }
    scene.tally.looked(Rule::Beside);
    (old.life == Life::Live).then_some(&**old)
}

/// A live copy of a server that has, beside it, what ended it.
fn beside_its_end<'a>(scene: &Scene<'_>, engine: &'a Engine) -> Option<&'a Session> {
    // Looked for once: most slots of an array are free.
    let mut copies: Vec<&Session> = Vec::with_capacity(crate::claims::held(engine));
    engine.copies().for_each(|copy| copies.push(copy));
    let mut revoked = BTreeMap::new();
    for copy in &copies {
        let old = replaced_beside(scene, engine, copy);
        if old.is_some() {
            return old;
        }
        if copy.is_revocation()
            && let Some(revocation) = Revocation::of(copy)
        {
            note_newest(&mut revoked, &revocation);
        }
    }
    revoked.retain(|_, newest| is_kept(scene, newest));
    // Mostly all sessions were made by who knew of all of them: then no principal need be looked up.
    let newest = revoked.values().map(|revocation| revocation.version).max()?;
    let ends = |copy: &Session| {
        let of = copy.fixed.principal.as_ref().and_then(|whose| revoked.get(whose));
        of.is_some_and(|revocation| revocation.ends(&copy.id, &copy.fixed))
    };
    copies.into_iter().find(|copy| {
        let judged = copy.fixed.revocation < Some(newest) && is_judged(scene, copy);
        if !judged || !ends(copy) {
            return false;
        }
        scene.tally.looked(Rule::Beside);
        copy.life == Life::Live
    })
}

fn over<'a>(copies: impl Iterator<Item = &'a Session>) -> Over {
    let mut over = Over::default();
    for copy in copies {
        if copy.life == Life::Deleted {
            over.deleted.insert(name(&copy.id));
        }
        if let Some(replaces) = &copy.fixed.replaces {
            over.rotated.insert(name(&replaces.id), replaces.until);
        }
        if let Some(revocation) = Revocation::of(copy) {
            note_newest(&mut over.revoked, &revocation);
        }
    }
    over
}
