//! The one place of the adapter that draws random numbers: jitter of reconnects, and the nonces of
//! handshakes. Seeded, so that a simulated run can be repeated.

use std::time::Duration;

use parking_lot::Mutex;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// The adapter's random stream; another one than the engine's, from the same seed.
#[derive(Debug)]
pub(crate) struct Random(Mutex<ChaCha20Rng>);

impl Random {
    pub(crate) fn new(seed: &[u8; 32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"grapevine links");
        hash.update(seed);
        Self(Mutex::new(ChaCha20Rng::from_seed(hash.finalize().into())))
    }

    /// Bytes that no one has seen before, for a handshake.
    pub(crate) fn nonce(&self) -> [u8; 32] {
        let mut nonce = [0; 32];
        self.0.lock().fill_bytes(&mut nonce);
        nonce
    }

    /// A number that tells this process from every other.
    pub(crate) fn number(&self) -> u64 {
        self.0.lock().next_u64()
    }

    /// A time from half of `time` to all of it, so that servers that lost the same peer at the same
    /// moment don't come back to it at the same moment.
    pub(crate) fn jitter(&self, time: Duration) -> Duration {
        let half = u64::try_from(time.as_micros() / 2).unwrap_or(u64::MAX);
        let drawn = if half == 0 { 0 } else { self.0.lock().next_u64() % half };
        time / 2 + Duration::from_micros(drawn)
    }
}

/// How long to wait before dialling again: doubles from [`Backoff::FIRST`] to [`Backoff::LONGEST`].
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) const FIRST: Duration = Duration::from_millis(50);
    pub(crate) const LONGEST: Duration = Duration::from_secs(2);

    pub(crate) const fn new() -> Self {
        Self(Self::FIRST)
    }

    /// The next wait, with jitter.
    pub(crate) fn next(&mut self, random: &Random) -> Duration {
        let wait = random.jitter(self.0);
        self.0 = (self.0 * 2).min(Self::LONGEST);
        wait
    }

    /// The link stood: the next failure is a new one.
    pub(crate) fn reset(&mut self) {
        self.0 = Self::FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_two_seconds_and_start_again_after_a_link_that_stood() {
        let random = Random::new(&[1; 32]);
        let mut backoff = Backoff::new();
        let mut whole = Backoff::FIRST;
        for _ in 0..10 {
            let wait = backoff.next(&random);
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
            whole = (whole * 2).min(Backoff::LONGEST);
        }
        assert_eq!(whole, Backoff::LONGEST);
        backoff.reset();
        assert!(backoff.next(&random) <= Backoff::FIRST);
    }

    #[test]
    fn the_same_seed_draws_the_same_numbers() {
        let draw = |seed| {
            let random = Random::new(&[seed; 32]);
            (random.nonce(), random.number(), random.jitter(Duration::from_secs(1)))
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
