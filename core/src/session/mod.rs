//! Sessions: the state kept for one customer, as a join-semilattice.
//!
//! Merging copies in any order, any number of times, gives the same result. So loss, duplication,
//! reordering and partitions can delay the farm, but never make its servers disagree for good
//! (Shapiro et al., 2011). A write makes a *delta*, which is a session too, with only the changed
//! attributes (Almeida et al., 2018); everything that arrives goes through [`Session::merge`].

use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{ServerId, SessionId};
use crate::sorted::SortedMap;
use crate::stamp::{Stamp, Timestamp, Version};
use crate::vector::Vector;

mod attribute;
mod change;
mod expiry;
mod footprint;
mod life;
#[cfg(test)]
mod tests;

pub use attribute::{Attribute, Counter, Key, KeyError, Subtotal, Value};
pub use change::{Change, ChangeError};
pub use expiry::Expiry;
pub use life::{Life, Replaces};

/// The user that a session belongs to, once logged in. Set at create.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(Arc<str>);

impl Principal {
    /// A principal from the application's name for the user.
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for Principal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Principal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(<&str>::deserialize(deserializer)?))
    }
}

/// What never changes in a session, sent with every command about it: so a server that gets an
/// update before the create knows already when the session must end.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fixed {
    /// From then on it is served nowhere.
    pub deadline: Timestamp,
    /// It ends this long after the last access.
    pub idle_timeout: Duration,
    /// Whose it is.
    pub principal: Option<Principal>,
    /// The session that it took the place of, by a rotation.
    pub replaces: Option<Replaces>,
    /// The newest revocation of its principal that its creator knew: only a newer one ends it.
    pub revocation: Option<Version>,
    /// Whether it is no session but the record of a revocation: its create ends every session of
    /// the principal that names no revocation as new. Such a record is over from the start.
    pub revokes: bool,
}

impl Fixed {
    /// When its copies may be dropped, but for the margin: not before the session that it replaced,
    /// for its copies are all that tells of that one's end.
    pub fn end(&self) -> Timestamp {
        self.replaces.map_or(self.deadline, |replaces| replaces.deadline.max(self.deadline))
    }
}

/// One copy of a session, or a delta of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its name and address.
    pub id: SessionId,
    /// What never changes.
    #[serde(deserialize_with = "crate::wire::shared::one")]
    pub fixed: Arc<Fixed>,
    /// Whether the create is in it. A copy that got an update but not yet its create is *partial*:
    /// kept, merged into, neither served nor written to.
    pub complete: bool,
    /// Live or over.
    pub life: Life,
    /// Registers and epochs below it are gone: the version of the last whole replacement.
    pub floor: Version,
    /// The newest access.
    pub accessed: Stamp,
    /// Server → stamp of its latest write to this session (R76).
    pub seen: Vector,
    /// Key → attribute.
    pub attributes: SortedMap<Key, Attribute>,
}

/// What a reader sees of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown<'a> {
    /// A register's bytes.
    Bytes(&'a [u8]),
    /// A counter's value.
    Count(i64),
}

impl Session {
    /// A new session with no attributes, as its origin creates it: complete, seen by its creator.
    pub fn new(id: SessionId, fixed: Fixed) -> Self {
        Self {
            id,
            fixed: Arc::new(fixed),
            complete: true,
            life: Life::Live,
            floor: Version::ZERO,
            accessed: id.created,
            seen: Vector::from_iter([(id.address.origin, id.created)]),
            attributes: SortedMap::new(),
        }
    }

    /// A delta of this session that says nothing yet but that `version`'s write happened, on top of
    /// everything this copy has seen.
    pub(crate) fn delta(&self, version: Version) -> Self {
        let mut seen = self.seen.clone();
        let later = seen.raise(version.server, version.stamp);
        debug_assert!(later, "a write's stamp must be later than its writer's last one");
        Self {
            id: self.id,
            fixed: Arc::clone(&self.fixed),
            complete: false,
            life: self.life,
            floor: self.floor,
            accessed: version.stamp,
            seen,
            attributes: SortedMap::new(),
        }
    }

    /// The delta that ends this session (G4).
    pub(crate) fn tombstone(&self, version: Version) -> Self {
        let mut delta = self.delta(version);
        delta.life = Life::Deleted;
        delta.settle_end();
        delta
    }

    /// The delta that a server with this applied vector lacks: every attribute that it doesn't
    /// cover, **whoever wrote it**. An attribute overwritten by a third server must come along, or
    /// the asker would claim a write whose effect it can't show.
    pub(crate) fn beyond(&self, base: &Vector) -> Self {
        let created = (self.id.address.origin, self.id.created);
        let attributes =
            self.attributes.iter().filter(|(_, attribute)| !attribute.covered_by(base));
        Self {
            complete: self.complete && !base.covers_entry(created.0, created.1)
                || self.life == Life::Deleted,
            attributes: attributes.map(|(k, a)| (k.clone(), a.clone())).collect(),
            fixed: Arc::clone(&self.fixed),
            seen: self.seen.clone(),
            ..*self
        }
    }

    /// Joins another copy or a delta of the same session into this one. Commutative, associative,
    /// idempotent. Returns whether this changed.
    ///
    /// # Panics
    /// In debug builds, if the IDs differ: which of two sessions owns a slot is decided before.
    pub fn merge(&mut self, other: &Self) -> bool {
        debug_assert_eq!(self.id, other.id, "only copies of one session merge");
        let mut changed = false;
        if self.takes_fixed_of(other) {
            self.fixed = Arc::clone(&other.fixed);
            changed = true;
        }
        if !self.seen.covers(&other.seen) {
            self.seen.join(&other.seen);
            changed = true;
        }
        changed |= raise(&mut self.life, other.life);
        if self.life == Life::Deleted {
            // Nothing else can change a tombstone; saying so keeps repeats from looking like news.
            self.settle_end();
            return changed;
        }
        changed |= raise(&mut self.complete, other.complete);
        changed |= raise(&mut self.accessed, other.accessed);
        if raise(&mut self.floor, other.floor) {
            let floor = self.floor;
            self.attributes.retain(|_, attribute| attribute.version() >= floor);
            changed = true;
        }
        let floor = self.floor;
        let above = |theirs: &Attribute| theirs.version() >= floor;
        changed | self.attributes.merge(&other.attributes, above, Attribute::merge)
    }

