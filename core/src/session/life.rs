//! How far a session's life has gone, and what a rotation says of the session that it ends (G4).

use alloc::sync::Arc;
use core::cmp::{Ordering, Reverse};
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Fixed, Session};
use crate::id::SessionId;
use crate::sorted::SortedMap;
use crate::stamp::{Stamp, Timestamp, Version};
use crate::vector::Vector;

/// How far a session's life has gone. Later wins for ever: `Live`, `Retired` with the lower end of
/// two, `Deleted`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Life {
    /// In use.
    #[default]
    Live,
    /// Rotated away, and in its grace: it still shows its own last contents, read only.
    Retired {
        /// When the grace ends; from then on it is over.
        until: Timestamp,
    },
    /// Over: a tombstone, which keeps any copy from bringing it back (G4).
    Deleted,
}

impl Life {
    const fn rank(self) -> (u8, Reverse<Timestamp>) {
        match self {
            Self::Live => (0, Reverse(Timestamp::MAX)),
            Self::Retired { until } => (1, Reverse(until)),
            Self::Deleted => (2, Reverse(Timestamp::MAX)),
        }
    }
}

impl Ord for Life {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Life {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The session that a rotation ends: told by its successor, whoever gets it and by whatever path, so
/// that no cut batch can leave both alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Replaces {
    /// The session that is over.
    pub id: SessionId,
    /// How long its tombstone, and its successor's, must stay: until its absolute deadline, or that of
    /// one that it replaced itself, if that is later.
    pub deadline: Timestamp,
    /// When its grace ends; `None` without one.
    pub until: Option<Timestamp>,
}

impl Replaces {
    /// What the replaced session's life has come to.
    pub fn life(&self) -> Life {
        self.until.map_or(Life::Deleted, |until| Life::Retired { until })
    }

    /// A copy of the replaced session that says no more than this, and that `cause` ended it: what
    /// its own copy is merged with, or what stands in for it until that comes.
    pub(crate) fn retired(&self, cause: Version) -> Session {
        let fixed = Fixed { deadline: self.deadline, ..Fixed::default() };
        let mut copy = Session {
            id: self.id,
            fixed: Arc::new(fixed),
            complete: false,
            life: self.life(),
            floor: Version::ZERO,
            accessed: Stamp::ZERO,
            seen: Vector::from_iter([(cause.server, cause.stamp)]),
            attributes: SortedMap::new(),
        };
        copy.settle_end();
        copy
    }
}

impl Session {
    /// Whether it says no more than that another replaced it (`Replaces::retired`): nobody can
    /// make a session without an idle timeout.
    pub fn stands_in(&self) -> bool {
        self.fixed.idle_timeout.is_zero()
    }

    /// Whether this is no session but the record of a revocation.
    pub fn is_revocation(&self) -> bool {
        self.fixed.revokes
    }

    /// Makes a new session the record of a revocation of its principal.
    pub(crate) fn into_revocation(mut self) -> Self {
        self.fixed = Arc::new(Fixed { revokes: true, revocation: None, ..(*self.fixed).clone() });
        self.life = Life::Deleted;
        self.settle_end();
        self
    }

    /// The write that made it; for a record, which revocation it is.
    pub(crate) const fn created(&self) -> Version {
        Version::new(self.id.created, self.id.address.origin)
    }

    /// Whether a revocation of its principal, whose record is kept for this long, ends this session: it names
    /// none as new, and was made before the record's time was over. Who makes one later may have dropped the
    /// record, while another, whose clock is behind, still has it.
    pub(crate) fn is_revoked_by(&self, revocation: Version, kept: Duration) -> bool {
        !self.fixed.revokes
            && self.fixed.revocation < Some(revocation)
            && self.id.created.time() < revocation.stamp.time() + kept
    }

    /// The copy after it was ended: by these writes, or by its own time.
    pub(crate) fn ended(&self, causes: impl IntoIterator<Item = Version>) -> Self {
        let mut copy = self.clone();
        for cause in causes {
            copy.seen.raise(cause.server, cause.stamp);
        }
        copy.life = Life::Deleted;
        copy.settle_end();
        copy
    }
}
