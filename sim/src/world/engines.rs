//! What engines are given, and what they want done.

use std::rc::Rc;
use std::sync::Arc;

use grapevine_core::{
    Action, Command, Engine, Event, Life, Notice, ServerId, Session, Timestamp, To, wire,
};

use super::{ACTIONS_PER_EVENT, Happening, Observation, Sent, World};
use crate::coins::Coins;
use crate::network::{Extra, Fate, Link};
use crate::rare::{HarnessMark, HarnessPoint};

/// Where all of an engine's state is looked at now and then: at least so many events for each of its copies
/// from one look to the next, so that farms of many sessions don't spend all their time on it.
const EVENTS_PER_COPY: u64 = 4;
/// The same where it is looked at after every event: no more copies than these for each event.
const COPIES_PER_EVENT: u64 = 8;
/// Bytes that most messages stay below.
const MESSAGE_BYTES: usize = 512;
/// A millisecond, in microseconds.
const MILLISECOND: u64 = 1_000;

impl World {
    pub(super) fn receive(&mut self, from: ServerId, link: Link, sent: Rc<Sent>, flipped: bool) {
        if flipped {
            let mut sealed = sent.bytes().to_vec();
            wire::seal(&mut sealed);
            let mut bytes = sealed.clone();
            let about = [link.0 as u64, link.1 as u64, self.now.as_micros()];
            let mut coins = Coins::about(!self.seed, about);
            for _ in 0..=coins.below(3) {
                let bit = coins.below(bytes.len() as u64 * 8) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            match wire::open(&bytes) {
                Err(_) => {
                    self.refused += 1;
                    self.rare.mark(HarnessMark::DamageRefused);
                }
                Ok(_) => self.undetected += u64::from(bytes != sealed),
            }
            return;
        }
        self.messages += 1;
        self.trace.message(self.now, from, link, sent.name(), sent.digest());
        self.nodes[link.1].heard[link.0] = self.clock(link.1);
        // A process that only starts takes it whole.
        let last = self.read.take().filter(|last| matches!(**last, Event::Command { .. }));
        let mut event =
            last.unwrap_or_else(|| Box::new(Event::Command { from, command: Command::Starting }));
        if let Event::Command { from: sender, command } = &mut *event {
            *sender = from;
            Sent::read(sent, &self.farm, &mut self.free, command);
        }
        self.give(link.1, &mut event);
        self.read = Some(event);
    }

    /// Hands an event to a server, and does what it wants done.
    pub fn handle(&mut self, server: usize, mut event: Event) {
        self.give(server, &mut event);
    }

    fn give(&mut self, server: usize, event: &mut Event) {
        if self.rare.forces_around() {
            self.show_drained(server);
        }
        let shows = self.bare_clock(server);
        let node = &mut self.nodes[server];
        let now = shows.max(node.latest);
        let Some(mut engine) = node.engine.take() else { return };
        self.events += 1;
        if !node.undrained {
            (node.answered_from, node.given_at) = (now, self.now);
        }
        self.late |= node.undrained;
        self.by_command = matches!(event, Event::Command { .. });
        self.was_joining = engine.joining();
        if self.checked {
            self.traffic.heard(server, engine.server(), event);
        }
        engine.handle(now, event);
        let late = self.rare.force(HarnessPoint::DrainLate);
        let mut done = 0;
        while !late && let Some(mut action) = engine.poll_action() {
            // Most are large, and stay where they are.
            if let Action::Publish { to, command } = &mut action {
                self.publish(server, engine.server(), *to, command);
            } else {
                self.act(server, engine.server(), action);
            }
            done += 1;
            if done == ACTIONS_PER_EVENT {
                self.endless = Some(server);
                break;
            }
        }
        if !late {
            self.traffic.drained(server, engine.starting());
        }
        self.rare.see(server, &engine);
        if self.trace.recording() {
            self.trace.state(self.now, server, &engine, Some(&self.changed));
        }
        self.trace.changed(&engine, &self.changed);
        self.check(server, &engine);
        self.trace.handled(self.now, server, engine.fingerprint());
        if let Some((due, _)) = engine.poll_timeout() {
            self.wake(server, due, (shows, now), late);
        }
        let node = &mut self.nodes[server];
        node.undrained = late;
        node.latest = now;
        node.busy = if node.cost.is_zero() { self.now } else { self.now + node.cost };
        self.queue.busiest = self.queue.busiest.max(node.busy);
        node.engine = Some(engine);
        let stops = node.stop.is_some();
        if self.strict {
            self.check_claims(server);
        }
        if stops {
            self.stop_process(server);
        }
    }

    /// Has a server woken up when its engine says, at the latest; its clock shows this, and reads this.
    fn wake(
        &mut self,
        server: usize,
        due: Timestamp,
        (shows, now): (Timestamp, Timestamp),
        late: bool,
    ) {
        // A clock that was set back stands until the time that it showed has come again.
        let stands = now.as_micros() - shows.as_micros();
        if stands > 0 {
            self.rare.mark(HarnessMark::ClockStoodStill);
        }
        let mut wait = due.as_micros().saturating_sub(now.as_micros()).saturating_add(stands);
        if late || self.rare.force(HarnessPoint::TimerEarly) {
            wait = wait.min(MILLISECOND);
        } else if self.rare.force(HarnessPoint::TimerLate) {
            wait = wait.saturating_add(100 * MILLISECOND);
        }
        self.arm(server, wait);
    }

    /// Whether the server that the last event came to was joining before it: what it answered at once, it may have
    /// answered as such, though a timer that was due in the same event has ended its joining.
    pub(crate) const fn was_joining(&self) -> bool {
        self.was_joining
    }

    /// Checks what the event under way may have changed, or everything.
    pub(super) fn check(&mut self, server: usize, engine: &Engine) {
        if self.checked {
            engine.check_changed(self.changed.iter().copied());
            let node = &mut self.nodes[server];
            if node.unlooked == 0 {
                engine.check_invariants();
                let copies = crate::claims::held(engine) as u64;
                let often = self.whole_state_every == 1;
                let least =
                    if often { copies / COPIES_PER_EVENT } else { EVENTS_PER_COPY * copies };
                node.unlooked = self.whole_state_every.max(least);
            }
            node.unlooked -= 1;
        }
        self.changed.clear();
    }

    /// Looks at all of every engine's state.
    ///
    /// # Panics
    /// If anything is not as it must be.
    pub(crate) fn check_invariants(&self) {
        let engines = self.nodes.iter().filter_map(|node| node.engine.as_deref());
        engines.for_each(Engine::check_invariants);
    }

    /// Has a server woken up in so many microseconds.
    pub(super) fn arm(&mut self, server: usize, wait: u64) {
        // A timer that is due at once still takes a microsecond, or a busy server stops the world.
        let due = Timestamp::from_micros(self.now.as_micros().saturating_add(wait.max(1)));
        let timer = &mut self.nodes[server].timer;
        if timer.is_none_or(|armed| due < armed) {
            *timer = Some(due);
            self.schedule(due, Happening::Timer { server, due });
        }
    }

    pub(super) fn act(&mut self, server: usize, from: ServerId, mut action: Action) {
        match action {
            Action::Publish { to, ref mut command } => self.publish(server, from, to, command),
            Action::Respond { id, outcome } => {
                self.traffic.responded(server, &outcome);
                if self.keep_answers {
                    let twice = self.answers.insert(id, outcome.clone());
                    assert!(twice.is_none(), "a request was answered twice (G7)");
                }
                self.trace.answered(self.now, server, &outcome);
                self.observations.push(Observation::Answered { server, id, outcome });
            }
            Action::Notify(notice) => {
                self.mismatches += u64::from(matches!(notice, Notice::Mismatch { .. }));
                if let Notice::Evicted { session } = &notice {
                    self.evicted.insert((session.id.address, session.id.created));
                    self.ended -= 1;
                }
                if let Notice::Expired { session, .. } = &notice {
                    self.expired.push((from, session.id));
                }
                self.notices.push((server, notice));
            }
            Action::Stop(stop) => self.nodes[server].stop = Some(stop),
            Action::Store { address, copy, settled } => {
                self.changed.push(address);
                if self.local_reads {
                    self.nodes[server].shown.store(address, copy.as_ref(), settled);
                }
                let lives = |copy: &Arc<Session>| copy.life != Life::Deleted;
                self.ended += i64::from(!copy.as_ref().is_some_and(lives));
                if let Some(copy) = copy {
                    self.observations.push(Observation::Stored { by: from, copy });
                }
            }
        }
    }

    /// Encodes what a server sends, and hands it to the network.
    fn publish(&mut self, server: usize, from: ServerId, to: To, command: &mut Command) {
        self.has_reason(server, to, command);
        let mut bytes = self.free.pop().unwrap_or_else(|| Vec::with_capacity(MESSAGE_BYTES));
        bytes.clear();
        wire::encode(command, &mut bytes);
        assert!(bytes.len() <= self.farm.frame_bytes as usize, "too long (G8)");
        let sent = Rc::new(Sent::new(command.name(), bytes));
        match to {
            To::All => {
                for other in (0..self.nodes.len()).filter(|&other| other != server) {
                    let link = (server, other);
                    if self.nodes[other].engine.is_some() {
                        self.transmit(from, link, command, &sent);
                    } else {
                        self.trace.lost(self.now, link, command, "down");
                    }
                }
            }
            To::One(id) => {
                let link = (server, usize::from(id.number()) - 1);
                if self.running(link.1).map(Engine::server) != Some(id) {
                    // No connection leads from one process's end to its successor.
                    self.rare.mark(HarnessMark::SentToDead);
                    self.trace.lost(self.now, link, command, "gone");
                    return;
                }
                self.transmit(from, link, command, &sent);
            }
        }
        if let Command::Batch(batch) = command {
            self.wrote(from, std::mem::take(&mut batch.writes));
        }
    }

    /// Has this message judged by what its server may say now.
    fn has_reason(&mut self, server: usize, to: To, command: &Command) {
        let made = (self.nodes[server].answered_from, self.clock(server));
        let terms = (self.now, &self.farm, &self.local);
        self.traffic.sent(server, (to, command), made, terms);
    }

    /// What rare choices do to a message that is sent now.
    fn extra_delay(&mut self, link: Link) -> Extra {
        if !self.rare.forces_around() {
            return Extra::default();
        }
        let local = &self.local;
        let farm = &self.farm;
        let timeouts = [
            local.query_timeout,
            local.query_timeout / 4,
            local.round_timeout,
            local.ack_timeout,
            farm.heartbeat_every,
            farm.suspect_after,
            farm.down_after,
        ];
        let exact = self.rare.force(HarnessPoint::DelayAsTimeout);
        Extra {
            exact: exact.then(|| self.rare.pick(&timeouts)),
            burst: self.rare.force(HarnessPoint::Burst),
            queue_of_one: self.network.is_busy(link) && self.rare.force(HarnessPoint::QueueOfOne),
        }
    }

    /// Tells a server that a connection broke and came up again, where a rare choice says so.
    pub(super) fn reconnect(&mut self, server: usize) {
        // Not at a wake-up that only drains: connections don't break every millisecond.
        if self.nodes[server].undrained || !self.rare.force(HarnessPoint::Reconnect) {
            return;
        }
        let linked = |other: usize| {
            let ways = [(server, other), (other, server)];
            other != server && ways.iter().all(|way| !self.network.cut.contains(way))
        };
        let peers = self.nodes.iter().enumerate().filter(|&(other, _)| linked(other));
        let peers: Vec<ServerId> = peers
            .filter_map(|(_, node)| node.engine.as_ref())
            .map(|engine| engine.server())
            .collect();
        if !peers.is_empty() {
            let peer = self.rare.pick(&peers);
            self.handle(server, Event::PeerDown(peer));
            self.handle(server, Event::PeerUp(peer));
        }
    }

    /// Nothing goes over a connection before its sender was told that it is up.
    fn link_up(&mut self, (server, other): Link) {
        let Some(peer) = self.running(other).map(Engine::server) else { return };
        let node = &mut self.nodes[server];
        if node.linked.leads_to(peer) || self.network.cut.contains(&(server, other)) {
            return;
        }
        node.linked.note(peer, true);
        let life = node.life;
        self.schedule(self.now, Happening::Connection { server, life, peer, up: true });
    }

    pub(super) fn transmit(
        &mut self,
        from: ServerId,
        link: Link,
        command: &Command,
        sent: &Rc<Sent>,
    ) {
        self.link_up(link);
        let life = self.nodes[link.1].life;
        let extra = self.extra_delay(link);
        match self.network.send(link, self.now, extra) {
            Fate::Arrives(once, again) => {
                let mut arrives = |(due, flipped)| {
                    self.trace.sent(self.now, due, link, command, flipped);
                    let sent = Rc::clone(sent);
                    self.schedule(due, Happening::Message { from, link, life, sent, flipped });
                };
                arrives(once);
                if let Some(again) = again {
                    arrives(again);
                }
            }
            Fate::Waits => {
                self.trace.waits(self.now, link, command);
                self.clogged.entry(link).or_default().push((from, life, Rc::clone(sent)));
            }
            Fate::Lost(why) => {
                if let Command::Batch(batch) = command {
                    self.rare.dropped(link.1, batch.publisher, batch.last, why);
                }
                self.trace.lost(self.now, link, command, why);
            }
        }
    }
}
