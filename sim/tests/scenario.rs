//! Scenario files: what `docs/scenario.md` says is what is read, what doesn't fit is refused, and the
//! examples run.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use grapevine_core::{Create, Farm, Local, Request};
use grapevine_sim::{Delay, FIELDS, Fault, Kind, Scenario, World, run_scenario};

const BASE: &str = "seed = 1\nservers = 3\nduration_s = 5.0\n";

fn docs() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scenario.md");
    std::fs::read_to_string(file).expect("docs/scenario.md")
}

/// The rows of the document's tables, by their first cell, with the other cells.
fn rows(docs: &str) -> BTreeMap<String, Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim_matches('|');
        line.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let tables = docs.lines().filter(|line| line.starts_with("| `"));
    let rows =
        tables.map(cells).map(|cells| (cells[0].trim_matches('`').to_owned(), cells[1..].to_vec()));
    rows.collect()
}

#[test]
fn the_documented_ranges_and_defaults_are_those_that_are_checked() {
    let docs = docs();
    let rows = rows(&docs);
    let plain: Scenario = Scenario::from_toml(BASE).expect("the least that is a scenario");
    let plain = toml::Value::try_from(&plain).expect("it has a TOML");
    for field in FIELDS {
        let row = rows.get(field.name).unwrap_or_else(|| panic!("no row for {}", field.name));
        let number = |cell: &str| cell.parse::<f64>().expect("a number");
        let documented = (row[0].as_str(), number(&row[1]), number(&row[2]));
        assert_eq!(documented, (field.unit, field.least, field.most), "{}", field.name);
        let default = field.name.split('.').try_fold(&plain, |value, key| value.get(key));
        let given = ["seed", "servers", "duration_s"].contains(&field.name);
        if let Some(default) = default.filter(|_| !given) {
            let default = default.to_string().replace(".0", "").replace(['[', ']'], "");
            assert_eq!(row[3].trim_matches(['[', ']']), default, "the default of {}", field.name);
        }
    }
    let documented = rows.values().filter(|row| row.len() == 5).count();
    assert_eq!(documented, FIELDS.len(), "a row without a field");
}

