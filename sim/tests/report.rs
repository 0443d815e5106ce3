//! The picture of a run and what a failing swarm writes, as a reader gets them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use grapevine_sim::{Fault, LARGEST, Scenario, Timed, report};
use serde_json::Value;

/// The JSON in a page.
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once(r#"<script type="application/json" id="data">"#).expect("data");
    let (data, _) = rest.split_once("</script>").expect("the end of the data");
    serde_json::from_str(data).expect("JSON")
}

/// What seed 7 draws, and links that are cut for three seconds.
fn seven() -> Scenario {
    let mut scenario = Scenario::drawn(7);
    scenario.faults.push(Timed { at_s: 5.0, fault: Fault::Partition { side: vec![1] } });
    scenario.faults.push(Timed { at_s: 8.0, fault: Fault::Mend });
    scenario.faults.sort_by(|one, other| one.at_s.total_cmp(&other.at_s));
    scenario
}

fn simulator(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grapevine-sim"));
    command.args(arguments).current_dir(folder).output().expect("the simulator runs")
}

#[test]
fn a_page_holds_the_whole_run_and_asks_the_network_for_nothing() {
    let (outcome, page) = report(&seven());
    let data = data(&page);
    for list in ["sent", "asked", "answered", "faults", "scheduled", "links", "copies", "applied"] {
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

/// The page as the browser has it after using all its controls; `None`, said aloud, if none runs.
fn shown(page: &str) -> Option<String> {
    let Some(browser) = browser() else {
        println!("SKIPPED: there is no Chromium on this machine; nobody has drawn the page");
        return None;
    };
    shown_by(&|| Command::new(&browser), page).unwrap_or_else(|why| panic!("{why}"))
}

/// The page as a browser has it; `None`, said aloud, if it shows no other page either. An error, if it shows others.
fn shown_by(browser: &dyn Fn() -> Command, page: &str) -> Result<Option<String>, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.html");
    std::fs::write(&file, page).expect("it is written");
    let show = |address: &str| {
        let mut command = browser();
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]);
        command.args(["--no-first-run", "--disable-background-networking", "--disable-sync"]);
        command.args(["--disable-component-update", "--window-size=1400,900", "--dump-dom"]);
        command.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
        command.arg(address).output().expect("it runs")
    };
    let shown = show(&format!("file://{}#self-test", file.display()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if shown.status.success() {
        return Ok(Some(text(&shown.stdout)));
    }
    if show("about:blank").status.success() {
        let (status, said) = (shown.status, text(&shown.stderr));
        return Err(format!("Chromium shows an empty page, and not this one: {status}\n{said}"));
    }
    println!("SKIPPED: the Chromium on this machine does not run: {}", shown.status);
    Ok(None)
}

#[cfg(unix)]
#[test]
fn a_browser_that_shows_an_empty_page_and_not_this_one_fails_the_test() {
    // What a browser does is the text; its arguments come after the name.
    let browser = |does: &'static str| {
        move || {
            let mut shell = Command::new("sh");
            shell.args(["-c", does, "chromium"]);
            shell
        }
    };
    let why =
        shown_by(&browser(r#"case "$*" in *about:blank) ;; *) echo boom >&2; exit 3; esac"#), "");
    let why = why.expect_err("it runs, and shows no page");
    assert!(why.contains("exit status: 3") && why.ends_with("\nboom\n"), "{why}");
    assert_eq!(shown_by(&browser("exit 3"), ""), Ok(None), "it shows nothing at all");
    assert_eq!(shown_by(&browser("echo page"), ""), Ok(Some("page\n".to_owned())));
}

/// How many rows of a list there are by command, of those that `wanted` is true of.
fn by_command(list: &Value, command: usize, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut counts = serde_json::Map::new();
    for row in list.as_array().expect("a list").iter().filter(|row| wanted(row)) {
        let name = row[command].as_str().expect("a command").to_owned();
        let count = counts.entry(name).or_insert_with(|| 0.into());
        *count = (count.as_u64().expect("a number") + 1).into();
    }
    counts.into()
}

/// What each server's copies are at a moment, as the page must list them.
fn copies(data: &Value, at: f64) -> Value {
    let servers = data["servers"].as_u64().expect("a number") as usize;
    let mut all = vec![std::collections::BTreeMap::new(); servers];
    for row in data["lists"]["copies"].as_array().expect("a list") {
        if row[0].as_f64().expect("a time") > at {
            break;
        }
        let server = row[1].as_u64().expect("a server") as usize;
        let session = row[2].as_u64().expect("a session");
        match row[3].as_str() {
            Some(shows) => all[server].insert(session, format!("session {} {shows}", session + 1)),
            None => all[server].remove(&session),
        };
    }
    let list =
        |copies: std::collections::BTreeMap<u64, String>| copies.into_iter().collect::<Vec<_>>();
    serde_json::json!(all.into_iter().map(list).collect::<Vec<_>>())
}

/// Of each time before this one in which links are cut or clogged, when it begins, as the page says it.
fn links(data: &Value, before: f64) -> Vec<String> {
    let rows = data["lists"]["links"].as_array().expect("a list").iter();
    let broken = rows.filter(|row| {
        let any = |n: usize| row[n].as_array().is_some_and(|links| !links.is_empty());
        row[0].as_f64().is_some_and(|at| at <= before) && (any(1) || any(2))
    });
    let begins = broken.map(|row| row[0].as_f64().expect("a time") / 1e6);
    begins.map(|at| format!("from {at:.3}")).collect()
}

fn opens_at_the_causes_and_shows_cut_links(tested: &Value, data: &Value) {
    let opens = |n: usize| tested["opens"][n].as_f64().expect("a time");
    let faults = data["lists"]["scheduled"].as_array().expect("a list").iter();
    let before = faults.filter_map(|row| row[0].as_f64()).rfind(|&at| at < 30e6);
    let cause = before.filter(|&at| at > 10e6).unwrap_or(28e6);
    assert!(opens(0) < cause && opens(1) > 30e6, "it opens on the failure and its causes");
    let spans = links(data, 30e6);
    assert!(!spans.is_empty(), "links are cut in this run");
    let told = tested["links"].as_array().expect("a list");
    assert_eq!(told.len(), spans.len(), "each time of cut links is drawn once: {told:?}");
    for (told, pair) in told.iter().zip(spans) {
        let told = told.as_str().expect("a text");
        assert!(told.contains("cut: ") || told.contains("clogged: "), "{told}");
        assert!(told.contains(&pair), "{pair} in {told}");
    }
}

/// A list of numbers of what was tested.
fn numbers(list: &Value) -> Vec<f64> {
    let list = list.as_array().unwrap_or_else(|| panic!("{list} is no list"));
    list.iter().map(|number| number.as_f64().expect("a number")).collect()
}

/// Whether they are the same but for rounding: to a microsecond.
fn same(one: &[f64], other: &[f64]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| (a - b).abs() < 1.0)
}

/// The rows of faults of servers that are drawn: healing has every server go on, though few were paused.
fn drawn_faults(data: &Value) -> Vec<&Value> {
    let mut paused = std::collections::BTreeSet::new();
    let rows = data["lists"]["faults"].as_array().expect("a list").iter();
    let drawn = rows.filter(|row| {
        let server = row[1].as_u64();
        let what = row[2].as_str().expect("what");
        let was_paused = match what {
            "pause" => !paused.insert(server),
            "crash" | "start" | "resume" => paused.remove(&server),
            _ => false,
        };
        what != "resume" || was_paused
    });
    drawn.collect()
}

fn faults_and_requests_are_drawn(tested: &Value, data: &Value) {
    let early = |row: &&Value| row[0].as_f64().is_some_and(|at| at <= 30.6e6);
    let all = |list: &str| data["lists"][list].as_array().expect("a list").iter().collect();
    for (kind, rows, says) in [
        ("scheduled", all("scheduled"), 1),
        ("fault", drawn_faults(data), 2),
        ("asked", all("asked"), 2),
        ("answered", all("answered"), 2),
    ] {
        let drawn = tested[kind].as_array().expect("a list");
        let mut rows: Vec<&Value> = rows.into_iter().filter(early).collect();
        let mut there: Vec<&Value> = drawn.iter().map(|thing| &thing[0]).collect();
        for list in [&mut rows, &mut there] {
            list.sort_by_key(|row| row.to_string());
        }
        assert!(!rows.is_empty(), "there is something {kind} in this run");
        assert_eq!(there, rows, "all that is {kind} is drawn, and nothing besides");
        for thing in drawn {
            let (row, told) = (&thing[0], thing[1].as_str().expect("a text"));
            assert!(told.contains(row[says].as_str().expect("a text")), "{told}, of {row}");
        }
    }
}

/// From 10 s to 12 s, with the moment 11 s.
fn buttons_and_keys_go_where_they_say(tested: &Value) {
    let start = [10e6, 12e6, 11e6];
    let whole = numbers(&tested["whole"]);
    let opens = numbers(&tested["opens"]);
    let goes = [
        ("causes", [opens[0], opens[1], 30e6]),
        ("failure", [30e6 - 2e6 * 0.92, 30e6 + 2e6 * 0.08, 30e6]),
        ("all", [whole[0], whole[1], 11e6]),
        ("in", [11e6 - 0.6e6, 11e6 + 0.6e6, 11e6]),
        ("out", [11e6 - 1.6e6, 11e6 + 1.6e6, 11e6]),
        ("back", [9e6, 11e6, 11e6]),
        ("on", [11e6, 13e6, 11e6]),
    ];
    assert_eq!(tested["buttons"].as_object().expect("a table").len(), goes.len());
    assert_eq!(tested["unused"], serde_json::json!([]), "buttons that nobody has used");
    for (name, to) in goes {
        assert!(same(&numbers(&tested["buttons"][name]), &to), "{name}: {}", tested["buttons"]);
        assert!(same(&numbers(&tested["keys"][name]), &to), "{name}: {}", tested["keys"]);
        assert!(same(&numbers(&tested["typed"][name]), &start), "{name}: {}", tested["typed"]);
    }
}

fn the_pointer_drags_and_chooses_a_moment(tested: &Value, data: &Value) {
    // To the right: what is earlier comes, and the moment stays.
    let by = 2e6 * tested["dragged"]["by"].as_f64().expect("a part of the picture");
    let to = [10e6 - by, 12e6 - by, 11e6];
    assert!(by > 1e5 && same(&numbers(&tested["dragged"]["to"]), &to), "{}", tested["dragged"]);
    assert_eq!(tested["released"], tested["dragged"]["to"], "it is let go");
    let clicked = &tested["clicked"];
    let at = clicked["at"].as_f64().expect("a time");
    assert!(at > 10e6 && at < 12e6, "{at}");
    assert!(same(&numbers(&clicked["to"]), &[10e6, 12e6, at]), "{clicked}");
    assert_eq!(clicked["servers"], copies(data, at), "the copies at {at}");
    let says = clicked["says"].as_str().and_then(|says| says.strip_suffix(" s")).expect("seconds");
    assert!((says.parse::<f64>().expect("a number") * 1e6 - at).abs() < 1.0, "{says}");
    let slid = clicked["scrubber"].as_f64().expect("a number") / 100_000.0 * 30e6;
    assert!((slid - at).abs() < 301.0, "the slider is at {slid}, not at {at}");
    assert!(same(&numbers(&tested["panned"]), &[10.5e6, 12.5e6, at]), "{}", tested["panned"]);
    assert_eq!(tested["left"], true, "nothing is pointed at any more");
}

#[test]
fn a_browser_draws_what_the_data_say() {
    let (outcome, page) = report(&seven());
    assert!(outcome.broken.is_none());
    // No seed may fail: this one is said to have, in its middle.
    let broken =
        r#""broken":{"guarantee":"G3","sentence":"nobody is <b>happy</b>","at_s":30.0,"event":1}"#;
    let page = page.replacen(r#""broken":null"#, &broken.replace('<', "\\u003c"), 1);
    let data = data(&page);
    let Some(dom) = shown(&page) else { return };
    let (_, rest) = dom.split_once(r#"id="tested">"#).expect("the script ran to its end");
    let tested = rest.split_once("</script>").expect("the end of what was tested").0;
    let tested: Value = serde_json::from_str(tested).expect("JSON");
    let lists = &data["lists"];
    // Whole ends a little after the failure.
    let early = |row: &Value| row[0].as_f64().expect("a time") <= 30.6e6;
    let counts = |wanted: &dyn Fn(&Value, usize) -> bool| {
        serde_json::json!({
            "arrows": by_command(&lists["sent"], 4, |row| early(row) && wanted(row, 4)),
            "lost": by_command(&lists["lost"], 3, |row| early(row) && wanted(row, 3)),
        })
    };
    assert_eq!(tested["all"], counts(&|_, _| true), "every message is drawn");
    assert!(tested["all"]["arrows"]["Heartbeat"].as_u64() > Some(100));
    assert_eq!(
        tested["withoutHeartbeats"],
        counts(&|row, command| row[command] != "Heartbeat"),
        "the filter by command"
    );
    let about = |row: &Value, command: usize| {
        row[command + 1].as_array().is_some_and(|about| about.contains(&1.into()))
    };
    assert_eq!(tested["onlySession1"], counts(&about), "the filter by session");
    assert!(tested["onlySession1"]["arrows"]["Batch"].as_u64() > Some(0));
    assert!(tested["listed"].as_array().expect("a list").iter().all(|session| *session == 1));
    assert_eq!(tested["again"], tested["all"], "filters can be taken back");
    let moments = tested["moments"].as_array().expect("a list");
    for moment in moments {
        let at = moment["at"].as_f64().expect("a time");
        assert_eq!(moment["servers"], copies(&data, at), "the copies at {at}");
    }
    assert_ne!(moments[0]["servers"], moments[1]["servers"], "copies change");
    assert_eq!(
        tested["broken"],
        serde_json::json!(["G3 broken: nobody is <b>happy</b>\nat 30.000 s"])
    );
    assert!(dom.contains("nobody is &lt;b&gt;happy&lt;/b&gt;"), "text stays text");
    opens_at_the_causes_and_shows_cut_links(&tested, &data);
    faults_and_requests_are_drawn(&tested, &data);
    buttons_and_keys_go_where_they_say(&tested);
    the_pointer_drags_and_chooses_a_moment(&tested, &data);
    let says = tested["hover"]["says"].as_str().expect("a text");
    let row = &tested["hover"]["row"];
    assert!(says.contains(row[4].as_str().expect("a command")) && says.contains("had applied: "));
    for session in row[5].as_array().expect("a list") {
        let name = data["sessions"][session.as_u64().expect("a number") as usize].as_str();
        assert!(says.contains(name.expect("a name")), "{says}");
    }
    let applied = lists["applied"].as_array().expect("a list").iter();
    let mut early = applied.filter(|at| at[1] == row[2] && at[0].as_u64() <= row[0].as_u64());
    let applied = early.next_back().and_then(|at| at[2].as_str()).unwrap_or("nothing");
    assert!(says.contains(&format!("had applied: {applied}\n")), "{applied} in {says}");
    let scale = |n: usize| tested["scale"][n].as_f64().expect("a number");
    assert!(scale(1) < scale(0) && scale(2) > scale(1), "{}", tested["scale"]);
    assert_eq!(tested["requests"], serde_json::json!([]), "nothing is asked of a network");
}
