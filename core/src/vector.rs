//! Vectors: for each server, a stamp. What a server has, what a session has seen, and what a
//! customer depends on are all vectors.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::ServerId;
use crate::sorted;
use crate::stamp::{Stamp, Version};
use crate::wire::fixed;

/// So many entries need no memory of their own: what a session of a small farm has seen.
const INLINE: usize = 3;

/// So many entries are gone through faster than halved.
const FEW: usize = 8;

type Entry = (ServerId, Stamp);

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
#[derive(Clone)]
pub struct Vector(Entries);

/// Sorted by server, none at [`Stamp::ZERO`]: so vectors that mean the same are equal whatever a
/// peer sends. In memory of its own exactly if there are more than [`INLINE`].
#[derive(Clone)]
enum Entries {
    Few { len: u8, entries: [Entry; INLINE] },
    Many(Box<[Entry]>),
}

impl Vector {
    fn entries(&self) -> &[Entry] {
        match &self.0 {
            Entries::Few { len, entries } => &entries[..usize::from(*len)],
            Entries::Many(entries) => entries,
        }
    }

    fn entries_mut(&mut self) -> &mut [Entry] {
        match &mut self.0 {
            Entries::Few { len, entries } => &mut entries[..usize::from(*len)],
            Entries::Many(entries) => entries,
        }
    }

    /// From entries that are sorted and say something.
    fn of(sorted: &[Entry]) -> Self {
        if sorted.len() > INLINE {
            return Self(Entries::Many(Box::from(sorted)));
        }
        let mut entries = [Entry::default(); INLINE];
        entries[..sorted.len()].copy_from_slice(sorted);
        Self(Entries::Few { len: sorted.len() as u8, entries })
    }

    /// The same, in the memory that they have if they need any.
    fn of_vec(sorted: Vec<Entry>) -> Self {
        if sorted.len() > INLINE {
            return Self(Entries::Many(sorted.into_boxed_slice()));
        }
        Self::of(&sorted)
    }

    #[inline]
    fn place(&self, server: ServerId) -> Result<usize, usize> {
        let entries = self.entries();
        let at = if entries.len() > FEW {
            entries.partition_point(|entry| entry.0 < server)
        } else {
            entries.iter().take_while(|entry| entry.0 < server).count()
        };
        if entries.get(at).is_some_and(|entry| entry.0 == server) { Ok(at) } else { Err(at) }
    }

    /// The entry of `server`, or [`Stamp::ZERO`].
    pub fn get(&self, server: ServerId) -> Stamp {
        let entries = self.entries();
        // Numbers mostly begin at 1, and mostly all of them, or few, have an entry.
        if let Some(near) = entries.get(usize::from(server.number()).wrapping_sub(1))
            && near.0 == server
        {
            return near.1;
        }
        if entries.len() > FEW {
            return self.place(server).map_or(Stamp::ZERO, |at| entries[at].1);
        }
        let entry = entries.iter().find(|entry| entry.0 == server);
        entry.map_or(Stamp::ZERO, |entry| entry.1)
    }

    /// Moves the entry of `server` up to `stamp`. Returns whether it moved.
    pub fn raise(&mut self, server: ServerId, stamp: Stamp) -> bool {
        if stamp == Stamp::ZERO {
            return false;
        }
        match self.place(server) {
            Ok(at) => {
                let entry = &mut self.entries_mut()[at];
                let moves = stamp > entry.1;
                entry.1 = entry.1.max(stamp);
                moves
            }
            Err(at) => {
                self.insert(at, (server, stamp));
                true
            }
        }
    }

    fn insert(&mut self, at: usize, entry: Entry) {
        if let Entries::Few { len, entries } = &mut self.0
            && usize::from(*len) < INLINE
        {
            entries.copy_within(at..usize::from(*len), at + 1);
            entries[at] = entry;
            *len += 1;
            return;
        }
        let old = self.entries();
        let mut entries = Vec::with_capacity(old.len() + 1);
        entries.extend_from_slice(&old[..at]);
        entries.push(entry);
        entries.extend_from_slice(&old[at..]);
        self.0 = Entries::Many(entries.into_boxed_slice());
    }

