//! Writers that are gone: what they wrote last, who tells it on, and when nobody can have more.

use core::time::Duration;

use grapevine_core::{Acks, Change, Farm, Local, Request, RequestError, Served, Token};
use grapevine_sim::World;

use crate::common::*;

fn written(world: &mut World, server: usize, token: &Token, name: &str) -> Served {
    set(world, server, token, name, "x")
}

/// Whether a copy at a server shows the second write of who died.
fn has_second(world: &World, server: usize) -> bool {
    world.engine(server).copies().any(|copy| copy.get("second").is_some())
}

/// Server 1 has told server 0 alone of the second write, and dies before its turn: server 0 publishes that, its so-manieth.
fn who_was_told_publishes(world: &mut World, times: u64) {
    assert_eq!(world.status(1).counters.published_again, 0, "the story needs one that waits");
    world.crash(1);
    assert!(has_second(world, 0) && !has_second(world, 2), "one alone has it, and was told of it");
    settle(world);
    assert_eq!(world.status(0).counters.published_again, times);
    assert_eq!(world.differences(), Vec::<String>::new(), "all that live have it");
    world.start(1);
    settle(world);
    assert_eq!(world.differences(), Vec::<String>::new());
    assert!((0..3).all(|server| has_second(world, server)));
}

/// Server 2 writes to a session that all have: once so that nobody hears of it, and once so that
/// only server 1 does, beyond a gap. Then it dies before anybody can ask.
fn a_death_that_leaves_a_hole(world: &mut World) -> (Token, Token) {
    let served = create(world, 2);
    settle(world);
    let token = world.read(0, &served.token).expect("found").token;
    world.network.partition(&[2], &[0, 1]);
    let first = written(world, 2, &token, "first");
    world.network.heal();
    world.network.partition(&[2], &[0]);
    let second = written(world, 2, &first.token, "second");
    world.run_for(Duration::from_millis(5));
    world.crash(2);
    world.network.heal();
    (token, second.token)
}

#[test]
fn what_one_server_got_beyond_a_gap_all_have_after_its_writer_came_back_empty() {
    let mut world = farm(110);
    a_death_that_leaves_a_hole(&mut world);
    world.run_for(Duration::from_millis(100));
    assert!(!world.differences().is_empty(), "the story needs a hole");
    world.start(2);
    settle(&mut world);
    assert_eq!(world.differences(), Vec::<String>::new());
    assert_eq!(world.status(1).counters.published_again, 1, "who has it publishes it once");
    assert_eq!(world.status(0).counters.published_again, 0, "who got it by that doesn't");
}

#[test]
fn what_lies_beyond_a_closed_entry_is_lost_and_nobody_is_asked() {
    let mut world = farm(111);
    let (_, token) = a_death_that_leaves_a_hole(&mut world);
    world.start(2);
    settle(&mut world);
    for server in 0..3 {
        let queries = world.status(server).counters.queries;
        let served = world.read(server, &token).expect("what is left is served");
        assert!(served.lost, "server {server} has not all that the customer knew");
        assert_eq!(text(&served, "second").as_deref(), Some("x"), "but what there is");
        assert_eq!(text(&served, "first"), None);
        assert_eq!(world.status(server).counters.queries, queries);
    }
}

#[test]
fn a_session_whose_create_died_with_its_server_is_lost_and_nobody_is_asked() {
    let mut world = farm(112);
    world.network.partition(&[2], &[0, 1]);
    let served = create(&mut world, 2);
    world.crash(2);
    world.network.heal();
    world.start(2);
    settle(&mut world);
    let queries = world.status(0).counters.queries;
    assert_eq!(world.read(0, &served.token).map(drop), Err(RequestError::Lost));
    assert_eq!(world.status(0).counters.queries, queries);
}

