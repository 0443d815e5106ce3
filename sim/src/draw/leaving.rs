//! Draws what goes wrong while a server leaves: it dies, is paused, or can't reach the others that it
//! waits for, or one of those does. Drawn apart, so that all other draws are as they are without.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::scenario::{Fault, Scenario, Timed};

/// How long a leaving server waits for the others at most, in seconds.
const WAITS: f64 = 3.0;

pub(super) fn add(scenario: &mut Scenario) {
    let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed ^ 0x1ea_7e5);
    let leaves: Vec<(f64, u16)> = scenario.faults.iter().filter_map(leaves).collect();
    for (at, server) in leaves {
        if rng.random_bool(0.5) {
            disturb(&mut rng, scenario, at, server);
        }
    }
    scenario.faults.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
}

fn leaves(timed: &Timed) -> Option<(f64, u16)> {
    if let Fault::Leave { server } = timed.fault { Some((timed.at_s, server)) } else { None }
}

/// One or two things go wrong around a leave.
fn disturb(rng: &mut ChaCha8Rng, scenario: &mut Scenario, at: f64, server: u16) {
    let mut add = |at_s: f64, fault: Fault| {
        let at_s = (at_s.max(0.0) * 1000.0).round() / 1000.0;
        scenario.faults.push(Timed { at_s, fault });
    };
    // Mostly a leave takes a round trip; what comes then meets it only where it waits for longer.
    let waits = rng.random_bool(0.7);
    if waits {
        let begins = at + rng.random_range(-0.3..0.1);
        let ends = begins + rng.random_range(0.2..WAITS * 1.5);
        match rng.random_range(0..4) {
            0 => {
                add(begins, Fault::Isolate { server });
                add(ends, Fault::Mend);
            }
            1 => {
                add(begins, Fault::OneWay { side: vec![server] });
                add(ends, Fault::Mend);
            }
            2 if scenario.servers > 1 => {
                // One of those that it waits for.
                let other = (server - 1 + rng.random_range(1..scenario.servers)) % scenario.servers;
                add(begins, Fault::Pause { server: other + 1 });
                add(ends, Fault::Resume { server: other + 1 });
            }
            _ => {
                add(begins, Fault::Slow { server, ms: 40.0 });
                add(ends, Fault::Slow { server, ms: 0.0 });
            }
        }
    }
    let meanwhile = at + rng.random_range(0.0..if waits { WAITS } else { 0.05 });
    match rng.random_range(0..5) {
        0 | 1 => {
            add(meanwhile, Fault::Crash { server });
            if rng.random_bool(0.5) {
                add(meanwhile + rng.random_range(0.01..1.0), Fault::Start { server });
            }
        }
        2 => {
            add(meanwhile, Fault::Pause { server });
            add(meanwhile + rng.random_range(0.1..WAITS), Fault::Resume { server });
        }
        3 => add(meanwhile, Fault::Step { server, ms: rng.random_range(-200..200) }),
        _ => {}
    }
}
