//! The engine: the one place where events are dispatched. The rules are in [`crate::protocol`].

use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use core::borrow::BorrowMut;
use core::mem;

use crate::action::{Action, Response, To};
use crate::applied::Applied;
use crate::command::{Batch, Command};
use crate::config::{Config, ConfigError, WhenIsolated};
use crate::due::Timer;
use crate::error::{RequestError, Unavailable};
use crate::event::{Event, Request, RequestId};
use crate::facts::Facts;
use crate::id::{Address, ServerId};
use crate::protocol::acknowledge::Waiting;
use crate::protocol::boot::Starting;
use crate::protocol::gone::Gone;
use crate::protocol::leave::Leaving;
use crate::protocol::lookup::{Ask, Lookups};
use crate::protocol::membership::Members;
use crate::protocol::repair::Repair;
use crate::protocol::verify::Verification;
use crate::random::Random;
use crate::rare::{Mark, Point, Rare};
use crate::session::Session;
use crate::stamp::{HybridClock, Stamp, Timestamp};
use crate::status::{Counters, Status, Usage, View};
use crate::vector::Vector;

/// Timers that one call sees to. Each review does all that is due of its kind, so that a call has one
/// of each kind, and a few that these have set.
const DUE_AT_ONCE: usize = 64;

/// The state machine of one server. See the crate's first page for the contract.
///
/// ```
/// use grapevine_core::*;
/// let now = Timestamp::from_millis(1_700_000_000_000);
/// let farm = Farm { size: 1, ..Farm::default() };
/// let mut engine = Engine::new(Config::new(ServerId::new(1, now), farm), [7; 32], now)?;
/// let create = Create { attributes: vec![(Key::new("user").unwrap(), "ann".into())], ..Create::default() };
/// engine.handle(now, Event::Request { id: RequestId(1), request: Request::Create(create) });
/// let mut answered = false;
/// while let Some(action) = engine.poll_action() {
///     if let Action::Respond { outcome: Ok(Response::Session(served)), .. } = action {
///         assert_eq!(served.session.get("user"), Some(Shown::Bytes(b"ann")));
///         answered = true;
///     }
/// }
/// assert!(answered);
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) now: Timestamp,
    /// `now` without its steps; see [`crate::protocol::clocks`].
    pub(crate) steady: Timestamp,
    /// Its steady time without any part of a step: no more than has passed. Others' clocks are reckoned by it.
    pub(crate) passed: Timestamp,
    /// The time by which copies were dropped: see [`Engine::trusted_now`].
    pub(crate) trusted: Timestamp,
    pub(crate) config: Config,
    /// Until this process knows that its number is its own.
    pub(crate) starting: Option<Starting>,
    /// How many processes of its number others remembered as it started.
    pub(crate) places_told: u32,
    /// Whether another process of its number took its place.
    pub(crate) stopped: bool,
    pub(crate) random: Random,
    pub(crate) clock: HybridClock,
    pub(crate) facts: Facts,
    pub(crate) applied: Applied,
    pub(crate) members: Members,
    pub(crate) lookups: Lookups,
    pub(crate) waiting: Waiting,
    pub(crate) repair: Repair,
    pub(crate) leaving: Option<Leaving>,
    pub(crate) gone: Gone,
    pub(crate) verification: Verification,
    pub(crate) counters: Counters,
    pub(crate) outbox: Outbox,
    pub(crate) rare: Rare,
    pub(crate) view_generation: u64,
    /// See [`Engine::poll_timeout`]: found after every event, and asked for more often.
    pub(crate) next: Option<(Timestamp, Timer)>,
}

/// What waits to be drained.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    /// Own writes since the last draining: they go out before anything that rests on them.
    pub(crate) batches: VecDeque<Batch>,
    /// The bytes of the last of them.
    pub(crate) batch_bytes: usize,
    pub(crate) actions: VecDeque<Action>,
    /// Publishers that want to know how far their streams are applied here.
    pub(crate) acks: BTreeSet<ServerId>,
}

