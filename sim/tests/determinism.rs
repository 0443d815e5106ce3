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

/// The first event in which two traces differ, in words.
fn first_difference(one: &[String], other: &[String]) -> Option<String> {
    let parted = one.iter().zip(other).position(|(one, other)| one != other);
    let shorter = one.len().min(other.len());
    let at = parted.or((one.len() != other.len()).then_some(shorter))?;
    let event = |trace: &[String]| trace.get(at).map_or("the end".to_owned(), Clone::clone);
    Some(format!("event {at}: `{}` and `{}`", event(one), event(other)))
}

#[test]
fn the_first_event_that_differs_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = trace(3, &folder.path().join("good"));
    assert_eq!(first_difference(&good, &good), None);
    let mut doctored = good.clone();
    // As where a digest differs: all that follows differs too.
    doctored.iter_mut().skip(700).for_each(|line| line.push('0'));
    let said = first_difference(&good, &doctored).expect("a difference");
    let (event, line) = (format!("event 700: `{}`", good[700]), format!("`{}0`", good[700]));
    assert!(said.starts_with(&event) && said.ends_with(&line), "{said}");
    let said = first_difference(&good, &good[..900]).expect("a difference");
    assert!(said.starts_with("event 900: ") && said.ends_with("`the end`"), "{said}");
}

#[test]
fn two_processes_make_the_same_trace_of_one_seed() {
    let folder = tempfile::tempdir().expect("a folder");
    for seed in 0..16 {
        let one = trace(seed, &folder.path().join("one"));
        let other = trace(seed, &folder.path().join("other"));
        assert!(one.len() > 300, "a run of {} events shows little", one.len());
        assert_eq!(first_difference(&one, &other), None, "seed {seed}");
    }
}

#[test]
fn different_seeds_make_different_traces() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = trace(1, &folder.path().join("one"));
    let other = trace(2, &folder.path().join("other"));
    assert_ne!(one.last(), other.last());
}
