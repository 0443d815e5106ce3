//! Draws farms where sessions may live for seconds only: what is kept for the longest life of a session
//! (records of revocations, entries of contexts, processes of long ago) comes to its end within the run.
//! Drawn apart, so that all other draws are as they are without.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::scenario::{Kind, Scenario};

pub(super) fn add(scenario: &mut Scenario) {
    let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed ^ 0x11_fe5);
    if !rng.random_bool(0.12) {
        return;
    }
    let most = rng.random_range(2..25);
    let anonymous = if rng.random_bool(0.4) { rng.random_range(1..=most) } else { most };
    scenario.limits.max_lifetime_s = Some(most);
    scenario.limits.anonymous_lifetime_s = (anonymous < most).then_some(anonymous);
    let workload = &mut scenario.workload;
    // Now and then customers ask for more than the farm allows.
    let asked = if rng.random_bool(0.9) { anonymous } else { most };
    workload.lifetime_s = workload.lifetime_s.min(asked);
    workload.idle_timeout_s = workload.idle_timeout_s.min(most - 1);
    if rng.random_bool(0.7) {
        for kind in [Kind::Rotate, Kind::Revoke] {
            if !workload.kinds.contains(&kind) {
                workload.kinds.push(kind);
            }
        }
    }
}
