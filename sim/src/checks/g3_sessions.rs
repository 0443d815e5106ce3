//! G3: the four session guarantees.

use std::sync::Arc;

use grapevine_core::command::Write;
use grapevine_core::rare::Point;
use grapevine_core::{
    Attribute, Change, Engine, Member, NotFound, RequestError, Response, Served, ServerId, Session,
    Stamp, Vector,
};

use super::asked::as_asked;
use super::counted::Counted;
use super::listed::as_listed;
use super::rotated::Rotated;
use super::{About, Answered, Check, Judgement, Rule, Scene, fixed, lost};
use crate::model::{name, shown};
use crate::named::Named;
use crate::shop::Intent;

#[derive(Default)]
pub(super) struct Sessions {
    looked: u64,
    /// What its customers' writes follow, per session and writer. Taken from requests and responses
    /// alone: what servers say of their writes is not believed.
    follows: Named<Vec<(ServerId, Followed)>>,
    rotated: Rotated,
    counted: Counted,
}

static ABOUT: About = About {
    name: "G3",
    promise: "Read-your-writes, monotonic reads, monotonic writes and writes-follow-reads hold for \
              every customer that carries its token from request to request, or the response says \
              lost or stale.",
    source: "Terry et al., Session Guarantees for Weakly Consistent Replicated Data, 1994.",
    rule: "A response that is neither lost nor stale shows a copy that has seen every write that \
           the customer read or made before it got the token it came with (read-your-writes, \
           monotonic reads). Whoever is shown a customer's write is shown all that the customer \
           had read and written before it (monotonic writes, writes-follow-reads). The copy shows \
           exactly what the reference model makes of the writes that it says it has seen, and the \
           write that a request is answered with did what the request asked for, word for word. A session that a \
           request made, and its copies, have the principal, the idle timeout and the lifetime that were asked for, \
           or what the farm says where nothing was (a new ID: what the old one had, but for the lifetime), and \
           its forerunner has the grace that was asked for, by clocks that may be off; nobody is refused for times that \
           the farm allows; a revocation is kept for `max_lifetime`, and the number in its answer is that \
           of its principal's sessions that its server had by its vector and that no write that it had had ended (what it may have had \
           besides, or dropped, may be in it or not). A list of \
           somebody's sessions has nothing of anybody else's, and all whose create the answering server's \
           vector covers, that nobody ended and that are far from their end, unless a clock has been far off in the run. A session \
           that takes the place of another starts with exactly what that one showed where it was \
           rotated, which shows the same in its grace. A stale \
           response comes only to who asked for it and where something is missing, keeps the context, and shows what was \
           written; of another's context \
           nothing is dropped that a running, level server lacks (one of \
           whose process the answering server can't know counts if it has an older copy); after healing, when all is known \
           to all, one entry is left at most. No session is lost, or unknown, while no server died, \
           left, or was silent for `give_up_after`. What a lost response lacks was written by processes that \
           are gone; a server that hears no majority, nor by way of others, says so only of processes that it knows to be no more; it shows what the \
           model makes of what it has seen, and keeps the context of all that are not; and after healing nothing is lost that any server has.",
    file: "sim/src/checks/g3_sessions.rs",
    not_applied: None,
};

impl Check for Sessions {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn looked(&self) -> u64 {
        self.looked
    }

    fn wrote(&mut self, scene: &Scene<'_>, by: ServerId, write: &Write, _: bool) -> Judgement {
        self.counted.wrote(scene, by, write);
        fixed::record(scene, write)
    }

    fn stored(&mut self, scene: &Scene<'_>, by: ServerId, copy: &Arc<Session>) -> Judgement {
        self.rotated.stored(by, copy, scene.damaged, scene.tally)
    }

