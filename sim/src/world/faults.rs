//! What can be done to the servers of a world: kill, start, pause, slow down, set clocks.

use std::time::Duration;

use grapevine_core::command::Write;
use grapevine_core::rare::Memory;
use grapevine_core::wire;
use grapevine_core::{Config, Engine, Event, ServerId, SessionId, Stamp, Stop, Timestamp};

use super::{Happening, Observation, World};
use crate::coins::Coins;
use crate::network::Link;
use crate::rare::{HarnessMark, Rare};
use crate::scenario::Buggify;

/// How often servers that can't connect try again.
const DIAL_EVERY: Duration = Duration::from_millis(100);

/// How long it takes until a process that could not have its number is started again.
const RESTART_AFTER: Duration = Duration::from_millis(500);

impl World {
    /// Has these rare choices forced from now on, by this seed's coin flips; an empty list forces
    /// none. What was counted before is forgotten.
    pub fn buggify(&mut self, buggify: &Buggify, seed: u64) {
        self.rare = Rare::new(buggify, seed);
        self.traffic.choices(self.rare.of_engines());
        self.instruct();
    }

    /// Forces nothing any more; what was counted stays.
    pub(crate) fn stop_buggify(&mut self) {
        self.rare.stop();
        self.traffic.calm(self.now);
        self.instruct();
    }

    fn instruct(&mut self) {
        let engines = self.nodes.iter_mut().filter_map(|node| node.engine.as_mut());
        engines.for_each(|engine| self.rare.instruct(engine));
    }

    /// Kills a server: its memory is gone.
    pub fn crash(&mut self, server: usize) {
        // A restart that was to come does not come any more.
        self.nodes[server].life += 1;
        let Some(engine) = self.nodes[server].engine.take() else { return };
        let id = engine.server();
        self.rare.died(server, &engine);
        if std::mem::take(&mut self.nodes[server].undrained) {
            self.rare.mark(HarnessMark::DiedUndrained);
        }
        if !engine.starting() {
            self.obituaries.insert(id, engine.applied().clone());
        }
        self.trace.note(self.now, server, "crash");
        for happening in std::mem::take(&mut self.nodes[server].held) {
            if let Happening::Message { link, .. } = happening {
                self.network.arrived(link);
            }
        }
        (self.nodes[server].paused, self.nodes[server].busy) = (false, self.now);
        self.observations.push(Observation::Crashed { server });
        for other in 0..self.nodes.len() {
            // Behind a cut link nobody is told that the connection broke.
            if !self.network.cut.contains(&(server, other)) {
                self.connection(other, id, false);
            }
        }
    }

    /// Whether a process of this number that is no more had applied this write.
    pub(crate) fn died_with(&self, number: u16, writer: ServerId, stamp: Stamp) -> bool {
        let its = self.obituaries.iter().filter(|(process, _)| process.number() == number);
        { its }.any(|(_, applied)| applied.covers_entry(writer, stamp))
    }

    /// Starts a server that is down, empty, as a new process that was booted when its clock says.
    pub fn start(&mut self, server: usize) {
        self.nodes[server].latest = Timestamp::ZERO;
        let boot = Timestamp::from_millis(self.clock(server).as_millis());
        self.start_as(server, self.unused(server, boot));
    }

    /// This boot, or the first after it that no process of this server had. A clock that went back may
    /// show any time again, and the farm may have forgotten a process whose boot was counted on from
    /// another's; but not the very millisecond of another start, which nobody could tell apart that has
    /// not heard of it.
    fn unused(&self, server: usize, mut boot: Timestamp) -> Timestamp {
        while self.nodes[server].boots.contains(&boot) {
            boot = boot + Duration::from_millis(1);
        }
        boot
    }

    /// Starts a server that is down, empty, as a new process with this boot.
    pub fn start_as(&mut self, server: usize, boot: Timestamp) {
        assert!(self.nodes[server].engine.is_none(), "the server runs");
        let node = &mut self.nodes[server];
        node.shown = super::local::Shown::default();
        node.latest = Timestamp::ZERO;
        node.heard.fill(Timestamp::ZERO);
        node.linked.clear();
        node.life += 1;
        node.since = self.now;
        self.older_boot |= node.boots.last().is_some_and(|&before| boot < before);
        node.boots.insert(boot);
        self.network.connects_anew(server);
        let node = &self.nodes[server];
        let life = node.life;
        let now = self.clock(server);
        let id = ServerId::new(server as u16 + 1, boot);
        let mut config = Config::new(id, self.farm.clone());
        config.local = self.local.clone();
        let mut seed = [0; 32];
        let mut coins = Coins::about(self.seed, [server as u64, server as u64, life]);
        seed.as_chunks_mut::<8>().0.iter_mut().for_each(|word| *word = coins.next().to_le_bytes());
        let mut engine = Engine::new(config, seed, now).expect("a valid configuration");
        self.rare.instruct(&mut engine);
        self.trace.note(self.now, server, "start");
        let node = &mut self.nodes[server];
        (node.engine, node.paused, node.timer, node.busy) =
            (Some(Box::new(engine)), false, None, self.now);
        for other in 0..self.nodes.len() {
            if let Some(peer) = self.nodes[other].engine.as_deref().map(Engine::server)
                && other != server
            {
                self.dial(server, life, peer);
            }
        }
        self.handle(server, Event::Timer);
    }