    /// Takes the entry-wise maximum with `other`.
    pub fn join(&mut self, other: &Self) {
        if self.take_alike(other, Stamp::max) {
            return;
        }
        // Both are sorted: one walk through both raises what both have.
        let mut new = 0;
        let mut rest = self.entries_mut();
        for &(server, stamp) in other.entries() {
            let before = rest.iter().take_while(|entry| entry.0 < server).count();
            rest = &mut rest[before..];
            match rest.first_mut() {
                Some(entry) if entry.0 == server => entry.1 = entry.1.max(stamp),
                _ => new += 1,
            }
        }
        if new > 0 {
            self.join_new(other, new);
        }
    }

    /// Takes entries of servers over that have none here: so many, in memory of the exact length.
    fn join_new(&mut self, other: &Self, new: usize) {
        let mut entries = Vec::with_capacity(self.len() + new);
        let mut mine = self.entries();
        for &(server, stamp) in other.entries() {
            let before = mine.iter().take_while(|entry| entry.0 < server).count();
            entries.extend_from_slice(&mine[..before]);
            mine = &mine[before..];
            if mine.first().is_none_or(|entry| entry.0 != server) {
                entries.push((server, stamp));
            }
        }
        entries.extend_from_slice(mine);
        *self = Self::of_vec(entries);
    }

    /// Takes the entry-wise minimum with `other`: what both reach.
    pub(crate) fn meet(&mut self, other: &Self) {
        if self.take_alike(other, Stamp::min) {
            return;
        }
        let mut theirs = other.entries();
        let entries = self.entries_mut();
        let mut kept = 0;
        for at in 0..entries.len() {
            let (server, stamp) = entries[at];
            while let [first, rest @ ..] = theirs
                && first.0 < server
            {
                theirs = rest;
            }
            if let Some(&(_, least)) = theirs.first().filter(|first| first.0 == server) {
                entries[kept] = (server, stamp.min(least));
                kept += 1;
            }
        }
        self.truncate(kept);
    }

    /// Whether one entry is reached.
    pub fn covers_entry(&self, server: ServerId, stamp: Stamp) -> bool {
        stamp <= self.get(server)
    }

    /// Whether every entry of `other` is reached.
    pub fn covers(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.entries(), other.entries());
        // Place by place, and without stopping at the first that is not reached: mostly all are of the same
        // servers and reached, and so there is no branch per entry.
        if mine.len() == theirs.len() {
            let (mut differs, mut behind) = (0, 0);
            for (own, other) in mine.iter().zip(theirs) {
                differs |= own.0.to_bits() ^ other.0.to_bits();
                behind |= u64::from(own.1 < other.1);
            }
            if differs == 0 {
                return behind == 0;
            }
        }
        self.beyond(other).next().is_none()
    }

    /// Takes `take` of each pair of stamps, if both are of the same servers, as mostly the vectors of a farm are:
    /// place by place, without a search. Else nothing changes, and it says so.
    fn take_alike(&mut self, other: &Self, take: impl Fn(Stamp, Stamp) -> Stamp) -> bool {
        let (mine, theirs) = (self.entries_mut(), other.entries());
        let pairs = mine.iter().zip(theirs);
        let differs = |differs, (own, other): (&Entry, &Entry)| {
            differs | (own.0.to_bits() ^ other.0.to_bits())
        };
        if mine.len() != theirs.len() || pairs.fold(0, differs) != 0 {
            return false;
        }
        mine.iter_mut().zip(theirs).for_each(|(own, other)| own.1 = take(own.1, other.1));
        true
    }

    /// The entries of `other` that are not reached.
    pub(crate) fn beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Entry> + 'a {
        // Both are sorted: one walk through both finds all.
        let mut mine = self.entries();
        other.entries().iter().copied().filter(move |&(server, stamp)| {
            while let [first, rest @ ..] = mine
                && first.0 < server
            {
                mine = rest;
            }
            mine.first().is_none_or(|first| first.0 != server || first.1 < stamp)
        })
    }

    /// Keeps the entries for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(ServerId, Stamp) -> bool) {
        let entries = self.entries_mut();
        let mut kept = 0;
        for at in 0..entries.len() {
            let entry = entries[at];
            if keep(entry.0, entry.1) {
                entries[kept] = entry;
                kept += 1;
            }
        }
        self.truncate(kept);
    }

    /// Keeps so many of the first entries.
    fn truncate(&mut self, kept: usize) {
        match &mut self.0 {
            Entries::Few { len, .. } => *len = kept as u8,
            Entries::Many(entries) if kept < entries.len() => *self = Self::of(&entries[..kept]),
            Entries::Many(_) => {}
        }
    }

    /// The entries, by server.
    pub fn iter(&self) -> impl Iterator<Item = (ServerId, Stamp)> + '_ {
        self.entries().iter().copied()
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// The newest entry.
    pub fn newest(&self) -> Version {
        let newest = self.entries().iter().fold((ServerId::ZERO, Stamp::ZERO), |newest, &entry| {
            // They are sorted by server: of equal ones the later is the newer version.
            if entry.1 >= newest.1 { entry } else { newest }
        });
        Version::new(newest.1, newest.0)
    }
}

