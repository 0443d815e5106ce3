//! Links, and what they mean for contexts: what is written goes over a link as soon as it is up, whether
//! or not anybody has heard the process at its other end (section 8 of the protocol page;
//! `docs/decisions/0006-processes-count-by-hearsay.md`).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::engine::Engine;
use crate::id::ServerId;
use crate::member::State;
use crate::protocol::membership::{Members, Peer};
use crate::sorted::SortedMap;
use crate::vector::Vector;

/// The processes that links lead to, whether they count or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    /// This server's. Two of one number where the end of the predecessor's link is told after its
    /// successor's came up.
    own: BTreeSet<ServerId>,
    /// Per number, the newest that another server has a link to, or was told of.
    told: SortedMap<u16, ServerId>,
}

impl Links {
    /// Notes that a link to this process came up, or went down, in a farm of so many.
    pub(super) fn note(&mut self, server: ServerId, up: bool, size: usize) {
        if !up {
            self.own.remove(&server);
        } else if self.own.len() < 2 * size {
            self.own.insert(server);
            // Whose links' ends were never told fills no room that others need.
            let number = server.number();
            let mut same = self.own.iter().filter(|linked| linked.number() == number);
            if let (Some(&first), Some(&second), Some(_)) = (same.next(), same.next(), same.next())
            {
                self.own.remove(if first == server { &second } else { &first });
            }
        }
    }

    /// The newest process of a number that others had a link to: unlike a link of one's own, which ends
    /// with its process, their word stays.
    pub(super) fn told(&self, number: u16) -> Option<ServerId> {
        self.told.get(&number).copied()
    }

    pub(super) fn lead_to(&self, server: ServerId) -> bool {
        self.own.contains(&server)
    }
}

impl Members {
    /// The processes that a link leads to, here or elsewhere, and that do not count here: they are newer
    /// than their number's, and nobody has told of having heard them. One that died unheard stays until
    /// its number is heard again, as a number does that is down.
    fn unheard(&self) -> impl Iterator<Item = ServerId> + '_ {
        let all_known = self.peers.len() + 1 >= self.size;
        let unheard = move |server: &ServerId| match self.peers.get(&server.number()) {
            Some(counted) => counted.server < *server,
            // If all are known, it is no number of this farm.
            None => !all_known,
        };
        let all = self.links.own.iter().chain(self.links.told.values());
        all.copied().filter(unheard)
    }

    /// The same, each once, to be told on.
    pub(super) fn linked_unheard(&self) -> Vec<ServerId> {
        let mut unheard: Vec<ServerId> = self.unheard().collect();
        unheard.sort_unstable();
        unheard.dedup();
        unheard
    }
}

impl Engine {
    /// Takes in to whom another server has links, and whom it has not heard.
    pub(crate) fn hear_of_links(&mut self, linked: &[ServerId]) {
        let room = self.members.size;
        let told = &mut self.members.links.told;
        for &server in linked {
            let number = server.number();
            let known = told.get(&number);
            let newer = known.map_or(told.len() < room, |&known| known < server);
            if newer && number != self.config.server.number() {
                told.insert(number, server);
                self.view_generation += 1;
            }
        }
    }

    /// Context that need not be carried: what every configured server has, by the latest heartbeat
    /// of its newest process. Empty if one is not alive, or a link leads to a process that does not
    /// count: it may have been there for long, behind a partition, and is fed from now on.
    pub(crate) fn stable(&self) -> Vector {
        let peers = || self.members.peers.values().filter(|peer| peer.state != State::Left);
        let alive = |peer: &Peer| peer.introduced && peer.state == State::Alive;
        let all_heard = self.members.unheard().next().is_none();
        if peers().count() < self.members.expected() || !peers().all(alive) || !all_heard {
            return Vector::default();
        }
        let mut everywhere = self.applied.clone();
        peers().for_each(|peer| everywhere.meet(peer.told.applied()));
        everywhere
    }
}
