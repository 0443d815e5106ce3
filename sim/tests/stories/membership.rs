//! Who is of the farm, who is joining, what customers need not carry.

use core::time::Duration;

use grapevine_core::{Farm, Request};
use grapevine_sim::World;

use crate::common::*;

#[test]
fn a_cold_start_joins_within_a_few_heartbeats() {
    let mut world = World::new(80, Farm::default());
    world.run_for(Duration::from_secs(1));
    assert!((0..3).all(|server| !world.status(server).joining));
}

#[test]
fn a_cold_start_without_one_server_goes_on_after_a_while() {
    let mut world = World::new(81, Farm::default());
    world.crash(2);
    world.run_for(Duration::from_secs(6));
    assert!((0..2).all(|server| !world.status(server).joining));
    assert!((0..2).all(|server| !world.status(server).isolated));
}

#[test]
fn a_server_alone_is_isolated_and_serves() {
    let mut world = World::new(82, Farm::default());
    world.crash(1);
    world.crash(2);
    world.run_for(Duration::from_secs(6));
    let status = world.status(0);
    assert!(status.isolated && !status.joining);
    let served = create(&mut world, 0);
    assert!(world.read(0, &served.token).is_ok());
}

#[test]
fn tokens_carry_no_context_at_rest_and_some_while_a_server_is_down() {
    let mut world = farm(83);
    let served = create(&mut world, 0);
    assert!(!served.token.context.is_empty(), "nobody has confirmed it yet");
    settle(&mut world);
    let at_rest = world.read(1, &served.token).expect("found");
    assert!(at_rest.token.context.is_empty());
    world.crash(2);
    world.run_for(Duration::from_secs(10));
    let down = set(&mut world, 0, &at_rest.token, "a", "1");
    settle(&mut world);
    let down = world.read(1, &down.token).expect("found");
    assert!(!down.token.context.is_empty(), "a server that is down may come back without it");
    world.start(2);
    settle(&mut world);
    let back = world.read(2, &down.token).expect("found");
    assert!(back.token.context.is_empty());
}

#[test]
fn two_runs_of_one_seed_are_the_same() {
    let run = || {
        let mut world = farm(84);
        world.network.links.loss = 0.2;
        for n in 0..20 {
            create(&mut world, n % 3);
        }
        settle(&mut world);
        let copies: Vec<_> = world.engine(1).copies().map(|copy| format!("{copy:?}")).collect();
        (copies, world.messages(), world.now())
    };
    assert_eq!(run(), run());
}

#[test]
fn vectors_stay_small_however_often_a_server_restarts() {
    let lifetime = Duration::from_secs(2);
    let farm = Farm {
        max_lifetime: lifetime,
        default_lifetime: lifetime,
        default_idle_timeout: lifetime,
        ..Farm::default()
    };
    let mut world = World::new(85, farm);
    world.run_for(Duration::from_secs(1));
    for _ in 0..8 {
        create(&mut world, 2);
        world.run_for(Duration::from_secs(1));
        world.crash(2);
        world.start(2);
        world.run_for(Duration::from_secs(2));
    }
    for server in 0..3 {
        let streams = world.status(server).applied.len();
        assert!(streams <= 4, "server {server} remembers {streams} streams");
    }
}

#[test]
fn a_number_that_left_counts_again_as_soon_as_another_server_names_its_new_process() {
    // Found by seed 638 of the swarm, once connections no longer came up across cut links: a server
    // leaves, starts again and hears one of the others only. The other one had counted it out.
    let mut world = farm(86);
    let before = create(&mut world, 1);
    settle(&mut world);
    world.request(0, Request::Leave);
    settle(&mut world);
    world.crash(0);
    world.network.partition(&[0], &[1]);
    world.start(0);
    settle(&mut world);
    assert!(!world.status(0).joining, "the one that it can't hear was silent for long");
    assert_eq!(world.engine(0).copies().count(), 1, "the one that it hears has fed it");
    // It does not hear of this write in time.
    world.network.clogged.insert((2, 0));
    let written = set(&mut world, 1, &before.token, "a", "1");
    world.run_for(Duration::from_secs(1));
    let read = world.read(1, &written.token).expect("found");
    assert!(!read.token.context.is_empty(), "one that counts lacks the write");
    let elsewhere = world.read(0, &read.token);
    assert!(!elsewhere.is_ok_and(|served| text(&served, "a").is_none()), "an old copy was shown");
}
