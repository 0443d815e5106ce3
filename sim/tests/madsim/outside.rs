//! The ordinary build: it has the tests on madsim built with `--cfg madsim` and run, and the program too.

use std::process::{Command, Output};

use grapevine_sim::{FOR_MADSIM, cargo_for_madsim};

/// Tests that there must be on madsim, whatever else there is.
const NAMED: [&str; 7] = [
    "scenarios::drawn_scenarios_hold_on_madsim",
    "scenarios::every_scenario_file_holds_on_madsim_and_does_what_it_is_named_for",
    "scenarios::no_fault_is_left_out_in_silence",
    "scenarios::what_madsim_can_not_do_is_named",
    "stories::a_server_that_stands_still_answers_nobody_while_the_others_serve_on",
    "stories::a_stranger_who_floods_the_ports_upsets_nobody",
    "stories::both_sides_of_a_partition_serve_and_are_the_same_after_it",
];

fn told(output: &Output) -> String {
    let [out, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{}\n{out}{errors}", output.status)
}

#[test]
fn all_holds_on_madsim_in_a_build_of_its_own() {
    assert!(
        std::env::var_os(FOR_MADSIM).is_none(),
        "these tests were built for madsim, and without it: `--cfg madsim` was lost"
    );
    let mut cargo = cargo_for_madsim("test");
    let output = cargo.args(["--quiet", "--test", "madsim", "--", "--format", "pretty"]).output();
    let output = output.expect("cargo runs");
    let told = told(&output);
    assert!(output.status.success(), "{told}");
    for name in NAMED {
        assert!(told.contains(&format!("test {name} ... ok")), "{name} did not run: {told}");
    }
}

#[test]
fn a_build_that_lost_the_flag_fails() {
    // This very test program is one: the other test of it must not pass as if nothing were missing.
    let mut process = Command::new(std::env::current_exe().expect("this program"));
    process.args(["--exact", "outside::all_holds_on_madsim_in_a_build_of_its_own"]);
    let output = process.env(FOR_MADSIM, "1").output().expect("it runs");
    assert!(!output.status.success() && told(&output).contains("`--cfg madsim` was lost"));
    // So is the program.
    let mut program = Command::new(env!("CARGO_BIN_EXE_grapevine-sim"));
    program.args(["run", "--seed", "2", "--on", "madsim"]).env(FOR_MADSIM, "1");
    let output = program.output().expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("`--cfg madsim` was lost"));
}

#[test]
fn flags_of_the_caller_do_not_take_the_place_of_ours() {
    for (name, own) in
        [("RUSTFLAGS", "-C debuginfo=0"), ("CARGO_ENCODED_RUSTFLAGS", "-Cdebuginfo=0")]
    {
        let mut process = Command::new(std::env::current_exe().expect("this program"));
        process.args(["--exact", "outside::prints_its_flags", "--nocapture"]);
        let output = process.env_clear().env(name, own).output().expect("it runs");
        let flags = own.replace(' ', "\u{1f}") + "\u{1f}--cfg\u{1f}madsim";
        assert!(told(&output).contains(&flags), "{name}: {}", told(&output));
    }
}

/// What the test above asks for.
#[test]
fn prints_its_flags() {
    let cargo = cargo_for_madsim("build");
    let mut variables = cargo.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let flags = variables.find(|(name, _)| *name == "CARGO_ENCODED_RUSTFLAGS").expect("flags").1;
    println!("{}", flags.display());
    assert!(flags.to_str().is_some_and(|flags| flags.ends_with("--cfg\u{1f}madsim")));
}

#[test]
fn a_seed_and_a_file_run_on_madsim_from_the_ordinary_program() {
    let run = |args: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_grapevine-sim"));
        let output = program.args(["run", "--on", "madsim", "--json"]).args(args).output();
        let output = output.expect("the program runs");
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
        assert_eq!(json["harness"], "madsim");
        json["trace_hash"].as_str().expect("a hash").to_owned()
    };
    // One seed has one trace in two processes (G9).
    let (one, again, other) =
        (run(&["--seed", "10"]), run(&["--seed", "10"]), run(&["--seed", "6"]));
    assert_eq!(one, again);
    assert_ne!(one, other);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/bad-day.toml");
    assert_ne!(run(&["--scenario", file]), one);
}

#[test]
fn a_swarm_runs_on_madsim_from_the_ordinary_program_and_compares_two_runs_of_one_seed() {
    let summary = tempfile::NamedTempFile::new().expect("a file");
    let mut program = Command::new(env!("CARGO_BIN_EXE_grapevine-sim"));
    program.args(["swarm", "--on", "madsim", "--seeds", "10..12", "--json"]).arg(summary.path());
    let output = program.output().expect("the program runs");
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let summary = std::fs::read(summary.path()).expect("a summary");
    let summary: serde_json::Value = serde_json::from_slice(&summary).expect("JSON");
    assert_eq!((&summary["runs"], &summary["failed"]), (&2.into(), &0.into()), "{}", told(&output));
    assert_eq!((&summary["harness"], &summary["looked"]["G9"]), (&"madsim".into(), &1.into()));
}

#[test]
fn the_example_of_the_documentation_runs_on_madsim() {
    let mut cargo = cargo_for_madsim("test");
    let output = cargo.args(["--doc", "--", "madsim"]).output().expect("cargo runs");
    assert!(output.status.success(), "{}", told(&output));
    let told = told(&output);
    let ran =
        told.lines().any(|line| line.contains("sim/src/madsim.rs") && line.ends_with("... ok"));
    assert!(ran, "{told}");
}

#[test]
fn madsim_is_in_no_ordinary_build() {
    let tree = |cargo: &mut Command| {
        let output = cargo.output().expect("cargo runs");
        assert!(output.status.success(), "{}", told(&output));
        String::from_utf8_lossy(&output.stdout).contains("madsim v0.2")
    };
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["tree", "--locked", "--workspace", "--edges", "all", "--manifest-path", workspace]);
    assert!(!tree(&mut cargo), "madsim is in a build that does not ask for it");
    assert!(tree(cargo.env("RUSTFLAGS", "--cfg madsim")), "the look sees nothing");
}