impl Default for Vector {
    fn default() -> Self {
        Self::of(&[])
    }
}

impl PartialEq for Vector {
    fn eq(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.entries(), other.entries());
        // Without stopping at the first difference, four at a time: those that are compared mostly are equal.
        let (fours, rest) = mine.as_chunks::<4>();
        let (other_fours, other_rest) = theirs.as_chunks::<4>();
        let differ = |own: &Entry, other: &Entry| {
            (own.0.to_bits() ^ other.0.to_bits()) | (own.1.to_bits() ^ other.1.to_bits())
        };
        let pairs = rest.iter().zip(other_rest);
        let mut differs = pairs.fold(0, |differs, (own, other)| differs | differ(own, other));
        for ([a, b, c, d], [e, f, g, h]) in fours.iter().zip(other_fours) {
            differs |= differ(a, e) | differ(b, f) | differ(c, g) | differ(d, h);
        }
        mine.len() == theirs.len() && differs == 0
    }
}

impl Eq for Vector {}

impl PartialOrd for Vector {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Vector {
    fn cmp(&self, other: &Self) -> Ordering {
        self.entries().cmp(other.entries())
    }
}

impl fmt::Debug for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl FromIterator<Entry> for Vector {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut vector = Self::default();
        for (server, stamp) in entries {
            vector.raise(server, stamp);
        }
        vector
    }
}

/// As a run of servers and stamps.
impl Serialize for Vector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fixed::write_run(self.entries().iter().map(written), serializer)
    }
}

/// Reads a vector's entries, as they come from a peer: in any order. Of several of one server the last one
/// counts; entries at [`Stamp::ZERO`] say nothing and are left out.
impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fixed::read_run(deserializer, Self::read)
    }
}

impl Vector {
    /// Reads the vector of such a run in the memory of this one, if it is as long.
    pub(crate) fn read_anew(&mut self, parts: &[[u8; 16]]) {
        if let Entries::Many(entries) = &mut self.0
            && entries.len() == parts.len()
        {
            entries.iter_mut().zip(parts).for_each(|(entry, part)| *entry = read(part));
            if in_order(entries) {
                return;
            }
        }
        *self = Self::read(parts);
    }

    /// The vector of such a run.
    fn read(parts: &[[u8; 16]]) -> Self {
        // Mostly few, and those need no memory on their way.
        if parts.len() <= INLINE {
            let mut entries = [Entry::default(); INLINE];
            entries.iter_mut().zip(parts).for_each(|(entry, part)| *entry = read(part));
            let entries = &entries[..parts.len()];
            if in_order(entries) {
                return Self::of(entries);
            }
        }
        let mut entries: Vec<Entry> = parts.iter().map(read).collect();
        if !in_order(&entries) {
            sorted::sort(&mut entries);
            entries.retain(|&(_, stamp)| stamp > Stamp::ZERO);
        }
        Self::of_vec(entries)
    }
}

fn written((server, stamp): &Entry) -> [u8; 16] {
    (u128::from(stamp.to_bits()) << 64 | u128::from(server.to_bits())).to_le_bytes()
}

fn read(part: &[u8; 16]) -> Entry {
    let both = u128::from_le_bytes(*part);
    (ServerId::from_bits(both as u64), Stamp::from_bits((both >> 64) as u64))
}

/// Whether they are as a correct peer writes them: by server, each once, none at [`Stamp::ZERO`].
fn in_order(entries: &[Entry]) -> bool {
    let Some((first, rest)) = entries.split_first() else { return true };
    let mut before = first.0;
    rest.iter().fold(first.1 > Stamp::ZERO, |good, entry| {
        let after = core::mem::replace(&mut before, entry.0);
        good & (entry.0 > after) & (entry.1 > Stamp::ZERO)
    })
}

#[cfg(test)]
mod tests;