/// The least table of TOML with this field in it, and all that belong to it.
fn least_with(field: &str) -> toml::Table {
    let (table, _) = field.rsplit_once('.').unwrap_or_default();
    let fields =
        FIELDS.iter().filter_map(|field| field.name.strip_prefix(table)?.strip_prefix('.'));
    let fields = fields.filter(|name| !name.contains('.') && *name != "flips");
    let mut text: String = { fields }
        .map(|name| match name {
            "to" => "to = 2\n".to_owned(),
            "side" => "side = [2]\n".to_owned(),
            "servers" => "servers = [1]\n".to_owned(),
            name => format!("{name} = 1\n"),
        })
        .collect();
    let in_line = |text: String| text.trim_end().replace('\n', ", ");
    text = match table.split_once('.').unwrap_or((table, "")) {
        ("delay", kind) => {
            format!(
                "{BASE}[network]\ndelay = {{ {} }}",
                in_line(format!("kind = \"{kind}\"\n{text}"))
            )
        }
        ("network", "link") => {
            format!("{BASE}[[network.link]]\n{text}delay = {{ kind = \"fixed\", ms = 1 }}")
        }
        ("fault", "") => format!("{BASE}[[fault]]\nkind = \"mend\"\n{text}"),
        ("fault", "corrupt_memory") => {
            let kind = "kind = \"corrupt_memory\"\nwhat = \"lost_copy\"";
            format!("{BASE}[[fault]]\nat_s = 1\n{kind}\n{text}")
        }
        ("fault", kind) => format!("{BASE}[[fault]]\nat_s = 1\nkind = \"{kind}\"\n{text}"),
        ("request", _) => format!("{BASE}[[request]]\nkind = \"set\"\n{text}"),
        ("", _) => BASE.to_owned(),
        (table, _) => format!("{BASE}[{table}]\n{text}"),
    };
    text.parse().unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// Takes the entries with this name out of a table and all that are in it.
fn without(table: &mut toml::Table, table_name: &str, name: &str) {
    if table_name.is_empty() {
        table.remove(name);
        return;
    }
    let (first, rest) = table_name.split_once('.').unwrap_or((table_name, ""));
    match table.get_mut(first).expect("it is there") {
        toml::Value::Table(inner) => without(inner, rest, name),
        toml::Value::Array(all) => {
            let inner = all[0].as_table_mut().expect("a table");
            without(inner, rest, name);
        }
        other => panic!("{other} is no table"),
    }
}

#[test]
fn what_has_no_documented_default_is_refused_where_it_is_left_out() {
    let rows = rows(&docs());
    let mut given = 0;
    for field in FIELDS.iter().filter(|field| rows[field.name][3].is_empty()) {
        let whole = least_with(field.name);
        let read = |table: &toml::Table| Scenario::from_toml(&table.to_string());
        assert!(read(&whole).is_ok(), "{}: {:?} of\n{whole}", field.name, read(&whole));
        let (table, name) = field.name.rsplit_once('.').unwrap_or(("", field.name));
        // The kind of a fault or a delay is the name of no table.
        let table = match table.split_once('.').unwrap_or((table, "")) {
            ("delay", _) => "network.delay",
            ("fault", _) => "fault",
            _ => table,
        };
        let mut less = whole.clone();
        without(&mut less, table, name);
        assert_ne!(less, whole, "{}", field.name);
        let refused = read(&less).expect_err(field.name).to_string();
        assert!(refused.contains(&format!("missing field `{name}`")), "{}: {refused}", field.name);
        given += 1;
    }
    assert!(given > 40, "{given} fields without a default");
}

#[test]
fn every_kind_is_documented_and_every_documented_kind_is_read() {
    let docs = docs();
    let rows = rows(&docs);
    for kind in Fault::KINDS.iter().chain(&Delay::KINDS) {
        assert!(rows.contains_key(*kind), "{kind}");
    }
    let section = docs.split("## Customers").nth(1).expect("the customers' section");
    let documented: Vec<&str> =
        section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(documented.len(), Kind::ALL.len() + 2, "and creating and reading: {documented:?}");
    let plain = Scenario::from_toml(BASE).expect("the least that is a scenario");
    assert!(section.contains("left out, it is all of these") && plain.workload.kinds == Kind::ALL);
    assert!(docs.contains("`uniform` from 0.2 to 2 ms, if it is left out"));
    assert_eq!(plain.network.delay, Delay::Uniform { min_ms: 0.2, max_ms: 2.0 });
    for kind in documented {
        let request = "[[request]]\nat_s = 1\ncustomer = 1\nservers = [1]\nkind";
        let text = format!("{BASE}{request} = \"{kind}\"");
        assert!(Scenario::from_toml(&text).is_ok(), "{kind}");
    }
}

#[test]
fn every_number_of_drawn_scenarios_is_in_the_schema() {
    fn walk(above: &str, value: &toml::Value, found: &mut Vec<String>) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    walk(key, value, found);
                }
            }
            toml::Value::Array(values) => values.iter().for_each(|v| walk(above, v, found)),
            toml::Value::Integer(_) | toml::Value::Float(_) => found.push(above.to_owned()),
            _ => {}
        }
    }
    for seed in 0..300 {
        let mut found = Vec::new();
        let value = toml::Value::try_from(Scenario::drawn(seed)).expect("it has a TOML");
        walk("", &value, &mut found);
        for name in found {
            let known = |field: &str| field == name || field.ends_with(&format!(".{name}"));
            assert!(FIELDS.iter().any(|field| known(field.name)), "{name} of seed {seed}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_with_the_value_and_what_is_allowed() {
    let fault = |text: &str| format!("{BASE}[[fault]]\nat_s = 1.0\n{text}");
    let request = |text: &str| format!("{BASE}[[request]]\nat_s = 1.0\nkind = \"set\"\n{text}");
    let table = |text: &str| format!("{BASE}{text}");
    let cases = [
        ("seed = 1".to_owned(), vec!["servers"]),
        (table("colour = 1"), vec!["colour"]),
        (BASE.replace("= 3", "= 0"), vec!["servers = 0", "from 1 to 64"]),
        (BASE.replace("= 3", "= 65"), vec!["servers = 65"]),
        (BASE.replace("= 3", "= 70000"), vec!["servers = 70000", "from 1 to 64"]),
        (BASE.replace("= 1", "= -1"), vec!["seed = -1"]),
        (BASE.replace("5.0", "nan"), vec!["duration_s = NaN", "from 0 to 86400 s"]),
        (BASE.replace("5.0", "inf"), vec!["duration_s = inf"]),
        (BASE.replace("5.0", "-1.0"), vec!["duration_s = -1"]),
        (table("later = [4]"), vec!["later = [4]", "servers from 1 to 3"]),
        (table("[network]\nloss = 2.0"), vec!["network.loss = 2", "from 0 to 1"]),
        (table("[network]\nloss = nan"), vec!["network.loss = NaN"]),
        (table("[network]\nqueue = 0"), vec!["network.queue = 0"]),
        (
            table("[network]\ndelay = { kind = \"uniform\", min_ms = 3, max_ms = 2 }"),
            vec!["delay = ", "min_ms: 3", "the shorter time"],
        ),
        (
            table("[network]\ndelay = { kind = \"fixed\", ms = -3 }"),
            vec!["delay.fixed.ms = -3", "from 0 to 60000 ms"],
        ),
        (
            table("[[network.link]]\nfrom = 1\nto = 1\ndelay = { kind = \"fixed\", ms = 3 }"),
            vec!["network.link = [1, 1]", "none twice"],
        ),
        (table("[limits]\nsession_bytes = 10"), vec!["limits.session_bytes = 10", "from 1024"]),
        (table("[limits]\nsession_bytes = 16777216\n"), vec![]),
        (
            BASE.replace("= 3", "= 64") + "[limits]\nsession_bytes = 16777216",
            vec!["a farm with frame_bytes = ", "at most 268435456"],
        ),
        (
            table("[limits]\nverify_every_ms = 1"),
            vec!["limits.verify_every_ms = 1ms", "0, for never, or at least 10 ms"],
        ),
        (table("[limits]\nverify_every_ms = 0"), vec![]),
        (
            table("[limits]\nknown_servers = 2"),
            vec!["limits.known_servers = 2", "from size to 65536"],
        ),
        (table("[buggify]\npoints = [\"pull_one\"]"), vec!["missing field `probability`"]),
        (table("[buggify]\npoints = [\"pull_one\"]\nprobability = 0.5"), vec![]),
        (table("[workload]\ncustomers = 1000000000"), vec!["workload.customers = 1000000000"]),
        (table("[workload]\nthink_ms = [5, 2]"), vec!["workload.think_ms = [5, 2]"]),
        (table("[workload]\nkinds = [\"steal\"]"), vec!["steal"]),
        (fault("kind = \"crash\"\nserver = 4"), vec!["fault.crash = [4]", "from 1 to 3"]),
        (fault("kind = \"crash\""), vec!["server"]),
        (fault("kind = \"crash\"\nserver = 1\nms = 4"), vec!["ms"]),
        (fault("kind = \"mend\"\nserver = 1"), vec!["mend"]),
        (fault("kind = \"quake\""), vec!["quake"]),
        (fault("kind = \"slow\"\nserver = 1\nms = -1"), vec!["fault.slow.ms = -1"]),
        (fault("kind = \"step\"\nserver = 1\nms = 1e300"), vec!["fault.step.ms"]),
        (fault("kind = \"partition\"\nside = []"), vec!["fault.partition.side", "at least one"]),
        (fault("kind = \"cut\"\nfrom = 1\nto = 1"), vec!["fault.cut = [1, 1]"]),
        (fault("kind = \"mend\"").replace("1.0", "-1.0"), vec!["fault.at_s = -1"]),
        (request("customer = 0\nservers = [1]"), vec!["request.customer = 0"]),
        (request("customer = 1\nservers = []"), vec!["request.servers", "one server, or two"]),
        (request("customer = 1\nservers = [1, 2, 3]"), vec!["one server, or two"]),
        (request("customer = 1\nservers = [9]"), vec!["request.servers = [9]"]),
    ];
    are_refused(cases);
}

/// Whether each text is refused with a sentence that has all these parts; taken, if there are none.
fn are_refused<const N: usize>(cases: [(String, Vec<&str>); N]) {
    for (text, parts) in cases {
        let read = Scenario::from_toml(&text);
        if parts.is_empty() {
            assert!(read.is_ok(), "{text}");
            continue;
        }
        let refused = read.expect_err(&text).to_string();
        for part in parts {
            assert!(refused.contains(part), "{part:?} is missing in {refused:?}, of\n{text}");
        }
    }
}

#[test]
fn what_would_come_after_the_end_or_at_no_time_is_refused() {
    let fault = |at_s: &str| format!("{BASE}[[fault]]\nkind = \"mend\"\nat_s = {at_s}");
    let request = |at_s: &str| {
        let request = "[[request]]\ncustomer = 1\nservers = [1]\nkind = \"set\"";
        format!("{BASE}{request}\nat_s = {at_s}")
    };
    are_refused([
        (fault("nan"), vec!["fault.at_s = NaN"]),
        (fault("-1.0"), vec!["fault.at_s = -1"]),
        (fault("5.5"), vec!["fault.mend.at_s = 5.5", "from 0 to 5 s", "duration_s"]),
        (fault("5.0"), vec![]),
        (request("6"), vec!["request.at_s = 6", "from 0 to 5 s"]),
        (request("-6"), vec!["request.at_s = -6"]),
        (request("5"), vec![]),
    ]);
}

#[test]
fn the_examples_run_and_every_guarantee_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("sim/scenarios") {
        let path = entry.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("text");
        let scenario = Scenario::from_toml(&text).expect("a scenario");
        let outcome = run_scenario(&scenario);
        assert_eq!(outcome.broken, None, "{}", path.display());
        assert!(outcome.looked["G3"] > 100, "{} shows little", path.display());
        if path.ends_with("slow-subscriber.toml") {
            assert!(outcome.marks["queue_overflow_mended"] > 0, "its queue never overflowed");
        }
        count += 1;
    }
    assert!(count >= 3, "{count} examples");
}

#[test]
fn other_faults_meet_a_server_that_is_leaving() {
    let run = |text: &str| run_scenario(&Scenario::from_toml(text).expect("a scenario"));
    let died = run(include_str!("../scenarios/death-while-leaving.toml"));
    assert_eq!(died.broken, None);
    assert!(died.marks["died_leaving"] > 0, "no server died while it was leaving");
    let divided = run(include_str!("../scenarios/partition-while-leaving.toml"));
    assert_eq!(divided.broken, None);
    assert!(divided.marks["leave_waited_for_stream"] > 0, "the partition came too late");
}

#[test]
fn a_server_that_starts_later_serves_what_the_others_wrote() {
    let farm = Farm { size: 3, ..Farm::default() };
    let mut world = World::without(7, farm, Local::default(), &[2]);
    assert!(!world.is_up(2));
    world.run_for(Duration::from_secs(5));
    let served = world.ask(0, Request::Create(Create::default())).expect("two of three serve");
    world.start(2);
    world.run_for(Duration::from_secs(5));
    assert!(!world.engine(2).joining(), "it counts");
    let read = world.read(2, &served.token).expect("the session is there");
    assert_eq!(read.session.id, served.session.id);
    assert!(world.differences().is_empty());
}

/// Runs a scenario that broke a guarantee once.
fn holds(text: &str) {
    let broken = run_scenario(&Scenario::from_toml(text).expect("a good scenario")).broken;
    assert!(broken.is_none(), "{broken:?}");
}

#[test]
fn a_server_whose_clock_is_far_ahead_from_the_start_keeps_what_others_made() {
    // It had nobody's word on the time when the session came, and dropped it by its own clock.
    holds(include_str!("found/clock-ahead-from-the-start.toml"));
}

#[test]
fn a_process_learns_nothing_about_the_time_from_its_own_sessions() {
    holds(include_str!("found/own-sessions-teach-no-time.toml"));
}

#[test]
fn two_processes_of_a_number_never_have_one_boot() {
    holds(include_str!("found/boot-counted-on-twice.toml"));
}

#[test]
fn what_a_process_made_whose_boot_is_older_than_its_predecessors_is_everywhere_in_the_end() {
    holds(include_str!("found/older-boot-than-its-predecessor.toml"));
}

#[test]
fn a_server_remembers_the_time_that_processes_told_it_which_are_no_more() {
    holds(include_str!("found/told-the-time-by-the-dead.toml"));
}

#[test]
fn a_session_was_made_when_its_server_was_asked_though_that_was_paused_before_it_told_anybody() {
    holds(include_str!("found/made-before-a-pause.toml"));
}

#[test]
fn a_process_whose_clock_went_back_starts_once_though_who_knows_of_a_later_one_gets_no_question() {
    holds(include_str!("found/heard-and-out-of-reach.toml"));
}

#[test]
fn what_a_server_said_long_before_it_died_makes_no_majority_for_lost() {
    holds(include_str!("found/said-long-ago.toml"));
}

#[test]
fn a_server_that_knows_of_nobody_may_say_that_all_who_live_have_an_end() {
    holds(include_str!("found/an-end-where-nobody-is-known.toml"));
}

#[test]
fn a_server_may_serve_something_old_while_it_joins_though_it_has_joined_when_the_event_is_over() {
    holds(include_str!("found/served-stale-and-joined-at-once.toml"));
}

#[test]
fn a_connection_to_one_that_died_in_that_moment_ends_too() {
    holds(include_str!("found/died-as-it-was-connected-to.toml"));
}

#[test]
fn a_process_that_is_started_again_and_again_takes_no_place_in_each_life_for_what_it_is_told() {
    holds(include_str!("found/told-in-each-of-many-lives.toml"));
}

#[test]
fn a_new_id_is_for_what_is_left_of_a_session_by_the_word_of_who_wrote_to_its_forerunner() {
    holds(include_str!("found/new-id-of-what-is-lost-in-part.toml"));
}

#[test]
fn an_answer_that_goes_out_late_is_judged_by_the_processes_that_lived_when_it_was_given() {
    holds(include_str!("found/answered-late.toml"));
}
