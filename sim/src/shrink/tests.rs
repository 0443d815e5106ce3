use super::*;
use crate::scenario::{Fault, Kind, Timed};

/// The scenario of a drawn run, with all its requests written down.
fn drawn(with: impl Fn(&Scenario) -> bool) -> Scenario {
    let drawn = (0..1000).map(Scenario::drawn).find(|scenario| with(scenario));
    script(&drawn.expect("one of a thousand seeds")).1
}

fn generous() -> Effort {
    Effort { runs: 100_000, time: Duration::from_secs(600), seeds: 2 }
}

fn crashes(scenario: &Scenario) -> bool {
    scenario.faults.iter().any(|timed| matches!(timed.fault, Fault::Crash { server: 2 }))
}

#[test]
fn only_what_an_artificial_rule_needs_is_left() {
    let mut breaks = |scenario: &Scenario| {
        assert!(Scenario::from_toml(&scenario.to_toml()).is_ok(), "a file would be refused");
        let second = |t: &&Timed| matches!(t.fault, Fault::Crash { server: 2 });
        let crash = scenario.faults.iter().find(second)?;
        let after = |request: &&Scripted| request.at_s > crash.at_s && request.kind == Kind::Set;
        (scenario.requests.iter().filter(after).count() >= 2).then(|| "G2".to_owned())
    };
    let sets = |scenario: &Scenario| scenario.workload.kinds.contains(&Kind::Set);
    let candidates = (0..1000).map(Scenario::drawn).filter(|drawn| crashes(drawn) && sets(drawn));
    let large = candidates.map(|drawn| script(&drawn).1).find(|script| breaks(script).is_some());
    let large = large.expect("one of a thousand seeds");
    assert!(large.requests.len() > 20, "the run is large: {}", large.requests.len());
    let mut steps = 0;
    let shrunk = shrink(&large, "G2", &generous(), &mut breaks, &mut |_| steps += 1);
    let Shrunk { scenario, guarantee, minimal, .. } = shrunk.expect("the rule is broken");
    assert!(minimal && steps > 0);
    assert_eq!((guarantee.as_str(), scenario.faults.len(), scenario.requests.len()), ("G2", 1, 2));
    assert!(scenario.servers <= 2, "the others are gone");
    assert_eq!(scenario.heal, Heal::All);
    assert_eq!(scenario.network, crate::scenario::Links::default());
    assert!(scenario.requests.iter().all(|request| request.customer == 1));
    let last = scenario.requests.last().expect("two requests").at_s;
    assert!(scenario.duration_s <= 5.0 && last <= 3.0, "the times are short: {scenario:?}");
    assert_eq!(Scenario::from_toml(&scenario.to_toml()).expect("readable"), scenario);
}

#[test]
fn another_guarantee_is_not_taken_for_the_one_that_was_broken() {
    let large = drawn(crashes);
    let requests = large.requests.len();
    let mut breaks = |scenario: &Scenario| {
        let few = scenario.requests.len() < requests / 2;
        Some(if few { "G3" } else { "G1" }.to_owned())
    };
    let shrunk = shrink(&large, "G1", &generous(), &mut breaks, &mut |_| {}).expect("broken");
    assert_eq!((shrunk.guarantee.as_str(), shrunk.scenario.requests.len()), ("G1", requests / 2));
}

#[test]
fn when_coin_flips_matter_other_seeds_are_tried() {
    let large = drawn(crashes);
    let first = large.clone();
    let mut breaks = |scenario: &Scenario| {
        let broken = *scenario == first || scenario.seed % 2 != first.seed % 2;
        broken.then(|| "G4".to_owned())
    };
    let shrunk = shrink(&large, "G4", &generous(), &mut breaks, &mut |_| {}).expect("broken");
    assert_eq!((shrunk.scenario.faults.len(), shrunk.scenario.requests.len()), (0, 0));
    assert_ne!(shrunk.scenario.seed % 2, large.seed % 2);
}

