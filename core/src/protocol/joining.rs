//! Joining: when a server has everything it needs to count as a full member (section 5 of the
//! protocol page).

use crate::action::{Action, Notice};
use crate::engine::Engine;
use crate::member::State;
use crate::rare::{Mark, Point};

impl Engine {
    /// Joining ends when each configured number has been caught up with since it counts this
    /// process, or was silent so long that it acts on nothing of a predecessor; or, when the whole
    /// farm starts cold, after `cold_start_after`.
    pub(crate) fn check_joined(&mut self) {
        if !self.members.joining || self.rare.force(Point::JoinedLate) {
            return;
        }
        let farm = &self.config.farm;
        let waited = self.steady.since(self.members.started);
        let silent_end = farm.down_after + farm.margin();
        let (mut level, mut silent, mut all_joining) = (0, 0, true);
        for peer in self.members.peers.values() {
            let target = peer.named_me_at.as_ref();
            if peer.state == State::Left
                || target.is_some_and(|target| self.covered(&self.applied, target))
            {
                level += 1;
            } else if !peer.introduced || self.steady.since(peer.heard) >= silent_end {
                silent += 1;
            }
            all_joining &= peer.joining || !peer.introduced;
        }
        silent += self.members.size - 1 - self.members.peers.len();
        let cold = all_joining
            && level + 1 >= usize::from(farm.majority())
            && waited >= self.config.local.cold_start_after;
        let enough = silent == 0 || waited >= silent_end || cold;
        if level + silent + 1 >= self.members.size && enough {
            self.members.joining = false;
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
}
