//! Who and where: servers, addresses in the fact array, and session IDs.

use core::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::stamp::{Stamp, Timestamp};

/// One server process: its configured number and its boot time, as one `u64`. A restart is a new
/// `ServerId`.
///
/// ```
/// use grapevine_core::{ServerId, Timestamp};
/// let first = ServerId::new(3, Timestamp::from_millis(1_000));
/// let restarted = ServerId::new(3, Timestamp::from_millis(2_000));
/// assert_eq!(first.number(), restarted.number());
/// assert!(first < restarted);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServerId(#[serde(with = "crate::wire::fixed")] u64);

impl ServerId {
    /// No server: the writer of nothing.
    pub const ZERO: Self = Self(0);

    const BOOT_BITS: u32 = 48;

    /// The server with this configured number that started at `boot` (kept to the millisecond).
    pub const fn new(number: u16, boot: Timestamp) -> Self {
        let boot = boot.as_millis() & ((1 << Self::BOOT_BITS) - 1);
        Self(((number as u64) << Self::BOOT_BITS) | boot)
    }

    /// The configured number, the same after a restart.
    pub const fn number(self) -> u16 {
        (self.0 >> Self::BOOT_BITS) as u16
    }

    /// When this process started.
    pub const fn boot(self) -> Timestamp {
        Timestamp::from_millis(self.0 & ((1 << Self::BOOT_BITS) - 1))
    }

    /// The process of the same number with the next boot: what a process calls itself that can't be
    /// newer than this one by its clock.
    #[must_use]
    pub const fn next_boot(self) -> Self {
        let boot = Timestamp::from_millis(self.boot().as_millis() + 1);
        Self::new(self.number(), boot)
    }

    /// Whether two lists are the same. They are compared without stopping at the first difference: mostly there
    /// is none, and so it takes several at once.
    pub(crate) fn are_same(some: &[Self], others: &[Self]) -> bool {
        let (fours, rest) = some.as_chunks::<4>();
        let (other_fours, other_rest) = others.as_chunks::<4>();
        let pairs = rest.iter().zip(other_rest);
        let mut differs = pairs.fold(0, |differs, (one, other)| differs | (one.0 ^ other.0));
        for ([a, b, c, d], [e, f, g, h]) in fours.iter().zip(other_fours) {
            differs |= (a.0 ^ e.0) | (b.0 ^ f.0) | (c.0 ^ g.0) | (d.0 ^ h.0);
        }
        some.len() == others.len() && differs == 0
    }

    /// The 64 bits: number above, boot milliseconds below.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// A server ID from its 64 bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.number(), self.boot().as_millis())
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Where a session lies, on every server alike: its origin and the slot there (R101).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Address {
    /// The server that created the session.
    pub origin: ServerId,
    /// The index in that origin's array.
    pub slot: u32,
}

/// 128 unguessable bits, compared in constant time and never shown.
#[derive(Clone, Copy, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Secret(#[serde(with = "crate::wire::fixed::sixteen")] [u8; 16]);

impl Secret {
    /// A secret from its bytes, which must come from a CSPRNG.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes; don't log them.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    const fn words(&self) -> [u64; 2] {
        let bits = u128::from_ne_bytes(self.0);
        [bits as u64, (bits >> 64) as u64]
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        // As two words: of sixteen bytes, each would cost as much as a word.
        self.words().ct_eq(&other.words()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Names one session for ever: its address (so that a look-up needs no hashing), when it was
/// created (a slot is reused), and a secret (R74, R100, R101).
///
/// Equality compares the secret in constant time. `Debug` does not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId {
    /// Where it lies on every server.
    pub address: Address,
    /// The stamp of its create: in one slot, the higher one wins.
    pub created: Stamp,
    /// What makes the ID unguessable.
    pub secret: Secret,
}

impl SessionId {
    /// A name for logs and reports, from which nobody can find the ID: the first eight bytes of a
    /// SHA-256 of all of it.
    pub fn hashed(&self) -> HashedId {
        let mut hash = Sha256::new();
        hash.update(b"grapevine session");
        hash.update(self.address.origin.to_bits().to_le_bytes());
        hash.update(self.address.slot.to_le_bytes());
        hash.update(self.created.to_bits().to_le_bytes());
        hash.update(self.secret.as_bytes());
        let mut short = [0; 8];
        short.copy_from_slice(&hash.finalize()[..8]);
        HashedId(u64::from_be_bytes(short))
    }
}

/// A session's name for logs and reports: see [`SessionId::hashed`]. Shown as 16 hex digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HashedId(#[serde(with = "crate::wire::fixed")] u64);

impl fmt::Display for HashedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for HashedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.address.origin, self.address.slot, self.created)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_the_same_if_they_are_as_long_and_no_place_differs() {
        let list = |len| (0..len).map(ServerId::from_bits).collect::<alloc::vec::Vec<_>>();
        for len in 0..14 {
            assert!(ServerId::are_same(&list(len), &list(len)));
            assert!(!ServerId::are_same(&list(len), &list(len + 1)), "{len}");
            for place in 0..len as usize {
                let mut other = list(len);
                other[place] = ServerId::from_bits(99);
                assert!(!ServerId::are_same(&list(len), &other), "{place} of {len}");
            }
        }
    }

    #[test]
    fn a_session_id_never_shows_its_secret() {
        let id = SessionId {
            address: Address { origin: ServerId::new(1, Timestamp::from_millis(5)), slot: 7 },
            created: Stamp::at(Timestamp::from_millis(9)),
            secret: Secret::from_bytes([0xab; 16]),
        };
        let shown = alloc::format!("{id} {id:?}");
        assert!(!shown.contains("ab") && !shown.contains("171"), "{shown}");
    }

    #[test]
    fn a_server_id_keeps_number_and_boot_apart() {
        let id = ServerId::new(u16::MAX, Timestamp::from_millis((1 << 48) - 1));
        assert_eq!(id.number(), u16::MAX);
        assert_eq!(id.boot(), Timestamp::from_millis((1 << 48) - 1));
    }
}