impl Engine {
    /// A new, empty server, which joins the farm.
    ///
    /// `seed` must come from a CSPRNG: session secrets are made of it. `now` is the time of the
    /// start; later calls must not go back behind it.
    ///
    /// # Errors
    /// [`ConfigError`], if a field of the configuration doesn't fit.
    pub fn new(config: Config, seed: [u8; 32], now: Timestamp) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut engine = Self {
            now,
            steady: now,
            passed: now,
            trusted: Timestamp::ZERO,
            starting: Starting::new(&config, now),
            places_told: 0,
            stopped: false,
            random: Random::new(seed),
            clock: HybridClock::default(),
            facts: Facts::new(config.server, &config.farm),
            applied: Applied::new(config.server),
            members: Members::new(&config, now),
            lookups: Lookups::default(),
            waiting: Waiting::default(),
            repair: Repair::default(),
            leaving: None,
            gone: Gone::new(&config),
            verification: Verification::new(&config.local, now),
            counters: Counters::default(),
            outbox: Outbox::default(),
            rare: Rare::default(),
            view_generation: 0,
            next: None,
            config,
        };
        engine.check_joined();
        engine.next = engine.find_next();
        Ok(engine)
    }

    /// Takes an event at a time. Never fails and never blocks; what there is to do afterwards comes
    /// from [`Engine::poll_action`]. May be called many times before draining.
    ///
    /// An event that is lent means nothing any more afterwards (it may be another one), but its memory can be used
    /// again: see [`crate::wire::decode_into`].
    pub fn handle(&mut self, now: Timestamp, mut event: impl BorrowMut<Event>) {
        self.tick(now);
        match event.borrow_mut() {
            event if self.starting() => self.while_starting(mem::replace(event, Event::Timer)),
            // By far the most, and large: it stays where it is.
            Event::Command { from, command } => self.on_command(*from, command),
            event @ Event::Request { .. } => {
                if let Event::Request { id, request } = mem::replace(event, Event::Timer) {
                    self.on_request(id, request);
                }
            }
            Event::PeerUp(server) => self.on_peer_up(*server),
            Event::PeerDown(server) => {
                self.on_peer_down(*server);
                self.lookups_lose(*server);
            }
            Event::Timer => self.run_early(),
        }
        self.run_due();
    }

    pub(crate) fn on_request(&mut self, id: RequestId, request: Request) {
        self.counters.requests += 1;
        if self.leaving.is_some() || self.stopped {
            return self.respond(id, Err(RequestError::Unavailable(Unavailable::Leaving)));
        }
        if !matches!(request, Request::Leave)
            && let Some(why) = self.refuses_as_isolated()
        {
            return self.respond(id, Err(RequestError::Unavailable(why)));
        }
        match request {
            Request::Create(create) => self.create(id, create),
            Request::Read { token, policy } => self.look_up(id, token, Ask::Read(policy)),
            Request::Update { token, changes, acks } => {
                self.look_up(id, token, Ask::Update(changes, acks));
            }
            Request::Replace { token, attributes, acks } => {
                self.look_up(id, token, Ask::Replace(attributes, acks));
            }
            Request::Delete { token, acks } => self.look_up(id, token, Ask::Delete(acks)),
            Request::Rotate { token, rotation } => self.look_up(id, token, Ask::Rotate(rotation)),
            Request::Revoke { principal, acks } => self.revoke(id, principal, acks),
            Request::Sessions { principal, after, most } => {
                self.list(id, &principal, after, most);
            }
            Request::Leave => self.leave(id),
            Request::Verify { within } => self.verify(id, within),
        }
    }

    fn on_command(&mut self, from: ServerId, command: &mut Command) {
        match command {
            _ if self.stopped => return,
            Command::Starting => return self.on_starting(from),
            Command::Known { .. } => {
                // This process has started.
                self.counters.ignored_late += 1;
                return;
            }
            _ if !self.admit(from) => return,
            _ => {}
        }
        if !self.in_time(from, command) {
            return;
        }
        match command {
            Command::Heartbeat(heartbeat) => self.on_heartbeat(from, heartbeat),
            command => {
                self.on_other_command(from, mem::replace(command, Command::Starting));
            }
        }
    }

    fn on_other_command(&mut self, from: ServerId, command: Command) {
        match command {
            Command::Batch(batch) => self.on_batch(from, batch),
            Command::Query(query) => self.on_query(from, query),
            Command::Offer(offer) => self.on_offer(from, offer),
            Command::Fetch(fetch) => self.on_fetch(from, fetch),
            Command::Answer(answer) => self.on_answer(from, answer),
            Command::HeartbeatRequest => self.on_heartbeat_request(from),
            Command::Pull(pull) => self.on_pull(from, pull),
            Command::Delta(delta) => self.on_delta(from, delta),
            Command::Ack { applied } => self.on_ack(from, applied, Mark::AckedByAck),
            Command::Leave { end, members, linked } => {
                self.on_leave(from, end, &members, &linked);
            }
            Command::Verify(verify) => self.on_verify(from, verify),
            Command::Verified(verified) => self.on_verified(from, verified),
            Command::Mend(mend) => self.on_mend(from, mend),
            Command::Mended { number, sessions } => self.on_mended(from, number, sessions),
            Command::Heartbeat(_) | Command::Starting | Command::Known { .. } => {}
        }
    }

    /// Does what is due, in the order of [`Timer`]: a bounded part, so that no call holds up the next
    /// one for ever. What is left comes up again at the next call.
    fn run_due(&mut self) {
        for _ in 0..DUE_AT_ONCE {
            self.next = self.find_next();
            let Some((_, timer)) = self.next.filter(|&(due, _)| due <= self.now) else { return };
            match timer {
                Timer::Heartbeat => self.send_heartbeats(),
                Timer::Membership => self.review_members(),
                Timer::Lookup => self.review_lookups(),
                Timer::Acknowledge => self.review_waiting(),
                Timer::Repair => self.review_repair(),
                Timer::Expiry => {
                    // A bounded part; the rest comes up again at the next call.
                    self.sweep();
                    self.next = self.find_next();
                    return;
                }
                Timer::Leave => self.review_leaving(),
                Timer::Gone => self.review_gone(),
                Timer::Verify => self.review_verification(),
                Timer::Start => self.review_starting(),
            }
        }
        self.next = self.find_next();
    }

    /// Does what is not due, where a rare choice says so: a review that finds nothing to do does no
    /// harm. Only when woken up: heartbeats sent at every message would be answered by more.
    fn run_early(&mut self) {
        if self.stopped {
            return;
        }
        // At most twice as often as usual: a flood of heartbeats is no choice that the protocol allows.
        let half = self.now + self.config.farm.heartbeat_every / 2;
        if self.members.next_heartbeat() <= half && self.rare.force(Point::HeartbeatEarly) {
            self.send_heartbeats();
        }
        if self.rare.force(Point::ReviewEarly) {
            self.review_members();
            self.review_waiting();
            self.review_leaving();
            self.settle_lookups();
        }
        if self.rare.force(Point::SweepEarly) {
            self.sweep_until(self.now + self.config.farm.down_after);
        }
    }

    /// The next thing to do, in causal order; `None` if there is nothing.
    pub fn poll_action(&mut self) -> Option<Action> {
        if let Some(batch) = self.outbox.batches.pop_front() {
            return Some(Action::Publish { to: To::All, command: Command::Batch(batch) });
        }
        if let Some(action) = self.outbox.actions.pop_front() {
            return Some(action);
        }
        loop {
            let publisher = self.outbox.acks.pop_first()?;
            if !self.rare.force(Point::AckSkipped) {
                return Some(self.ack_for(publisher));
            }
        }
    }

    /// When to call [`Engine::handle`] with [`Event::Timer`] at the latest, and why. An earlier or
    /// a later call does no harm.
    pub const fn poll_timeout(&self) -> Option<(Timestamp, Timer)> {
        self.next
    }

    /// This process.
    pub const fn server(&self) -> ServerId {
        self.config.server
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// All copies that this server has, by address: live ones, partial ones, tombstones.
    pub fn copies(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.facts.array().iter()
    }

    /// The copy at this address: a live one, a partial one, or a tombstone.
    pub fn copy(&self, address: Address) -> Option<&Arc<Session>> {
        self.facts.array().get(address)
    }

    /// What the sessions that a server made take of what they may, as far as this server has them.
    pub fn usage(&self, origin: ServerId) -> Usage {
        self.facts.array().usage(origin)
    }

    /// The same for every server that made sessions which this one has.
    pub fn usages(&self) -> impl Iterator<Item = (ServerId, Usage)> + '_ {
        let array = self.facts.array();
        array.origins().map(|origin| (origin, array.usage(origin)))
    }

    /// How often things happened since the start.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether this server is still joining.
    pub const fn joining(&self) -> bool {
        self.members.joining()
    }

    /// How many requests wait for other servers.
    pub fn waiting(&self) -> usize {
        let held = self.starting.as_ref().map_or(0, Starting::waiting);
        self.lookups.waiting() + self.waiting.len() + held
    }

    /// What this server has of each stream, its own included.
    pub const fn applied(&self) -> &Vector {
        self.applied.vector()
    }

    /// A summary for people and programs.
    pub fn status(&self) -> Status {
        let totals = self.facts.totals();
        Status {
            server: self.config.server,
            farm_size: self.config.farm.size,
            members: self.members.show(self.now, self.steady),
            applied: self.applied.vector().clone(),
            end: self.end(),
            sessions: totals.live,
            partial: totals.partial,
            tombstones: totals.tombstones,
            bytes: self.facts.array().total_bytes(),
            own: self.usage(self.config.server),
            waiting: self.waiting() as u64,
            joining: self.members.joining(),
            progress: self.progress(),
            isolated: self.isolated(),
            skewed: self.members.self_skewed(),
            leaving: self.leaving.is_some(),
            counters: self.counters,
        }
    }

    /// What request threads need to serve reads without the engine.
    pub fn view(&self) -> View {
        View {
            applied: self.applied.vector().clone(),
            stable: self.stable(),
            serving: !self.members.joining()
                && !self.members.self_skewed()
                && self.leaving.is_none()
                && !self.stopped,
            hears_majority_until: self.hears_majority_until(),
            refuses_when_isolated: self.config.farm.when_isolated == WhenIsolated::Refuse,
        }
    }

    /// Changes whenever [`Engine::view`] may give something else than before.
    pub const fn view_generation(&self) -> u64 {
        self.view_generation
    }

    /// The end of this server's own stream.
    pub(crate) const fn end(&self) -> Stamp {
        self.applied.end()
    }

    pub(crate) const fn view_changed(&mut self) {
        self.view_generation += 1;
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.outbox.actions.push_back(action);
    }

    pub(crate) fn send(&mut self, to: ServerId, command: Command) {
        self.act(Action::Publish { to: To::One(to), command });
    }

    pub(crate) fn respond(&mut self, id: RequestId, mut outcome: Result<Response, RequestError>) {
        self.drop_context(&mut outcome);
        if matches!(outcome, Err(RequestError::Limit(_))) {
            self.counters.limited += 1;
        }
        self.act(Action::Respond { id, outcome });
    }
}
