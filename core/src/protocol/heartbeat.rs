//! Heartbeats: `Heartbeat`, `HeartbeatRequest` (R71 to R73, R97 to R99). They tell who lives, how
//! far each one's stream goes and has been applied, and what the clocks say.

use crate::action::{Action, To};
use crate::command::{Command, Heartbeat};
use crate::engine::Engine;
use crate::id::ServerId;
use crate::rare::{Mark, Point};
use crate::stamp::Stamp;
use crate::vector::Vector;

// The sender's half.
impl Engine {
    /// Sends everybody a heartbeat, and asks the silent ones for theirs.
    pub(crate) fn send_heartbeats(&mut self) {
        self.members.heartbeat_sent(self.now, &self.config.farm);
        self.forget_expired_writers();
        if !self.rare.force(Point::HeartbeatSkipped) {
            let command = Command::Heartbeat(self.heartbeat());
            if self.rare.force(Point::HeartbeatRepeated) {
                self.act(Action::Publish { to: To::All, command: command.clone() });
            }
            self.act(Action::Publish { to: To::All, command });
        }
        if self.rare.force(Point::HeartbeatsAsked) {
            self.act(Action::Publish { to: To::All, command: Command::HeartbeatRequest });
        }
        for server in self.members.suspects() {
            self.send(server, Command::HeartbeatRequest);
        }
        self.check_joined();
    }

    fn heartbeat(&mut self) -> Heartbeat {
        self.note_gone_writers();
        let members = self.members.newest().to_vec();
        let live = |server| members.contains(&server);
        Heartbeat {
            clock: self.now,
            end: self.end(),
            applied: self.applied.clone(),
            joining: self.members.joining(),
            partial: self.facts.has_partial(live),
            left: self.members.gone_for_good(),
            published: self.all_published_again(),
            closed: self.gone.closed(),
            copies: self.facts.totals().copies(),
            linked: self.members.linked_unheard(),
            members,
        }
    }

    /// Answers at once (R73, R99).
    pub(crate) fn on_heartbeat_request(&mut self, from: ServerId) {
        if self.rare.force(Point::HeartbeatRequestIgnored) {
            return;
        }
        let heartbeat = self.heartbeat();
        self.send(from, Command::Heartbeat(heartbeat));
    }

    /// A link came up: say hello, and hear what was missed. It counts once it speaks: it may be only
    /// about to start.
    pub(crate) fn on_peer_up(&mut self, server: ServerId) {
        if server.number() != self.config.server.number() {
            self.members.reachable(server, true);
        }
        self.view_changed();
        self.on_heartbeat_request(server);
        self.send(server, Command::HeartbeatRequest);
    }

    /// A link went down. Whether the server lives, heartbeats tell.
    pub(crate) fn on_peer_down(&mut self, server: ServerId) {
        self.members.reachable(server, false);
        self.view_changed();
    }
}

// The receiver's half.
impl Engine {
    /// Takes what a server says of itself.
    pub(crate) fn on_heartbeat(&mut self, from: ServerId, heartbeat: Heartbeat) {
        if self.is_superseded(&heartbeat) {
            return;
        }
        let me = self.config.server;
        let missing = self.missing_of(from, &heartbeat);
        self.hear_of_members(&heartbeat.members);
        self.hear_of_links(&heartbeat.linked);
        self.on_gone_said(from, &heartbeat);
        let acked = heartbeat.applied.get(me);
        let partial = heartbeat.partial;
        if heartbeat.clock > self.now + self.config.farm.max_drift {
            self.skewed(from, Stamp::at(heartbeat.clock));
        }
        let time = (self.now, self.passed);
        let off = self.members.self_skewed();
        self.members.on_heartbeat(from, heartbeat, &self.applied, time, &self.config);
        self.rare.mark_if(!off && self.members.self_skewed(), Mark::OwnClockOff);
        self.review_skewed(from);
        self.view_changed();
        if !missing.is_empty() {
            self.notice_behind(missing);
        }
        if !partial {
            self.on_ack(from, acked, Mark::AckedByHeartbeat);
        }
        self.check_joined();
        self.review_leaving();
    }

    /// What a heartbeat's sender has and this server lacks.
    fn missing_of(&self, from: ServerId, heartbeat: &Heartbeat) -> Vector {
        let covered = self.applied.covers_entry(from, heartbeat.end);
        if covered && self.applied.covers(&heartbeat.applied) {
            return Vector::default();
        }
        let mut missing = heartbeat.applied.clone();
        missing.raise(from, heartbeat.end);
        missing.retain(|server, stamp| {
            !self.covered_entry(&self.applied, server, stamp) && !self.is_forgotten(server)
        });
        missing
    }
}
