//! The half of whoever holds sessions of writers that are gone: it publishes them again.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::WAITING;
use crate::command::Write;
use crate::engine::Engine;
use crate::event::Acks;
use crate::id::{Address, ServerId};
use crate::member::State;
use crate::protocol::membership::{Members, Peer};
use crate::protocol::repair::after_base;
use crate::rare::{Mark, Point};
use crate::session::{Attribute, Key, Life, Session};
use crate::stamp::{Stamp, Timestamp, Version};

/// Sessions published again in one go, and their bytes; about a batch.
const SESSIONS: usize = 64;
const BYTES: usize = 64 << 10;
/// Places of a list looked at in one go.
const STEPS: usize = 4096;
/// Servers wait in the order of their numbers, so that mostly one publishes what several hold. This
/// many wait for each other; the others go with the last.
const TURNS: usize = 8;

impl Members {
    /// How many servers that count fully are to publish before this one.
    fn turn(&self, me: ServerId) -> usize {
        let earlier = |peer: &&Peer| {
            peer.state == State::Alive && !peer.joining && peer.server.number() < me.number()
        };
        self.peers.values().filter(earlier).count().min(TURNS)
    }
}

impl Engine {
    /// Another server published a session again. If it has all that this one has of it, this one
    /// need not.
    pub(crate) fn on_again(&mut self, session: &Session) {
        let address = session.id.address;
        if self.gone.waiting.contains_key(&address)
            && let Some(copy) = self.facts.array().get(address)
            && (copy.id > session.id || self.remains(copy) == self.remains(session))
        {
            self.rare.mark(Mark::SessionPublishedAgainElsewhere);
            self.gone.waiting.remove(&address);
        }
    }

    /// A session came with an answer or a repair, and `before` was what lay here. If it brought
    /// anything of a writer that is gone, it is published again: by who told it, or by this server.
    pub(crate) fn on_told(&mut self, from: ServerId, address: Address, before: Option<&Session>) {
        let Some(copy) = self.facts.array().get(address) else { return };
        if before.is_some_and(|before| core::ptr::eq(before, &**copy)) {
            // It brought nothing at all.
            return;
        }
        let before = before.filter(|before| before.id == copy.id);
        let mut brought = self.beyond(copy);
        if let Some((said, _)) = self.gone.offered.get(&from.number()) {
            // What has been closed there everybody has.
            brought.retain(|&(writer, _)| !said.has_passed(writer));
        }
        if let Some(before) = before {
            brought.retain(|&(writer, _)| self.brought(before, copy, writer));
        }
        self.leave_to(from, &mut brought);
        let Some(&(writer, stamp)) = brought.first() else { return };
        self.rare.mark(Mark::ToldOfGoneWriter);
        let room = self.gone.waiting.len() < WAITING;
        if room || self.gone.waiting.contains_key(&address) {
            let writers = brought.into_iter().map(|(writer, _)| writer);
            let waiting = self.gone.waiting.entry(address).or_insert_with(|| Some(BTreeSet::new()));
            if let Some(whose) = waiting {
                whose.extend(writers);
            }
        } else {
            let last = Address { origin: ServerId::ZERO, slot: 0 };
            let place = self.gone.walks.entry(writer).or_insert((stamp, last));
            *place = (*place).min((stamp.previous(), last));
        }
        self.arm_gone();
    }

    /// The writes that a copy shows of open writers beyond the applied entries.
    fn beyond(&self, copy: &Session) -> Vec<(ServerId, Stamp)> {
        let beyond = |&(writer, stamp): &(ServerId, Stamp)| {
            !self.covered_entry(&self.applied, writer, stamp) && self.is_open(writer)
        };
        copy.seen.iter().filter(beyond).collect()
    }

    /// Whether a copy shows anything of this writer, who is gone, that the one before did not.
    fn brought(&self, before: &Session, copy: &Session, writer: ServerId) -> bool {
        let of_writer = |session: &Session| {
            let mut seen = self.beyond(session);
            seen.retain(|&(other, _)| other == writer);
            self.remains_of(session, seen)
        };
        !of_writer(before).has_all_of(&of_writer(copy))
    }

    /// All that a copy shows of writers that are gone and that no applied entry speaks of.
    fn remains(&self, copy: &Session) -> Remains {
        self.remains_of(copy, self.beyond(copy))
    }

    /// The same of some of these writers only.
    fn remains_of(&self, copy: &Session, seen: Vec<(ServerId, Stamp)>) -> Remains {
        let of_gone = |version: Version| {
            seen.iter().any(|&(writer, _)| writer == version.server)
                && !self.applied.covers_entry(version.server, version.stamp)
        };
        let shows = |attribute: &Attribute| match attribute {
            Attribute::Counter(counter) => {
                let adds = counter.subtotals.iter();
                of_gone(counter.epoch)
                    || adds.into_iter().any(|(&by, add)| of_gone(Version::new(add.stamp, by)))
            }
            _ => of_gone(attribute.version()),
        };
        let strip = |attribute: &Attribute| {
            let mut attribute = attribute.clone();
            if let Attribute::Counter(counter) = &mut attribute {
                counter.subtotals.retain(|&by, add| of_gone(Version::new(add.stamp, by)));
            }
            attribute
        };
        let attributes = copy.attributes.iter().filter(|(_, attribute)| shows(attribute));
        let created = Version::new(copy.id.created, copy.id.address.origin);
        Remains {
            life: copy.life,
            created: copy.complete && of_gone(created),
            floor: if of_gone(copy.floor) { copy.floor } else { Version::ZERO },
            attributes: attributes.map(|(key, a)| (key.clone(), strip(a))).collect(),
            seen,
        }
    }

