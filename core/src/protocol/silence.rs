//! Silences: when a server that says nothing is suspected, and when it is taken for down (section 8 of the
//! protocol page).

use alloc::vec::Vec;

use crate::config::Farm;
use crate::engine::Engine;
use crate::id::ServerId;
use crate::member::State;
use crate::protocol::membership::Members;
use crate::rare::Point;
use crate::stamp::Timestamp;

impl Members {
    /// When a silence becomes too long. It is asked for after every event, and kept until a state changes. Once
    /// the peer is heard whose silence it is, it is found anew only where `matters` says that it might be what is
    /// due next: it can only have become later, and something else is mostly due before.
    pub(crate) fn next_review(
        &mut self,
        farm: &Farm,
        matters: impl FnOnce(Timestamp) -> bool,
    ) -> Option<Timestamp> {
        let known = *self.first_silence;
        if known.is_none_or(|(due, _)| *self.heard_since && matters(due)) {
            (*self.first_silence, *self.heard_since) = (self.find_first_silence(farm), false);
        }
        self.first_silence.map(|(due, _)| due)
    }

    /// The same found anew, with the number that is silent.
    pub(crate) fn find_first_silence(&self, farm: &Farm) -> Option<(Timestamp, u16)> {
        let silences = self.peers.iter().filter_map(|(&number, peer)| match peer.state {
            State::Alive | State::Skewed => Some((peer.heard + farm.suspect_after, number)),
            State::Suspect => Some((peer.heard + farm.down_after, number)),
            State::Down | State::Left => None,
        });
        silences.min()
    }

    /// A peer's state has changed, or who it is: another silence may be the first one.
    pub(super) fn states_changed(&mut self) {
        *self.first_silence = None;
        self.links.members_changed();
    }

    /// This process is heard from: its silence, if that was the first one to become too long, begins anew.
    pub(super) fn heard_again(&mut self, server: ServerId) {
        if self.first_silence.is_some_and(|(_, number)| number == server.number()) {
            *self.heard_since = true;
        }
    }
}

impl Engine {
    /// Finds silences that have become too long.
    pub(crate) fn review_members(&mut self) {
        let farm = &self.config.farm;
        let mut changed = Vec::new();
        for peer in self.members.peers.values_mut() {
            let silent = self.steady.since(peer.heard);
            let next = match peer.state {
                State::Left => State::Left,
                _ if silent >= farm.down_after => State::Down,
                _ if silent >= farm.suspect_after => State::Suspect,
                State::Skewed => State::Skewed,
                _ if self.rare.force(Point::SuspectEarly) => State::Suspect,
                _ => State::Alive,
            };
            if next != peer.state {
                peer.state = next;
                changed.push((peer.server, next));
            }
        }
        self.members.states_changed();
        for (server, state) in changed {
            self.member_changed(server, state);
            if state == State::Suspect {
                self.send(server, crate::Command::HeartbeatRequest);
            }
        }
        self.check_joined();
        self.review_waiting();
    }
}
