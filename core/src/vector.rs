//! Vectors: for each server, a stamp. What a server has, what a session has seen, and what a
//! customer depends on are all vectors.

use alloc::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::ServerId;
use crate::stamp::{Stamp, Version};

/// Server → stamp. A server without an entry stands at [`Stamp::ZERO`].
///
/// As an *applied vector* it means "I have everything that this server wrote up to here"; as *seen*
/// "its latest write to this session" (R76); as *context* "this customer depends on it".
///
/// ```
/// use grapevine_core::{ServerId, Stamp, Timestamp, Vector};
/// let server = ServerId::new(1, Timestamp::from_millis(1));
/// let mut applied = Vector::default();
/// assert!(applied.raise(server, Stamp::from_bits(7)));
/// assert!(!applied.raise(server, Stamp::from_bits(3)), "a vector never goes back");
/// assert!(applied.covers_entry(server, Stamp::from_bits(7)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "BTreeMap<ServerId, Stamp>")]
pub struct Vector(BTreeMap<ServerId, Stamp>);

/// Entries at [`Stamp::ZERO`] say nothing and are left out, so that vectors that mean the same are
/// equal whatever a peer sends.
impl From<BTreeMap<ServerId, Stamp>> for Vector {
    fn from(mut entries: BTreeMap<ServerId, Stamp>) -> Self {
        entries.retain(|_, stamp| *stamp > Stamp::ZERO);
        Self(entries)
    }
}

impl Vector {
    /// The entry of `server`, or [`Stamp::ZERO`].
    pub fn get(&self, server: ServerId) -> Stamp {
        self.0.get(&server).copied().unwrap_or(Stamp::ZERO)
    }

    /// Moves the entry of `server` up to `stamp`. Returns whether it moved.
    pub fn raise(&mut self, server: ServerId, stamp: Stamp) -> bool {
        if stamp <= self.get(server) {
            return false;
        }
        self.0.insert(server, stamp);
        true
    }

    /// Takes the entry-wise maximum with `other`.
    pub fn join(&mut self, other: &Self) {
        for (&server, &stamp) in &other.0 {
            self.raise(server, stamp);
        }
    }

    /// Whether one entry is reached.
    pub fn covers_entry(&self, server: ServerId, stamp: Stamp) -> bool {
        stamp <= self.get(server)
    }

    /// Whether every entry of `other` is reached.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(&server, &stamp)| self.covers_entry(server, stamp))
    }

    /// Keeps the entries for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(ServerId, Stamp) -> bool) {
        self.0.retain(|&server, stamp| keep(server, *stamp));
    }

    /// The entries, by server.
    pub fn iter(&self) -> impl Iterator<Item = (ServerId, Stamp)> + '_ {
        self.0.iter().map(|(&server, &stamp)| (server, stamp))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The newest entry.
    pub fn newest(&self) -> Version {
        let entries = self.0.iter().map(|(&server, &stamp)| Version::new(stamp, server));
        entries.max().unwrap_or(Version::ZERO)
    }
}

impl FromIterator<(ServerId, Stamp)> for Vector {
    fn from_iter<I: IntoIterator<Item = (ServerId, Stamp)>>(entries: I) -> Self {
        let mut vector = Self::default();
        for (server, stamp) in entries {
            vector.raise(server, stamp);
        }
        vector
    }
}
