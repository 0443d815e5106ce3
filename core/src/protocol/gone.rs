//! Writers that are gone: their last writes are published again, and their entries closed (section 6
//! of the protocol page).
//!
//! A process is gone when its number is known under a newer boot, or when it left; nothing is taken
//! from it directly any more. (Numbers are configured for a process's whole life, so none is taken
//! out of the configuration under way.) Its last writes may have reached some servers only, beyond a
//! gap: equal vectors, different copies. So whoever holds such a session publishes it again, whole,
//! in its own stream, and says so in its heartbeats, with the processes that it then counts. A server
//! that heard this from the newest process of every configured number, all counting the same ones,
//! and that covers what each of them covered, has whatever is left of the writer: it *closes* the
//! entry, which stays where it is. A hole may begin behind it, and what a customer's context has from
//! beyond it is lost.
//!
//! Why all must count the same processes: then each of them refuses what older ones still have under
//! way, and what they send each other somebody held who has published it. So nothing new can come up.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::{Heartbeat, Write};
use crate::config::Config;
use crate::engine::Engine;
use crate::event::Acks;
use crate::facts::Entry;
use crate::id::{Address, ServerId};
use crate::member::State;
use crate::protocol::membership::Members;
use crate::protocol::repair::after_base;
use crate::rare::Mark;
use crate::session::{Attribute, Expiry, Key, Life, Session};
use crate::stamp::{Stamp, Timestamp, Version};
use crate::vector::Vector;

/// Sessions that wait to be published again, at most; what is beyond waits in its list.
const WAITING: usize = 1024;
/// Sessions published again in one go, and their bytes; about a batch.
const SESSIONS: usize = 64;
const BYTES: usize = 64 << 10;
/// Places of a list looked at in one go.
const STEPS: usize = 4096;
/// Servers wait in the order of their numbers, so that mostly one publishes what several hold. This
/// many wait for each other; the others go with the last.
const TURNS: usize = 8;

/// Per number, the first process that is not before a line: not gone, or not closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line(BTreeMap<u16, ServerId>);

impl Line {
    /// The line between what is gone and what is not, as the newest processes and those of them that
    /// left draw it.
    fn drawn(members: &[ServerId], left: &[ServerId]) -> Self {
        let first = |&server: &ServerId| {
            let gone = u64::from(left.contains(&server));
            (server.number(), ServerId::from_bits(server.to_bits().saturating_add(gone)))
        };
        Self(members.iter().map(first).collect())
    }

    fn from_list(list: &[ServerId]) -> Self {
        Self(list.iter().map(|&first| (first.number(), first)).collect())
    }

    fn list(&self) -> Vec<ServerId> {
        self.0.values().copied().collect()
    }

    fn has_passed(&self, server: ServerId) -> bool {
        self.0.get(&server.number()).is_some_and(|&first| server < first)
    }

    fn reaches(&self, other: &Self) -> bool {
        other.0.iter().all(|(number, first)| self.0.get(number).is_some_and(|own| own >= first))
    }

    /// Moves on to another line, number by number, and never knows more than so many. Returns how
    /// many moved.
    fn move_to(&mut self, other: &Self, numbers: usize) -> u64 {
        let mut moved = 0;
        for (&number, &first) in &other.0 {
            if self.0.len() >= numbers && !self.0.contains_key(&number) {
                continue;
            }
            let own = self.0.entry(number).or_insert(ServerId::ZERO);
            moved += u64::from(first > *own);
            *own = first.max(*own);
        }
        moved
    }
}

/// What a server does about writers that are gone.
#[derive(Debug)]
pub(crate) struct Gone {
    /// Who is gone: as far as this server's members tell.
    line: Line,
    /// Whose entries are closed.
    closed: Line,
    /// Writers whose lists have been taken up, or need not be.
    noted: BTreeSet<ServerId>,
    /// Lists that are still to be walked, and from which place.
    walks: BTreeMap<ServerId, Entry>,
    /// Sessions to be published again.
    waiting: BTreeSet<Address>,
    due: Option<Timestamp>,
    /// The numbers that have published everything again, counting the same processes as this server.
    said: BTreeSet<u16>,
    /// What they covered when they first said so.
    target: Vector,
    /// What others have closed, and what they covered then.
    offered: BTreeMap<u16, (Line, Vector)>,
}

