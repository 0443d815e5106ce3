//! G9: the same seed gives the same trace in two processes. (`.ci/run` compares debug and release.)

use std::path::Path;
use std::process::Command;

/// The trace of one seed, made by a process of its own.
fn trace(seed: u64, file: &Path) -> Vec<String> {
    let seed = seed.to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_grapevine-sim"));
    command.args(["run", "--json", "--seed", &seed, "--trace"]).arg(file);
    let done = command.output().expect("the simulator runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    let text = std::fs::read_to_string(file).expect("a trace");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn two_processes_make_the_same_trace_of_one_seed() {
    let folder = tempfile::tempdir().expect("a folder");
    for seed in 0..6 {
        let one = trace(seed, &folder.path().join("one"));
        let other = trace(seed, &folder.path().join("other"));
        assert!(one.len() > 1000, "a run of {} events shows little", one.len());
        let parted = one.iter().zip(&other).find(|(one, other)| one != other);
        assert_eq!(parted, None, "seed {seed}: the first event that differs");
        assert_eq!(one.len(), other.len());
    }
}

#[test]
fn different_seeds_make_different_traces() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = trace(1, &folder.path().join("one"));
    let other = trace(2, &folder.path().join("other"));
    assert_ne!(one.last(), other.last());
}
