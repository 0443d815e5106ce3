//! Time for the engine: wall time at the start, then monotonic time, brought back to wall time
//! without ever going back itself.

use std::time::Duration;

use arc_swap::ArcSwap;
use grapevine_core::Timestamp;
use parking_lot::Mutex;

use crate::net::time::Instant;

/// Differences below this are the noise of reading two clocks one after the other.
const TOLERANCE: Duration = Duration::from_millis(1);

/// How often wall time is looked at: a step of wall time matters to people, not to the engine.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The clock of one server. Reading it takes no lock.
#[derive(Debug)]
pub(crate) struct Clock {
    wall: fn() -> u64,
    anchor: ArcSwap<Anchor>,
    looked: Mutex<Instant>,
}

/// Time as a function of monotonic time: half speed for `slow`, then full speed.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    at: Instant,
    time: Timestamp,
    slow: Duration,
}

impl Anchor {
    fn read(&self, now: Instant) -> Timestamp {
        let elapsed = now.saturating_duration_since(self.at);
        self.time + (elapsed - elapsed.min(self.slow) / 2)
    }

    /// The anchor that brings time and wall time together again, if they are apart.
    fn towards(&self, wall: Timestamp, now: Instant) -> Option<Self> {
        let time = self.read(now);
        let (ahead, behind) = (wall.since(time), time.since(wall));
        if ahead > TOLERANCE {
            Some(Self { at: now, time: wall, slow: Duration::ZERO })
        } else if behind > TOLERANCE {
            // While time makes one step, wall time makes two: they meet after twice the difference.
            Some(Self { at: now, time, slow: behind * 2 })
        } else {
            None
        }
    }
}

impl Clock {
    /// A clock that starts at what `wall` (microseconds since the Unix epoch) says now.
    pub(crate) fn new(wall: fn() -> u64) -> Self {
        let at = Instant::now();
        let time = Timestamp::from_micros(wall());
        let anchor = Anchor { at, time, slow: Duration::ZERO };
        Self { wall, anchor: ArcSwap::from_pointee(anchor), looked: Mutex::new(at) }
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.anchor.load().read(Instant::now())
    }

    /// Looks at wall time, now and then: steps forward if it is ahead, and runs at half speed until
    /// they meet if it is behind. The driver calls it whenever it wakes.
    pub(crate) fn adjust(&self) {
        let now = Instant::now();
        let mut looked = self.looked.lock();
        if now.saturating_duration_since(*looked) < LOOK_EVERY {
            return;
        }
        *looked = now;
        let wall = Timestamp::from_micros((self.wall)());
        if let Some(anchor) = self.anchor.load().towards(wall, now) {
            self.anchor.store(std::sync::Arc::new(anchor));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn anchor(at: Instant) -> Anchor {
        Anchor { at, time: Timestamp::from_millis(10_000), slow: Duration::ZERO }
    }

    #[test]
    fn the_clock_steps_forward_when_wall_time_is_ahead() {
        let at = Instant::now();
        let stepped = anchor(at).towards(Timestamp::from_millis(10_900), at + MS(100)).unwrap();
        assert_eq!(stepped.read(at + MS(100)), Timestamp::from_millis(10_900));
        assert_eq!(stepped.read(at + MS(150)), Timestamp::from_millis(10_950));
    }

    #[test]
    fn the_clock_runs_at_half_speed_until_it_meets_wall_time_and_never_goes_back() {
        let at = Instant::now();
        // Wall time was set back by 400 ms.
        let slow = anchor(at).towards(Timestamp::from_millis(9_600), at).unwrap();
        let mut last = Timestamp::ZERO;
        for ms in 0..2_000 {
            let time = slow.read(at + MS(ms));
            assert!(time > last, "went back or stood still after {ms} ms");
            last = time;
        }
        assert_eq!(slow.read(at + MS(400)), Timestamp::from_millis(10_200), "half speed");
        assert_eq!(slow.read(at + MS(800)), Timestamp::from_millis(10_400), "wall: 9.6 s + 0.8 s");
        assert_eq!(slow.read(at + MS(1_000)), Timestamp::from_millis(10_600), "full speed again");
    }

    #[test]
    fn a_second_look_while_running_slowly_changes_nothing() {
        let at = Instant::now();
        let slow = anchor(at).towards(Timestamp::from_millis(9_600), at).unwrap();
        let again = slow.towards(Timestamp::from_millis(9_800), at + MS(200)).unwrap();
        for ms in 200..1_500 {
            assert_eq!(again.read(at + MS(ms)), slow.read(at + MS(ms)), "after {ms} ms");
        }
    }

    #[test]
    fn noise_between_two_clocks_is_left_alone() {
        let at = Instant::now();
        let wall = Timestamp::from_micros(10_000_900);
        assert!(anchor(at).towards(wall, at).is_none());
        assert!(anchor(at).towards(Timestamp::from_micros(9_999_100), at).is_none());
    }
}