impl Gone {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            line: Line::drawn(&[config.server], &[]),
            closed: Line::default(),
            noted: BTreeSet::new(),
            walks: BTreeMap::new(),
            waiting: BTreeSet::new(),
            due: None,
            said: BTreeSet::new(),
            target: Vector::default(),
            offered: BTreeMap::new(),
        }
    }

    pub(crate) fn next_review(&self) -> Option<Timestamp> {
        self.due
    }

    /// Whether nothing that the farm still has of this writer can be missing here.
    pub(crate) fn is_closed(&self, writer: ServerId) -> bool {
        self.closed.has_passed(writer)
    }

    /// Per number, the first process that is not closed.
    pub(crate) fn closed(&self) -> Vec<ServerId> {
        self.closed.list()
    }

    /// Whether all that is gone is closed.
    pub(crate) fn all_closed(&self) -> bool {
        self.closed.reaches(&self.line)
    }

    /// Whether there is nothing left to publish.
    pub(crate) fn nothing_waits(&self) -> bool {
        self.walks.is_empty() && self.waiting.is_empty()
    }

    pub(crate) fn check_invariants(&self, config: &Config) {
        let numbers = usize::from(config.farm.size);
        assert!(self.waiting.len() <= WAITING, "too many sessions wait to be published again");
        let lines = self.line.0.len().max(self.closed.0.len());
        assert!(lines <= numbers, "more numbers than configured");
        assert!(self.offered.len() <= numbers && self.said.len() <= numbers);
        assert!(self.nothing_waits() || self.due.is_some(), "what waits is never looked at");
    }
}

impl Members {
    /// Those of the newest processes that left.
    pub(crate) fn gone_for_good(&self) -> Vec<ServerId> {
        let left = self.peers.values().filter(|peer| peer.state == State::Left);
        left.map(|peer| peer.server).collect()
    }

    /// How many servers that count fully are to publish before this one.
    fn turn(&self, me: ServerId) -> usize {
        let earlier = |peer: &&super::membership::Peer| {
            peer.state == State::Alive && !peer.joining && peer.server.number() < me.number()
        };
        self.peers.values().filter(earlier).count().min(TURNS)
    }
}

// The half of whoever holds such sessions.
impl Engine {
    /// The members have changed: some may be gone now.
    pub(crate) fn members_moved(&mut self) {
        let members = self.members.newest(self.config.server);
        let line = Line::drawn(&members, &self.members.gone_for_good());
        if line != self.gone.line {
            self.gone.line = line;
            self.gone.said.clear();
            self.gone.target = Vector::default();
            self.note_gone_writers();
        }
    }

    /// Whether nothing is taken from a process any more, nor what others pass on of its answers.
    pub(crate) fn is_gone(&self, server: ServerId) -> bool {
        self.gone.line.has_passed(server)
    }

    /// Whether nothing more can be expected from this writer, and it isn't known yet who has what of
    /// it.
    fn is_open(&self, writer: ServerId) -> bool {
        let gone = self.gone.line.has_passed(writer)
            || self.members.given_up(writer, self.steady, &self.config);
        gone && !self.gone.is_closed(writer)
    }

    /// Takes up the lists of writers from whom nothing more can be expected.
    pub(crate) fn note_gone_writers(&mut self) {
        let mut noted = core::mem::take(&mut self.gone.noted);
        // One that came back may write more, and be gone another time.
        noted.retain(|&writer| self.is_open(writer));
        let open = self.facts.changes().writers().filter(|&writer| self.is_open(writer));
        for writer in open.collect::<Vec<_>>() {
            if noted.insert(writer) {
                self.gone.walks.insert(writer, after_base(&self.applied, writer));
            }
        }
        self.gone.noted = noted;
        self.arm_gone();
    }

    /// Before a session from a live stream is merged: what comes in a stream need not be published
    /// again by whoever reads the stream.
    pub(crate) fn hear_of_gone(&mut self, session: &Session) {
        for (writer, _) in session.seen.iter() {
            if !self.facts.changes().knows(writer) && self.is_open(writer) {
                self.gone.noted.insert(writer);
            }
        }
    }

    /// Another server published a session again. If it has all that this one has of it, this one
    /// need not.
    pub(crate) fn on_again(&mut self, session: &Session) {
        let address = session.id.address;
        if self.gone.waiting.contains(&address)
            && let Some(copy) = self.facts.array().get(address)
            && (copy.id > session.id || self.remains(copy) == self.remains(session))
        {
            self.rare.mark(Mark::SessionPublishedAgainElsewhere);
            self.gone.waiting.remove(&address);
        }
    }

