//! What is counted while customers shop.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::SERVERS;

/// A count that all tasks share.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// One more.
    pub(super) fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// Interactions that were begun.
    pub(super) interactions: Count,
    /// Of them, those that were served with their session, by server.
    pub(super) by_server: [Count; SERVERS],
    /// Interactions that found their session.
    pub(super) found: Count,
    /// Times that a customer went on to another server, because one refused the connection or said
    /// that it could not tell.
    pub(super) moved_on: Count,
    /// Writes whose connection died before the answer.
    pub(super) in_doubt: Count,
    /// Writes that stand, though not confirmed by another server in time.
    pub(super) not_replicated: Count,
    /// Log-ins whose connection died before the answer: each may have left a session behind.
    pub(super) login_in_doubt: Count,
    latencies: Mutex<Vec<Duration>>,
}

impl Board {
    /// An interaction that a server served.
    pub(super) fn served(&self, at: usize) {
        self.found.one();
        self.by_server[at].one();
    }

    /// How long one exchange with a server took.
    pub(super) fn took(&self, time: Duration) {
        if let Ok(mut latencies) = self.latencies.lock() {
            latencies.push(time);
        }
    }

    /// The times below which half and 99 of 100 exchanges stayed.
    pub(super) fn percentiles(&self) -> (Duration, Duration) {
        let mut sorted = self.latencies.lock().map(|all| all.clone()).unwrap_or_default();
        sorted.sort();
        let at = |part: usize| {
            sorted.get((sorted.len() * part / 100).min(sorted.len().saturating_sub(1))).copied()
        };
        (at(50).unwrap_or_default(), at(99).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let board = Board::default();
        assert_eq!(board.percentiles(), (Duration::ZERO, Duration::ZERO));
        for ms in (1..=200).rev() {
            board.took(Duration::from_millis(ms));
        }
        assert_eq!(board.percentiles(), (Duration::from_millis(101), Duration::from_millis(199)));
    }
}