    /// Ends a process that can't have its number, and has it started again as whoever runs it would.
    pub(super) fn stop_process(&mut self, server: usize) {
        let Some(stop) = self.nodes[server].stop.take() else { return };
        self.crash(server);
        if let Stop::Known { newest } = stop {
            let boot = self.unused(server, newest.next_boot().boot());
            return self.start_as(server, boot);
        }
        let life = self.nodes[server].life;
        self.schedule(self.now + RESTART_AFTER, Happening::Restart { server, life });
    }

    pub(super) fn restart(&mut self, server: usize, life: u64) {
        if self.nodes[server].life == life && !self.is_up(server) {
            self.start(server);
        }
    }

    /// Connects a process to a peer, if both still run; again and again while the network lets
    /// nothing through between them.
    pub(super) fn dial(&mut self, server: usize, life: u64, peer: ServerId) {
        let other = usize::from(peer.number()) - 1;
        let runs = |server: usize| self.running(server).map(Engine::server);
        let Some(id) = runs(server).filter(|_| self.nodes[server].life == life) else { return };
        if runs(other) != Some(peer) {
            return;
        }
        if [(server, other), (other, server)].iter().any(|link| self.network.cut.contains(link)) {
            return self.schedule(self.now + DIAL_EVERY, Happening::Dial { server, life, peer });
        }
        self.connection(server, peer, true);
        self.connection(other, id, true);
    }

    fn connection(&mut self, server: usize, peer: ServerId, up: bool) {
        let life = self.nodes[server].life;
        self.happen(Happening::Connection { server, life, peer, up });
    }

    /// Tells a server that a connection came up, or ended.
    pub(super) fn connected(&mut self, server: usize, peer: ServerId, up: bool) {
        self.nodes[server].linked.note(peer, up);
        if !up {
            return self.handle(server, Event::PeerDown(peer));
        }
        self.handle(server, Event::PeerUp(peer));
        // Who died in the very moment of connecting has ended what had not begun yet: that end was told first.
        if self.running(usize::from(peer.number()) - 1).map(Engine::server) != Some(peer) {
            self.connected(server, peer, false);
        }
    }

    /// Damages a server's memory: one copy of those that can be damaged so, chosen by `pick`. No
    /// vector says so. Returns the session, if there was one.
    pub fn damage(&mut self, server: usize, what: Memory, pick: u32) -> Option<SessionId> {
        let engine = self.nodes[server].engine.as_mut()?;
        let id = engine.damage(what, pick as usize)?;
        self.damaged.insert((id.address, id.created));
        self.trace.note(self.now, server, "damage");
        self.rare.mark(HarnessMark::MemoryDamaged);
        Some(id)
    }

    /// Notes writes. A session that takes the place of a damaged one has its contents.
    pub(super) fn wrote(&mut self, by: ServerId, writes: Vec<Write>) {
        for session in writes.iter().map(Write::session) {
            let old =
                session.fixed.replaces.map(|replaces| (replaces.id.address, replaces.id.created));
            if old.is_some_and(|old| self.damaged.contains(&old)) {
                self.damaged.insert((session.id.address, session.id.created));
            }
        }
        self.observations.extend(writes.into_iter().map(|write| Observation::Wrote { by, write }));
    }

    /// Sets how far a server's clock is ahead of the world's (behind, if negative). For a server
    /// time never goes back: it stands until the world has caught up.
    pub fn skew(&mut self, server: usize, micros: i64) {
        if self.nodes[server].skew != micros {
            self.trace.note(self.now, server, "clock");
        }
        self.nodes[server].skew = micros;
    }

    /// How far a server's clock is ahead of the world's, in microseconds.
    pub fn skew_of(&self, server: usize) -> i64 {
        let now = self.clock(server).as_micros() as i64;
        now - self.now.as_micros() as i64
    }

    /// Sets how fast a server's clock runs beyond one, in parts per million.
    pub fn drift(&mut self, server: usize, ppm: i64) {
        let ahead = self.skew_of(server);
        let node = &mut self.nodes[server];
        (node.skew, node.drift) = (ahead, (ppm, self.now));
    }

    /// Sets what each event costs a server.
    pub fn slow(&mut self, server: usize, cost: Duration) {
        self.nodes[server].cost = cost;
    }

    /// Whether every event takes a server some time.
    pub(crate) fn is_slow(&self, server: usize) -> bool {
        !self.nodes[server].cost.is_zero()
    }

    /// Stops a server from running; what comes for it waits.
    pub fn pause(&mut self, server: usize) {
        if !self.is_up(server) {
            return;
        }
        self.trace.note(self.now, server, "pause");
        self.nodes[server].paused = true;
    }

    /// Lets a paused server run again: everything at once.
    pub fn resume(&mut self, server: usize) {
        self.trace.note(self.now, server, "resume");
        self.nodes[server].paused = false;
        let held = std::mem::take(&mut self.nodes[server].held);
        if held.len() > 1 {
            self.rare.mark(HarnessMark::PausedServerCaughtUp);
        }
        for happening in held {
            self.schedule(self.now, happening);
        }
    }

    /// Lets a clogged link flow again: everything that waited leaves now.
    pub fn unclog(&mut self, link: Link) {
        self.network.clogged.remove(&link);
        for (from, life, sent) in self.clogged.remove(&link).unwrap_or_default() {
            self.rare.mark(HarnessMark::CloggedLinkFlushed);
            let due = self.network.go_on(link, self.now);
            if self.trace.recording()
                && let Ok(command) = wire::decode(sent.bytes(), &self.farm)
            {
                self.trace.sent(self.now, due, link, &command, false);
            }
            let flipped = false;
            self.schedule(due, Happening::Message { from, link, life, sent, flipped });
        }
    }
}
