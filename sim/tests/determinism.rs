//! G9: the same seed gives the same trace in two processes. (`.ci/run` compares debug and release, by the same call.)

use std::path::Path;
use std::process::{Command, Output};

/// A process of its own that runs one seed, and what more.
fn run(seed: u64, more: &str, file: &Path) -> Output {
    let seed = seed.to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_grapevine-sim"));
    command.args(["run", "--json", "--seed", &seed, more]).arg(file);
    command.output().expect("the simulator runs")
}

/// The trace of one seed, written down by a process.
fn trace(seed: u64, file: &Path) -> Vec<String> {
    let done = run(seed, "--trace", file);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    let text = std::fs::read_to_string(file).expect("a trace");
    text.lines().map(str::to_owned).collect()
}

/// What another process finds that compares its run with that trace: its exit code, and what is broken.
fn against(seed: u64, file: &Path) -> (Option<i32>, serde_json::Value) {
    let done = run(seed, "--against", file);
    let mut json: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(json["looked"]["G9"], 1);
    (done.status.code(), json["broken"].take())
}

#[test]
fn the_first_event_that_differs_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trace");
    let good = trace(3, &file);
    assert_eq!(against(3, &file), (Some(0), serde_json::Value::Null));
    // As where a digest differs: all that follows differs too.
    let last = |line: &str| if line.ends_with('0') { '1' } else { '0' };
    let other = |line: &str| format!("{}{}", &line[..line.len() - 1], last(line));
    let doctored = good.iter().enumerate();
    let doctored: Vec<String> =
        doctored.map(|(n, line)| if n < 700 { line.clone() } else { other(line) }).collect();
    std::fs::write(&file, doctored.join("\n")).expect("written");
    let (code, broken) = against(3, &file);
    assert_eq!(
        (code, &broken["guarantee"], &broken["event"]),
        (Some(1), &"G9".into(), &700.into())
    );
    let words: Vec<&str> = good[700].split(' ').collect();
    let says = format!("they part at event 700: {} at server {}, and ", words[3], words[2]);
    assert!(broken["sentence"].as_str().is_some_and(|said| said.contains(&says)), "{broken}");
    let at_s = broken["at_s"].as_f64().expect("a number");
    assert!((at_s * 1e6).round() > 0.0, "{broken}");
    // One that ends before the other does.
    std::fs::write(&file, good[..900].join("\n")).expect("written");
    let (code, broken) = against(3, &file);
    assert_eq!((code, &broken["event"]), (Some(1), &900.into()));
    let said = broken["sentence"].as_str().expect("a sentence");
    assert!(said.ends_with("and the end"), "{said}");
}

#[test]
fn what_is_no_trace_is_refused_with_the_line_that_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trace");
    for (text, says) in [
        ("0 5 1 00000000000000aa\nnonsense", "line 2: `nonsense` is no line of a trace"),
        ("7 5 1 00000000000000aa", "line 1: `7 5 1 00000000000000aa` is no line of a trace: 0, "),
        ("0 5 0 00000000000000aa", "line 1: "),
    ] {
        std::fs::write(&file, text).expect("written");
        let done = run(3, "--against", &file);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{said}");
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn two_processes_make_the_same_trace_of_one_seed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("one");
    for seed in 0..16 {
        let one = trace(seed, &file);
        assert!(one.len() > 300, "a run of {} events shows little", one.len());
        assert_eq!(against(seed, &file), (Some(0), serde_json::Value::Null), "seed {seed}");
    }
}

#[test]
fn different_seeds_make_different_traces() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("one");
    trace(1, &file);
    let (code, broken) = against(2, &file);
    assert_eq!((code, &broken["guarantee"]), (Some(1), &"G9".into()));
}
