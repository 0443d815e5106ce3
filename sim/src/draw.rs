//! From a seed to a scenario: swarm testing draws which kinds of fault and which features a run has
//! at all, so that each run goes deep in some and the swarm goes through all (Groce et al., 2012).

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::scenario::{
    Buggify, Delay, FarmAcks, Fault, Heal, Kind, Limits, Links, OwnDelay, Scenario, Timed, Workload,
};

mod farms;
mod faults;
mod leaving;
mod lives;
mod loops;
mod memory;
mod pressure;
mod shapes;

/// What a run may have, apart from what it always has.
const FEATURES: [&str; 18] = [
    "crash",
    "pause",
    "leave",
    "slow",
    "partition",
    "isolate",
    "one_way",
    "bridge",
    "clog",
    "swizzle",
    "flapping",
    "weather",
    "clock",
    "restart_clock",
    "rolling",
    "later",
    "own_delays",
    "tiny",
];
/// How probable each of them is: drawn first, so that some runs are calm and some are not.
const CHANCES: [f64; 4] = [0.08, 0.2, 0.35, 0.5];

/// Draws scenarios.
struct Draw {
    rng: ChaCha8Rng,
    servers: u16,
    /// The one server whose clock may be far off: a farm whose majority is wrong has no right time.
    far: u16,
    duration: f64,
    faults: Vec<Timed>,
    later: Vec<u16>,
}

impl Scenario {
    /// The scenario that this seed stands for: 60 simulated seconds, faults drawn.
    pub fn drawn(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let usual = [3, 3, 3, 3, 4, 5, 2, 7][rng.random_range(0..8)];
        let (servers, far) = farms::drawn(seed, usual);
        let duration = 40.0;
        let chance = CHANCES[rng.random_range(0..CHANCES.len())];
        let on: Vec<&str> = FEATURES.into_iter().filter(|_| rng.random_bool(chance)).collect();
        let mut draw = Draw { rng, servers, far, duration, faults: Vec::new(), later: Vec::new() };
        for feature in &on {
            draw.feature(feature);
        }
        draw.faults.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        let tiny = on.contains(&"tiny");
        let limits = draw.limits(tiny);
        let network = draw.network(on.contains(&"weather"), on.contains(&"own_delays"));
        let workload = draw.workload();
        let heal = if draw.rng.random_bool(0.75) { Heal::All } else { Heal::Majority };
        let buggify = Buggify::drawn(seed);
        let Draw { faults, later, .. } = draw;
        let (duration_s, requests) = (duration, Vec::new());
        let mut scenario = Self {
            seed,
            servers,
            later,
            duration_s,
            heal,
            limits,
            network,
            workload,
            buggify,
            faults,
            requests,
        };
        more_kinds(&mut scenario);
        shapes::shape(&mut scenario);
        leaving::add(&mut scenario);
        // What would be mended later is not: healing finds it as it is.
        scenario.faults.retain(|timed| timed.at_s <= duration_s);
        shapes::give_up(&mut scenario);
        cut_off(&mut scenario);
        farms::lighten(&mut scenario);
        local_reads(&mut scenario);
        farm_times(&mut scenario);
        some_acks(&mut scenario);
        memory::add(&mut scenario);
        pressure::add(&mut scenario);
        lives::add(&mut scenario);
        loops::add(&mut scenario);
        scenario
    }
}

/// In some runs, cut-off servers serve nothing. Drawn apart, so that all other draws are as they are
/// without.
fn cut_off(scenario: &mut Scenario) {
    let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed ^ 0x15_01);
    scenario.limits.refuse_when_isolated = rng.random_bool(0.25).then_some(true);
}

/// Kinds of request that are drawn apart.
const APART: [Kind; 2] = [Kind::Several, Kind::List];

/// More kinds of request, and what writes wait for that leave it to the farm. Drawn apart.
fn more_kinds(scenario: &mut Scenario) {
    let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed ^ 0x5e_7e6a1);
    let more = APART.into_iter().filter(|_| rng.random_bool(0.5));
    scenario.workload.kinds.extend(more);
    let acks = [FarmAcks::Local, FarmAcks::Majority, FarmAcks::All];
    scenario.limits.acks = rng.random_bool(0.3).then(|| acks[rng.random_range(0..acks.len())]);
}

/// In some runs of three servers or more a write that leaves it to the farm waits for one other, or two. Drawn
/// apart, when it is known how many servers there are.
fn some_acks(scenario: &mut Scenario) {
    let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed ^ 0xac_2ac2);
    let some = [FarmAcks::One, FarmAcks::Two][rng.random_range(0..2)];
    if rng.random_bool(0.07) && scenario.servers > 2 {
        scenario.limits.acks = Some(some);
    }
}

