//! The program as scripts use it: exit codes, the JSON of a run, and what is refused.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use grapevine_sim::guarantees;

fn simulator(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grapevine-sim"));
    command.args(arguments).output().expect("the simulator runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn wrong_use_is_told_apart_and_said() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["swarm"], "say which seeds to run (--seeds A..B), or for how long"),
        (&["swarm", "--seeds", "5.."], "has no end"),
        (&["swarm", "--seeds", "9223372036854775808..", "--minutes", "1"], "A must be at most"),
        (&["swarm", "--seeds", "..", "--minutes", "1"], "--seeds A..B"),
        (&["swarm", "--seeds", "0..9", "--json", "/no/such/folder/x"], "x can't be written"),
        (&["swarm", "--seeds", "0..9", "--out", "Cargo.toml"], "Cargo.toml can't be made"),
        (&["report", "--seed", "1", "--out", "/no/such/folder/x"], "x can't be written"),
        (&["run", "--seed", "1", "--trace", "/no/such/folder/x"], "x can't be written"),
        (&["swarm", "--seeds", "5..5"], "there is no seed in it"),
        (&["swarm", "--seeds", "9..5"], "A must be less than B"),
        (&["swarm", "--seeds", "9"], "--seeds A..B"),
        (&["swarm", "--seeds", "-1..5"], "unexpected argument"),
        (&["swarm", "--seeds", "0..18446744073709551615"], "at most"),
        (&["swarm", "--seeds", "0..9", "--shard", "0/0"], "from 1 to N"),
        (&["swarm", "--seeds", "0..9", "--shard", "3/2"], "from 1 to N"),
        (&["swarm", "--seeds", "0..2", "--shard", "3/3"], "no seed of the range"),
        (&["swarm", "--seeds", "0..9", "--jobs", "0"], "--jobs 0"),
        (&["swarm", "--minutes", "0"], "--minutes 0"),
        (&["swarm", "--minutes", "NaN"], "--minutes NaN"),
        (&["run", "--seed", "9223372036854775808"], "9223372036854775807"),
        (&["run", "--seed", "1", "--scenario", "x.toml"], "cannot be used"),
        (&["run", "--scenario", "no-such-file.toml"], "no-such-file.toml can't be read"),
        (&["run", "--seed", "1", "--against", "no-such-trace"], "no-such-trace can't be read"),
        (&["run", "--seed", "1", "--on", "nowhere"], "there are: queue, "),
        #[cfg(feature = "turmoil")]
        (
            &["swarm", "--seeds", "0..9", "--on", "turmoil", "--require-marks"],
            "no rare choice is forced on turmoil",
        ),
        (&["explain", "G11"], "there are G1 to G10"),
    ];
    for (arguments, says) in cases {
        let done = simulator(arguments);
        let said = text(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?} says {said:?}, not {says:?}");
    }
}

#[test]
fn a_run_prints_one_json_object_with_everything_that_scripts_rely_on() {
    let done = simulator(&["run", "--seed", "3", "--json"]);
    assert_eq!(done.status.code(), Some(0));
    let printed = text(&done.stdout);
    assert_eq!(printed.trim().lines().count(), 1);
    let json: serde_json::Value = serde_json::from_str(&printed).expect("one JSON object");
    assert_eq!((&json["seed"], &json["verdict"]), (&3.into(), &"pass".into()));
    assert!(json["broken"].is_null() && json.get("broken").is_some());
    for number in ["events", "messages", "simulated_s", "wall_s", "servers"] {
        assert!(json[number].as_f64() > Some(0.0), "{number} in {json}");
    }
    assert!(json["trace_hash"].as_str().is_some_and(|hash| hash.len() == 16));
    assert!(json["coverage"].as_object().is_some_and(|marks| marks.len() > 20));
    let plain = text(&simulator(&["run", "--seed", "3"]).stdout);
    for part in ["seed = 3", "[workload]", "All guarantees held."] {
        assert!(plain.contains(part), "{part} in what `run` prints");
    }
}

