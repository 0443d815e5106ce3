//! The adapter that ships on real sockets: a process for each server, a proxy between them, signals, and
//! real time. All runs are begun at once, for most of their time is waiting; each test then waits for its
//! own. A run that the machine was too slow to judge is made again, and at last passed over: no verdict
//! rests on timing.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};
use std::thread::{JoinHandle, spawn};

use serde_json::Value;

/// The scenario files that run here; the others take longer.
const FILES: [&str; 10] = [
    "death-and-empty-restart",
    "five-percent-loss",
    "flipped-bits",
    "flooding-peer",
    "majority-and-minority",
    "paused-server",
    "rolling-restart",
    "silent-death",
    "slow-subscriber",
    "swallowed",
];

/// Files that run with a planted bug too, and its name.
const PLANTED: [(&str, &str); 3] = [
    ("death-and-empty-restart", "old-copies"),
    ("silent-death", "patience"),
    ("swallowed", "patience"),
];

/// Everything that sockets do in another way or not at all.
const ODD: &str = r#"
seed = 1
servers = 2
duration_s = 1.0

[network]
repeats = 0.1
loss = 0.01
corruption = 0.0001

[workload]
customers = 1

[buggify]
probability = 0.01
points = ["timer_early"]

[[fault]]
at_s = 0.1
kind = "slow"
server = 1
ms = 2.0

[[fault]]
at_s = 0.1
kind = "step"
server = 1
ms = 1000

[[fault]]
at_s = 0.1
kind = "drift"
server = 2
ppm = 100

[[fault]]
at_s = 0.5
kind = "corrupt_memory"
server = 2
what = "lost_copy"
pick = 1

[[fault]]
at_s = 0.6
kind = "cut"
from = 1
to = 2

[[fault]]
at_s = 0.7
kind = "weather"
loss = 0.0
repeats = 0.1
corruption = 0.0
"#;

/// A run's exit code, and what it came to.
type Ended = (Option<i32>, Value);

fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios")).join(format!("{name}.toml"))
}

fn start(file: &PathBuf, planted: &str) -> Child {
    let mut program = Command::new(env!("CARGO_BIN_EXE_grapevine-sim"));
    program.args(["run", "--on", "sockets", "--json", "--scenario"]).arg(file);
    program.env("GRAPEVINE_SIM_PLANTED", planted).stdout(Stdio::piped());
    program.spawn().expect("the program runs")
}

fn run(file: &PathBuf, planted: &str) -> Ended {
    let output = start(file, planted).wait_with_output().expect("it ends");
    let json = serde_json::from_slice(&output.stdout).expect("JSON");
    (output.status.code(), json)
}

/// The same, again if need be, while nothing else goes on.
fn run_until_decided(file: &PathBuf, planted: &str) -> Ended {
    let mut ended = run(file, planted);
    for _ in 0..2 {
        if ended.1["verdict"] == "undecided" {
            ended = run(file, planted);
        }
    }
    ended
}

type Runs = BTreeMap<String, JoinHandle<Ended>>;

/// What each run came to, begun when the first test asks: files, and those with a planted bug.
static RUNS: LazyLock<Mutex<Runs>> = LazyLock::new(|| {
    let begin =
        |file: PathBuf, planted: &'static str| spawn(move || run_until_decided(&file, planted));
    let files = FILES.map(|name| (name.to_owned(), begin(file(name), "")));
    let mut runs = BTreeMap::from(files);
    for (name, planted) in PLANTED {
        runs.insert(format!("{name}, {planted}"), begin(file(name), planted));
    }
    let mut odd = tempfile::NamedTempFile::new().expect("a file");
    odd.write_all(ODD.as_bytes()).expect("it is written");
    runs.insert("odd".to_owned(), spawn(move || run(&odd.path().to_path_buf(), "")));
    Mutex::new(runs)
});

fn ended(name: &str) -> Ended {
    let run = RUNS.lock().expect("it only takes one").remove(name).expect("it was begun");
    run.join().expect("it ran")
}

fn holds(name: &str) -> Value {
    let (code, outcome) = ended(name);
    if outcome["verdict"] == "undecided" {
        eprintln!("{name}: passed over, {}", outcome["broken"]["sentence"]);
        return Value::Null;
    }
    assert_eq!((code, &outcome["broken"]), (Some(0), &Value::Null), "{name}");
    assert_eq!(outcome["harness"], "sockets");
    // It had something to look at: writes, answers, copies.
    for guarantee in ["G1", "G3", "G5", "G7"] {
        assert!(outcome["looked"][guarantee].as_u64() > Some(0), "{guarantee} looked at nothing");
    }
    outcome
}

