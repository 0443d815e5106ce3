//! Scenario files and drawn scenarios on madsim, judged by the simulator's own model and checks.

use grapevine_sim::{Fault, On, Outcome, Scenario, Timed, run_on};

/// The variable that says how many seeds are tried.
const SEEDS: &str = "GRAPEVINE_MADSIM_SEEDS";

fn held(what: &str, outcome: &Outcome) {
    assert!(outcome.broken.is_none(), "{what}: {:?}", outcome.broken);
    assert_eq!(outcome.harness, "madsim");
    // It had something to look at: writes, answers, copies.
    for guarantee in ["G1", "G3", "G5", "G7", "G8"] {
        let looked = outcome.looked[guarantee];
        assert!(looked > 0, "{what}: {guarantee} looked at nothing");
    }
}

#[test]
fn every_scenario_file_holds_on_madsim_and_does_what_it_is_named_for() {
    crate::faults::every_file(On::Madsim, held);
}

#[test]
fn drawn_scenarios_hold_on_madsim() {
    let seeds = std::env::var(SEEDS).ok().and_then(|seeds| seeds.parse().ok());
    for seed in 0..seeds.unwrap_or(12) {
        let outcome = run_on(&Scenario::drawn(seed), On::Madsim);
        assert!(outcome.broken.is_none(), "seed {seed}: {:?}", outcome.broken);
    }
}

#[test]
fn no_fault_is_left_out_in_silence() {
    crate::faults::none_is_left_out_in_silence(On::Madsim);
}

#[test]
fn what_madsim_can_not_do_is_named() {
    let mut scenario = Scenario::drawn(1);
    (scenario.servers, scenario.duration_s, scenario.later) = (2, 0.5, Vec::new());
    let (repeats, loss) = (0.1, 0.01);
    scenario.network = grapevine_sim::Links { repeats, loss, ..Default::default() };
    scenario.requests.clear();
    let faults = [
        Fault::Step { server: 1, ms: 1000 },
        Fault::Slow { server: 1, ms: 10.0 },
        Fault::Isolate { server: 1 },
    ];
    scenario.faults = faults.map(|fault| Timed { at_s: 0.1, fault }).to_vec();
    let left_out = run_on(&scenario, On::Madsim).left_out;
    for word in ["repeats", "loss", "step", "slow", "cut", "delay"] {
        assert!(left_out.iter().any(|what| what.starts_with(word)), "{word}: {left_out:?}");
    }
}
