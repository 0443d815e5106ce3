//! G8: memory, queues and repair traffic stay within their limits.

use std::sync::Arc;

use grapevine_core::command::Write;
use grapevine_core::{
    Attribute, Engine, Life, LimitError, Notice, RequestError, ServerId, Session, Timestamp, Usage,
    WhenFull,
};

use super::{About, Answered, Check, Judgement, Rule, Scene, needless};
use crate::shop::Intent;

#[derive(Default)]
pub(super) struct Limits {
    looked: u64,
    rest: Option<(Timestamp, u64)>,
    /// When customers were to be served again.
    served: Option<Timestamp>,
    /// How many sessions each running process had published again when the rest began; nothing, if some may still
    /// have to be.
    again: Vec<(ServerId, u64)>,
    /// Notices looked at so far.
    notices: usize,
}

/// Messages per heartbeat and pair at rest: the heartbeat, a request for one, an acknowledgement.
const MESSAGES_PER_BEAT: u64 = 4;

/// Messages of one comparison: the question and the answer.
const MESSAGES_PER_COMPARISON: u64 = 2;

/// New anonymous sessions leave this part of the anonymous bytes to those that are there.
pub(super) const TO_GROW: u64 = 16;

/// Bytes that an event may add besides a write: accesses that it has written down.
const ACCESSES: u64 = 512;

/// Bytes that a request of a run's customers may add at most, besides those of its session.
pub(super) const REQUEST: u64 = 3072;

static ABOUT: About = About {
    name: "G8",
    promise: "Memory, queues and repair traffic stay within their limits, with no storm after \
              healing.",
    source: "Section 10 of the protocol.",
    rule: "No frame is longer than the farm allows. No server has more waiting requests or known servers \
           than the limits say, nor more sessions of its own, nor more of them without a principal. After \
           each write that adds anything, its server has no more bytes of the session's origin than one \
           origin may, and if it is anonymous no more of such than those may. At no time does any server \
           have more bytes of one origin than all servers together may write, and no server says of \
           another one that it misbehaves, by passing the limits or in any other way (unless some server's \
           memory was damaged). Who has a principal, or asks for one, is refused for want of slots or bytes only \
           where others with a principal have taken all that anonymous sessions may not; and nobody is refused for a \
           limit that is not reached (by a request's size, for bytes). Only a farm that is \
           configured so ends sessions to make room: the server that made them does, without a principal, \
           those first that would end first by themselves, and no more than needed; and none where the places \
           of all of them take more than half of their bytes, but for who has a principal. Every message between servers has \
           its reason, from the first to the last event (`sim/src/traffic.rs`): one part of a repair at a time is \
           pulled from each holder, at most four are asked at once, each for another share; a part is pulled again at most three \
           times, each `round_timeout` after the last, a round begins no sooner than `repair_delay` after another; a part goes \
           only to who pulled it, once, and is as long as it asked for, but for its last session. A request has one \
           look-up at most, which asks two, then all, then all again a quarter of `query_timeout` later; what is \
           asked is answered once, and passed on once; what is fetched was offered. Heartbeats go to all each \
           `heartbeat_every`, to one that asked or whose connection came up; nobody is asked for one more than twice \
           in that time. One comparison of copies waits for its answer at a time. Acknowledgements follow \
           a batch that wants one, or a round's end; batches are sent once. All times are by the server's own clock, and half, \
           nothing or a part of it where a rare choice that is forced says so. In the last three \
           seconds, when all is healed and nobody writes, there are at most four messages per heartbeat and \
           pair, and two for each comparison of copies that the servers' pace allows; and no session is published \
           again, if nobody can become silent for `give_up_after` then.",
    file: "sim/src/checks/g8_limits.rs",
    not_applied: None,
};

impl Limits {
    /// Looks at what servers have said since the last time.
    fn heard(&mut self, scene: &Scene<'_>) -> Judgement {
        if let Some(why) = scene.world.traffic.broken() {
            return Err(why.to_owned());
        }
        let notices = scene.world.notices();
        let news = &notices[self.notices..];
        self.notices = notices.len();
        let mut last = None;
        for (server, notice) in news {
            match notice {
                // A damaged memory may have a server say anything.
                Notice::Misbehaving { server: other, why } if scene.damaged.is_empty() => {
                    return Err(format!("server {} says of {other}: {why}", server + 1));
                }
                Notice::Evicted { session } => {
                    self.looked += 1;
                    scene.tally.looked(Rule::Evicted);
                    may_end(scene, *server, session)?;
                    last = Some((*server, session));
                }
                _ => {}
            }
        }
        match last {
            Some((server, session)) if !scene.world.has_shrunk() => {
                had_to_end(scene, server, session)
            }
            _ => Ok(()),
        }
    }
}

