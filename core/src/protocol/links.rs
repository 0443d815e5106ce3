//! Links, and what they mean for contexts: what is written goes over a link as soon as it is up, whether
//! or not anybody has heard the process at its other end (section 8 of the protocol page;
//! `docs/decisions/0006-processes-count-by-hearsay.md`).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::config::Farm;
use crate::engine::Engine;
use crate::id::ServerId;
use crate::kept::Kept;
use crate::member::State;
use crate::protocol::membership::{Members, Peer};
use crate::sorted::SortedMap;
use crate::stamp::Timestamp;
use crate::vector::Vector;

/// The processes that links lead to, whether they count or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    /// This server's. Two of one number where the end of the predecessor's link is told after its
    /// successor's came up.
    own: BTreeSet<ServerId>,
    /// Per number, the newest that another server has a link to, or was told of; and when that was last
    /// said, by this server's steady time.
    told: SortedMap<u16, (ServerId, Timestamp)>,
    /// What is told on, if that is known. Each heartbeat says it, and it changes with links and members only.
    unheard: Kept<Option<Vec<ServerId>>>,
}

impl Links {
    /// Notes that a link to this process came up, or went down, in a farm of so many.
    pub(super) fn note(&mut self, server: ServerId, up: bool, size: usize) {
        self.members_changed();
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

    /// Others count, or live, than did.
    pub(super) fn members_changed(&mut self) {
        *self.unheard = None;
    }

    pub(super) fn lead_to(&self, server: ServerId) -> bool {
        self.own.contains(&server)
    }
}

impl Members {
    /// Whether a process does not count here: it is newer than its number's, and nobody has told of having
    /// heard it.
    fn is_uncounted(&self, server: ServerId) -> bool {
        match self.peer(server.number()) {
            Some(counted) => counted.server < server,
            // If all are known, it is no number of this farm.
            None => self.peers.len() + 1 < self.size,
        }
    }

    /// Whether an older process of this number lives: of which another one was told that has a link, which is
    /// then only starting, and may give up, or has died unheard, by a clock that was ahead.
    fn lives_older(&self, server: ServerId) -> Option<&Peer> {
        let counted = self.peer(server.number());
        counted.filter(|peer| peer.is_alive())
    }

    /// The processes that a link leads to, here or elsewhere, and that do not count here. Others' word stays
    /// until the number is heard again, as a number does that is down; by an older process, if nobody has
    /// repeated it for longer than a starting process waits.
    fn unheard(&self, steady: Timestamp, farm: &Farm) -> impl Iterator<Item = ServerId> + '_ {
        let waits = farm.in_use_for();
        let told = self.links.told.values().filter(move |&&(server, at)| {
            let older = self.lives_older(server);
            !older.is_some_and(|peer| peer.heard > at && steady.since(at) > waits)
        });
        let all = self.links.own.iter().chain(told.map(|(server, _)| server));
        all.copied().filter(|&server| self.is_uncounted(server))
    }

    /// What is told on, each once: its own links; and what it was told, of numbers that it does not hear itself,
    /// for two who hear them would tell each other for ever.
    pub(super) fn linked_unheard(&mut self) -> Vec<ServerId> {
        if self.links.unheard.is_none() {
            *self.links.unheard = Some(self.find_linked_unheard());
        }
        self.links.unheard.as_deref().unwrap_or_default().to_vec()
    }

    /// Checks that what is kept is what would be found anew.
    pub(super) fn check_links(&self) {
        if let Some(unheard) = &*self.links.unheard {
            assert_eq!(*unheard, self.find_linked_unheard(), "what is told on of links");
        }
    }

    fn find_linked_unheard(&self) -> Vec<ServerId> {
        let told = self.links.told.values().map(|&(server, _)| server);
        let told = told.filter(|&server| self.lives_older(server).is_none());
        let all = self.links.own.iter().copied().chain(told);
        let mut unheard: Vec<ServerId> = all.filter(|&server| self.is_uncounted(server)).collect();
        unheard.sort_unstable();
        unheard.dedup();
        unheard
    }
}

impl Engine {
    /// Takes in to whom another server has links, and whom it has not heard.
    pub(crate) fn hear_of_links(&mut self, linked: &[ServerId]) {
        let room = self.members.size;
        for &server in linked {
            let told = &mut self.members.links.told;
            let number = server.number();
            let known = told.get(&number);
            let news = known.map_or(told.len() < room, |&(known, _)| known <= server);
            if news && number != self.config.server.number() {
                self.view_generation += u64::from(known.is_none_or(|&(known, _)| known < server));
                told.insert(number, (server, self.steady));
                *self.members.links.unheard = None;
            }
        }
    }

    /// Context that need not be carried: what every configured server has, by the latest heartbeat
    /// of its newest process. Empty if one is not alive, or a link leads to a process that does not
    /// count: it may have been there for long, behind a partition, and is fed from now on.
    pub(crate) fn stable(&self) -> Vector {
        let peers = || self.members.peers.values().filter(|peer| peer.state != State::Left);
        let all_heard = self.members.unheard(self.steady, &self.config.farm).next().is_none();
        if peers().count() < self.members.expected() || !peers().all(Peer::is_alive) || !all_heard {
            return Vector::default();
        }
        let mut everywhere = self.applied.vector().clone();
        peers().for_each(|peer| everywhere.meet(peer.told.applied()));
        everywhere
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use crate::command::Command;
    use crate::event::Event;
    use crate::id::ServerId;
    use crate::protocol::testing::{START, at, farm, heartbeat};

    #[test]
    fn a_link_to_a_newer_process_is_not_told_on_any_more_once_the_one_that_counts_speaks() {
        let mut engines = farm();
        let process = |boot: u64| ServerId::new(3, START.plus_micros(boot * 1_000_000));
        let (older, newer) = (process(3), process(4));
        let me = engines[0].server();
        let second = engines[1].server();
        let mut told = heartbeat(&mut engines[1], at(100), me);
        (told.members, told.linked) = (Vec::from([me, second, older]), Vec::from([newer]));
        let command = Command::Heartbeat(told);
        engines[0].handle(at(100), Event::Command { from: second, command });
        assert_eq!(engines[0].members.linked_unheard(), [newer], "nobody has heard either");
        let mut first = heartbeat(&mut engines[2], at(101), me);
        first.members = Vec::from([me, second, older]);
        let command = Command::Heartbeat(first);
        engines[0].handle(at(101), Event::Command { from: older, command });
        assert_eq!(engines[0].members.linked_unheard(), []);
        engines[0].check_invariants();
    }
}