    pub(super) fn arm_gone(&mut self) {
        if self.gone.due.is_none() && !self.gone.nothing_waits() {
            self.gone.due = Some(if self.gone.waiting.is_empty() {
                self.now + self.config.local.repair_delay
            } else {
                self.my_turn()
            });
        }
    }

    /// When to begin: somebody else may publish what is here too, and then this server need not.
    fn my_turn(&mut self) -> Timestamp {
        let late = if self.rare.force(Point::AgainLate) { 2 * TURNS } else { 0 };
        let turn = (self.members.turn(self.config.server) + late) as u32;
        self.now + self.config.local.repair_delay + self.config.farm.heartbeat_every * turn
    }

    /// Publishes a bounded part of what is to be published again.
    pub(crate) fn review_gone(&mut self) {
        if self.gone.due.is_none_or(|due| due > self.now) {
            return;
        }
        let beat = self.config.farm.heartbeat_every;
        if self.gone.nothing_waits() {
            self.gone.due = None;
            return;
        }
        if !self.may_publish_again() {
            self.gone.due = Some(self.now + beat);
            return;
        }
        if self.gone.waiting.is_empty() {
            self.walk_gone();
            self.gone.due = Some(self.my_turn());
        } else {
            self.publish_waiting();
            self.gone.due = Some(self.now + self.config.local.repair_delay);
        }
        if self.gone.nothing_waits() {
            self.gone.due = None;
        }
    }

    /// Not while repair can still bring it: what another server has applied is no hole.
    fn may_publish_again(&mut self) -> bool {
        let counts = !self.members.joining() && !self.has_left();
        counts && !self.members.self_skewed() && !self.lacks_of_gone()
    }

    /// Whether another server has applied more of a writer from whom nothing can be expected.
    fn lacks_of_gone(&mut self) -> bool {
        // The order is that of what it costs.
        let beyond: Vec<_> = self.applied.beyond(self.members.together()).collect();
        let lacks = |&(writer, stamp): &(ServerId, Stamp)| {
            !self.is_of_long_ago(stamp) && self.is_open(writer)
        };
        beyond.iter().any(lacks)
    }

    /// Finds sessions to publish again, in the lists of those who are gone.
    fn walk_gone(&mut self) {
        let mut steps = STEPS;
        while let Some((&writer, &place)) = self.gone.walks.first_key_value() {
            let place = place.max(after_base(&self.applied, writer));
            let mut last = None;
            for entry in self.facts.changes().after(writer, place) {
                if steps == 0 || self.gone.waiting.len() >= WAITING {
                    self.gone.walks.insert(writer, last.unwrap_or(place));
                    return;
                }
                steps -= 1;
                last = Some(entry);
                self.gone.waiting.insert(entry.1, None);
            }
            self.gone.walks.remove(&writer);
        }
    }

    fn publish_waiting(&mut self) {
        let most = if self.rare.force(Point::AgainOne) { 1 } else { SESSIONS };
        let (mut sessions, mut bytes) = (0, 0);
        while sessions < most && bytes < BYTES {
            let Some((address, whose)) = self.gone.waiting.pop_first() else { return };
            let Some(copy) = self.facts.array().get(address) else { continue };
            // What was waited for may be applied by now. Anything else that is left there of who is gone has
            // been published already; again, it would be another write that others get by repair, and so on.
            let still = |writer| whose.as_ref().is_none_or(|whose| whose.contains(&writer));
            let open = self.beyond(copy).iter().any(|&(writer, _)| still(writer));
            if !open || self.is_surely_gone(copy) {
                continue;
            }
            sessions += 1;
            bytes += copy.weight();
            let mut again = Session::clone(copy);
            let stamp = self.clock.tick(self.now);
            again.seen.raise(self.config.server, stamp);
            self.rare.mark(Mark::SessionPublishedAgainForGoneWriter);
            self.counters.published_again += 1;
            self.publish(Write::Again(Arc::new(again)), Acks::Local);
        }
    }

    /// Whether everything that this server holds of writers that are gone, beyond its applied
    /// entries, is in a stream that lives, or left to who told of it: that one does not say so before it
    /// has published it, and without its word nothing is closed.
    pub(crate) fn all_published_again(&mut self) -> bool {
        self.take_over();
        self.gone.nothing_waits() && self.may_publish_again()
    }
}

/// See [`Engine::remains`].
#[derive(Debug, PartialEq, Eq)]
struct Remains {
    life: Life,
    created: bool,
    floor: Version,
    attributes: Vec<(Key, Attribute)>,
    seen: Vec<(ServerId, Stamp)>,
}

impl Remains {
    /// Whether nothing of the other's is missing here.
    fn has_all_of(&self, other: &Self) -> bool {
        self.life == other.life
            && self.created >= other.created
            && (other.floor == Version::ZERO || self.floor == other.floor)
            && other.attributes.iter().all(|attribute| self.attributes.contains(attribute))
            && other.seen.iter().all(|seen| self.seen.contains(seen))
    }
}