    /// A session came with an answer or a repair, and `before` was what lay here. If it brought
    /// anything of a writer that is gone, it is published again.
    pub(crate) fn on_told(&mut self, from: ServerId, address: Address, before: Option<&Session>) {
        let Some(copy) = self.facts.array().get(address) else { return };
        let before = before.filter(|before| before.id == copy.id);
        let mut beyond = self.beyond(copy);
        if let Some((said, _)) = self.gone.offered.get(&from.number()) {
            // What has been closed there everybody has.
            beyond.retain(|&(writer, _)| !said.has_passed(writer));
        }
        let Some(&(writer, stamp)) = beyond.first() else { return };
        if before.is_some_and(|before| self.remains(before) == self.remains(copy)) {
            return;
        }
        self.rare.mark(Mark::ToldOfGoneWriter);
        if self.gone.waiting.len() < WAITING {
            self.gone.waiting.insert(address);
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

    /// All that a copy shows of writers that are gone and that no applied entry speaks of.
    fn remains(&self, copy: &Session) -> Remains {
        let seen = self.beyond(copy);
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

    fn arm_gone(&mut self) {
        if self.gone.due.is_none() && !self.gone.nothing_waits() {
            self.gone.due = Some(if self.gone.waiting.is_empty() {
                self.now + self.config.local.repair_delay
            } else {
                self.my_turn()
            });
        }
    }

    /// When to begin: somebody else may publish what is here too, and then this server need not.
    fn my_turn(&self) -> Timestamp {
        let turn = self.members.turn(self.config.server) as u32;
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
    fn may_publish_again(&self) -> bool {
        let lacks = |(writer, stamp): (ServerId, Stamp)| {
            !self.covered_entry(&self.applied, writer, stamp) && self.is_open(writer)
        };
        let left = self.leaving.as_ref().is_some_and(|leaving| leaving.next_review().is_none());
        !self.members.joining()
            && !self.members.self_skewed()
            && !left
            && !self.members.sources().any(|(_, applied, _)| applied.iter().any(lacks))
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
                self.gone.waiting.insert(entry.1);
            }
            self.gone.walks.remove(&writer);
        }
    }

    fn publish_waiting(&mut self) {
        let (mut sessions, mut bytes) = (0, 0);
        while sessions < SESSIONS && bytes < BYTES {
            let Some(address) = self.gone.waiting.pop_first() else { return };
            let Some(copy) = self.facts.array().get(address) else { continue };
            if self.beyond(copy).is_empty()
                || copy.expiry(self.now, self.config.farm.margin()) == Expiry::Gone
            {
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
    /// entries, is in a stream that lives.
    pub(crate) fn all_published_again(&self) -> bool {
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

// The half of whoever closes.
impl Engine {
    /// Takes in what a heartbeat says of those who are gone. The sender is known already.
    pub(crate) fn on_gone_said(&mut self, from: ServerId, heartbeat: &Heartbeat) {
        for &server in &heartbeat.left {
            self.hear_that_left(server);
        }
        let mut covers = heartbeat.applied.clone();
        covers.raise(from, heartbeat.end);
        let theirs = Line::drawn(&heartbeat.members, &heartbeat.left);
        if heartbeat.published && theirs == self.gone.line && self.gone.said.insert(from.number()) {
            self.gone.target.join(&covers);
        }
        let mut closed = Line::from_list(&heartbeat.closed);
        closed.0.retain(|number, first| {
            self.gone.line.0.get(number).is_none_or(|known| *first <= *known)
        });
        let offered = self.gone.offered.get(&from.number());
        if !self.gone.closed.reaches(&closed) && offered.is_none_or(|(said, _)| *said != closed) {
            self.gone.offered.insert(from.number(), (closed, covers));
        }
        self.review_closed();
    }

    /// That a server left is told on, for its own word may have been lost.
    fn hear_that_left(&mut self, server: ServerId) {
        if !self.hear_of(server) {
            return;
        }
        if self.take_leave(server) {
            self.rare.mark(Mark::LeaveToldByAnother);
        }
    }

    /// Whether a write is lost for good: its writer's entry is closed, and it is beyond it.
    pub(crate) fn beyond_closed(&self, writer: ServerId, stamp: Stamp) -> bool {
        let lost = self.gone.is_closed(writer) && !self.covered_entry(&self.applied, writer, stamp);
        self.rare.mark_if(lost, Mark::LostBeyondClosedHole);
        lost
    }

    /// Closes what can be closed.
    pub(crate) fn review_closed(&mut self) {
        if !self.all_published_again() {
            return;
        }
        let numbers = self.members.size;
        let mut closed = 0;
        let everyone = self.gone.said.len() >= self.members.expected();
        if everyone && self.covered(&self.applied, &self.gone.target) {
            closed += self.gone.closed.move_to(&self.gone.line, numbers);
        }
        self.rare.mark_if(closed > 0, Mark::GoneWriterClosed);
        let own = closed;
        // What one server has closed it had in full; so has whoever covers all that it covered.
        for (line, covers) in self.gone.offered.values() {
            if self.covered(&self.applied, covers) {
                closed += self.gone.closed.move_to(line, numbers);
            }
        }
        self.rare.mark_if(closed > own, Mark::ClosedAsAnotherSaid);
        if closed > 0 {
            self.counters.closed += closed;
            self.view_changed();
            self.settle_lookups();
        }
    }
}
