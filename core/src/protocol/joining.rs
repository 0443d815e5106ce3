//! Joining: when a server has everything it needs to count as a full member, and how far it is
//! (section 5 of the protocol page).

use crate::action::{Action, Notice};
use crate::command::Heartbeat;
use crate::engine::Engine;
use crate::id::ServerId;
use crate::member::State;
use crate::protocol::membership::{Members, Peer};
use crate::rare::{Mark, Point};
use crate::status::Progress;

/// What a joining server has of another one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Everything that it had when it first named this process; or it left.
    Level,
    /// It was never heard, or not for so long that it acts on nothing of a predecessor.
    Silent,
    /// Neither yet.
    Awaited,
}

impl Peer {
    /// Notes what must be covered for joining, once this process names this server.
    pub(super) fn note_named(&mut self, heartbeat: &Heartbeat, me: ServerId) {
        if let Some(target) = &mut self.named_me_at {
            target.retain(|server, _| !heartbeat.has_forgotten(server));
        } else if heartbeat.members.contains(&me) {
            let mut target = heartbeat.applied.clone();
            target.raise(self.server, heartbeat.end);
            target.retain(|server, _| server != me);
            self.named_me_at = Some(target);
        }
    }
}

impl Members {
    /// This server has joined: what it had to cover for that is not asked for again.
    fn joined(&mut self) {
        self.joining = false;
        self.peers.values_mut().for_each(|peer| peer.named_me_at = None);
    }
}

impl Engine {
    fn standing(&self, peer: &Peer) -> Standing {
        let farm = &self.config.farm;
        let level = |target| self.covered(&self.applied, target);
        if peer.state == State::Left || peer.named_me_at.as_ref().is_some_and(level) {
            Standing::Level
        } else if !peer.introduced
            || self.steady.since(peer.heard) >= farm.down_after + farm.margin()
        {
            Standing::Silent
        } else {
            Standing::Awaited
        }
    }

    /// Joining ends when each configured number has been caught up with since it counts this
    /// process, or was silent so long that it acts on nothing of a predecessor; or, when the whole
    /// farm starts cold, after `cold_start_after`.
    #[inline]
    pub(crate) fn check_joined(&mut self) {
        if !self.members.joining || self.rare.force(Point::JoinedLate) {
            return;
        }
        self.join_if_level();
    }

    fn join_if_level(&mut self) {
        let farm = &self.config.farm;
        let waited = self.steady.since(self.members.started);
        let silent_end = farm.down_after + farm.margin();
        let (mut level, mut silent, mut all_joining) = (0, 0, true);
        for peer in self.members.peers.values() {
            match self.standing(peer) {
                Standing::Level => level += 1,
                Standing::Silent => silent += 1,
                Standing::Awaited => {}
            }
            all_joining &= peer.joining || !peer.introduced;
        }
        silent += self.members.size - 1 - self.members.peers.len();
        let cold = all_joining
            && level + 1 >= usize::from(farm.majority())
            && waited >= self.config.local.cold_start_after;
        let enough = silent == 0 || waited >= silent_end || cold;
        if level + silent + 1 >= self.members.size && enough {
            self.members.joined();
            self.rare.mark(if silent == 0 {
                Mark::JoinedByCovering
            } else if cold {
                Mark::ColdStartEndedByMajority
            } else {
                Mark::JoinedDespiteSilence
            });
            self.view_changed();
            self.act(Action::Notify(Notice::Joined));
            self.settle_lookups();
        }
    }

    /// How far joining is.
    pub(crate) fn progress(&self) -> Option<Progress> {
        if !self.members.joining {
            return None;
        }
        let peers = || self.members.peers.values();
        let standing = |standing| peers().filter(move |peer| self.standing(peer) == standing);
        let unknown = (self.members.size - 1).saturating_sub(self.members.peers.len());
        let heard = peers().filter(|peer| peer.introduced);
        Some(Progress {
            starting: self.starting(),
            waits_for: standing(Standing::Awaited).map(|peer| peer.server.number()).collect(),
            silent: (unknown + standing(Standing::Silent).count()) as u64,
            copies: self.facts.totals().copies(),
            copies_elsewhere: heard.map(Peer::copies).max(),
            sessions: self.counters.repaired,
            bytes: self.counters.repaired_bytes,
            rounds: self.counters.rounds,
            rounds_broken: self.counters.rounds_broken,
        })
    }
}