    fn answered(&mut self, scene: &Scene<'_>, answered: &Answered<'_>) -> Judgement {
        match answered.outcome {
            Ok(Response::Session(served)) if served.stale => {
                stale_as_asked(scene, answered, served)
            }
            Ok(Response::Session(served)) => {
                self.looked += 1;
                let shown = self.shown(answered, served);
                if served.lost {
                    lost::in_part(scene, answered, served, shown)?;
                } else if let Some(shown) = shown {
                    own_view(scene, answered, shown)?;
                    self.in_order(scene, answered, shown)?;
                }
                // What a gone process wrote may be lost in the midst of what it wrote, which no vector tells.
                if !served.lost || lost::all_writers_live(scene, answered, &served.session.seen) {
                    as_the_model_says(scene, answered, &served.session)?;
                }
                written_as_asked(scene, answered, &served.session)?;
                fixed::as_asked(scene, answered, &served.session.id)?;
                carries_enough(scene, answered, served)?;
                self.note(scene, answered, served);
                Ok(())
            }
            Ok(Response::Sessions(listed)) => {
                self.looked += 1;
                as_listed(scene, answered, listed)
            }
            Ok(Response::Revoked { sessions, version }) => {
                self.looked += 1;
                self.counted.answered(scene, *version, *sessions)
            }
            Err(RequestError::NotReplicated { token: Some(token), .. }) => {
                fixed::as_asked(scene, answered, &token.id)
            }
            Err(RequestError::Limit(why)) => fixed::refused(scene, answered, why),
            Err(RequestError::Lost) => lost::as_a_whole(scene, answered),
            Err(RequestError::NotFound(NotFound::Unknown)) => {
                Err("a session ID that was issued is said to be unknown".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Read-your-writes, monotonic reads.
fn own_view(scene: &Scene<'_>, answered: &Answered<'_>, session: &Session) -> Judgement {
    let seen = &session.seen;
    let known = &answered.flight.known;
    scene.tally.add(Rule::OwnView, u64::from(!known.is_empty()));
    match known.iter().find(|&(server, stamp)| !seen.covers_entry(server, stamp)) {
        Some((server, stamp)) => Err(format!(
            "{}: the customer knew of {server}'s write {stamp}, and server {} showed a copy that \
             has only seen {}",
            session.id,
            answered.server + 1,
            seen.get(server)
        )),
        None => Ok(()),
    }
}

impl Sessions {
    /// What a customer was shown of its session: at a rotation, that is what the new ID started with.
    fn shown<'a>(&'a self, answered: &Answered<'_>, served: &'a Served) -> Option<&'a Session> {
        match answered.flight.intent {
            Intent::Rotate(_) => self.rotated.before(&served.session.id).map(|copy| &**copy),
            _ => Some(&served.session),
        }
    }

    /// Monotonic writes, writes-follow-reads.
    fn in_order(&self, scene: &Scene<'_>, answered: &Answered<'_>, session: &Session) -> Judgement {
        let seen = &session.seen;
        for &(server, ref followed) in self.follows.get(&name(&session.id)).into_iter().flatten() {
            let stamp = seen.get(server);
            if stamp == Stamp::ZERO {
                continue;
            }
            scene.tally.looked(Rule::InOrder);
            if followed.up_to(stamp).is_none_or(|before| seen.covers(before)) {
                continue;
            }
            let (write, before) = followed.first_not_shown_by(seen);
            return Err(format!(
                "{} at server {} shows {server}'s write {write}, but not all of {before:?}, which \
                 its customer had read or written before",
                session.id,
                answered.server + 1,
            ));
        }
        Ok(())
    }

    /// Notes a customer's write, and what it follows.
    fn note(&mut self, scene: &Scene<'_>, answered: &Answered<'_>, served: &Served) {
        let (flight, session) = (answered.flight, &served.session);
        let writes = matches!(flight.intent, Intent::Write | Intent::Add(_) | Intent::Replace);
        let Some(engine) = scene.world.running(answered.server).filter(|_| writes) else { return };
        let by = engine.server();
        let writers = self.follows.or_insert_with(name(&session.id), Vec::new);
        let place = writers.binary_search_by_key(&by, |&(writer, _)| writer);
        let place = place.unwrap_or_else(|place| {
            writers.insert(place, (by, Followed::default()));
            place
        });
        let followed = &mut writers[place].1;
        // What is lost nobody will show.
        let mut known = flight.known.clone();
        known.retain(|server, stamp| !served.lost || session.seen.covers_entry(server, stamp));
        followed.add(session.seen.get(by), &known);
    }
}

/// One server's writes to one session, by stamp, and what they follow: each with all that its customer,
/// and those of the writes before it, had read or written. Who shows a write shows those before it, so
/// one comparison does for all of them.
#[derive(Default)]
struct Followed(Vec<(Stamp, Vector)>);

impl Followed {
    fn add(&mut self, stamp: Stamp, known: &Vector) {
        let place = self.0.partition_point(|&(before, _)| before <= stamp);
        let mut all =
            place.checked_sub(1).map_or_else(Vector::default, |last| self.0[last].1.clone());
        all.join(known);
        self.0.insert(place, (stamp, all));
        // Answers may come in another order than writes were made.
        self.0[place + 1..].iter_mut().for_each(|(_, later)| later.join(known));
    }

    /// What the writes up to this one follow.
    fn up_to(&self, stamp: Stamp) -> Option<&Vector> {
        let after = self.0.partition_point(|&(write, _)| write <= stamp);
        Some(&self.0[after.checked_sub(1)?].1)
    }

    /// The first write whose customer knew of more than this.
    fn first_not_shown_by(&self, seen: &Vector) -> (Stamp, &Vector) {
        let (stamp, before) =
            self.0.iter().find(|(_, before)| !seen.covers(before)).expect("the last is such a one");
        (*stamp, before)
    }
}

fn as_the_model_says(scene: &Scene<'_>, answered: &Answered<'_>, session: &Session) -> Judgement {
    let Some(known) = scene.model.get(&session.id) else {
        return Err(format!("{} was never created", session.id));
    };
    scene.tally.looked(Rule::Model);
    if *session.fixed != *known.fixed {
        return Err(format!(
            "{} at server {} is {:?}, and was made as {:?}",
            session.id,
            answered.server + 1,
            session.fixed,
            known.fixed
        ));
    }
    if known.is_shown_by(session) {
        return Ok(());
    }
    let (expected, actual) = (known.contents(&session.seen), shown(session));
    Err(format!(
        "{} at server {} shows {actual:?}, but the writes that it has seen amount to {expected:?}",
        session.id,
        answered.server + 1
    ))
}

fn written_as_asked(scene: &Scene<'_>, answered: &Answered<'_>, session: &Session) -> Judgement {
    let writer = scene.world.running(answered.server).map(Engine::server);
    match (writer, scene.model.get(&session.id)) {
        (Some(by), Some(known)) => as_asked(scene, answered, by, known, session),
        _ => Ok(()),
    }
}

fn stale_as_asked(scene: &Scene<'_>, answered: &Answered<'_>, served: &Served) -> Judgement {
    scene.tally.looked(Rule::Stale);
    let id = served.session.id;
    if !answered.flight.stale_will_do {
        return Err(format!("{id} was served stale to who did not ask for that"));
    }
    let context = answered.flight.token.as_ref().map(|token| &token.context);
    if context.is_some_and(|context| !served.token.context.covers(context)) {
        return Err(format!("{id} was served stale, and its token has lost context"));
    }
    let Some(known) = scene.model.get(&id) else {
        return Err(format!("{id} was never created"));
    };
    if *served.session.fixed != *known.fixed {
        return Err(format!(
            "{id} is {:?}, and was made as {:?}",
            served.session.fixed, known.fixed
        ));
    }
    // Writes may be missing in the midst; what is shown was written all the same.
    for (key, attribute) in &served.session.attributes {
        if let Attribute::Register { version, value } = attribute
            && !known.did(*version, &Change::Set(key.clone(), value.clone()))
        {
            return Err(format!(
                "{id} was served stale with {value:?} in {key:?}, which nobody wrote"
            ));
        }
    }
    needlessly_stale(scene, answered, served)
}

/// Whether a server that joined long ago has all that the customer and the copy have seen, and says all the same
/// that what it shows is old.
fn needlessly_stale(scene: &Scene<'_>, answered: &Answered<'_>, served: &Served) -> Judgement {
    let Some(engine) = scene.world.running(answered.server) else { return Ok(()) };
    let context = answered.flight.token.as_ref().map(|token| &token.context);
    let covers = |vector| engine.applied().covers(vector);
    // A look-up that is forced may end before anybody is asked.
    let forced = scene.world.traffic.may(Point::QueryUnneeded);
    let joining = engine.joining() || scene.world.was_joining();
    let level = !joining && !scene.world.late() && !forced;
    if level && context.is_none_or(covers) && covers(&served.session.seen) {
        return Err(format!(
            "{} was served stale, and nothing of it is missing",
            served.session.id
        ));
    }
    Ok(())
}

/// The rule for dropping context: only what every server has, and what a server has that starts
/// anew it gets before it counts.
fn carries_enough(scene: &Scene<'_>, answered: &Answered<'_>, served: &Served) -> Judgement {
    if served.session.fixed.deadline <= scene.world.now() {
        // It was answered late, for it waited for acknowledgements. What was dropped then was
        // everywhere; by now the copies are gone, and servers forget a gone writer whom none shows.
        return Ok(());
    }
    let carried = &served.token.context;
    let mut needed = served.session.seen.clone();
    if !matches!(answered.flight.intent, Intent::Rotate(_)) {
        needed.join(&answered.flight.known);
    }
    if served.lost {
        needed = lost::owed(scene, answered, &needed);
    }
    needed.retain(|server, stamp| !carried.covers_entry(server, stamp));
    for server in 0..scene.world.size() {
        let Some(engine) = scene.world.running(server) else { continue };
        let has = engine.applied().covers(&needed);
        let other = server != answered.server && !needed.is_empty();
        scene.tally.add(Rule::Carried, u64::from(other && has));
        let lacks = !has && engine.view().serving;
        if lacks && !out_of_the_count(scene, answered, (served, &needed), engine) {
            return Err(format!(
                "{}: server {} dropped {needed:?} from the token, and server {} has not got that \
                 far",
                served.session.id,
                answered.server + 1,
                server + 1
            ));
        }
    }
    let all = scene.healed.len() == scene.world.size();
    let rest = answered.flight.last && answered.flight.intent == Intent::Read && all;
    scene.tally.add(Rule::AtRest, u64::from(rest && !scene.damage.left));
    // Where repairs bring a session at a time, some server may lack what is carried.
    let engines = || (0..scene.world.size()).filter_map(|server| scene.world.running(server));
    let everywhere = |server, stamp| engines().all(|e| e.applied().covers_entry(server, stamp));
    let needless = || carried.iter().any(|(server, stamp)| everywhere(server, stamp));
    if rest && !scene.damage.left && carried.len() > 1 && needless() {
        return Err(format!("{}: a token at rest carries {carried:?}", served.session.id));
    }
    Ok(())
}

/// Whether what a server lacks of a session can do no harm though the one that answered does not
/// count its process: nobody has told it of that one yet, and there is no copy there that could be
/// shown without what was dropped. (A number that left is out of the count. And a server that was
/// paused counts a process that died meanwhile. Whoever feeds the new process names it in each
/// heartbeat by which others learn that the feeder has the write: see decision 0006.)
fn out_of_the_count(
    scene: &Scene<'_>,
    answered: &Answered<'_>,
    (served, dropped): (&Served, &Vector),
    other: &Engine,
) -> bool {
    let id = served.session.id;
    let Some(peers) = answered.peers(scene) else { return false };
    // Who is known now may have come after an answer that goes out late.
    let knows = |member: &Member| member.server == other.server() && !scene.world.late();
    // What is there in part is not shown before somebody gave the rest.
    let harmless = |copy: &Session| copy.id != id || !copy.complete || copy.seen.covers(dropped);
    !peers.iter().any(knows) && other.copy(id.address).is_none_or(|copy| harmless(copy))
}