#[test]
fn a_server_that_is_down_keeps_entries_open_and_its_return_closes_them() {
    let mut world = World::new(113, Farm { size: 4, ..Farm::default() });
    settle(&mut world);
    a_death_that_leaves_a_hole(&mut world);
    world.crash(3);
    world.start(2);
    settle(&mut world);
    let closed = world.status(0).counters.closed;
    assert_eq!(world.differences(), Vec::<String>::new(), "published again all the same");
    world.start(3);
    settle(&mut world);
    assert!(world.status(0).counters.closed > closed);
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[test]
fn the_last_writes_of_a_server_that_is_silent_for_long_are_published_again() {
    let mut world =
        World::new(114, Farm { give_up_after: Duration::from_secs(4), ..Farm::default() });
    settle(&mut world);
    let closed = world.status(1).counters.closed;
    a_death_that_leaves_a_hole(&mut world);
    world.run_for(Duration::from_secs(8));
    assert_eq!(world.differences(), Vec::<String>::new());
    assert_eq!(world.status(1).counters.published_again, 1);
    assert_eq!(world.status(1).counters.closed, closed, "it may come back");
}

/// Whoever is asked sends what it has, from beyond a gap too.
#[test]
fn what_came_with_an_answer_is_published_again_when_its_holder_dies() {
    let mut world =
        World::new(115, Farm { give_up_after: Duration::from_secs(4), ..Farm::default() });
    settle(&mut world);
    let (_, token) = a_death_that_leaves_a_hole(&mut world);
    // Server 1 answers server 0 and dies before it publishes anything.
    let _ = world.read(0, &token);
    world.crash(1);
    world.start(1);
    world.start(2);
    settle(&mut world);
    assert_eq!(world.differences(), Vec::<String>::new());
    assert!(has_second(&world, 2), "the write that the answer brought is everywhere");
}

/// That a server left is told on: its own word may be lost, and a server that starts later never
/// heard it.
#[test]
fn a_server_that_left_is_counted_out_by_those_who_did_not_hear_it_too() {
    let mut world = farm(116);
    world.network.cut.insert((2, 0));
    world.ask_any(2, Request::Leave).expect("left");
    world.run_for(Duration::from_secs(1));
    world.crash(2);
    world.network.heal();
    settle(&mut world);
    world.crash(1);
    world.start(1);
    settle(&mut world);
    for server in [0, 1] {
        let members = world.status(server).members;
        let left = members.iter().find(|member| member.server.number() == 3);
        assert_eq!(left.map(|member| member.state), Some(grapevine_core::State::Left));
        assert!(!world.status(server).joining);
    }
}

/// A session whose create is lost is held in part for ever. Whoever publishes it again must not wait
/// for acknowledgements because of it.
#[test]
fn a_part_of_a_lost_session_does_not_hold_up_acknowledgements() {
    let mut world = World::new(117, Farm { size: 4, ..Farm::default() });
    settle(&mut world);
    world.network.partition(&[2], &[0, 1, 3]);
    let lost = create(&mut world, 2);
    world.network.heal();
    world.network.partition(&[2], &[0, 3]);
    written(&mut world, 2, &lost.token, "second");
    world.run_for(Duration::from_millis(5));
    world.crash(2);
    world.network.heal();
    // Nothing can be closed while a server is down.
    world.crash(3);
    world.start(2);
    settle(&mut world);
    assert_eq!(world.status(0).partial, 1, "the story needs a part of a session");
    assert_eq!(world.differences(), Vec::<String>::new());
    let served = create(&mut world, 1);
    let changes = vec![Change::Set(key("n"), "1".into())];
    let update = Request::Update { token: served.token, changes, acks: Acks::Majority };
    assert!(world.ask(1, update).is_ok());
}

#[test]
fn many_sessions_are_published_again_in_parts_and_mostly_by_one_server() {
    let mut world = World::with_local(118, Farm { size: 5, ..Farm::default() }, Local::default());
    settle(&mut world);
    let tokens: Vec<Token> = (0..150).map(|_| create(&mut world, 4).token).collect();
    settle(&mut world);
    world.network.partition(&[4], &[0, 1, 2, 3]);
    written(&mut world, 4, &tokens[0], "lost");
    world.network.heal();
    world.network.partition(&[4], &[3]);
    for token in &tokens {
        let (token, changes) = (token.clone(), vec![Change::Set(key("n"), "1".into())]);
        world.request(4, Request::Update { token, changes, acks: Acks::Local });
    }
    world.run_for(Duration::from_millis(5));
    world.crash(4);
    world.network.heal();
    world.start(4);
    settle(&mut world);
    assert_eq!(world.differences(), Vec::<String>::new());
    let again: Vec<u64> =
        (0..5).map(|server| world.status(server).counters.published_again).collect();
    assert_eq!(again.iter().sum::<u64>(), 150, "{again:?}");
    assert!(again.contains(&150), "{again:?}");
}

/// By such a clock the life of what waits to be published again is over; by everybody else's it is not.
#[test]
fn who_waits_to_publish_and_whose_clock_jumps_far_ahead_does_not_say_that_all_is_published() {
    let mut world = farm(119);
    let (_, token) = a_death_that_leaves_a_hole(&mut world);
    let closed = world.status(0).counters.closed;
    world.start(2);
    started(&mut world, 2);
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.status(1).counters.published_again, 0, "the story needs one that waits");
    world.skew(1, 40 * 24 * 3_600_000_000);
    settle(&mut world);
    assert_eq!(world.status(0).counters.closed, closed, "one server has more of who is gone");
    let lost = matches!(world.read(0, &token), Err(RequestError::Lost))
        || world.read(0, &token).is_ok_and(|served| served.lost);
    assert!(!lost, "server 1 has it");
}

