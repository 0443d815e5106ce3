use std::collections::BTreeMap;

use super::*;

#[test]
fn a_swarm_draws_every_kind_of_everything() {
    let mut drawn: BTreeMap<String, u64> = BTreeMap::new();
    let mut count = |what: String| *drawn.entry(what).or_default() += 1;
    for seed in 0..500 {
        let scenario = Scenario::drawn(seed);
        assert_eq!(Scenario::from_toml(&scenario.to_toml()).expect("its own TOML"), scenario);
        for timed in &scenario.faults {
            count(format!("fault {}", timed.fault.kind()));
        }
        for kind in &scenario.workload.kinds {
            count(format!("{kind:?}"));
        }
        count(format!("{:?}", scenario.heal));
        let own = scenario.network.own.iter().map(|own| own.delay);
        for delay in own.chain([scenario.network.delay]) {
            count(format!("delay {}", delay.kind()));
        }
        if !scenario.later.is_empty() {
            count("later".to_owned());
        }
        if scenario.workload.local_reads {
            count("local reads".to_owned());
        }
    }
    // The queue has no connections that could be told from their links: there it is a cut, and a mending.
    for kind in Fault::KINDS.into_iter().filter(|&kind| kind != "swallow") {
        assert!(drawn.remove(&format!("fault {kind}")) > Some(20), "{kind}");
    }
    for kind in Kind::ALL {
        assert!(drawn.remove(&format!("{kind:?}")) > Some(100), "{kind:?}");
    }
    for kind in Delay::KINDS {
        assert!(drawn.remove(&format!("delay {kind}")) > Some(50), "{kind}");
    }
    for what in ["All", "Majority", "later", "local reads"] {
        assert!(drawn.remove(what) > Some(50), "{what}");
    }
    assert_eq!(drawn, BTreeMap::new(), "and nothing else");
}

#[test]
fn each_feature_is_left_out_of_some_runs() {
    let without = |kind: &str| {
        let with = |scenario: &Scenario| scenario.faults.iter().any(|t| t.fault.kind() == kind);
        (0..200).map(Scenario::drawn).filter(|scenario| !with(scenario)).count()
    };
    for kind in Fault::KINDS {
        assert!(without(kind) > 10, "nearly every run has {kind}");
    }
}

#[test]
fn farms_of_all_sizes_are_drawn_and_any_server_may_have_a_clock_far_off() {
    let (mut sizes, mut far) = (BTreeMap::<u16, u64>::new(), BTreeMap::<u16, u64>::new());
    for seed in 0..4000 {
        let scenario = Scenario::drawn(seed);
        *sizes.entry(scenario.servers).or_default() += 1;
        let off = scenario.faults.iter().find_map(|timed| match timed.fault {
            Fault::Step { server, ms } if ms.abs() >= 5_000 => Some(server),
            _ => None,
        });
        off.into_iter().for_each(|server| *far.entry(server).or_default() += 1);
    }
    let drawn = |sizes: &BTreeMap<u16, u64>, size| sizes.get(&size).copied().unwrap_or(0);
    for size in [1, 2, 3, 4, 5, 7] {
        assert!(drawn(&sizes, size) > 50, "{sizes:?}");
    }
    assert!(sizes.range(9..).map(|(_, count)| count).sum::<u64>() > 15, "{sizes:?}");
    for server in 1..=5 {
        assert!(drawn(&far, server) > 20, "{far:?}");
    }
}

#[test]
fn some_faults_are_left_for_healing_to_find() {
    let open = |scenario: &Scenario| {
        let pauses = |timed: &&Timed| matches!(timed.fault, Fault::Pause { .. });
        let resumes = |timed: &&Timed| matches!(timed.fault, Fault::Resume { .. });
        scenario.faults.iter().filter(pauses).count()
            > scenario.faults.iter().filter(resumes).count()
    };
    let left = (0..1000).map(Scenario::drawn).filter(open).count();
    assert!(left > 20, "{left} runs end with a server that is paused");
}