/// In some runs servers read as real ones do. Drawn apart.
fn local_reads(scenario: &mut Scenario) {
    let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed ^ 0x10_ca1);
    scenario.workload.local_reads = rng.random_bool(0.4);
}

/// In some runs customers leave sessions' times to the farm. Drawn apart.
fn farm_times(scenario: &mut Scenario) {
    let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed ^ 0xfa_7135);
    scenario.workload.farm_times = rng.random_bool(0.3);
}

impl Draw {
    fn time(&mut self) -> f64 {
        // Rounded, because people read it.
        (self.rng.random_range(0.0..self.duration) * 1000.0).round() / 1000.0
    }

    fn after(&mut self, at: f64, shortest: f64, longest: f64) -> f64 {
        ((at + self.rng.random_range(shortest..longest)) * 1000.0).round() / 1000.0
    }

    /// A number that people can read.
    fn rounded(&mut self, least: f64, most: f64) -> f64 {
        (self.rng.random_range(least..most) * 100.0).round() / 100.0
    }

    fn server(&mut self) -> u16 {
        self.rng.random_range(1..=self.servers)
    }

    fn pair(&mut self) -> (u16, u16) {
        let from = self.server();
        let step = self.rng.random_range(1..self.servers);
        (from, (from - 1 + step) % self.servers + 1)
    }

    fn add(&mut self, at_s: f64, fault: Fault) {
        self.faults.push(Timed { at_s, fault });
    }

    fn limits(&mut self, tiny: bool) -> Limits {
        let mut limits = Limits {
            pull_budget: self.rng.random_bool(0.5).then(|| self.rng.random_range(1..4096)),
            offer_above: self.rng.random_bool(0.5).then(|| self.rng.random_range(0..1500)),
            answer_all: self.rng.random_bool(0.3).then_some(true),
            ..Limits::default()
        };
        if tiny {
            limits.pending_forwards = Some(self.rng.random_range(0..3));
            limits.slots_per_origin = Some(self.rng.random_range(2..12));
            limits.session_bytes = Some(self.rng.random_range(1024..3000));
            limits.attributes_per_session = Some(self.rng.random_range(2..10));
            limits.pending_requests = Some(self.rng.random_range(1..8));
        }
        limits
    }

    fn network(&mut self, weather: bool, own: bool) -> Links {
        let delay = self.delay();
        let mut links = Links { delay, ..Links::default() };
        if weather {
            let [loss, repeats, corruption] =
                [0.05, 0.05, 0.01].map(|most| self.rng.random_range(0.0..most));
            (links.loss, links.repeats, links.corruption) = (loss, repeats, corruption);
        }
        links.in_order = self.rng.random_bool(0.6);
        if self.rng.random_bool(0.2) {
            links.queue = self.rng.random_range(1..30);
        }
        let all = 1..=if own { self.servers } else { 0 };
        for (from, to) in all.clone().flat_map(|from| all.clone().map(move |to| (from, to))) {
            if from != to && self.rng.random_bool(0.5) {
                links.own.push(OwnDelay { from, to, delay: self.delay() });
            }
        }
        links
    }

    fn delay(&mut self) -> Delay {
        let usual_ms = self.rounded(0.1, 20.0);
        match self.rng.random_range(0..8) {
            0..3 => Delay::Uniform { min_ms: 0.1, max_ms: usual_ms },
            3..5 => Delay::LongTail { usual_ms, rare_ms: self.rounded(20.0, 900.0), rare: 0.02 },
            5 => Delay::Fixed { ms: usual_ms },
            6 => Delay::Hump { min_ms: 0.1, max_ms: usual_ms * 2.0 },
            _ => Delay::Halving { least_ms: 0.1, half_ms: usual_ms / 4.0, most_ms: 500.0 },
        }
    }

    fn workload(&mut self) -> Workload {
        let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !APART.contains(kind)).collect();
        let kinds: Vec<Kind> = kinds.into_iter().filter(|_| self.rng.random_bool(0.6)).collect();
        let idle = kinds.contains(&Kind::Idle);
        Workload {
            customers: self.rng.random_range(1..10),
            think_ms: (5, self.rng.random_range(100..2500)),
            patience_ms: self.rng.random_range(300..4000),
            idle_timeout_s: if idle { self.rng.random_range(4..12) } else { 600 },
            lifetime_s: if self.rng.random_bool(0.2) {
                self.rng.random_range(12..40)
            } else {
                3600
            },
            local_reads: false,
            farm_times: false,
            kinds,
        }
    }
}

#[cfg(test)]
mod tests;
