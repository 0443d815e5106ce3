//! Draws a server that dies of its customers again and again, in a farm that remembers few processes: in each of
//! its lives it is asked to write before it hears the others. Drawn apart, so that all other draws are as
//! they are without.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::scenario::{Delay, Fault, Scenario, Timed};

pub(super) fn add(scenario: &mut Scenario) {
    let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed ^ 0x1_00b5);
    if !(2..6).contains(&scenario.servers) || !rng.random_bool(0.03) {
        return;
    }
    // Each number's share, and as much again.
    let share = rng.random_range(2..5);
    let limits = &mut scenario.limits;
    limits.known_servers = Some(u32::from(scenario.servers) * 2 * share);
    // What its processes write stays, and nothing else refuses it.
    (limits.slots_per_origin, limits.bytes_per_origin) = (None, None);
    (limits.max_lifetime_s, limits.anonymous_lifetime_s) = (None, None);
    scenario.workload.lifetime_s = 3600;
    // Who reaches nobody as it starts can't know how many places it has: nothing else goes wrong.
    scenario.network.loss = scenario.network.loss.min(0.05);
    scenario.network.delay = Delay::Uniform { min_ms: 0.2, max_ms: rng.random_range(0.5..20.0) };
    scenario.network.own.clear();
    scenario.buggify.points.retain(|point| point != "starting_ignored");
    scenario.faults.clear();
    let server = rng.random_range(1..=scenario.servers);
    let mut at = 0.0;
    for _ in 0..rng.random_range(10..60) {
        let mut add = |fault| {
            let at_s = (at * 1000.0_f64).round() / 1000.0;
            if at_s < scenario.duration_s {
                scenario.faults.push(Timed { at_s, fault });
            }
        };
        add(Fault::Crash { server });
        add(Fault::Start { server });
        add(Fault::Flood { server, sessions: 1, bytes: 100 });
        at += rng.random_range(0.1..0.6);
    }
}
