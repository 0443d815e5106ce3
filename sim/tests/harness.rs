//! One scenario file for every harness: the adapter that ships, judged by the simulator's own model and
//! checks.

use std::process::Command;

use grapevine_sim::{Fault, On, Outcome, Scenario, Timed, run_on, run_twice};

#[path = "simulated/faults.rs"]
mod faults;

/// The variable that says how many seeds are tried.
const SEEDS: &str = "GRAPEVINE_TURMOIL_SEEDS";

fn assert_held(what: &str, outcome: &Outcome) {
    assert!(outcome.broken.is_none(), "{what}: {:?}", outcome.broken);
    assert_eq!(outcome.harness, "turmoil");
    // It had something to look at: writes, answers, copies.
    for guarantee in ["G1", "G3", "G5", "G7", "G8"] {
        let looked = outcome.looked[guarantee];
        assert!(looked > 0, "{what}: {guarantee} looked at nothing");
    }
}

#[test]
fn every_scenario_file_holds_on_turmoil_and_does_what_it_is_named_for() {
    faults::every_file(On::Turmoil, assert_held);
}

#[test]
fn where_nothing_goes_wrong_nobody_is_refused() {
    let text = "seed = 11\nservers = 3\nduration_s = 8.0\n\
                [workload]\nlocal_reads = true\nkinds = [\"set\", \"add\", \"rotate\", \"retry\"]";
    let outcome = run_on(&Scenario::from_toml(text).expect("a scenario"), On::Turmoil);
    assert_held("fair weather", &outcome);
    let answers: Vec<&String> =
        outcome.coverage.keys().filter(|name| name.starts_with("answered_")).collect();
    assert_eq!(answers, ["answered_ok"]);
}

#[test]
fn drawn_scenarios_hold_on_turmoil() {
    // Of the farms that seeds draw, some that don't take long; or as many as one likes.
    let many = std::env::var(SEEDS).ok().and_then(|count| count.parse().ok());
    let seeds = many.map_or(vec![2, 6, 10, 14], |many: u64| (0..many).collect());
    for seed in seeds {
        let outcome = run_on(&Scenario::drawn(seed), On::Turmoil);
        assert!(outcome.broken.is_none(), "seed {seed}: {:?}", outcome.broken);
    }
}

#[test]
fn no_fault_is_left_out_in_silence() {
    faults::none_is_left_out_in_silence(On::Turmoil);
}

#[test]
fn what_a_harness_can_not_do_is_named() {
    let mut scenario = Scenario::drawn(1);
    (scenario.servers, scenario.duration_s, scenario.later) = (2, 0.5, Vec::new());
    scenario.network = grapevine_sim::Links { repeats: 0.1, ..Default::default() };
    scenario.requests.clear();
    scenario.faults = vec![Timed { at_s: 0.1, fault: Fault::Step { server: 1, ms: 1000 } }];
    let left_out = run_on(&scenario, On::Turmoil).left_out;
    for word in ["repeats", "step", "delay"] {
        assert!(left_out.iter().any(|what| what.starts_with(word)), "{word}: {left_out:?}");
    }
    assert_eq!(run_on(&scenario, On::Queue).left_out, Vec::<String>::new());
}

#[test]
fn a_scenario_has_one_trace_on_turmoil_in_two_processes() {
    let run = |seed: u32| {
        let mut process = Command::new(env!("CARGO_BIN_EXE_grapevine-sim"));
        process.args(["run", "--on", "turmoil", "--json", "--seed", &seed.to_string()]);
        let output = process.output().expect("the program runs");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        json["trace_hash"].as_str().expect("a hash").to_owned()
    };
    let (one, again, other) = (run(10), run(10), run(6));
    assert_eq!(one, again);
    assert_ne!(one, other);
}

/// Turmoil ends the tasks of a server that crashes in an order that depends on all that the program did before.
#[test]
fn a_scenario_has_one_trace_on_turmoil_twice_in_one_process() {
    let outcome = run_twice(&Scenario::drawn(10), On::Turmoil);
    assert!(outcome.broken.is_none(), "{:?}", outcome.broken);
    assert_eq!(outcome.looked["G9"], 1);
}

#[test]
fn a_swarm_runs_on_turmoil_and_compares_two_runs_of_one_seed() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_grapevine-sim"));
    process.args(["swarm", "--on", "turmoil", "--seeds", "10..12"]);
    let output = process.output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("2 runs on turmoil of "), "{said}");
    assert!(said.contains("G9 looked at 1"), "{said}");
    assert_eq!(output.status.code(), Some(0), "{said}");
}
