//! How a run ended, for people and for scripts.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::{Run, START};

/// A broken guarantee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Which: `G1` to `G10`, `panic`, or `undecided` for a run that does not come to its end.
    pub guarantee: String,
    /// How.
    pub sentence: String,
    /// When, in simulated seconds since the start.
    pub at_s: String,
    /// After how many events.
    pub event: u64,
}

/// How a run ended.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The scenario's seed.
    pub seed: u64,
    /// `pass` or `fail`.
    pub verdict: &'static str,
    /// What it ran on: `queue` or another harness.
    pub harness: &'static str,
    /// What of the scenario that harness left out, or did in another way.
    pub left_out: Vec<String>,
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
    /// The outcome of a run that a panic has stopped.
    pub(crate) fn panicked(&mut self, text: String) -> Outcome {
        self.fail("panic", text);
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
        Outcome {
            seed: self.scenario.seed,
            verdict: if self.broken.is_some() { "fail" } else { "pass" },
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
