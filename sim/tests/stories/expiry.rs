//! Idle and absolute limits.

use core::time::Duration;

use grapevine_core::command::{Answer, Found};
use grapevine_core::{
    Command, Create, Event, Limit, NotFound, Notice, Request, RequestError, Response, Served, Token,
};
use grapevine_sim::World;

use crate::common::*;

const SECOND: Duration = Duration::from_secs(1);

fn short(world: &mut World, idle: u32, lifetime: u32) -> Served {
    let create = Create {
        idle_timeout: Some(SECOND * idle),
        lifetime: Some(SECOND * lifetime),
        ..Create::default()
    };
    world.ask(0, Request::Create(create)).expect("created")
}

#[test]
fn an_idle_session_ends_everywhere_with_one_notice() {
    let mut world = farm(40);
    let served = short(&mut world, 10, 1000);
    world.run_for(SECOND * 9);
    assert!(world.read(1, &served.token).is_ok());
    world.run_for(SECOND * 30);
    for server in 0..3 {
        let read = world.read(server, &served.token);
        assert!(matches!(read, Err(RequestError::NotFound(_))), "{read:?}");
        assert_eq!(world.status(server).tombstones, 1);
    }
    let expired = world.notices().iter().filter(|(_, n)| matches!(n, Notice::Expired { .. }));
    assert_eq!(expired.count(), 1);
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[test]
fn a_session_in_use_at_any_server_does_not_end() {
    let mut world = farm(41);
    let mut served = short(&mut world, 8, 1000);
    for round in 0..30 {
        world.run_for(SECOND * 5);
        served = world.read(round % 3, &served.token).expect("in use");
    }
}

#[test]
fn reads_are_written_down_at_most_once_per_eighth_of_the_idle_timeout() {
    let mut world = farm(42);
    let served = short(&mut world, 80, 1000);
    let before: u64 = (0..3).map(|server| world.status(server).counters.writes).sum();
    for _ in 0..400 {
        world.run_for(Duration::from_millis(100));
        world.read(1, &served.token).expect("in use");
    }
    let after: u64 = (0..3).map(|server| world.status(server).counters.writes).sum();
    assert!((3..=4).contains(&(after - before)), "{} touches in 40 s of 80 s", after - before);
}

#[test]
fn nothing_is_served_past_its_deadline_and_copies_are_dropped() {
    let mut world = farm(43);
    let served = short(&mut world, 20, 20);
    for round in 0..19 {
        world.read(round % 3, &served.token).expect("within its lifetime");
        world.run_for(SECOND);
    }
    world.run_for(SECOND);
    for server in 0..3 {
        let read = world.read(server, &served.token);
        assert_eq!(read, Err(RequestError::NotFound(NotFound::Deadline)));
    }
    world.run_for(SECOND * 5);
    for server in 0..3 {
        let status = world.status(server);
        assert_eq!((status.sessions, status.tombstones, status.bytes), (0, 0, 0));
    }
}

#[test]
fn a_slot_is_used_again_after_its_session_is_gone() {
    let mut world = farm(44);
    let first = short(&mut world, 5, 5);
    world.run_for(SECOND * 10);
    let second = short(&mut world, 5, 5);
    assert_eq!(first.token.id.address, second.token.id.address);
    world.run_for(SECOND);
    let read = world.read(1, &first.token);
    assert!(matches!(read, Err(RequestError::NotFound(_))), "{read:?}");
    assert!(world.read(1, &second.token).is_ok());
}

#[test]
fn a_copy_that_was_dropped_is_not_stored_again_when_a_clock_is_heard_no_more() {
    // Found by seed 546 of the swarm of its day.
    let mut world = farm(48);
    // The third server's clock is behind, within what is allowed: it keeps copies longest.
    world.skew(2, -400_000);
    settle(&mut world);
    let served = short(&mut world, 600, 3);
    let address = served.token.id.address;
    world.run_for(SECOND);
    while world.engine(1).copy(address).is_some() {
        world.run_for(Duration::from_millis(1));
    }
    let late = world.engine(2).copy(address).cloned().expect("still kept there");
    // Only the second and the third are left, and the time of a majority is the third's.
    assert_eq!(world.ask_any(0, Request::Leave), Ok(Response::Left { complete: true }));
    world.run_for(Duration::from_millis(20));
    let from = world.engine(2).server();
    let answer = Answer {
        lookup: 0,
        id: late.id,
        applied: world.engine(2).applied().clone(),
        found: Found::Whole(late),
        by: from,
        asks: Vec::new(),
    };
    world.handle(1, Event::Command { from, command: Command::Answer(answer) });
    assert!(world.engine(1).copy(address).is_none(), "what is over is not stored again (G4)");
}

#[test]
fn an_idle_session_is_kept_while_a_server_that_may_know_better_is_cut_off() {
    let mut world = farm(45);
    let served = short(&mut world, 10, 1000);
    settle(&mut world);
    world.network.partition(&[2], &[0, 1]);
    // The customer is at the third server all the time.
    for _ in 0..10 {
        world.run_for(SECOND * 4);
        world.read(2, &served.token).expect("in use there");
    }
    assert!(matches!(world.read(0, &served.token), Err(RequestError::Unavailable(_))));
    world.network.heal();
    settle(&mut world);
    assert!(world.read(0, &served.token).is_ok(), "a session in use never expires early");
}

#[test]
fn a_server_whose_clock_is_far_off_serves_and_ends_nothing() {
    let mut world = farm(46);
    let served = short(&mut world, 100, 1000);
    settle(&mut world);
    world.skew(1, 3_600_000_000);
    for _ in 0..50 {
        world.run_for(Duration::from_millis(100));
        let read = world.read(1, &served.token);
        assert!(matches!(read, Err(RequestError::Unavailable(_))), "{read:?}");
    }
    assert!(world.status(1).skewed);
    assert_eq!(world.status(1).sessions, 1, "the copy is kept");
    assert_eq!(world.status(0).members[0].state, grapevine_core::State::Skewed);
    assert!(world.read(0, &served.token).is_ok(), "an hour ahead elsewhere ends nothing here");
}

#[test]
fn a_change_that_changes_nothing_is_still_an_access() {
    let mut world = farm(47);
    let served = short(&mut world, 8, 1000);
    for _ in 0..10 {
        world.run_for(SECOND * 4);
        // There is nothing to remove.
        update(&mut world, 1, &served.token, vec![grapevine_core::Change::Remove(key("none"))]);
    }
}

/// Who told of which session, and why.
fn told(world: &World) -> Vec<(usize, grapevine_core::SessionId, Limit)> {
    let of = |(server, notice): &(usize, Notice)| match notice {
        Notice::Expired { session, limit } => Some((*server, session.id, *limit)),
        _ => None,
    };
    world.notices().iter().filter_map(of).collect()
}

#[test]
fn a_session_that_reaches_its_deadline_is_told_of_by_its_origin_alone() {
    let mut world = farm(320);
    let served: Vec<Served> = (0..3).map(|_| short(&mut world, 20, 20)).collect();
    for _ in 0..4 {
        // In use all the time: it is not the idle limit that ends it.
        world.run_for(SECOND * 4);
        served.iter().for_each(|served| drop(world.read(1, &served.token)));
    }
    assert_eq!(told(&world), []);
    world.run_for(SECOND * 10);
    let expected = served.iter().map(|served| (0, served.token.id, Limit::Absolute));
    assert_eq!(told(&world), expected.collect::<Vec<_>>());
    let counted: u64 = (0..3).map(|server| world.status(server).counters.expired_told).sum();
    assert_eq!(counted, 3);
}

#[test]
fn an_idle_session_whose_deadline_passes_too_is_told_of_once() {
    let mut world = farm(321);
    let served = short(&mut world, 5, 15);
    world.run_for(SECOND * 40);
    assert_eq!(told(&world), [(0, served.token.id, Limit::Idle)]);
}

#[test]
fn a_session_that_was_ended_on_purpose_is_not_told_of() {
    let mut world = farm(322);
    let deleted = short(&mut world, 10, 10);
    let acks = grapevine_core::Acks::Local;
    world.ask_any(1, Request::Delete { token: deleted.token, acks }).expect("deleted");
    let rotated = short(&mut world, 10, 10);
    let rotation = grapevine_core::Rotation::default();
    let new = world.ask(2, Request::Rotate { token: rotated.token, rotation }).expect("rotated");
    world.run_for(SECOND * 10);
    let new = world.read(1, &new.token).expect_err("its idle limit is the old one's");
    assert!(matches!(new, RequestError::NotFound(_)), "{new:?}");
    world.run_for(SECOND * 10);
    let told = told(&world);
    assert_eq!(told.len(), 1, "the new session alone: {told:?}");
    assert_eq!((told[0].0, told[0].2), (2, Limit::Idle));
}

#[test]
fn sessions_of_a_server_that_died_are_told_of_by_the_lowest_that_lives_and_has_joined() {
    let mut world = farm(323);
    let create = |world: &mut World| {
        let second = Some(SECOND * 20);
        let create = Create { idle_timeout: second, lifetime: second, ..Create::default() };
        world.ask(2, Request::Create(create)).expect("created").token.id
    };
    let ids = [create(&mut world), create(&mut world)];
    settle(&mut world);
    world.crash(2);
    world.run_for(SECOND * 20);
    assert_eq!(told(&world), ids.map(|id| (0, id, Limit::Absolute)));
}

#[test]
fn two_halves_of_a_farm_tell_of_a_session_once_each_and_one_of_them_no_more_when_they_meet() {
    let mut world = farm(324);
    let served = short(&mut world, 20, 20);
    settle(&mut world);
    world.network.partition(&[0], &[1, 2]);
    world.run_for(SECOND * 20);
    let mut told_apart = told(&world);
    told_apart.sort();
    assert_eq!(
        told_apart,
        [(0, served.token.id, Limit::Absolute), (1, served.token.id, Limit::Absolute)]
    );
    world.network.heal();
    settle(&mut world);
    assert_eq!(told(&world).len(), told_apart.len());
}

#[test]
fn a_server_that_has_left_ends_no_session_as_idle() {
    // Found by seed 600000000003376: it counts nobody new, so it does not know who accessed it meanwhile.
    let mut world = farm(49);
    world.request(1, Request::Leave);
    world.run_for(SECOND * 2);
    world.crash(1);
    let served = short(&mut world, 10, 1000);
    world.network.partition(&[0], &[1]);
    world.start(1);
    // Before anybody tells it of the new process.
    world.run_for(SECOND / 4);
    world.request(0, Request::Leave);
    world.run_for(SECOND * 7);
    world.read(1, &served.token).expect("in use");
    // It goes on for a while, until whoever runs it stops it.
    world.run_for(SECOND * 6);
    let copy = world.engine(0).copy(served.session.id.address).expect("there");
    assert_eq!(copy.life, grapevine_core::Life::Live);
    world.read(1, &served.token).expect("in use");
}

#[test]
fn a_server_that_was_paused_calls_nothing_idle_by_answers_from_before() {
    // Found by seed 700000000015978: by the time that it looked at the answers, what they showed was idle.
    let mut world = farm(50);
    world.crash(0);
    let create = Create { idle_timeout: Some(SECOND * 5), ..Create::default() };
    let served = world.ask(1, Request::Create(create)).expect("created");
    // It lacks the session for long.
    let points = vec!["pull_ignored".into()];
    world.buggify(&grapevine_sim::Buggify { points, probability: 1.0 }, 50);
    world.start(0);
    started(&mut world, 0);
    world.run_for(SECOND / 2);
    let slow = |ms| grapevine_sim::Delay::Uniform { min_ms: ms, max_ms: ms };
    world.network.delays.extend([((1, 0), slow(50.0)), ((2, 0), slow(50.0))]);
    let policy = grapevine_core::ReadPolicy::Fresh;
    let read = |token: &Token| Request::Read { token: token.clone(), policy };
    world.request(0, read(&served.token));
    world.run_for(Duration::from_millis(5));
    world.network.delays.insert((2, 0), slow(20_000.0));
    world.network.cut.insert((2, 1));
    // A customer comes with what was written after the servers' answers to the same look-up.
    let served = set(&mut world, 2, &served.token, "a", "1");
    let asked = world.request(0, read(&served.token));
    world.run_for(Duration::from_millis(90));
    assert_eq!(world.answer(asked), None, "all have answered, and nobody has what it asks for");
    world.pause(0);
    world.network.heal();
    for _ in 0..4 {
        world.run_for(SECOND * 2);
        world.read(1, &served.token).expect("in use");
    }
    world.resume(0);
    world.run_for(SECOND);
    let read = world.answer(asked).expect("answered (G7)");
    assert!(!matches!(read, Err(RequestError::NotFound(_))), "{read:?}");
    world.read(0, &served.token).expect("in use");
}

#[test]
fn nothing_is_idle_for_certain_while_what_a_dead_process_wrote_is_fetched() {
    let mut world = farm(51);
    let served = short(&mut world, 8, 1000);
    world.run_for(SECOND);
    // Repairs take long, and the first server does not hear of an access at the third.
    let points = vec!["pull_ignored".into()];
    world.buggify(&grapevine_sim::Buggify { points, probability: 1.0 }, 51);
    world.run_for(SECOND * 4);
    world.network.cut.insert((2, 0));
    world.read(2, &served.token).expect("in use");
    world.run_for(SECOND / 10);
    world.crash(2);
    world.network.heal();
    world.start(2);
    world.run_for(SECOND * 7);
    // By what the first server has, it was not used for twelve seconds.
    let copy = world.engine(0).copy(served.session.id.address).expect("there");
    assert_eq!(copy.life, grapevine_core::Life::Live);
    world.buggify(&grapevine_sim::Buggify::default(), 51);
    world.read(0, &served.token).expect("in use");
}

#[test]
fn a_clock_that_is_set_ahead_again_and_again_takes_no_dead_processs_clock_along() {
    // Found by seed 830000000000010: what a majority had reached was then what the dead one's clock was
    // thought to show, and each step of the server's own had moved that by a part.
    let mut world = farm(43);
    let served = short(&mut world, 100, 6);
    let address = served.token.id.address;
    world.run_for(Duration::from_millis(300));
    world.crash(0);
    for step in 1..=4 {
        world.skew(2, step * 50_000_000);
        world.run_for(SECOND);
    }
    world.run_for(SECOND);
    assert!(world.engine(2).copy(address).is_some(), "its time is not over");
    world.check_claims(2);
}
