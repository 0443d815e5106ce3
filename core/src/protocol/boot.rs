//! Boot numbers: which process a number is (section 2 of the protocol page): `Starting`, `Known`.
//!
//! A process's boot is the time that its clock showed at its start. A clock can go back between two
//! starts, and two processes can be started with one number. So before a process says or writes
//! anything, it asks what is known of its number. Until it knows, nobody counts it, its requests
//! wait, and it takes nothing in: if its predecessor had the same boot, what the others have of that
//! one would seem to be its own.

use alloc::collections::{BTreeSet, VecDeque};
use core::time::Duration;

use crate::action::{Action, Stop, To};
use crate::command::{Command, Heartbeat};
use crate::config::{Config, Farm};
use crate::engine::Engine;
use crate::error::{RequestError, Unavailable};
use crate::event::{Event, Request, RequestId};
use crate::id::ServerId;
use crate::member::State;
use crate::rare::{Mark, Point};
use crate::stamp::{Stamp, Timestamp};

/// How often a starting process asks within its `start_wait`.
const ASKED: u32 = 4;

/// What keeps a process from being its number's newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InTheWay {
    /// This process of the number is known, and not older: nobody would listen to the new one. It
    /// takes the next boot ([`ServerId::next_boot`]).
    Later(ServerId),
    /// This older process of the number lives.
    Alive(ServerId),
}

/// The rule for who may be a number's process: a new one must be newer than any that is known, and
/// none may live. `newest` is the newest that is known, `alive` whether any but the new one lives.
///
/// # Errors
/// [`InTheWay`] says what has to be done about it.
pub fn may_start(new: ServerId, newest: Option<ServerId>, alive: bool) -> Result<(), InTheWay> {
    match newest {
        Some(newest) if newest >= new => Err(InTheWay::Later(newest)),
        Some(newest) if alive => Err(InTheWay::Alive(newest)),
        _ => Ok(()),
    }
}

impl Farm {
    /// How long a process goes on starting while others say that its number is in use: longer than a
    /// dead process can be taken for a living one.
    pub fn in_use_for(&self) -> Duration {
        self.down_after + self.heartbeat_every * 2
    }
}

/// A process that has not started yet.
#[derive(Clone, Debug)]
pub(crate) struct Starting {
    since: Timestamp,
    ask_at: Timestamp,
    /// Who can be reached.
    links: BTreeSet<ServerId>,
    /// Numbers that have nothing against it.
    free: BTreeSet<u16>,
    /// The older process of its number that somebody says is alive, and when that was said last.
    in_use: Option<(ServerId, Timestamp)>,
    /// The most processes of its number that somebody remembers.
    places: u32,
    held: VecDeque<(Timestamp, RequestId, Request)>,
}

impl Starting {
    /// A process that asks first; `None` where there is nobody to ask.
    pub(crate) fn new(config: &Config, now: Timestamp) -> Option<Self> {
        let asks = config.farm.size > 1 && !config.local.start_wait.is_zero();
        asks.then(|| Self {
            since: now,
            ask_at: now,
            links: BTreeSet::new(),
            free: BTreeSet::new(),
            in_use: None,
            places: 0,
            held: VecDeque::new(),
        })
    }

    pub(crate) fn next_review(&self) -> Timestamp {
        self.ask_at
    }

    pub(crate) fn waiting(&self) -> usize {
        self.held.len()
    }
}

// The starting process's half.
impl Engine {
    /// Whether this process still asks what is known of its number. It serves nothing until then:
    /// requests wait.
    pub const fn starting(&self) -> bool {
        self.starting.is_some()
    }

    /// Whether this process has ended itself ([`Action::Stop`]): it answers and says nothing any more.
    pub const fn stopped(&self) -> bool {
        self.stopped
    }

    /// What happens to a process that starts.
    pub(crate) fn while_starting(&mut self, event: Event) {
        let Some(starting) = &mut self.starting else { return };
        match event {
            Event::Request { id, request } => {
                let most = self.config.local.pending_requests;
                if starting.held.len() >= most as usize {
                    let why = Unavailable::TooManyWaiting(most);
                    self.counters.requests += 1;
                    return self.respond(id, Err(RequestError::Unavailable(why)));
                }
                let until = self.now + self.config.local.query_timeout;
                starting.held.push_back((until, id, request));
            }
            Event::PeerUp(server) => {
                if starting.links.len() < 2 * usize::from(self.config.farm.size) {
                    starting.links.insert(server);
                }
                self.send(server, Command::Starting);
            }
            Event::PeerDown(server) => {
                starting.links.remove(&server);
            }
            Event::Command { from, command: Command::Known { newest, alive, places } } => {
                starting.places = starting.places.max(places);
                self.on_known(from, newest, alive);
            }
            Event::Command { from, command: Command::Starting } => self.on_starting(from),
            Event::Command { command: Command::Heartbeat(heartbeat), .. } => {
                self.hear_of_number(&heartbeat);
            }
            Event::Command { .. } | Event::Timer => {}
        }
    }

    /// Hears what another server knows of this number. Once this process has started it is too late.
    fn on_known(&mut self, from: ServerId, newest: ServerId, alive: bool) {
        let me = self.config.server;
        let newest = Some(newest).filter(|newest| newest.number() == me.number());
        let Some(starting) = &mut self.starting else { return };
        match may_start(me, newest, alive) {
            Err(InTheWay::Later(newest)) => self.is_known_later(newest),
            Err(InTheWay::Alive(holder)) => {
                self.rare.mark(Mark::NumberInUse);
                starting.in_use = Some((holder, self.steady));
                starting.free.remove(&from.number());
            }
            Ok(()) => {
                starting.free.insert(from.number());
                let all = starting.free.len() + 1 >= usize::from(self.config.farm.size);
                if all {
                    self.start();
                }
            }
        }
    }

