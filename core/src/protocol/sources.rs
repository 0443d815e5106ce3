//! Sources: the servers that can be reached, and what they have, by their last heartbeats.
//!
//! What they have *together* is asked for at every heartbeat. It is kept, or that question would
//! cost a walk through the vectors of all of them: most of the time of a large farm.

use crate::applied::Applied;
use crate::id::ServerId;
use crate::kept::Kept;
use crate::member::State;
use crate::protocol::membership::{Members, Peer};
use crate::stamp::Stamp;
use crate::vector::Vector;

/// What a peer has, by its last heartbeat. It changes in this file only.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    applied: Vector,
    /// Whether it is a part of what the sources have together, as kept.
    joined: Kept<bool>,
    /// Its entry for this server: how far it has acknowledged this server's stream.
    acks: Stamp,
    /// Whether all of it was applied here when it was said: then it is, as long as no entry was dropped here. How
    /// often that had happened by then.
    covered: Kept<Option<u64>>,
}

/// How what a heartbeat says of its sender's streams compares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compared {
    /// It is what the sender said last.
    same: bool,
    /// How far it acknowledges this server's stream.
    pub(super) acks: Stamp,
    /// All of it is applied here.
    pub(super) covered: bool,
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

impl Together {
    /// Notes what a peer has; it takes that out of the heartbeat that says so, and leaves the memory of the one before.
    pub(super) fn take_told(
        &mut self,
        told: &mut Told,
        says: &mut Vector,
        applied: &Applied,
        compared: Compared,
    ) {
        *told.covered = compared.covered.then_some(applied.dropped());
        if compared.same {
            return;
        }
        if *told.joined && says.covers(&told.applied) {
            self.vector.join(says);
        } else if *told.joined {
            // It dropped the entries of writers of long ago.
            self.of = None;
        }
        core::mem::swap(&mut told.applied, says);
        told.acks = compared.acks;
    }
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
                *peer.told.joined = peer.is_source();
                if *peer.told.joined {
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
        let joined = self.peers.values().filter(|peer| *peer.told.joined).count();
        self.together.of == Some(joined)
            && self.peers.values().all(|peer| *peer.told.joined == peer.is_source())
    }

    /// Compares what a peer says that it has with what it said last, and with what is applied here. Mostly it
    /// repeats itself, and then nothing else need be looked at.
    pub(super) fn compare(&self, server: ServerId, says: &Vector, applied: &Applied) -> Compared {
        let told = self.peer(server.number()).filter(|peer| peer.server == server);
        let told = told.map(|peer| &peer.told).filter(|told| told.applied == *says);
        let same = told.is_some();
        let acks = told.map_or_else(|| says.get(applied.own()), |told| told.acks);
        let covered = told.is_some_and(|told| *told.covered == Some(applied.dropped()));
        Compared { same, acks, covered: covered || applied.covers(says) }
    }

    pub(crate) fn check_together(&self, applied: &Applied) {
        for told in self.peers.values().map(|peer| &peer.told) {
            assert_eq!(told.acks, told.applied.get(applied.own()), "what a peer acknowledged");
            let covered = *told.covered == Some(applied.dropped());
            assert!(!covered || applied.covers(&told.applied), "what a peer told is applied here");
        }
        if self.together_is_fresh() {
            let mut together = Vector::default();
            self.sources().for_each(|(_, applied, _)| together.join(applied));
            assert_eq!(self.together.vector, together, "what the sources have together");
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::*;
    use crate::engine::Engine;
    use crate::protocol::testing::{farm, run};

    impl Members {
        /// Forgets all that is [`Kept`].
        fn forget_kept(&mut self) {
            self.states_changed();
            *self.heard_since = false;
            *self.together = Together::default();
            for peer in self.peers.values_mut() {
                (*peer.told.joined, *peer.told.covered) = (false, None);
            }
        }
    }

    fn shown(engines: &[Engine]) -> String {
        format!("{:?}", engines.iter().map(Engine::behaviour).collect::<Vec<_>>())
    }

    #[test]
    fn an_engine_that_has_forgotten_what_it_keeps_is_the_same_text_and_does_the_same() {
        let mut engines = farm();
        for engine in &mut engines {
            engine.members.together();
            engine.members.linked_unheard();
        }
        let (before, mut forgetful) = (shown(&engines), engines.clone());
        for engine in &mut forgetful {
            let known = |engine: &Engine| {
                let members = &engine.members;
                let peers = members.peers.values().all(|peer| peer.told.covered.is_some());
                (members.together_is_fresh(), peers, members.first_silence.is_some())
            };
            assert_eq!(known(engine), (true, true, true), "there is something to forget");
            engine.members.forget_kept();
            assert_eq!(known(engine), (false, false, false));
        }
        assert_eq!(shown(&forgetful), before, "what is kept is not shown");
        assert_eq!(run(&mut forgetful, 41, 40), run(&mut engines, 41, 40));
        assert_eq!(shown(&forgetful), shown(&engines));
        forgetful.iter().for_each(Engine::check_invariants);
    }
}
