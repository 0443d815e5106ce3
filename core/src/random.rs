//! Two kinds of randomness from one seed: secrets, and jitter. What an observer learns of the one
//! tells nothing about the other.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use crate::id::Secret;

/// The two streams of an engine.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    secrets: ChaCha20Rng,
    jitter: ChaCha20Rng,
}

impl Random {
    /// The streams of this seed. The same seed gives the same streams on every machine.
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        let stream = |label: &[u8]| {
            let mut hash = Sha256::new();
            hash.update(label);
            hash.update(seed);
            ChaCha20Rng::from_seed(hash.finalize().into())
        };
        Self { secrets: stream(b"grapevine secrets"), jitter: stream(b"grapevine jitter") }
    }

    /// How much was drawn of each stream.
    pub(crate) fn drawn(&self) -> (u128, u128) {
        (self.secrets.get_word_pos(), self.jitter.get_word_pos())
    }

    /// 128 unguessable bits.
    pub(crate) fn secret(&mut self) -> Secret {
        let mut bytes = [0; 16];
        self.secrets.fill_bytes(&mut bytes);
        Secret::from_bytes(bytes)
    }

    /// A number below `bound` (zero if `bound` is), for choices that need not be secret.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // The bias of a remainder of 64 bits is far below anything a choice of peers can show.
        if bound == 0 { 0 } else { (self.jitter.next_u64() % bound as u64) as usize }
    }
}
