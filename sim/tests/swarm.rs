//! Runs of drawn scenarios: every guarantee holds, every check had something to look at, and a
//! scenario file says the same as the seed that drew it.

use grapevine_sim::{Scenario, Swarm, guarantees, run_scenario};

#[test]
fn a_small_swarm_holds_every_guarantee_and_looks_at_each() {
    let swarm =
        Swarm { first: 0, end: Some(60), shard: (0, 1), time: None, jobs: 2, stop_at_first: false };
    let summary = swarm.run(&|_| {});
    let broken: Vec<_> = summary.failures.iter().map(|run| (run.seed, &run.broken)).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    assert_eq!(summary.runs, 60);
    assert_eq!(summary.blind(), Vec::<&str>::new(), "checks that had nothing to look at");
    assert_eq!(summary.looked.len(), guarantees().len());
}

#[test]
fn a_scenario_is_the_same_run_from_its_file() {
    for seed in [3, 7, 11] {
        let drawn = Scenario::drawn(seed);
        let read = Scenario::from_toml(&drawn.to_toml()).expect("its own TOML");
        assert_eq!(read, drawn);
        assert_eq!(run_scenario(&read).trace_hash, run_scenario(&drawn).trace_hash);
    }
}

#[test]
fn a_swarm_that_misses_a_mark_fails_if_all_are_required_and_names_it() {
    // One run takes few of the rare paths.
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_grapevine-sim"))
        .args(["swarm", "--seeds", "0..1", "--require-marks"])
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("Marks never hit, or choices never forced: "), "{said}");
    assert!(said.contains("slot_reused"), "{said}");
}
