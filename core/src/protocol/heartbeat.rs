//! Heartbeats: `Heartbeat`, `HeartbeatRequest` (R71 to R73, R97 to R99). They tell who lives, how
//! far each one's stream goes and has been applied, and what the clocks say.

use crate::action::{Action, To};
use crate::applied::Applied;
use crate::command::{Command, Heartbeat};
use crate::config::Config;
use crate::engine::Engine;
use crate::id::ServerId;
use crate::protocol::clocks::ahead;
use crate::protocol::membership::{CLOCK_READINGS, Members};
use crate::protocol::sources::Compared;
use crate::rare::{Mark, Point};
use crate::stamp::{Stamp, Timestamp};
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
            applied: self.applied.vector().clone(),
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
    pub(crate) fn on_heartbeat(&mut self, from: ServerId, heartbeat: &mut Heartbeat) {
        let streams = self.members.compare(from, &heartbeat.applied, &self.applied);
        // Mostly both count the same ones.
        let same = ServerId::are_same(&heartbeat.members, self.members.newest());
        let others: &[ServerId] = if same { &[] } else { &heartbeat.members };
        if self.is_superseded(others, streams.acks) {
            return;
        }
        let applied = self.applied.get(from);
        let missing = self.missing_of(from, heartbeat, streams.covered && heartbeat.end <= applied);
        if !same {
            self.hear_of_members(others);
        }
        self.hear_of_links(&heartbeat.linked);
        self.on_gone_said(from, heartbeat);
        let partial = heartbeat.partial;
        if heartbeat.clock > self.now + self.config.farm.max_drift {
            self.skewed(from, Stamp::at(heartbeat.clock));
        }
        let time = (self.now, self.passed);
        let off = self.members.self_skewed();
        self.members.on_heartbeat(
            from,
            heartbeat,
            (&self.applied, applied, streams),
            time,
            &self.config,
        );
        self.rare.mark_if(!off && self.members.self_skewed(), Mark::OwnClockOff);
        self.review_skewed(from);
        self.view_changed();
        if let Some(missing) = missing {
            self.notice_behind(missing);
        }
        if !partial {
            self.on_ack(from, streams.acks, Mark::AckedByHeartbeat);
        }
        self.check_joined();
        self.review_leaving();
    }

    /// What a heartbeat's sender has and this server lacks, if it lacks anything.
    fn missing_of(&self, from: ServerId, heartbeat: &Heartbeat, covered: bool) -> Option<Vector> {
        if covered {
            return None;
        }
        let mut missing = heartbeat.applied.clone();
        missing.raise(from, heartbeat.end);
        missing.retain(|server, stamp| {
            !self.covered_entry(&self.applied, server, stamp) && !self.is_forgotten(server)
        });
        Some(missing).filter(|missing| !missing.is_empty())
    }
}

impl Members {
    /// Takes a heartbeat in. The sender is admitted already, and its streams are compared with what is applied
    /// here.
    fn on_heartbeat(
        &mut self,
        from: ServerId,
        heartbeat: &mut Heartbeat,
        (all, applied, streams): (&Applied, Stamp, Compared),
        (now, passed): (Timestamp, Timestamp),
        config: &Config,
    ) {
        let (number, place) = (from.number(), self.place(from.number()));
        let peer = self.peers.get_near_mut(place, &number);
        let Some(peer) = peer.filter(|peer| peer.server == from) else { return };
        if peer.end <= applied {
            peer.covered_until = peer.covered_until.max(peer.clock);
        }
        if !peer.introduced {
            peer.introduced = true;
            self.links.members_changed();
        }
        peer.joining = heartbeat.joining;
        peer.copies = heartbeat.copies;
        peer.end = peer.end.max(heartbeat.end);
        if self.joining {
            peer.note_named(heartbeat, config.server);
        }
        peer.offsets.copy_within(1.., 0);
        peer.offsets[CLOCK_READINGS - 1] = ahead(heartbeat.clock, now);
        let offset = peer.offsets.into_iter().max();
        let before = core::mem::replace(&mut peer.clock_offset, offset);
        let later = heartbeat.clock >= peer.clock;
        if later {
            // Of two heartbeats that overtook each other, the later one says it all.
            (peer.clock, peer.clock_read) = (heartbeat.clock, passed);
        }
        self.clocks.moved(before, offset, config.farm.max_drift);
        self.clocks.count_anew(peer);
        if later {
            self.together.take_told(&mut peer.told, &mut heartbeat.applied, all, streams);
        }
        self.judge_own_clock(&config.farm);
        self.note_time(now, passed, &config.farm);
    }
}
