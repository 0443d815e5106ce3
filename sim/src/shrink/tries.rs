//! The runs of smaller schedules.

use std::time::Duration;

use crate::run::{Outcome, Run};
use crate::scenario::Scenario;
use crate::swarm::finish;
use crate::world::START;

/// A smaller schedule may break a guarantee so much later than a larger one did: what customers no longer
/// ask for they see when they look for the last time, after healing.
const LATER: Duration = Duration::from_secs(15);

/// Runs schedules that are to break a guarantee. A run is stopped, and counts as one that breaks nothing, when its time
/// is well past that at which a run before it broke that.
#[derive(Debug)]
pub struct Tries {
    /// What is to be broken.
    guarantee: String,
    /// When it was at the earliest.
    earliest: Option<Duration>,
}

impl Tries {
    /// For schedules that are to break this guarantee, by [`Broken::what`](crate::Broken::what).
    pub fn of(guarantee: &str) -> Self {
        Self { guarantee: guarantee.to_owned(), earliest: None }
    }

    /// Which guarantee a schedule breaks, if any, by [`Broken::what`](crate::Broken::what).
    pub fn broken(&mut self, scenario: &Scenario) -> Option<String> {
        let broken = self.run(scenario).broken?;
        let what = broken.what();
        if let Ok(at) = Duration::try_from_secs_f64(broken.at_s)
            && what == self.guarantee
        {
            self.earliest = Some(self.earliest.map_or(at, |earliest| earliest.min(at)));
        }
        Some(what)
    }

    fn run(&self, scenario: &Scenario) -> Outcome {
        let mut run = Run::new(scenario);
        if let Some(at) = self.earliest {
            run.stop_after(START + at + LATER);
        }
        finish(&mut run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_stopped_when_it_has_held_for_longer_than_the_one_that_broke() {
        let drawn = Scenario::drawn(3);
        let whole = Tries::of("G3").run(&drawn);
        assert!(whole.broken.is_none() && whole.simulated_s > 50.0, "{}", whole.simulated_s);
        let tries = Tries { earliest: Some(Duration::from_secs(5)), ..Tries::of("G3") };
        let stopped = tries.run(&drawn);
        assert!(stopped.simulated_s < 25.0, "{}", stopped.simulated_s);
        assert!(stopped.events * 2 < whole.events);
        assert_eq!(stopped.broken.map(|broken| broken.guarantee).as_deref(), Some("stopped"));
    }
}
