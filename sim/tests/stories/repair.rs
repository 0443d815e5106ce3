//! Pull and delta: gaps, joining, healing.

use core::time::Duration;

use grapevine_core::{Farm, Local};
use grapevine_sim::{Delay, World};

use crate::common::*;

#[test]
fn an_empty_server_gets_everything_back() {
    let mut world = farm(20);
    let mut tokens = Vec::new();
    for n in 0..200 {
        let served = create(&mut world, n % 3);
        tokens.push(add(&mut world, (n + 1) % 3, &served.token, "n", n as i64).token);
    }
    world.crash(2);
    world.run_for(Duration::from_millis(500));
    world.start(2);
    settle(&mut world);
    assert!(!world.status(2).joining);
    assert_eq!(world.differences(), Vec::<String>::new());
    assert_eq!(world.status(2).sessions, 200);
    for (n, token) in tokens.iter().enumerate() {
        assert_eq!(text(&world.read(2, token).expect("found"), "n"), Some(n.to_string()));
    }
}

#[test]
fn lost_batches_are_repaired_even_one_session_at_a_time() {
    let local = Local { pull_budget: 1, ..Local::default() };
    let mut world = World::with_local(21, Farm::default(), local);
    settle(&mut world);
    world.network.links.loss = 0.3;
    world.network.links.repeats = 0.2;
    world.network.links.delay = Delay::Uniform { min_ms: 0.2, max_ms: 30.0 };
    let served: Vec<_> = (0..30).map(|n| create(&mut world, n % 3)).collect();
    for (n, served) in served.iter().enumerate() {
        for server in 0..3 {
            let changes = vec![grapevine_core::Change::Add(key("n"), n as i64)];
            let token = served.token.clone();
            let acks = grapevine_core::Acks::Local;
            world.request(server, grapevine_core::Request::Update { token, changes, acks });
        }
    }
    world.run_for(Duration::from_secs(3));
    world.network.links.loss = 0.0;
    world.run_for(Duration::from_secs(20));
    assert_eq!(world.differences(), Vec::<String>::new());
    let gaps: u64 = (0..3).map(|server| world.status(server).counters.gaps).sum();
    assert!(gaps > 0, "the story needs gaps");
}

#[test]
fn a_healed_partition_leaves_no_difference() {
    let mut world = farm(22);
    let served = create(&mut world, 0);
    settle(&mut world);
    world.network.partition(&[0], &[1, 2]);
    for n in 0..20 {
        set(&mut world, 0, &served.token, &format!("left/{n}"), "x");
        set(&mut world, 1, &served.token, &format!("right/{n}"), "y");
        create(&mut world, n % 3);
    }
    world.run_for(Duration::from_secs(10));
    world.network.heal();
    settle(&mut world);
    assert_eq!(world.differences(), Vec::<String>::new());
    let read = world.read(2, &served.token).expect("found");
    assert_eq!(read.session.iter().count(), 41, "both sides' writes are there");
}

#[test]
fn a_paused_server_is_level_again() {
    let mut world = farm(23);
    world.pause(1);
    for n in 0..50 {
        create(&mut world, if n % 2 == 0 { 0 } else { 2 });
    }
    world.run_for(Duration::from_secs(10));
    world.resume(1);
    settle(&mut world);
    assert_eq!(world.differences(), Vec::<String>::new());
    assert_eq!(world.status(1).sessions, 50);
}