/// Whether a server may end this session to make room at all.
fn may_end(scene: &Scene<'_>, server: usize, session: &Session) -> Judgement {
    let id = session.id;
    // One that was made by the same event is not in the model yet.
    let named = scene.model.get(&id).is_some_and(crate::model::Known::is_named);
    if named || session.fixed.principal.is_some() {
        return Err(format!("{id} has a principal and was ended to make room"));
    }
    if scene.world.farm().when_full != WhenFull::EvictAnonymous {
        return Err(format!("{id} was ended to make room in a farm that ends none"));
    }
    if usize::from(id.address.origin.number()) != server + 1 {
        return Err(format!("{id} was ended to make room by server {}", server + 1));
    }
    Ok(())
}

/// Whether the last session that an event ended to make room was needed for it, and was the next one
/// to end.
fn had_to_end(scene: &Scene<'_>, server: usize, session: &Session) -> Judgement {
    let Some(engine) = scene.world.running(server) else { return Ok(()) };
    let (farm, id) = (scene.world.farm(), session.id);
    let ended = engine.copy(id.address).map(|copy| copy.seen.get(engine.server()));
    if ended != Some(engine.applied().get(engine.server())) {
        // It has written again within the same event, and what it has is not what it had.
        return Ok(());
    }
    scene.tally.looked(Rule::MadeRoom);
    let used = engine.usage(id.address.origin);
    let freed = session.contents() as u64;
    let for_new = farm.anonymous_bytes() - farm.anonymous_bytes() / TO_GROW;
    let for_all = farm.bytes_per_origin - farm.revocation_bytes();
    if used.anonymous_bytes + freed <= for_new && used.bytes() + freed <= for_all {
        return Err(format!("{id} was ended to make room, and there was: {used:?}"));
    }
    let places = used.anonymous_sessions * Session::PLACE_BYTES as u64;
    if places > farm.anonymous_bytes() / 2 && used.bytes() + freed <= for_all {
        return Err(format!("{id} was ended to make room, though a flood has come: {used:?}"));
    }
    let ends = |copy: &Session| (copy.idle_deadline().min(copy.fixed.deadline), copy.id.address);
    let could = |copy: &&Arc<Session>| {
        copy.id.address.origin == id.address.origin
            && copy.fixed.principal.is_none()
            && copy.complete
            && copy.life == Life::Live
            && !copy.attributes.is_empty()
    };
    // Room was made for the one that was accessed last.
    let last = engine.copies().filter(could).map(|copy| copy.accessed).max();
    let others = engine.copies().filter(could).filter(|copy| Some(copy.accessed) != last);
    match others.map(|copy| ends(copy)).min() {
        Some(first) if first < ends(session) => {
            Err(format!("{id} was ended to make room before one that nobody used for longer"))
        }
        _ => Ok(()),
    }
}

/// What a server has of its own and of others' sessions.
fn within(scene: &Scene<'_>, engine: &Engine) -> Judgement {
    let farm = scene.world.farm();
    for (origin, used) in engine.usages() {
        // Accesses and ends that follow from others are taken all the same.
        let most = farm.bytes_per_origin * u64::from(farm.size) + used.sessions() * ACCESSES;
        let own = origin == engine.server();
        let slots = if own { farm.anonymous_slots() } else { farm.slots_per_origin.into() };
        if used.bytes() > most
            || used.sessions() > farm.slots_per_origin.into()
            || used.anonymous_sessions > slots
        {
            return Err(format!("{} has of {origin} {used:?}", engine.server()));
        }
    }
    Ok(())
}

/// Whether a write adds anything to its session.
fn adds(write: &Write) -> bool {
    let mut attributes = write.session().attributes.values();
    match write {
        Write::Create(_) => true,
        Write::Update(_) => attributes.any(|a| !matches!(a, Attribute::Removed { .. })),
        _ => false,
    }
}

/// Whether somebody with a principal was refused for want of room that is kept for such.
fn kept_out(scene: &Scene<'_>, answered: &Answered<'_>, why: &LimitError) -> Option<Usage> {
    let engine = scene.world.running(answered.server)?;
    let farm = scene.world.farm();
    let token = answered.flight.token.as_ref();
    let copy = token.and_then(|token| engine.copy(token.id.address));
    let more = copy.map_or(0, |copy| copy.footprint() as u64) + REQUEST;
    let origin = match (&answered.flight.intent, token) {
        (Intent::Create | Intent::Rotate(_) | Intent::Revoke(_), _) | (_, None) => engine.server(),
        (_, Some(token)) => token.id.address.origin,
    };
    let used = engine.usage(origin);
    let room = match why {
        LimitError::Slots { allowed } => {
            used.named_sessions + farm.anonymous_slots() < u64::from(*allowed)
        }
        LimitError::Bytes { allowed } => {
            used.named_bytes + farm.anonymous_bytes() + more <= *allowed
        }
        LimitError::AnonymousSlots { .. } | LimitError::AnonymousBytes { .. } => true,
        _ => false,
    };
    room.then_some(used)
}