#[test]
fn what_a_run_prints_is_a_scenario_that_is_the_same_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("printed.toml");
    let path = file.to_str().expect("plain");
    let hash = |printed: &str| {
        let (_, rest) = printed.split_once("; trace ").expect("the hash");
        rest.split_whitespace().next().expect("a word").to_owned()
    };
    let first = text(&simulator(&["run", "--seed", "7"]).stdout);
    std::fs::write(&file, &first).expect("written");
    let again = simulator(&["run", "--scenario", path]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
    assert_eq!(hash(&text(&again.stdout)), hash(&first));
    assert_eq!(hash(&first).len(), 16, "{first}");
}

/// The fields of a table of docs/testing.md: the names in its first column.
fn documented(before: &str) -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/testing.md");
    let docs = std::fs::read_to_string(file).expect("docs/testing.md");
    let (_, rest) = docs.split_once(before).unwrap_or_else(|| panic!("no {before}"));
    let table = rest.lines().skip_while(|line| !line.starts_with('|'));
    let rows = table.take_while(|line| line.starts_with('|')).skip(2);
    let cells = rows.filter_map(|row| row.split('|').nth(1).map(str::to_owned));
    let names = |cell: String| -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    cells.flat_map(names).collect()
}

#[test]
fn the_documented_fields_of_a_runs_and_of_a_swarms_json_are_those_that_are_written() {
    let keys = |json: &str| -> BTreeSet<String> {
        let json: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(json).expect("one JSON object");
        json.into_iter().map(|(key, _)| key).collect()
    };
    let mut run = keys(&text(&simulator(&["run", "--seed", "3", "--json"]).stdout));
    // Only where time is real.
    run.insert("late_ms".to_owned());
    assert_eq!(run, documented("What `run --json` prints"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("summary.json");
    simulator(&["swarm", "--seeds", "0..2", "--json", file.to_str().expect("plain")]);
    let summary = std::fs::read_to_string(file).expect("a summary");
    assert_eq!(keys(&summary), documented("What `swarm --json FILE` writes"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_summary_that_can_not_be_written_is_told_after_what_the_swarm_came_to() {
    let done = simulator(&["swarm", "--seeds", "0..60", "--json", "/dev/full"]);
    let (said, why) = (text(&done.stdout), text(&done.stderr));
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.ends_with("All guarantees held in all of 60 runs.\n"), "{said}");
    assert!(why.contains("/dev/full can't be written: "), "{why}");
}

/// `simulator run --seed 3 | head -n 0`, and the like.
#[test]
fn who_stops_reading_has_seen_enough_and_the_exit_code_is_the_verdict() {
    let calls: [&[&str]; 4] = [
        &["run", "--seed", "3"],
        &["swarm", "--seeds", "0..30"],
        &["explain"],
        &["explain", "rare"],
    ];
    for arguments in calls {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grapevine-sim"));
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the simulator runs");
        drop(child.stdout.take());
        let done = child.wait_with_output().expect("it ends");
        assert_eq!(text(&done.stderr), "", "{arguments:?}");
        assert_eq!(done.status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn what_a_run_fails_by_is_explained_and_all_of_it_listed() {
    let list = simulator(&["explain"]);
    assert_eq!(list.status.code(), Some(0));
    let list = text(&list.stdout);
    for about in guarantees() {
        assert!(list.contains(&format!("{:<10} {}", about.name, about.promise)), "{list}");
    }
    for name in ["panic", "undecided"] {
        assert!(list.contains(name), "{list}");
        let said = simulator(&["explain", name]);
        assert!(said.status.success() && text(&said.stdout).contains(name));
    }
}

#[test]
fn a_swarm_for_a_time_begins_where_it_is_told_to_and_says_how_to_run_the_same_again() {
    let done = simulator(&["swarm", "--seeds", "5000..", "--minutes", "0.01", "--jobs", "1"]);
    let said = text(&done.stdout);
    assert!(said.contains("the same again: "), "{said}");
    assert!(said.contains("swarm --seeds 5000..50"), "{said}");
}

#[test]
fn a_seed_that_is_run_twice_has_one_trace() {
    let done = simulator(&["run", "--seed", "3", "--twice", "--json"]);
    assert_eq!(done.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_str(&text(&done.stdout)).expect("JSON");
    assert_eq!(json["looked"]["G9"], 1);
}

#[test]
fn what_is_wrong_with_a_scenario_file_is_said_with_the_files_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("wrong.toml");
    let path = file.to_str().expect("a name in Unicode");
    let cases = [
        ("seed = 1\nservers = 99\nduration_s = 1.0\n", "servers = 99"),
        ("seed = 1\nservers = 3\nduration_s = 1.0\nbogus = 3\n", "unknown field `bogus`"),
    ];
    for (text_of_it, says) in cases {
        std::fs::write(&file, text_of_it).expect("written");
        for call in [&["run"][..], &["shrink", "--out", "x"], &["report", "--out", "x"]] {
            let done = simulator(&[call, &["--scenario", path]].concat());
            let said = text(&done.stderr);
            assert_eq!(done.status.code(), Some(2), "{call:?}: {said}");
            assert!(said.starts_with(path) && said.contains(says), "{call:?}: {said}");
        }
    }
}

#[test]
fn a_swarm_that_is_killed_leaves_no_summary_of_an_earlier_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("summary.json");
    std::fs::write(&file, "of yesterday").expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_grapevine-sim"));
    command.args(["swarm", "--minutes", "60", "--jobs", "1", "--json"]).arg(&file);
    let mut child = command.stderr(Stdio::null()).spawn().expect("the simulator runs");
    let read = || std::fs::read_to_string(&file).expect("the file is there");
    // A minute at most: it is emptied before the first run.
    for _ in 0..600 {
        if read().is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!(read(), "");
}

#[test]
fn a_swarm_that_is_interrupted_tells_what_it_has_found_and_is_not_taken_for_a_whole_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("summary.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_grapevine-sim"));
    command.args(["swarm", "--minutes", "60", "--json"]).arg(&json);
    let swarm = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    while !json.exists() {
        std::thread::yield_now();
    }
    let pid = swarm.id().to_string();
    let killed = Command::new("kill").args(["-INT", &pid]).status().expect("kill runs");
    assert!(killed.success());
    let output = swarm.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("the same again: "), "{}", text(&output.stdout));
    let summary = std::fs::read_to_string(&json).expect("the summary");
    assert!(summary.contains("\"runs\""), "{summary}");
}

#[test]
fn a_result_never_takes_its_scenarios_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scenario.toml");
    std::fs::write(&path, "seed = 1\nservers = 1\nduration_s = 1.0").expect("it can be written");
    let path = path.to_str().expect("plain");
    for [call, to] in [["report", "--out"], ["shrink", "--out"], ["run", "--trace"]] {
        let output = simulator(&[call, "--scenario", path, to, path]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("is the scenario itself"), "{call}");
    }
    assert!(std::fs::read_to_string(path).expect("still there").starts_with("seed = 1"));
}

#[test]
fn where_nothing_can_be_written_nothing_is_shrunk() {
    let folder = tempfile::tempdir().expect("a folder");
    let [nowhere, there] = ["none/x.toml", "x.toml"].map(|name| folder.path().join(name));
    // Nothing is broken by this seed: it is refused all the same, and before the run.
    let output = simulator(&["shrink", "--seed", "1", "--out", nowhere.to_str().expect("plain")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("can't be written"), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    let output = simulator(&["shrink", "--seed", "1", "--out", there.to_str().expect("plain")]);
    assert_eq!(output.status.code(), Some(0));
    assert!(!there.exists(), "there is no result");
}

#[test]
fn the_last_line_of_a_swarm_says_what_it_came_to() {
    let last = |range: &str| {
        let done = simulator(&["swarm", "--seeds", range]);
        let line = text(&done.stdout).lines().last().expect("a line").to_owned();
        (done.status.code(), line)
    };
    assert_eq!(last("0..60"), (Some(0), "All guarantees held in all of 60 runs.".to_owned()));
    let (code, line) = last("0..1");
    assert!(code == Some(1) && line.contains("not everything was looked at"), "{line}");
}

#[test]
fn a_swarm_that_is_cut_short_though_all_marks_are_required_fails_and_says_how_much_was_run() {
    let range = ["swarm", "--seeds", "0..9000000", "--minutes", "0.02", "--require-marks"];
    let done = simulator(&range);
    let said = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "{said}");
    let last = said.lines().last().expect("a line");
    assert!(last.contains("marks could not be judged, for time was up: "), "{last}");
    assert!(last.ends_with(" of 9000000 seeds were run."), "{last}");
}

#[test]
fn a_swarm_that_may_be_cut_short_says_so_and_is_not_blamed_for_what_it_had_no_time_to_look_at() {
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("summary.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_grapevine-sim"));
    command.args(["swarm", "--seeds", "0..9000000", "--minutes", "0.03", "--require-marks"]);
    command.arg("--may-be-cut-short");
    let done = command.arg("--json").arg(&json).output().expect("it runs");
    let said = text(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{said}");
    let last = said.lines().last().expect("a line");
    assert!(last.contains("TIME WAS UP: ") && last.ends_with(" more were not run."), "{last}");
    assert!(said.contains("never forced (not judged, for time was up): "), "{said}");
    let summary = std::fs::read_to_string(&json).expect("the summary");
    let summary: serde_json::Value = serde_json::from_str(&summary).expect("JSON");
    let runs = summary["runs"].as_u64().expect("a number");
    assert_eq!(summary["cut_short"], true);
    // Those that were run are the first.
    assert!(said.contains(&format!(
        "the same again: cargo run --release -p grapevine-sim -- swarm --seeds 0..{runs}\n"
    )));
}

#[test]
fn shards_together_make_the_same_runs_as_one_swarm() {
    let folder = tempfile::tempdir().expect("a folder");
    let swarm = |name: &str, more: &[&str]| -> serde_json::Value {
        let file = folder.path().join(name);
        let out = folder.path().join("out");
        let mut command = Command::new(env!("CARGO_BIN_EXE_grapevine-sim"));
        command.args(["swarm", "--seeds", "10..21", "--json"]).arg(&file);
        command.arg("--out").arg(&out).args(more).output().expect("it runs");
        let text = std::fs::read_to_string(file).expect("a summary");
        serde_json::from_str(&text).expect("JSON")
    };
    let whole = swarm("whole", &["--jobs", "2"]);
    let parts = ["1/3", "2/3", "3/3"].map(|shard| swarm("part", &["--shard", shard]));
    for figure in ["runs", "events", "messages", "failed"] {
        let sum: u64 = parts.iter().map(|part| part[figure].as_u64().expect("a number")).sum();
        assert_eq!(whole[figure].as_u64(), Some(sum), "{figure}");
    }
    assert_eq!(whole["runs"], 11);
}

#[test]
fn every_guarantee_is_explained_with_its_source_its_rule_and_the_file_that_checks_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    assert_eq!(guarantees().len(), 10);
    for about in guarantees() {
        let done = simulator(&["explain", &about.name.to_lowercase()]);
        assert_eq!(done.status.code(), Some(0));
        let said = text(&done.stdout);
        for part in [about.name, about.promise, about.source, about.rule, about.file] {
            assert!(!part.is_empty() && said.contains(part), "{part:?} in {said}");
        }
        assert_eq!(said.contains("Not applied yet"), about.not_applied.is_some());
        let file = std::fs::read_to_string(root.join(about.file)).expect("the file is there");
        assert!(file.contains(&format!("name: \"{}\"", about.name)), "{}", about.file);
        assert!(about.rule.len() > 80, "{}: the exact rule", about.name);
    }
}