#[test]
fn a_server_dies_under_load_and_starts_again_empty() {
    let _passed_over = holds("death-and-empty-restart");
}

#[test]
fn five_percent_of_all_that_is_sent_are_lost() {
    let _passed_over = holds("five-percent-loss");
}

#[test]
fn bits_flip_and_no_link_stands_for_ever_with_half_a_frame() {
    let _passed_over = holds("flipped-bits");
}

#[test]
fn a_peer_floods_the_others() {
    let _passed_over = holds("flooding-peer");
}

#[test]
fn a_majority_and_a_minority_shop_on_and_heal() {
    let _passed_over = holds("majority-and-minority");
}

#[test]
fn a_server_stands_still_and_goes_on() {
    let _passed_over = holds("paused-server");
}

#[test]
fn all_servers_are_restarted_one_after_another_while_customers_shop() {
    let _passed_over = holds("rolling-restart");
}

#[test]
fn connections_die_without_a_word_and_are_made_again() {
    let _passed_over = holds("silent-death");
}

#[test]
fn a_subscriber_takes_nothing_for_a_while() {
    let outcome = holds("slow-subscriber");
    let overflow = &outcome["coverage"]["queue_overflow"];
    assert!(outcome.is_null() || overflow.as_u64() > Some(0), "its queue never overflowed");
}

#[test]
fn a_server_that_shows_its_customers_old_copies_is_found_out() {
    let (code, outcome) = ended("death-and-empty-restart, old-copies");
    assert_eq!(code, Some(1));
    // What it should have shown is wrong for the customer, or is not what its engine decided.
    let broken = outcome["broken"]["guarantee"].as_str().expect("something is broken");
    assert!(["G3", "G4", "G7", "undecided"].contains(&broken), "{outcome}");
}

#[test]
fn servers_that_never_give_up_a_connection_are_found_out() {
    // The planted bug lets dead connections be, so that a server is not heard any more.
    for name in ["silent-death, patience", "swallowed, patience"] {
        let (code, outcome) = ended(name);
        assert_eq!(code, Some(1), "{name}: {outcome}");
    }
}

#[test]
fn a_path_swallows_what_is_sent_and_tells_nobody() {
    let _passed_over = holds("swallowed");
}

#[test]
fn two_runs_on_sockets_are_not_compared() {
    for option in ["--twice", "--trace=/dev/null"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_grapevine-sim"));
        let output = program.args(["run", "--seed", "1", "--on", "sockets", option]).output();
        let output = output.expect("the program runs");
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("no two runs on sockets are the same"), "{said}");
    }
}

#[test]
fn what_sockets_can_not_do_is_named() {
    let (_, outcome) = ended("odd");
    let left_out = outcome["left_out"].as_array().expect("a list");
    let first =
        |what: &Value| what.as_str().and_then(|what| what.split(':').next()?.to_owned().into());
    let named: Vec<String> = left_out.iter().filter_map(first).collect();
    let expected = [
        "buggify",
        "corrupt_memory",
        "corruption",
        "cut",
        "loss",
        "order",
        "repeats",
        "slow",
        "step, drift",
        "time",
        "weather",
    ];
    assert_eq!(named, expected, "{outcome}");
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_is_left_of_a_run_that_is_killed_while_a_server_is_paused() {
    use std::time::{Duration, Instant};
    /// The processes that a process has started: number and state.
    fn children(of: u32) -> Vec<(u32, char)> {
        let stat = |entry: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name stands in brackets, and may have any characters.
            let (before, after) = stat.rsplit_once(')')?;
            let mut after = after.split_whitespace();
            let (state, parent) = (after.next()?.chars().next()?, after.next()?);
            let number = before.split_whitespace().next()?.parse().ok()?;
            (parent == of.to_string()).then_some((number, state))
        };
        let all = std::fs::read_dir("/proc").expect("Linux has it");
        all.filter_map(|entry| stat(entry.ok()?)).collect()
    }
    let wait_for = |what: &str, mut is: Box<dyn FnMut() -> bool>| {
        let until = Instant::now() + Duration::from_secs(60);
        while !is() {
            assert!(Instant::now() < until, "waited too long for {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let mut run = start(&file("paused-server"), "");
    let parent = run.id();
    let paused = move || {
        let servers = children(parent);
        servers.len() == 3 && servers.iter().any(|&(_, state)| state == 'T')
    };
    wait_for("a server to be paused", Box::new(paused));
    let servers = children(parent);
    run.kill().and_then(|()| run.wait()).expect("it is killed");
    for (number, _) in servers {
        let stat = format!("/proc/{number}/stat");
        // Whoever takes in orphans may be slow to bury them.
        let gone = move || {
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
        };
        wait_for("a server to end with its run", Box::new(gone));
    }
}
