//! Attributes: registers, removals and counters, and how two copies of one merge.

use alloc::sync::Arc;
use core::borrow::Borrow;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::id::ServerId;
use crate::sorted::SortedMap;
use crate::stamp::{Stamp, Version};
use crate::vector::Vector;

/// The name of an attribute: not empty, at most [`Key::MAX_BYTES`] bytes, no control characters.
/// A `/` makes a path, so a cart is `cart/sku-1`, `cart/sku-2`.
///
/// ```
/// use grapevine_core::Key;
/// assert_eq!(Key::new("cart/sku-1").unwrap().as_str(), "cart/sku-1");
/// assert!(Key::new("").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// Why a text can't be a [`Key`]. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The empty text.
    #[error("an attribute's key must not be empty")]
    Empty,
    /// Longer than [`Key::MAX_BYTES`].
    #[error("the key is {len} bytes long; at most {max} are allowed", max = Key::MAX_BYTES)]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// A control character (U+0000 to U+001F, U+007F to U+009F).
    #[error("the key has the control character {0:?}; none are allowed")]
    Control(char),
}

impl Key {
    /// The longest key, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// A key from a text.
    ///
    /// # Errors
    /// [`KeyError`], when the text is empty, too long or has a control character.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(KeyError::TooLong { len: text.len() });
        }
        // Mostly it is plain ASCII, which is found out without reading it character by character.
        if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
            && let Some(control) = text.chars().find(|c| c.is_control())
        {
            return Err(KeyError::Control(control));
        }
        Ok(Self(Arc::from(text)))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// So that a map of keys can be asked by a text.
impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        Self::new(text).map_err(de::Error::custom)
    }
}

/// The bytes of a register. Shared, so that copies of a session cost no copies of its contents;
/// an allocation of its own, so that it pins no receive buffer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value(Arc<[u8]>);

impl Value {
    /// A value that holds a copy of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(Arc::from(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;
        impl de::Visitor<'_> for Borrowed {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Value, E> {
                Ok(Value::new(bytes))
            }
        }
        deserializer.deserialize_bytes(Borrowed)
    }
}

/// What one server added to a counter: the sum, and the stamp of its last add. The higher stamp
/// wins, so that an add that arrives twice counts once (G6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subtotal {
    /// The writer's last add to this counter.
    pub stamp: Stamp,
    /// The sum of all its adds since the counter's epoch.
    pub sum: i64,
}

/// A counter: exact under concurrent adds, because each server adds in a subtotal of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Counter {
    /// The version of what the counter replaced (the register or removal; if none, the floor), so
    /// that two first adds at two servers meet in one counter.
    pub epoch: Version,
    /// The number that the replaced register held, or zero. A function of the epoch.
    pub base: i64,
    /// Server → what it added.
    pub subtotals: SortedMap<ServerId, Subtotal>,
}

impl Counter {
    /// The base and all subtotals, summed; stops at the ends of `i64`.
    pub fn value(&self) -> i64 {
        let sum = self.subtotals.values().map(|s| i128::from(s.sum)).sum::<i128>();
        let value = i128::from(self.base) + sum;
        i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
    }

    /// Whether another counter of this epoch has nothing that this one lacks.
    fn holds(&self, other: &Self) -> bool {
        other.base <= self.base
            && other.subtotals.iter().all(|(server, theirs)| {
                self.subtotals.get(server).is_some_and(|ours| theirs <= ours)
            })
    }

    fn merge(&mut self, other: &Self) -> bool {
        debug_assert_eq!(self.epoch, other.epoch, "only counters of one epoch merge");
        let mut changed = false;
        if other.base > self.base {
            self.base = other.base;
            changed = true;
        }
        let newer = |ours: &mut Subtotal, theirs: &Subtotal| {
            let newer = *theirs > *ours;
            *ours = (*ours).max(*theirs);
            newer
        };
        changed | self.subtotals.merge(&other.subtotals, |_| true, newer)
    }
}

/// One attribute of a session. The higher version wins; at equal versions a counter wins over the
/// register that it was made from, and of two registers (corruption) the larger bytes win.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attribute {
    /// A register whose highest write was a removal. It stays until a floor passes it.
    Removed {
        /// The version of the removal.
        version: Version,
    },
    /// Bytes.
    Register {
        /// The version of the write.
        version: Version,
        /// What was written.
        value: Value,
    },
    /// A number that several servers may add to at once.
    Counter(Counter),
}

impl Attribute {
    /// What decides between two copies: the write's version, or the counter's epoch.
    pub const fn version(&self) -> Version {
        match self {
            Self::Removed { version } | Self::Register { version, .. } => *version,
            Self::Counter(counter) => counter.epoch,
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Removed { .. } => 0,
            Self::Register { .. } => 1,
            Self::Counter(_) => 2,
        }
    }

    /// Whether `other` has nothing that this lacks: joining it changes nothing.
    pub(crate) fn holds(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Counter(ours), Self::Counter(theirs)) if ours.epoch == theirs.epoch => {
                ours.holds(theirs)
            }
            (
                Self::Register { version: a, value: ours },
                Self::Register { version: b, value: theirs },
            ) if a == b => theirs <= ours,
            (ours, theirs) => (theirs.version(), theirs.rank()) <= (ours.version(), ours.rank()),
        }
    }

    /// Joins `other` into this. Returns whether this changed.
    pub fn merge(&mut self, other: &Self) -> bool {
        match (&mut *self, other) {
            (Self::Counter(ours), Self::Counter(theirs)) if ours.epoch == theirs.epoch => {
                ours.merge(theirs)
            }
            (ours, theirs) if ours.holds(theirs) => false,
            (ours, theirs) => {
                *ours = theirs.clone();
                true
            }
        }
    }

    /// Whether a server with this applied vector has every write that this attribute shows.
    pub fn covered_by(&self, base: &Vector) -> bool {
        let version = self.version();
        base.covers_entry(version.server, version.stamp)
            && match self {
                Self::Counter(counter) => {
                    counter.subtotals.iter().all(|(&server, s)| base.covers_entry(server, s.stamp))
                }
                _ => true,
            }
    }

    /// The newest stamp in it, and whose it is.
    pub fn newest(&self) -> Version {
        let own = self.version();
        match self {
            Self::Counter(counter) => {
                let adds = counter.subtotals.iter();
                adds.map(|(&server, add)| Version::new(add.stamp, server)).fold(own, Version::max)
            }
            _ => own,
        }
    }

    /// The newest stamp in it.
    pub(crate) fn newest_stamp(&self) -> Stamp {
        match self {
            Self::Counter(counter) => {
                let adds = counter.subtotals.values().map(|add| add.stamp);
                adds.fold(counter.epoch.stamp, Stamp::max)
            }
            _ => self.version().stamp,
        }
    }

    /// What it counts towards a session's size, in bytes, without the key: an upper bound of its
    /// encoding.
    pub fn weight(&self) -> usize {
        const VERSION: usize = 16;
        match self {
            Self::Removed { .. } => 1 + VERSION,
            Self::Register { value, .. } => 1 + VERSION + 5 + value.as_bytes().len(),
            Self::Counter(counter) => 1 + VERSION + 15 + 26 * counter.subtotals.len(),
        }
    }
}
