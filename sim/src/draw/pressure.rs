//! Draws farms with little memory, and floods of sessions that nobody comes back to, while customers
//! log in and shop. Drawn apart, so that all other draws are as they are without.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::scenario::{Fault, Kind, Scenario, Timed};

pub(super) fn add(scenario: &mut Scenario) {
    let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed ^ 0xf1_00d);
    if !rng.random_bool(0.1) {
        return;
    }
    let limits = &mut scenario.limits;
    limits.bytes_per_origin = Some(rng.random_range(16_384..60_000));
    limits.session_bytes = None;
    // Repairs must bring all of them before the farm must have converged.
    limits.pull_budget = limits.pull_budget.map(|bytes| bytes.max(4096));
    limits.anonymous_percent = Some(rng.random_range(10..91));
    limits.evict_anonymous = rng.random_bool(0.6).then_some(true);
    if rng.random_bool(0.5) {
        limits.slots_per_origin = Some(rng.random_range(8..80));
    }
    for kind in [Kind::Rotate, Kind::LogIn, Kind::Set] {
        if !scenario.workload.kinds.contains(&kind) {
            scenario.workload.kinds.push(kind);
        }
    }
    // Mostly one server's, sometimes anybody's.
    let one = rng.random_bool(0.5).then(|| rng.random_range(1..=scenario.servers));
    for _ in 0..rng.random_range(2..15) {
        let at_s = (rng.random_range(0.0..scenario.duration_s) * 1000.0).round() / 1000.0;
        let server = one.unwrap_or_else(|| rng.random_range(1..=scenario.servers));
        let (sessions, bytes) = (rng.random_range(1..16), rng.random_range(0..900));
        let fault = Fault::Flood { server, sessions, bytes };
        let place = scenario.faults.partition_point(|timed| timed.at_s <= at_s);
        scenario.faults.insert(place, Timed { at_s, fault });
    }
}
