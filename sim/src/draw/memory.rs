//! Draws how often servers compare their copies, and damage to their memories for it to find. Drawn
//! apart, so that all other draws are as they are without.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::scenario::{Fault, Memory, Scenario, Timed};

const DAMAGE: [Memory; 4] =
    [Memory::LostCopy, Memory::LostAttribute, Memory::FlippedValue, Memory::LostAdd];

pub(super) fn add(scenario: &mut Scenario) {
    let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed ^ 0x3e3_0417);
    let damaged = rng.random_bool(0.1);
    if damaged || rng.random_bool(0.25) {
        // All servers must have compared with all others before the farm must have converged.
        scenario.limits.verify_every_ms = Some(rng.random_range(100..600));
    }
    for _ in 0..if damaged { rng.random_range(1..6) } else { 0 } {
        let at_s = (rng.random_range(0.0..scenario.duration_s) * 1000.0).round() / 1000.0;
        let server = rng.random_range(1..=scenario.servers);
        let what = DAMAGE[rng.random_range(0..DAMAGE.len())];
        let fault = Fault::CorruptMemory { server, what, pick: rng.random_range(0..1000) };
        let place = scenario.faults.partition_point(|timed| timed.at_s <= at_s);
        scenario.faults.insert(place, Timed { at_s, fault });
    }
}
