//! Sources: the servers that can be reached, and what they have, by their last heartbeats.
//!
//! What they have *together* is asked for at every heartbeat. It is kept, or that question would
//! cost a walk through the vectors of all of them: most of the time of a large farm.

use crate::id::ServerId;
use crate::member::State;
use crate::protocol::membership::{Members, Peer};
use crate::stamp::Stamp;
use crate::vector::Vector;

/// What a peer has, by its last heartbeat. It changes in this file only.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    applied: Vector,
    /// Whether it is a part of what the sources have together.
    joined: bool,
}

impl Told {
    pub(super) const fn applied(&self) -> &Vector {
        &self.applied
    }
}

/// What all sources have together.
#[derive(Clone, Debug, Default)]
pub(super) struct Together {
    vector: Vector,
    /// Of how many peers it is made; `None` if it must be made anew.
    of: Option<usize>,
}

impl Peer {
    fn is_source(&self) -> bool {
        self.reachable && matches!(self.state, State::Alive | State::Suspect | State::Skewed)
    }
}

impl Members {
    /// What each server that can be reached has, by its last heartbeat, and the end of its stream.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (ServerId, &Vector, Stamp)> {
        let sources = self.peers.values().filter(|peer| peer.is_source());
        sources.map(|peer| (peer.server, &peer.told.applied, peer.end()))
    }

    /// What the sources have together.
    pub(crate) fn together(&mut self) -> &Vector {
        if !self.together_is_fresh() {
            self.together.vector = Vector::default();
            let mut of = 0;
            for peer in self.peers.values_mut() {
                peer.told.joined = peer.is_source();
                if peer.told.joined {
                    self.together.vector.join(&peer.told.applied);
                    of += 1;
                }
            }
            self.together.of = Some(of);
        }
        &self.together.vector
    }

    /// Whether what is kept is made of the sources as they are now. A peer that was replaced since
    /// is missed: its successor is not joined, and one less is.
    fn together_is_fresh(&self) -> bool {
        let joined = self.peers.values().filter(|peer| peer.told.joined).count();
        self.together.of == Some(joined)
            && self.peers.values().all(|peer| peer.told.joined == peer.is_source())
    }

    /// Notes what a peer has.
    pub(super) fn told(&mut self, server: ServerId, applied: Vector) {
        let (number, place) = (server.number(), self.place(server.number()));
        let Some(peer) = self.peers.get_near_mut(place, &number) else { return };
        if peer.told.joined && applied.covers(&peer.told.applied) {
            self.together.vector.join(&applied);
        } else if peer.told.joined {
            // It dropped the entries of writers of long ago.
            self.together.of = None;
        }
        peer.told.applied = applied;
    }

    pub(crate) fn check_together(&self) {
        if self.together_is_fresh() {
            let mut together = Vector::default();
            self.sources().for_each(|(_, applied, _)| together.join(applied));
            assert_eq!(self.together.vector, together, "what the sources have together");
        }
    }
}
