//! Rare choices and coverage marks: forced choices are flips of the run's own seed, nothing is
//! forced without a plan, and a path that no run took is missed.

use grapevine_sim::{Buggify, Outcome, Scenario, Summary, rare_page, run_scenario};

fn scenario(seed: u64, buggify: Buggify) -> Scenario {
    Scenario { buggify, ..Scenario::drawn(seed) }
}

fn forced(points: &[&str], probability: f64) -> Buggify {
    Buggify { points: points.iter().map(|&name| name.to_owned()).collect(), probability }
}

fn total(outcome: &Outcome) -> u64 {
    outcome.forced.values().sum()
}

#[test]
fn without_points_nothing_is_forced() {
    let outcome = run_scenario(&scenario(5, Buggify::default()));
    assert_eq!(outcome.broken, None);
    assert_eq!(total(&outcome), 0);
    assert!(outcome.forced.len() > 30, "all points are reported, with zeros");
    assert!(outcome.marks.values().any(|&count| count > 0), "marks are counted all the same");
}

#[test]
fn forced_choices_are_the_same_in_every_run_of_a_seed() {
    let buggify = forced(&["pull_one", "batch_of_one", "burst", "drain_late"], 0.3);
    let [one, again] = [(); 2].map(|()| run_scenario(&scenario(5, buggify.clone())));
    assert!(total(&one) > 0);
    assert_eq!(one.forced, again.forced);
    assert_eq!(one.marks, again.marks);
    assert_eq!(one.trace_hash, again.trace_hash);
}

#[test]
fn a_point_that_is_enabled_but_never_fires_changes_nothing() {
    let all: Vec<String> =
        run_scenario(&scenario(5, Buggify::default())).forced.into_keys().collect();
    let never = Buggify {
        points: all.into_iter().filter(|p| p != "queue_of_one").collect(),
        probability: 0.0,
    };
    let [with, without] =
        [never, Buggify::default()].map(|buggify| run_scenario(&scenario(5, buggify)));
    assert_eq!(with.trace_hash, without.trace_hash);
}

#[test]
fn only_the_named_points_are_forced_and_it_shows() {
    let plain = run_scenario(&scenario(5, Buggify::default()));
    let outcome = run_scenario(&scenario(5, forced(&["heartbeat_repeated"], 1.0)));
    assert_eq!(outcome.broken, None);
    assert_eq!(total(&outcome), outcome.forced["heartbeat_repeated"]);
    assert!(outcome.forced["heartbeat_repeated"] > 0);
    assert_ne!(outcome.trace_hash, plain.trace_hash);
}

#[test]
fn a_point_that_does_not_exist_is_refused_by_name() {
    let base = "seed = 1\nservers = 3\nduration_s = 5.0\n[buggify]\n";
    let text = format!("{base}points = [\"pull_one\", \"pull_none\"]\nprobability = 0.1\n");
    let error = Scenario::from_toml(&text).expect_err("refused").to_string();
    assert!(error.contains("buggify.points = pull_none"), "{error}");
    let text = format!("{base}points = [\"pull_one\"]\nprobability = 1.5\n");
    let error = Scenario::from_toml(&text).expect_err("refused").to_string();
    assert!(error.contains("buggify.probability = 1.5"), "{error}");
}

#[test]
fn a_swarm_misses_marks_that_were_never_hit_and_points_that_were_never_forced() {
    let mut summary = Summary::default();
    let run = |buggify| run_scenario(&scenario(5, buggify));
    let first = run(Buggify::default());
    summary.add(first.clone());
    assert!(summary.missing().contains(&"heartbeat_repeated"));
    for (mark, &count) in &first.marks {
        assert_eq!(summary.missing().contains(&mark.as_str()), count == 0, "{mark}: {count}");
    }
    assert!(first.marks.values().any(|&count| count == 0), "one run takes every rare path");
    summary.add(run(forced(&["heartbeat_repeated"], 1.0)));
    assert!(!summary.missing().contains(&"heartbeat_repeated"));
    assert_eq!(summary.forced["heartbeat_repeated"].seeds, 1);
    let joined = summary.marks["joined_by_covering"];
    assert_eq!(joined.seeds, 2, "{joined:?}");
    assert!(joined.hits >= 4, "{joined:?}");
}

#[test]
fn the_page_of_names_says_what_the_code_has() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rare.md"));
    let page = page.expect("docs/rare.md");
    let tables = rare_page();
    assert!(tables.lines().count() > 80);
    let mut names: Vec<_> = tables.lines().filter_map(|line| line.split('`').nth(1)).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "no two have one name");
    for line in tables.lines() {
        assert!(page.lines().any(|said| said == line), "docs/rare.md lacks the line: {line}");
    }
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        assert!(tables.contains(line), "docs/rare.md has a line of nothing: {line}");
    }
}