    /// Whether what never changes is to be taken from another copy: the one knows more than the other.
    fn takes_fixed_of(&self, other: &Self) -> bool {
        // What stands in for a session knows its end only, and that may be later than the deadline.
        let known = (!other.stands_in()).cmp(&!self.stands_in());
        known.then_with(|| other.fixed.cmp(&self.fixed)).is_gt()
    }

    /// Whether another copy or delta of this session has nothing that this one lacks: merging it changes
    /// nothing. Much comes twice, as streams, answers and repairs overlap, and this needs no memory.
    pub fn holds(&self, other: &Self) -> bool {
        let has =
            self.seen.covers(&other.seen) && other.life <= self.life && !self.takes_fixed_of(other);
        let above = |theirs: &Attribute| theirs.version() >= self.floor;
        has && (self.life == Life::Deleted
            || other.complete <= self.complete
                && other.accessed <= self.accessed
                && other.floor <= self.floor
                && self.attributes.holds(&other.attributes, above, Attribute::holds))
    }

    /// Whether it is as [`Session::merge`] leaves copies: nothing below its floor, a tombstone
    /// without contents, a revocation as a tombstone with a principal. Correct servers send no other.
    pub(crate) fn is_well_formed(&self) -> bool {
        let above = self.attributes.values().all(|attribute| attribute.version() >= self.floor);
        let settled = self.attributes.is_empty()
            && self.floor == Version::ZERO
            && self.accessed == Stamp::ZERO
            && self.complete;
        let over = self.life == Life::Deleted;
        let record = over && self.fixed.principal.is_some() && self.fixed.replaces.is_none();
        above && (!over || settled) && (!self.fixed.revokes || record)
    }

    /// A tombstone keeps only what it needs to keep the session from coming back.
    fn settle_end(&mut self) {
        if self.life == Life::Deleted {
            self.attributes.clear();
            self.floor = Version::ZERO;
            self.accessed = Stamp::ZERO;
            self.complete = true;
        }
    }

    /// The attribute of this name, if it has one that isn't removed.
    pub fn get(&self, key: &str) -> Option<Shown<'_>> {
        self.attributes.get(key).and_then(shown)
    }

    /// The attributes that aren't removed, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, Shown<'_>)> {
        self.attributes.iter().filter_map(|(key, attribute)| Some((key, shown(attribute)?)))
    }

    /// The server and stamp of the newest write in it (R76).
    pub fn newest_write(&self) -> Option<(ServerId, Stamp)> {
        self.seen.iter().max_by_key(|&(server, stamp)| (stamp, server))
    }

    /// The newest stamp in it, of any kind, and whose it is: what the clock rule looks at.
    pub fn newest(&self) -> Version {
        let created = Version::new(self.id.created, self.id.address.origin);
        let accessed = Version::new(self.accessed, ServerId::ZERO);
        let attributes = self.attributes.values().map(Attribute::newest);
        let replaced = self.fixed.replaces.map_or(Version::ZERO, |replaces| {
            Version::new(replaces.id.created, replaces.id.address.origin)
        });
        let fixed = self.fixed.revocation.unwrap_or(Version::ZERO).max(replaced);
        let own = created.max(self.floor).max(accessed).max(fixed);
        attributes.fold(self.seen.newest(), Version::max).max(own)
    }

    /// The stamp of [`Session::newest`], whosever it is: all that most want to know of it.
    pub fn newest_stamp(&self) -> Stamp {
        let attributes = self.attributes.values().map(Attribute::newest_stamp);
        let seen = self.seen.iter().map(|(_, stamp)| stamp);
        let replaced = self.fixed.replaces.map_or(Stamp::ZERO, |replaces| replaces.id.created);
        let revocation = self.fixed.revocation.map_or(Stamp::ZERO, |version| version.stamp);
        let own = self.id.created.max(self.floor.stamp).max(self.accessed);
        attributes.chain(seen).fold(own.max(replaced).max(revocation), Stamp::max)
    }

    /// What it counts towards limits, in bytes: an upper bound of its encoding.
    pub fn weight(&self) -> usize {
        const FRAME: usize = 128;
        const REPLACES: usize = 64;
        let principal = self.fixed.principal.as_ref().map_or(0, |p| p.as_str().len() + 5);
        let attributes = self
            .attributes
            .iter()
            .map(|(key, a)| key.as_str().len() + 3 + a.weight())
            .sum::<usize>();
        let replaces = self.fixed.replaces.map_or(0, |_| REPLACES);
        let revocation = self.fixed.revocation.map_or(0, |_| 16);
        FRAME + principal + replaces + revocation + 16 * self.seen.len() + attributes
    }
}

fn shown(attribute: &Attribute) -> Option<Shown<'_>> {
    match attribute {
        Attribute::Removed { .. } => None,
        Attribute::Register { value, .. } => Some(Shown::Bytes(value.as_bytes())),
        Attribute::Counter(counter) => Some(Shown::Count(counter.value())),
    }
}

fn raise<T: Ord>(ours: &mut T, theirs: T) -> bool {
    if theirs <= *ours {
        return false;
    }
    *ours = theirs;
    true
}
