//! How a run ended, for people and for scripts.

use std::collections::BTreeMap;
use std::time::Duration;

use grapevine_core::Timestamp;
use serde::Serialize;

use super::{Run, START};

/// A broken guarantee.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Broken {
    /// Which: `G1` to `G10`, `panic`, or `undecided` for a run that does not come to its end, or that the
    /// machine was too slow for.
    pub guarantee: String,
    /// How.
    pub sentence: String,
    /// Of a panic: where in the source, if [`hush_runs`](crate::hush_runs) was called.
    #[serde(skip)]
    pub place: Option<String>,
    /// When, in simulated seconds since the start, with all of their microseconds.
    pub at_s: f64,
    /// After how many events.
    pub event: u64,
}

/// Where time is real, a run in which nothing waited longer for the machine is judged as ever: half of a
/// heartbeat.
const IN_TIME: Duration = Duration::from_millis(100);
/// Guarantees that speak of time: a slow machine can break them by itself.
const BY_TIME: [&str; 4] = ["G1", "G4", "G5", "G7"];

impl Broken {
    /// A time as these are told: the number that is nearest, so that it is written with six decimals at most.
    pub(crate) fn seconds(at: Timestamp) -> f64 {
        at.since(START).as_micros() as f64 / 1e6
    }

    /// What a smaller schedule must break too: the guarantee, and of a panic, the place in the source as well, for two
    /// assertions that fail are two bugs.
    pub fn what(&self) -> String {
        match &self.place {
            Some(place) => format!("{} at {place}", self.guarantee),
            None => self.guarantee.clone(),
        }
    }

    /// Says that the machine may have done it.
    fn doubt(&mut self, late: Duration) {
        let guarantee = std::mem::replace(&mut self.guarantee, "undecided".to_owned());
        self.sentence = format!(
            "the machine kept something waiting for {late:.0?}, which may be why {guarantee} does not hold: {}",
            self.sentence
        );
    }
}

/// How a run ended.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The scenario's seed.
    pub seed: u64,
    /// `pass` or `fail`; or `undecided`, where time is real and the machine was too slow to tell.
    pub verdict: &'static str,
    /// What it ran on: `queue` or another harness.
    pub harness: &'static str,
    /// What of the scenario that harness left out, or did in another way.
    pub left_out: Vec<String>,
    /// Where time is real: for how long the machine kept something waiting, at most, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_ms: Option<f64>,
    /// What was broken.
    pub broken: Option<Broken>,
    /// Events handled.
    pub events: u64,
    /// Messages delivered.
    pub messages: u64,
    /// Simulated seconds.
    pub simulated_s: f64,
    /// Real seconds.
    pub wall_s: f64,
    /// Servers configured.
    pub servers: u16,
    /// The rolling hash over everything, in hex.
    pub trace_hash: String,
    /// Rare paths and the engines' counters, by name → how often.
    pub coverage: BTreeMap<String, u64>,
    /// Coverage marks: rare paths, by name → how often they were taken.
    pub marks: BTreeMap<String, u64>,
    /// Rare choices, by name → how often they were forced.
    pub forced: BTreeMap<String, u64>,
    /// Guarantee → how much its check looked at.
    pub looked: BTreeMap<String, u64>,
    /// Rule of a check → how much it looked at.
    pub rules: BTreeMap<String, u64>,
}

impl Run {
    /// The outcome of a run that a panic has stopped, at a place in the source, if that is known.
    pub(crate) fn panicked(&mut self, place: &str, text: &str) -> Outcome {
        let sentence = if place.is_empty() { text.to_owned() } else { format!("{place}: {text}") };
        self.fail("panic", sentence);
        let broken = self.broken.as_mut().filter(|broken| broken.guarantee == "panic");
        if let Some(broken) = broken.filter(|_| !place.is_empty()) {
            broken.place = Some(place.to_owned());
        }
        self.outcome(Duration::ZERO)
    }

    pub(super) fn outcome(&mut self, wall: Duration) -> Outcome {
        for server in 0..self.world.size() {
            if let Some(engine) = self.world.running(server) {
                crate::coverage::count(&engine.counters(), &mut self.coverage);
            }
        }
        let running = (0..self.world.size()).filter_map(|server| self.world.running(server));
        let [forced, marks] = self.world.rare.counts(running);
        self.coverage.extend(marks.clone());
        let looked =
            self.checks.iter().map(|check| (check.about().name.to_owned(), check.looked()));
        let mut rules = self.tally.counts();
        rules.extend(self.world.traffic.rules());
        let late = self.harness.as_ref().and_then(|harness| harness.servers.late());
        let doubtful = late.is_some_and(|late| late > IN_TIME);
        let verdict = match &mut self.broken {
            None => "pass",
            Some(broken) if doubtful && BY_TIME.contains(&&*broken.guarantee) => {
                broken.doubt(late.unwrap_or_default());
                "undecided"
            }
            Some(_) => "fail",
        };
        Outcome {
            seed: self.scenario.seed,
            verdict,
            late_ms: late.map(|late| (late.as_secs_f64() * 1e6).round() / 1000.0),
            harness: self.on.name(),
            left_out: self.left_out.iter().map(|&what| what.to_owned()).collect(),
            broken: self.broken.clone(),
            events: self.world.events(),
            messages: self.world.messages(),
            simulated_s: self.world.now().since(START).as_secs_f64(),
            wall_s: wall.as_secs_f64(),
            servers: self.scenario.servers,
            trace_hash: format!("{:016x}", self.world.trace_hash()),
            coverage: std::mem::take(&mut self.coverage),
            marks,
            forced,
            looked: looked.collect(),
            rules,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn a_script_reads_when_it_broke_as_a_number_of_seconds_with_microseconds() {
        for micros in [0, 1, 12_345_678, 1_999_999, 86_400_000_001] {
            let at_s = Broken::seconds(START + Duration::from_micros(micros));
            let broken = Broken {
                guarantee: "G1".into(),
                sentence: "so".into(),
                place: None,
                at_s,
                event: 7,
            };
            let json = serde_json::to_value(&broken).expect("JSON");
            let read = json["at_s"].as_f64().expect("a number");
            assert_eq!((read * 1e6).round() as u64, micros);
            assert!(at_s.to_string().split('.').nth(1).is_none_or(|decimals| decimals.len() <= 6));
            assert!(json["event"].is_u64() && json["guarantee"].is_string());
        }
    }

    #[test]
    fn two_assertions_that_fail_are_two_bugs_and_a_guarantee_is_one_whatever_it_says() {
        let scenario = Scenario::drawn(3);
        let panicked = |place| Run::new(&scenario).panicked(place, "left: 1").broken.expect("it");
        let [here, there] = ["core/src/a.rs:7", "core/src/a.rs:8"].map(panicked);
        assert_eq!(here.what(), "panic at core/src/a.rs:7");
        assert_eq!(here.sentence, "core/src/a.rs:7: left: 1");
        assert_ne!(here.what(), there.what());
        assert_eq!(panicked("").what(), "panic", "nobody has asked where");
        let mut run = Run::new(&scenario);
        run.fail("G3", "x: was lost".to_owned());
        assert_eq!(run.outcome(Duration::ZERO).broken.expect("it").what(), "G3");
    }
}
