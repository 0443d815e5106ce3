//! The picture of a run and what a failing swarm writes, as a reader gets them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use grapevine_sim::{LARGEST, Scenario, report};

/// The JSON in a page.
fn data(page: &str) -> serde_json::Value {
    let (_, rest) = page.split_once(r#"<script type="application/json" id="data">"#).expect("data");
    let (data, _) = rest.split_once("</script>").expect("the end of the data");
    serde_json::from_str(data).expect("JSON")
}

fn simulator(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grapevine-sim"));
    command.args(arguments).current_dir(folder).output().expect("the simulator runs")
}

#[test]
fn a_page_holds_the_whole_run_and_asks_the_network_for_nothing() {
    let (outcome, page) = report(&Scenario::drawn(7));
    let data = data(&page);
    for list in ["sent", "asked", "answered", "faults", "scheduled", "copies", "applied"] {
        let rows = data["lists"][list].as_array().expect("a list");
        assert!(!rows.is_empty(), "seed 7 has {list}");
    }
    assert_eq!(data["servers"], outcome.servers);
    assert_eq!(data["verdict"], outcome.verdict);
    let sent = data["lists"]["sent"].as_array().expect("a list").len() as u64;
    // Those of the first instant are sent before recording begins.
    assert!(sent + 50 >= outcome.messages, "{sent} sent, {} delivered", outcome.messages);
    for far in ["http://", "https://", "src=", "@import", "<link", "fetch("] {
        assert!(!page.contains(far), "{far} would need a network");
    }
    assert!(!page.contains("{{"), "every place is filled");
}

#[test]
fn recording_changes_nothing_in_a_run() {
    for seed in 0..8 {
        let (recorded, _) = report(&Scenario::drawn(seed));
        let plain = grapevine_sim::run_scenario(&Scenario::drawn(seed));
        assert_eq!(recorded.trace_hash, plain.trace_hash, "seed {seed}");
    }
}

#[test]
fn of_a_run_that_is_too_long_the_end_is_shown() {
    let mut scenario = Scenario::drawn(0);
    (scenario.servers, scenario.duration_s) = (16, 120.0);
    (scenario.workload.customers, scenario.workload.think_ms) = (20, (10, 100));
    scenario.faults.clear();
    scenario.later.clear();
    let (outcome, page) = report(&scenario);
    assert!(page.len() < LARGEST + (100 << 10), "{} bytes", page.len());
    let data = data(&page);
    let from = data["from"].as_u64().expect("a time");
    assert!(from > 0 && (from as f64) < outcome.simulated_s * 1e6, "the beginning is left out");
    let sent = data["lists"]["sent"].as_array().expect("a list");
    assert!(sent.len() > 1000 && sent.iter().all(|row| row[0].as_u64() >= Some(from)));
}

#[test]
fn what_holds_is_not_shrunk_and_wrong_use_is_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let held = simulator(&["shrink", "--seed", "0", "--out", "small.toml"], folder.path());
    assert_eq!(held.status.code(), Some(0), "{}", String::from_utf8_lossy(&held.stderr));
    assert!(!folder.path().join("small.toml").exists());
    let wrong = simulator(&["shrink", "--scenario", "none.toml", "--out", "x"], folder.path());
    assert_eq!(wrong.status.code(), Some(2));
    let wrong =
        simulator(&["report", "--seed", "0", "--out", "no/such/folder.html"], folder.path());
    assert_eq!(wrong.status.code(), Some(2));
}

/// A Chromium or Chrome, if this machine has one.
fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let folders: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let places = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    places.into_iter().find(|place| place.is_file())
}

#[test]
fn a_browser_draws_the_page() {
    let Some(browser) = browser() else {
        println!("SKIPPED: there is no Chromium on this machine; nobody has drawn the page");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.html");
    let done = simulator(&["report", "--seed", "7", "--out", "run.html"], folder.path());
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]);
    command.args(["--no-first-run", "--disable-background-networking", "--disable-sync"]);
    command.args(["--disable-component-update", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
    let shown = command.arg(format!("file://{}", file.display())).output().expect("it runs");
    if !shown.status.success() {
        println!("SKIPPED: the Chromium on this machine does not run: {}", shown.status);
        return;
    }
    let dom = String::from_utf8_lossy(&shown.stdout);
    // The script says at its end how many things it has drawn: it came to its end.
    let (_, rest) = dom.split_once("data-drawn=\"").expect("the script ran to its end");
    let drawn: u64 = rest.split('"').next().and_then(|n| n.parse().ok()).expect("a number");
    assert!(drawn > 10, "{drawn} things are drawn");
    assert!(dom.contains(">Server 1</h2>") && dom.contains("All guarantees held."));
}
