//! Time, stamps and versions: when a write happened, and which of two writes is the later one.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::ServerId;

/// A reading of a server's clock: microseconds since the Unix epoch.
///
/// The engine never reads a clock; every call hands the time in. It must not go back from call to
/// call (a value that does is lifted to the newest one seen).
///
/// ```
/// use core::time::Duration;
/// use grapevine_core::Timestamp;
/// let t = Timestamp::from_millis(1_000);
/// assert_eq!((t + Duration::from_millis(5)).as_micros(), 1_005_000);
/// assert_eq!(t.since(Timestamp::from_millis(400)), Duration::from_millis(600));
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(#[serde(with = "crate::wire::fixed")] u64);

impl Timestamp {
    /// The Unix epoch; earlier than everything that happens.
    pub const ZERO: Self = Self(0);
    /// Later than everything that happens.
    pub const MAX: Self = Self(u64::MAX);

    /// A time from microseconds since the Unix epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// A time from milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Milliseconds since the Unix epoch, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The same in microseconds, for what every event asks.
    pub(crate) const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// So many microseconds later.
    pub(crate) const fn plus_micros(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// `duration` earlier, stopping at the epoch.
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }
}

/// The same as `Duration::as_micros` without numbers of 128 bits, which every event would pay for many times.
pub(crate) const fn micros(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_mul(1_000_000);
    whole.saturating_add(duration.subsec_micros() as u64)
}

impl core::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

/// A hybrid logical clock reading: 48 bits of milliseconds, 16 of counter (Kulkarni et al., 2014).
///
/// Strictly increasing per server. It is both the version of a write and the write's place in its
/// writer's stream.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp(#[serde(with = "crate::wire::fixed")] u64);

impl Stamp {
    /// Before every write.
    pub const ZERO: Self = Self(0);
    /// After every write.
    pub const MAX: Self = Self(u64::MAX);

    /// The first stamp of the millisecond that `time` lies in.
    pub const fn at(time: Timestamp) -> Self {
        Self(time.as_millis() << 16)
    }

    /// A stamp from its 64 bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The 64 bits: milliseconds above, counter below.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The clock part.
    pub const fn time(self) -> Timestamp {
        Timestamp::from_millis(self.0 >> 16)
    }

    /// The counter part.
    pub const fn counter(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// The next stamp after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The last stamp before this one.
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 16, self.counter())
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Which of two writes is the later one: a stamp, and the writer for the unlikely tie. A total
/// order.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Version {
    /// When, by the writer's hybrid clock.
    pub stamp: Stamp,
    /// Who wrote.
    pub server: ServerId,
}

impl Version {
    /// Before every write: the floor of a session that was never replaced.
    pub const ZERO: Self = Self { stamp: Stamp::ZERO, server: ServerId::ZERO };

    /// The version of `server`'s write at `stamp`.
    pub const fn new(stamp: Stamp, server: ServerId) -> Self {
        Self { stamp, server }
    }
}

/// The source of a server's stamps: never goes back, and moves past every stamp that it is shown.
#[derive(Clone, Debug, Default)]
pub struct HybridClock {
    newest: Stamp,
}

impl HybridClock {
    /// A new stamp, later than every one given out or observed before.
    pub fn tick(&mut self, now: Timestamp) -> Stamp {
        let stamp = Stamp::at(now).max(self.newest.next());
        debug_assert!(stamp > self.newest, "a stamp went back");
        self.newest = stamp;
        stamp
    }

    /// Moves past a stamp that came from elsewhere, so that a write that depends on it comes later.
    pub fn observe(&mut self, stamp: Stamp) {
        self.newest = self.newest.max(stamp);
    }

    /// The newest stamp given out or observed.
    pub const fn newest(&self) -> Stamp {
        self.newest
    }
}

/// The time that `nth + 1` of these have reached; `None` if there are no more than `nth`.
pub(crate) fn nth_latest(times: impl Iterator<Item = Timestamp>, nth: usize) -> Option<Timestamp> {
    /// Farms of up to nine ask this at each answer, and it takes no memory for them.
    const FEW: usize = 4;
    if nth >= FEW {
        let mut all: Vec<Timestamp> = times.collect();
        let enough = nth < all.len();
        return enough.then(|| *all.select_nth_unstable_by(nth, |a, b| b.cmp(a)).1);
    }
    let (mut latest, mut count) = ([Timestamp::ZERO; FEW], 0);
    for time in times {
        let later = latest[..count].iter().take_while(|&&other| other >= time).count();
        if later <= nth {
            count = (count + 1).min(nth + 1);
            latest[later..count].rotate_right(1);
            latest[later] = time;
        }
    }
    latest[..count].get(nth).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_go_on_when_the_clock_stands_still_or_steps_back() {
        let mut clock = HybridClock::default();
        let a = clock.tick(Timestamp::from_millis(10));
        let b = clock.tick(Timestamp::from_millis(10));
        let c = clock.tick(Timestamp::from_millis(3));
        assert!(a < b && b < c);
        assert_eq!(c.time(), Timestamp::from_millis(10));
        assert_eq!(c.counter(), 2);
    }

    #[test]
    fn a_write_comes_after_everything_its_server_has_seen() {
        let mut clock = HybridClock::default();
        let far = Stamp::at(Timestamp::from_millis(500));
        clock.observe(far);
        assert!(clock.tick(Timestamp::from_millis(10)) > far);
    }

    #[test]
    fn the_counter_flows_over_into_the_next_millisecond() {
        let mut clock = HybridClock::default();
        clock.observe(Stamp::from_bits(Stamp::at(Timestamp::from_millis(7)).to_bits() | 0xffff));
        let next = clock.tick(Timestamp::from_millis(7));
        assert_eq!(next, Stamp::at(Timestamp::from_millis(8)));
    }

    #[test]
    fn a_time_moves_by_the_microseconds_of_a_duration_and_stops_at_the_end() {
        let long = Duration::from_micros(u64::MAX);
        let some = [Duration::ZERO, Duration::from_nanos(1_999), Duration::new(7, 999_999_999)];
        for duration in
            some.into_iter().chain([long, long + Duration::from_micros(1), Duration::MAX])
        {
            let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
            assert_eq!(Timestamp::ZERO + duration, Timestamp::from_micros(micros), "{duration:?}");
            assert_eq!(Timestamp::MAX.before(duration).as_micros(), u64::MAX - micros);
        }
    }

    #[test]
    fn the_nth_latest_time_is_that_of_a_sorted_list() {
        let mut times: Vec<Timestamp> = [5, 1, 4, 1, 5, 9, 2, 6].map(Timestamp::from_millis).into();
        for nth in 0..10 {
            let found = nth_latest(times.iter().copied(), nth);
            let mut sorted = times.clone();
            sorted.sort();
            assert_eq!(found, sorted.iter().rev().nth(nth).copied(), "{nth}");
            times.rotate_left(1);
        }
    }
}
