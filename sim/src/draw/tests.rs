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
    }
    for kind in Fault::KINDS {
        assert!(drawn.remove(&format!("fault {kind}")) > Some(20), "{kind}");
    }
    for kind in Kind::ALL {
        assert!(drawn.remove(&format!("{kind:?}")) > Some(100), "{kind:?}");
    }
    for kind in Delay::KINDS {
        assert!(drawn.remove(&format!("delay {kind}")) > Some(50), "{kind}");
    }
    for what in ["All", "Majority", "later"] {
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
