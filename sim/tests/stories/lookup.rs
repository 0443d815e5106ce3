//! Queries, offers, answers: reading where the copy is not, or not current.

use core::time::Duration;

use grapevine_core::{Acks, Farm, Local, Request, RequestError, Unavailable};
use grapevine_sim::World;

use crate::common::*;

#[test]
fn a_restarted_server_serves_at_once_by_asking() {
    let mut world = farm(10);
    let served = create(&mut world, 0);
    settle(&mut world);
    world.crash(1);
    world.run_for(Duration::from_millis(10));
    world.start(1);
    assert!(world.status(1).joining);
    let read = world.read(1, &served.token).expect("found by asking");
    assert_eq!(text(&read, "user").as_deref(), Some("ann"));
}

#[test]
fn a_customer_reads_its_own_write_at_a_server_that_is_behind() {
    let mut world = farm(11);
    let served = create(&mut world, 0);
    settle(&mut world);
    // The stream from 0 to 1 is cut; the way round through answers is open in the other direction.
    world.network.cut.insert((0, 1));
    let served = set(&mut world, 0, &served.token, "name", "new");
    let read = world.read(1, &served.token).expect("found at the third server");
    assert_eq!(text(&read, "name").as_deref(), Some("new"));
}

#[test]
fn a_large_session_is_offered_and_then_fetched() {
    let mut world = farm(12);
    let mut served = create(&mut world, 0);
    for part in 0..4 {
        let value = "x".repeat(15_000);
        served = set(&mut world, 0, &served.token, &format!("part/{part}"), &value);
    }
    settle(&mut world);
    world.crash(2);
    world.run_for(Duration::from_millis(10));
    // Repairs are slower than the read.
    world.start(2);
    let read = world.read(2, &served.token).expect("fetched");
    assert_eq!(text(&read, "part/3").map(|text| text.len()), Some(15_000));
    let offers: u64 = (0..2).map(|server| world.status(server).counters.offers).sum();
    assert!(offers > 0, "a large copy is not sent unasked");
}

#[test]
fn an_answer_can_go_to_all_servers_that_lack_the_session() {
    let local = Local { answer_all: true, ..Local::default() };
    let mut world = World::with_local(17, Farm::default(), local);
    settle(&mut world);
    // The third server hears nothing of the first, so it lacks the session; so does the second,
    // which is told to ask.
    world.network.cut.extend([(0, 1), (0, 2)]);
    let served = create(&mut world, 0);
    world.network.cut.remove(&(0, 1));
    world.network.cut.insert((1, 2));
    world.network.cut.remove(&(0, 2));
    world.read(1, &served.token).expect("found by asking");
    world.run_for(Duration::from_millis(10));
    let queries = world.status(2).counters.queries;
    assert_eq!((world.status(2).sessions, queries), (1, 0), "it has it without having asked");
    assert_eq!(world.status(2).counters.rounds, 0, "and without a repair");
}

#[test]
fn a_server_that_is_alone_says_unavailable_when_it_can_not_know() {
    let mut world = farm(13);
    let served = create(&mut world, 0);
    settle(&mut world);
    let served = {
        world.network.partition(&[1], &[0, 2]);
        set(&mut world, 0, &served.token, "name", "new")
    };
    let read = world.read(1, &served.token);
    assert!(
        matches!(read, Err(RequestError::Unavailable(Unavailable::NoAnswer(_)))),
        "it must not serve what it can't know: {read:?}"
    );
    let policy = grapevine_core::ReadPolicy::BestEffort;
    let token = served.token.clone();
    let stale = world.ask(1, Request::Read { token, policy }).expect("stale");
    assert!(stale.stale && text(&stale, "name").is_none());
    assert!(
        stale.token.context.covers(&served.token.context),
        "a stale response keeps the context"
    );
}

#[test]
fn a_session_that_every_server_lost_is_lost_and_not_unavailable() {
    let mut world = farm(14);
    world.network.partition(&[0], &[1, 2]);
    let served = create(&mut world, 0);
    world.crash(0);
    world.network.heal();
    world.run_for(Duration::from_millis(10));
    world.start(0);
    settle(&mut world);
    for server in 0..3 {
        assert_eq!(world.read(server, &served.token), Err(RequestError::Lost));
    }
}

#[test]
fn a_crowd_of_requests_for_one_session_makes_one_query() {
    let mut world = farm(15);
    let served = create(&mut world, 0);
    world.crash(1);
    world.start(1);
    let policy = grapevine_core::ReadPolicy::Fresh;
    let crowd: Vec<_> = (0..100)
        .map(|_| world.request(1, Request::Read { token: served.token.clone(), policy }))
        .collect();
    assert_eq!(world.status(1).counters.queries, 1);
    world.run_for(Duration::from_secs(2));
    for id in crowd {
        assert!(matches!(world.answer(id), Some(Ok(_))), "every one of the crowd is answered");
    }
}

#[test]
fn a_write_waits_for_the_acknowledgements_it_asked_for() {
    let mut world = farm(16);
    let served = create(&mut world, 0);
    let update = |token, acks| Request::Update {
        token,
        changes: vec![grapevine_core::Change::Set(key("a"), "1".into())],
        acks,
    };
    let served = world.ask(0, update(served.token, Acks::All)).expect("all have it");
    for server in 1..3 {
        let copy = world.engine(server).copies().next().expect("a copy").clone();
        assert!(copy.seen.covers(&served.session.seen), "an acknowledged write is there");
    }
    world.network.partition(&[0], &[1, 2]);
    let refused = world.ask(0, update(served.token, Acks::Peers(2)));
    assert!(
        matches!(
            refused,
            Err(RequestError::NotReplicated { acked: 0, wanted: 2, token: Some(_), .. })
        ),
        "{refused:?}"
    );
}
