//! Draws farms of other sizes than the usual, and which server's clock may be far off. Drawn apart, so that
//! all other seeds' draws are as they are without.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::scenario::Scenario;

/// Farms from this size on are large: what happens there grows as pairs of servers do.
const LARGE: u16 = 9;

/// How many servers there are, and whose clock may be far off.
pub(super) fn drawn(seed: u64, usual: u16) -> (u16, u16) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xfa_4235);
    let servers = match rng.random_range(0..100) {
        0..4 => 1,
        4..7 => 2,
        7 => rng.random_range(LARGE..=16),
        _ => usual,
    };
    (servers, rng.random_range(1..=servers))
}

/// Fewer customers in a large farm, so that its run takes no longer than it must.
pub(super) fn lighten(scenario: &mut Scenario) {
    if scenario.servers >= LARGE {
        let workload = &mut scenario.workload;
        workload.customers = workload.customers.min(4);
        workload.think_ms.1 = workload.think_ms.1.max(1500);
    }
}