/// What is left of a writer that is gone stays beyond its entry while a server that is down keeps that
/// open. If two servers hear each other through a third one only, each takes the other for silent, and
/// each of its writes brings that session along in a repair.
#[test]
fn who_hears_of_anothers_writes_by_repair_alone_publishes_nothing_again_for_them() {
    let mut world =
        World::new(121, Farm { size: 4, give_up_after: Duration::from_secs(4), ..Farm::default() });
    settle(&mut world);
    world.crash(3);
    let (token, _) = a_death_that_leaves_a_hole(&mut world);
    world.start(2);
    settle(&mut world);
    assert_eq!(world.differences(), Vec::<String>::new());
    world.network.partition(&[0], &[1]);
    world.run_for(Duration::from_secs(8));
    let again = |world: &World| -> Vec<u64> {
        (0..3).map(|server| world.status(server).counters.published_again).collect()
    };
    let before = again(&world);
    assert!(before.iter().sum::<u64>() > 0, "the story needs a hole that stays open");
    for (server, name) in [(0, "third"), (1, "fourth")] {
        written(&mut world, server, &token, name);
        settle(&mut world);
        assert_eq!(world.differences(), Vec::<String>::new(), "repair has brought it");
        assert_eq!(again(&world), before, "what it came with was published long ago");
    }
}

/// A server that is down keeps open what another left beyond a gap. A third one restarts every few seconds.
#[test]
fn who_is_told_of_a_gone_writers_last_writes_leaves_them_to_who_told_of_them() {
    let mut world = World::new(122, Farm { size: 4, ..Farm::default() });
    settle(&mut world);
    world.crash(3);
    a_death_that_leaves_a_hole(&mut world);
    world.start(2);
    settle(&mut world);
    assert_eq!(world.differences(), Vec::<String>::new());
    let writers = world.engine(1).applied().len();
    for _ in 0..20 {
        world.crash(0);
        world.start(0);
        settle(&mut world);
        assert!(!world.status(0).joining, "the story needs a process that could publish");
        assert_eq!(world.differences(), Vec::<String>::new());
    }
    assert_eq!(world.status(0).counters.published_again, 0, "server 1 has published them");
    assert_eq!(world.engine(1).applied().len(), writers, "no life takes a place");
    world.start(3);
    settle(&mut world);
    assert!(world.status(0).counters.closed > 0, "and all is closed when all are there");
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[test]
fn what_was_left_to_who_told_of_it_is_published_by_who_was_told_when_that_one_dies() {
    let mut world = farm(123);
    let (_, token) = a_death_that_leaves_a_hole(&mut world);
    world.crash(0);
    world.start(2);
    world.start(0);
    started(&mut world, 0);
    started(&mut world, 2);
    let _ = world.read(0, &token);
    who_was_told_publishes(&mut world, 1);
}

/// Two servers have parts of what a dead one wrote, each beyond a gap, and the first of them has published its own.
#[test]
fn who_has_published_its_part_of_what_is_left_publishes_what_it_is_told_of_afterwards_too() {
    let mut world = farm(124);
    let (mine, others) = (create(&mut world, 2), create(&mut world, 2));
    settle(&mut world);
    world.network.partition(&[2], &[0, 1]);
    written(&mut world, 2, &mine.token, "nobody's");
    world.network.heal();
    world.network.partition(&[2], &[1]);
    written(&mut world, 2, &mine.token, "first");
    world.run_for(Duration::from_millis(5));
    world.network.heal();
    world.network.partition(&[2], &[0]);
    let second = written(&mut world, 2, &others.token, "second");
    world.run_for(Duration::from_millis(5));
    world.crash(2);
    world.network.heal();
    world.start(2);
    while world.status(0).counters.published_again == 0 {
        world.run_for(Duration::from_millis(1));
    }
    let _ = world.read(0, &second.token);
    who_was_told_publishes(&mut world, 2);
}