#[test]
fn damage_to_memory_may_fall_on_another_copy_so_that_more_can_be_left_out() {
    let picks = |scenario: &Scenario| -> Vec<u32> {
        let pick = |timed: &Timed| match timed.fault {
            Fault::CorruptMemory { pick, .. } => Some(pick),
            _ => None,
        };
        scenario.faults.iter().filter_map(pick).collect()
    };
    let large = drawn(|scenario| !picks(scenario).is_empty());
    let first = large.clone();
    // A number means the right copy in the run as it is; where anything is left out, only this one does.
    let mut breaks = |scenario: &Scenario| {
        (*scenario == first || picks(scenario).contains(&1)).then(|| "G1".to_owned())
    };
    let shrunk = shrink(&large, "G1", &generous(), &mut breaks, &mut |_| {}).expect("broken");
    assert_eq!((shrunk.scenario.faults.len(), shrunk.scenario.requests.len()), (1, 0));
}

#[test]
fn shrinking_stops_after_as_many_runs_as_allowed() {
    let mut runs = 0;
    let mut breaks = |_: &Scenario| {
        runs += 1;
        Some("G7".to_owned())
    };
    let effort = Effort { runs: 5, ..generous() };
    let shrunk = shrink(&drawn(crashes), "G7", &effort, &mut breaks, &mut |_| {}).expect("broken");
    assert!(!shrunk.minimal);
    assert_eq!((shrunk.runs, runs), (5, 5));
}

#[test]
fn what_breaks_nothing_or_another_guarantee_is_not_shrunk() {
    for breaks in [None, Some("G2")] {
        let mut runs = 0;
        let mut breaks = |_: &Scenario| {
            runs += 1;
            breaks.map(str::to_owned)
        };
        assert!(shrink(&drawn(crashes), "G1", &generous(), &mut breaks, &mut |_| {}).is_none());
        assert_eq!(runs, 1);
    }
}

#[test]
fn a_script_makes_the_same_run_again() {
    for seed in 0..20 {
        let drawn = Scenario::drawn(seed);
        let (outcome, scripted) = script(&drawn);
        let again = crate::run_scenario(&scripted);
        assert_eq!(again.trace_hash, outcome.trace_hash, "seed {seed}");
    }
}

#[test]
fn a_schedule_is_tried_with_other_seeds_only_once_it_is_short() {
    let large = drawn(|scenario| crashes(scenario) && scenario.workload.customers > 5);
    let all = large.requests.len();
    assert!(all > 200, "the run is large: {all}");
    let (seed, last) = (large.seed, large.requests[all - 1].clone());
    let mut longest = 0;
    let mut breaks = |scenario: &Scenario| {
        if scenario.seed != seed {
            longest = longest.max(scenario.requests.len());
        }
        scenario.requests.contains(&last).then(|| "G2".to_owned())
    };
    let shrunk = shrink(&large, "G2", &generous(), &mut breaks, &mut |_| {}).expect("broken");
    assert_eq!((shrunk.scenario.faults.len(), shrunk.scenario.requests.len()), (0, 1));
    assert!((1..=all / 8).contains(&longest), "{longest} of {all} with another seed");
}

#[test]
fn a_run_that_is_shrunk_as_it_was_drawn_has_the_runs_and_the_time_that_are_left() {
    let with_customers = |scenario: &Scenario| scenario.workload.customers > 0;
    let drawn = (0..100).map(Scenario::drawn).find(with_customers).expect("one of a hundred");
    let scripted = script(&drawn).1;
    let mut runs = 0;
    // Written down, something else is broken.
    let mut breaks = |candidate: &Scenario| {
        runs += 1;
        Some(if with_customers(candidate) { "G3" } else { "G1" }.to_owned())
    };
    let effort = Effort { runs: 5, ..generous() };
    let both = [&scripted, &drawn];
    let shrunk = shrink_first(&both, "G3", &effort, &mut breaks, &mut |_| {});
    let shrunk = shrunk.expect("it breaks as it was drawn");
    assert_eq!((shrunk.guarantee.as_str(), shrunk.runs, runs), ("G3", 5, 5));
    let left = effort.less(7, Duration::from_secs(5));
    assert_eq!((left.runs, left.time), (0, effort.time - Duration::from_secs(5)));
}