/// How many sessions each running process has published again.
fn published_again(scene: &Scene<'_>) -> impl Iterator<Item = (ServerId, u64)> {
    let running = (0..scene.world.size()).filter_map(|server| scene.world.running(server));
    running.map(|engine| (engine.server(), engine.status().counters.published_again))
}

impl Check for Limits {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn looked(&self) -> u64 {
        self.looked
    }

    fn wrote(&mut self, scene: &Scene<'_>, by: ServerId, write: &Write, _: bool) -> Judgement {
        self.heard(scene)?;
        let engine = scene.world.running(usize::from(by.number()) - 1);
        let engine = engine.filter(|engine| engine.server() == by && !scene.world.late());
        let Some(engine) = engine.filter(|_| adds(write)) else { return Ok(()) };
        self.looked += 1;
        scene.tally.looked(Rule::Written);
        let farm = scene.world.farm();
        let (all, anonymous) = (farm.bytes_per_origin, farm.anonymous_bytes());
        let session = write.session();
        let used = engine.usage(session.id.address.origin);
        let fits = if session.fixed.principal.is_some() {
            used.named_bytes + used.anonymous_bytes.min(anonymous) <= all + ACCESSES
        } else {
            used.anonymous_bytes <= anonymous + ACCESSES && used.bytes() <= all + ACCESSES
        };
        if !fits {
            return Err(format!("{by} added to {} and has {used:?} of its origin", session.id));
        }
        Ok(())
    }

    fn answered(&mut self, scene: &Scene<'_>, answered: &Answered<'_>) -> Judgement {
        if let Err(RequestError::Limit(why)) = answered.outcome
            && !scene.world.late()
            && !scene.world.has_shrunk()
            && scene.damaged.is_empty()
        {
            needless::refused(scene, answered, why)?;
        }
        if let Err(RequestError::Limit(why)) = answered.outcome
            && answered.flight.named
            && !scene.world.has_shrunk()
            && scene.damaged.is_empty()
        {
            self.looked += 1;
            scene.tally.looked(Rule::KeptOut);
            if let Some(used) = kept_out(scene, answered, why) {
                return Err(format!("a customer with a principal is told that {why}: {used:?}"));
            }
        }
        Ok(())
    }

    fn now_and_then(&mut self, scene: &Scene<'_>) -> Judgement {
        self.heard(scene)?;
        for server in 0..scene.world.size() {
            let Some(engine) = scene.world.running(server) else { continue };
            self.looked += 1;
            scene.tally.looked(Rule::Within);
            let (waiting, allowed) = (engine.waiting(), engine.config().local.pending_requests);
            if waiting > allowed as usize {
                return Err(format!("{waiting} requests wait; {allowed} are allowed"));
            }
            within(scene, engine)?;
        }
        Ok(())
    }

    fn served_again(&mut self, scene: &Scene<'_>) -> Judgement {
        self.served = Some(scene.world.now());
        Ok(())
    }

    fn rest_begins(&mut self, scene: &Scene<'_>) -> Judgement {
        self.rest = Some((scene.world.now(), scene.world.messages()));
        let farm = scene.world.farm();
        // Who is not healed is silent since then, or never.
        let given_up =
            self.served.is_some_and(|at| scene.world.now().since(at) >= farm.give_up_after);
        if given_up || scene.healed.len() == scene.world.size() {
            self.again = published_again(scene).collect();
        }
        Ok(())
    }

    fn end(&mut self, scene: &Scene<'_>) -> Judgement {
        self.heard(scene)?;
        self.looked += scene.world.traffic.looked().iter().sum::<u64>();
        for (process, count) in published_again(scene) {
            let Some(&(_, before)) = self.again.iter().find(|before| before.0 == process) else {
                continue;
            };
            scene.tally.looked(Rule::PublishedAgain);
            if count > before {
                return Err(format!(
                    "{process} published {} sessions again at rest",
                    count - before
                ));
            }
        }
        let Some((since, before)) = self.rest else { return Ok(()) };
        let beats = scene.world.now().since(since).as_millis() as u64
            / scene.world.farm().heartbeat_every.as_millis() as u64
            + 1;
        let pairs = (scene.world.size() * (scene.world.size() - 1)) as u64;
        let every = scene.world.local().verify_every;
        let compared = scene.world.now().since(since).as_micros() / every.as_micros().max(1) + 1;
        let compared = compared as u64 * scene.world.size() as u64 * MESSAGES_PER_COMPARISON;
        let messages = scene.world.messages() - before;
        scene.tally.add(Rule::Rest, messages);
        let allowed = beats * pairs * MESSAGES_PER_BEAT + compared;
        if messages > allowed {
            return Err(format!(
                "{messages} messages at rest in {beats} beats; {allowed} are allowed"
            ));
        }
        Ok(())
    }
}