    /// A heartbeat of one that counts, or has writes of, a process of this number that is not older. Who says so may
    /// get no question: then it is never `Known`, and this process would start, only to be superseded by
    /// the next heartbeat, and so would the next one. That nobody knows of any is not said by a heartbeat,
    /// nor whether the one that it names lives.
    fn hear_of_number(&mut self, heartbeat: &Heartbeat) {
        let me = self.config.server;
        let wrote = heartbeat.applied.iter().map(|(server, _)| server);
        let named = heartbeat.members.iter().copied().chain(wrote);
        let newest = named.filter(|server| server.number() == me.number()).max();
        if let Err(InTheWay::Later(newest)) = may_start(me, newest, false) {
            self.is_known_later(newest);
        }
    }

    fn is_known_later(&mut self, newest: ServerId) {
        self.rare.mark(Mark::BootKnownLater);
        self.stop(Stop::Known { newest });
    }

    /// Asks again, or goes on without those that don't answer.
    pub(crate) fn review_starting(&mut self) {
        let Some(starting) = &mut self.starting else { return };
        while let Some(&(until, id, _)) = starting.held.front()
            && until <= self.now
        {
            starting.held.pop_front();
            let why = Unavailable::NoAnswer(self.config.local.query_timeout);
            self.counters.requests += 1;
            let outcome = Err(RequestError::Unavailable(why));
            self.outbox.actions.push_back(Action::Respond { id, outcome });
        }
        let (waited, patience) = (self.steady.since(starting.since), self.config.local.start_wait);
        let lately = |&(_, said): &(ServerId, Timestamp)| self.steady.since(said) < patience;
        match starting.in_use.filter(lately) {
            Some((holder, _)) if waited > self.config.farm.in_use_for() => {
                return self.stop(Stop::NumberInUse { holder });
            }
            None if waited >= patience => {
                self.rare.mark(Mark::StartedUnanswered);
                return self.start();
            }
            _ => {}
        }
        starting.ask_at = self.now + patience / ASKED;
        self.act(Action::Publish { to: To::All, command: Command::Starting });
    }

    /// Its number is its own: from now on it is a server like any other.
    fn start(&mut self) {
        let Some(starting) = self.starting.take() else { return };
        self.members.started = self.steady;
        self.places_told = starting.places;
        self.view_changed();
        for server in starting.links {
            self.on_peer_up(server);
        }
        for (_, id, request) in starting.held {
            self.on_request(id, request);
        }
    }

    /// A heartbeat tells that the farm counts another process of this number, or knows more of this
    /// one's stream than it has written: then it came too late to hear so while it started, or another
    /// process was started beside it. Of two, the newer one stays.
    pub(crate) fn is_superseded(&mut self, members: &[ServerId], acked: Stamp) -> bool {
        let me = self.config.server;
        let newer = |&&server: &&ServerId| server.number() == me.number() && server > me;
        let newer = members.iter().find(newer).copied();
        let newer = newer.or((acked > self.end()).then_some(me));
        let Some(newer) = newer else { return false };
        self.rare.mark(Mark::Superseded);
        self.stop(Stop::Superseded { newer });
        true
    }

    /// Ends this process: nothing is answered any more, and nothing said.
    fn stop(&mut self, why: Stop) {
        if let Some(starting) = self.starting.take() {
            let why = Unavailable::NoAnswer(self.config.local.query_timeout);
            for (_, id, _) in starting.held {
                self.counters.requests += 1;
                self.respond(id, Err(RequestError::Unavailable(why)));
            }
        }
        self.stop_waiting();
        self.stop_leaving();
        self.stop_verifying();
        self.stopped = true;
        self.view_changed();
        self.act(Action::Stop(why));
    }
}

// The others' half.
impl Engine {
    /// Says what is known of a starting process's number. It does not count by asking: if it were
    /// counted, the next one who is asked could not tell it from a predecessor with the same boot.
    pub(crate) fn on_starting(&mut self, from: ServerId) {
        if self.rare.force(Point::StartingIgnored) {
            return;
        }
        let number = from.number();
        let newest = self.newest_known(number).unwrap_or(ServerId::ZERO);
        let alive = self.hears_number(number);
        let places = self.places_of(number) as u32;
        self.send(from, Command::Known { newest, alive, places });
    }

    /// The newest process of a number of which there is any trace here.
    fn newest_known(&self, number: u16) -> Option<ServerId> {
        let own = self.config.server;
        let own = (!self.starting()).then_some(own);
        let counted = self.members.peer(number).map(|peer| peer.server);
        let applied = self.applied.iter().map(|(server, _)| server);
        let wrote = self.facts.changes().writers();
        let all = own.into_iter().chain(counted).chain(applied).chain(wrote);
        all.filter(|server| server.number() == number).max()
    }

    /// Whether a process of this number lives, as far as this server can tell.
    fn hears_number(&self, number: u16) -> bool {
        number == self.config.server.number() && !self.starting()
            || self.members.peer(number).is_some_and(|peer| {
                peer.introduced
                    && peer.reachable
                    && peer.state != State::Left
                    && self.steady.since(peer.heard) < self.config.farm.down_after
            })
    }
}
