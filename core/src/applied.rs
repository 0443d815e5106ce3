//! The applied vector: what this server has of each stream, with what is asked of it at every event.

use core::fmt;
use core::ops::Deref;

use crate::id::ServerId;
use crate::stamp::Stamp;
use crate::vector::Vector;

/// What this server has of each stream; its own entry is the end of its own stream.
#[derive(Clone)]
pub(crate) struct Applied {
    vector: Vector,
    own: ServerId,
    /// Its own entry.
    end: Stamp,
    /// See [`Applied::digest`].
    digest: u64,
    /// How often entries were dropped: otherwise it only grows.
    dropped: u64,
}

impl Applied {
    /// Nothing yet, at this server.
    pub(crate) fn new(own: ServerId) -> Self {
        Self { vector: Vector::default(), own, end: Stamp::ZERO, digest: 0, dropped: 0 }
    }

    pub(crate) const fn vector(&self) -> &Vector {
        &self.vector
    }

    /// Whose it is.
    pub(crate) const fn own(&self) -> ServerId {
        self.own
    }

    /// The end of this server's own stream.
    pub(crate) const fn end(&self) -> Stamp {
        self.end
    }

    /// How often entries were dropped: what is covered stays so for as long as this stays the same.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// A number that tells whose stamp is whose: a sum over the entries, so that it is kept as they change.
    pub(crate) const fn digest(&self) -> u64 {
        self.digest
    }

    /// See [`Vector::raise`].
    pub(crate) fn raise(&mut self, server: ServerId, stamp: Stamp) -> bool {
        let before = self.vector.get(server);
        if !self.vector.raise(server, stamp) {
            return false;
        }
        if server == self.own {
            self.end = stamp;
        }
        let without = self.digest.wrapping_sub(part(server, before));
        self.digest = without.wrapping_add(part(server, stamp));
        true
    }

    /// Keeps the entries for which `keep` says so. Returns whether any was dropped.
    pub(crate) fn retain(&mut self, keep: impl FnMut(ServerId, Stamp) -> bool) -> bool {
        let before = self.vector.len();
        self.vector.retain(keep);
        let drops = self.vector.len() < before;
        if drops {
            self.dropped += 1;
            (self.end, self.digest) = self.found();
        }
        drops
    }

    /// The end and the digest, found anew.
    fn found(&self) -> (Stamp, u64) {
        let parts = self.vector.iter().map(|(server, stamp)| part(server, stamp));
        (self.vector.get(self.own), parts.fold(0, u64::wrapping_add))
    }

    /// Checks that what is kept is what would be found anew.
    pub(crate) fn check_kept(&self) {
        assert_eq!(
            (self.end, self.digest),
            self.found(),
            "the end and the digest of what is applied"
        );
    }
}

/// An entry's part of the digest; that of no entry is none. Mixed twice, or it would say only which stamps there are,
/// and not whose.
fn part(server: ServerId, stamp: Stamp) -> u64 {
    if stamp == Stamp::ZERO {
        return 0;
    }
    mix(mix(server.to_bits(), stamp.to_bits()), server.to_bits())
}

/// A multiply and a rotation per word: enough that any difference changes all that follows.
pub(crate) const fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Deref for Applied {
    type Target = Vector;

    fn deref(&self) -> &Vector {
        &self.vector
    }
}

/// As the vector that it is.
impl fmt::Debug for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.vector, f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_kept_of_the_applied_vector_is_what_it_says(
            steps in prop::collection::vec((0..6_u64, 0..9_u64, any::<bool>()), 0..30),
        ) {
            let server = ServerId::from_bits;
            let mut applied = Applied::new(server(2));
            let mut vector = Vector::default();
            for (of, stamp, drop) in steps {
                let (dropped, before) = (applied.dropped(), vector.clone());
                if drop {
                    vector.retain(|other, _| other != server(of));
                    let drops = applied.retain(|other, _| other != server(of));
                    prop_assert_eq!(drops, vector != before);
                } else {
                    let raised = vector.raise(server(of), Stamp::from_bits(stamp));
                    prop_assert_eq!(applied.raise(server(of), Stamp::from_bits(stamp)), raised);
                }
                applied.check_kept();
                prop_assert_eq!(applied.vector(), &vector);
                prop_assert_eq!(applied.end(), vector.get(server(2)));
                let covers = vector.covers(&before);
                prop_assert!(covers || applied.dropped() > dropped, "it only grows, but for drops");
            }
        }
    }

    #[test]
    fn a_digest_tells_whose_stamp_is_whose() {
        let digest = |stamps: [u64; 2]| {
            let mut applied = Applied::new(ServerId::ZERO);
            for (number, stamp) in (1..).zip(stamps) {
                applied.raise(ServerId::from_bits(number), Stamp::from_bits(stamp));
            }
            applied.digest()
        };
        let all: Vec<u64> = [[5, 9], [9, 5], [5, 0], [0, 0]].map(digest).into();
        assert_eq!(all[0], digest([5, 9]));
        assert!((1..all.len()).all(|n| !all[n..].contains(&all[n - 1])), "{all:?}");
    }
}
