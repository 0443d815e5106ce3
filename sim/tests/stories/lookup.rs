//! Queries, offers, answers: reading where the copy is not, or not current.

use core::time::Duration;

use grapevine_core::{Acks, Farm, Local, Request, RequestError, Served, Unavailable};
use grapevine_sim::Delay;
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
    assert_eq!(offers, 2, "both have it, and a large copy is not sent unasked");
    assert_eq!(world.status(2).counters.fetches, 1, "one of the two sends it");
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
    started(&mut world, 1);
    let answered = |world: &World| -> u64 {
        [0, 2].iter().map(|&other| world.status(other).counters.answers).sum()
    };
    let before = answered(&world);
    let policy = grapevine_core::ReadPolicy::Fresh;
    let crowd: Vec<_> = (0..100)
        .map(|_| world.request(1, Request::Read { token: served.token.clone(), policy }))
        .collect();
    assert_eq!(world.status(1).counters.queries, 1);
    world.run_for(Duration::from_secs(2));
    for id in crowd {
        assert!(matches!(world.answer(id), Some(Ok(_))), "every one of the crowd is answered");
    }
    let counters = world.status(1).counters;
    assert_eq!((counters.queries, counters.shared), (1, 99));
    // One, if it was known by then to have the session.
    let asked = answered(&world) - before;
    assert!((1..=2).contains(&asked), "the others were asked once: {asked}");
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

/// A farm of three whose third server gets nothing of what the first one writes from now on, for a
/// while: its batches are late.
fn late_batches(seed: u64) -> World {
    let mut world = farm(seed);
    world.network.delays.insert((0, 2), Delay::Uniform { min_ms: 150.0, max_ms: 150.0 });
    world
}

fn answers(world: &World) -> Vec<u64> {
    (0..world.size()).map(|server| world.status(server).counters.answers).collect()
}

#[test]
fn a_query_goes_first_to_servers_that_are_known_to_have_what_is_needed() {
    let mut world = late_batches(18);
    let served = create(&mut world, 0);
    world.network.delays.clear();
    let before = answers(&world);
    let read = world.read(2, &served.token).expect("the first server has what it wrote");
    assert_eq!(text(&read, "user").as_deref(), Some("ann"));
    assert_eq!(answers(&world), [before[0] + 1, before[1], before[2]], "nobody else was asked");
}

#[test]
fn a_query_that_is_not_answered_soon_goes_to_all() {
    let mut world = late_batches(19);
    world.network.cut.insert((0, 2));
    // Between two heartbeats, which would tell.
    world.run_for(Duration::from_millis(50));
    let served = create(&mut world, 0);
    world.run_for(Duration::from_millis(10));
    let asked = world.now();
    world.read(2, &served.token).expect("the second server has it, although nobody knew");
    let waited = world.now().since(asked);
    assert!(waited < Duration::from_millis(100), "it took {waited:?}");
    assert_eq!(world.status(2).counters.widened, 1);
}

#[test]
fn a_bad_answer_makes_the_query_go_to_all_at_once() {
    let mut world = late_batches(20);
    let (one, other) = (create(&mut world, 0), create(&mut world, 1));
    settle(&mut world);
    let served = set(&mut world, 0, &one.token, "name", "new");
    world.network.delays.clear();
    // The first server gets a write of the second one from beyond a gap: its copy shows what it
    // does not cover.
    world.network.cut.extend([(1, 0), (1, 2)]);
    set(&mut world, 1, &other.token, "n", "1");
    world.network.cut.remove(&(1, 0));
    set(&mut world, 1, &one.token, "m", "2");
    world.run_for(Duration::from_millis(3));
    world.network.cut.clear();
    let asked = world.now();
    let read = world.read(2, &served.token).expect("the second server covers it all");
    assert_eq!((text(&read, "name"), text(&read, "m")), (Some("new".into()), Some("2".into())));
    assert_eq!(world.status(2).counters.widened, 1);
    assert!(world.now().since(asked) < Duration::from_millis(20), "no time was waited out");
}

/// A large session that the first two servers have and the third lacks, and whose offers come from
/// the first one sooner than from the second.
fn large_at_two(seed: u64) -> (World, Served) {
    let mut world = farm(seed);
    let mut served = create(&mut world, 0);
    for part in 0..4 {
        let value = "x".repeat(15_000);
        served = set(&mut world, 0, &served.token, &format!("part/{part}"), &value);
    }
    settle(&mut world);
    world.crash(2);
    world.run_for(Duration::from_millis(10));
    // No repair is as fast as the read.
    world.start(2);
    world.network.delays.insert((1, 2), Delay::Uniform { min_ms: 4.0, max_ms: 4.0 });
    (world, served)
}

#[test]
fn a_fetch_goes_to_another_holder_when_the_chosen_one_dies_or_falls_silent() {
    for dies in [true, false] {
        let (mut world, served) = large_at_two(21);
        let policy = grapevine_core::ReadPolicy::Fresh;
        let read = world.request(2, Request::Read { token: served.token.clone(), policy });
        while world.status(2).counters.fetches == 0 {
            world.run_for(Duration::from_micros(100));
        }
        if dies {
            world.crash(0);
        } else {
            world.pause(0);
        }
        let asked = world.now();
        while world.answer(read).is_none() {
            world.run_for(Duration::from_millis(1));
        }
        let Some(Ok(grapevine_core::Response::Session(served))) = world.answer(read) else {
            panic!("the second holder has it too: {:?}", world.answer(read));
        };
        assert_eq!(text(served, "part/3").map(|text| text.len()), Some(15_000));
        assert_eq!(world.status(2).counters.fetches, 2, "it was fetched from the other one");
        let soon = Duration::from_millis(if dies { 20 } else { 400 });
        assert!(world.now().since(asked) < soon, "dies: {dies}");
    }
}

/// Three servers of which the first and the third can't reach each other, and know it; and a
/// session that only the third has, so far.
fn bridge(seed: u64) -> (World, Served) {
    let mut world = farm(seed);
    world.network.partition(&[0], &[2]);
    settle(&mut world);
    world.network.cut.insert((2, 1));
    let served = create(&mut world, 2);
    world.network.cut.remove(&(2, 1));
    (world, served)
}

#[test]
fn a_server_that_lacks_a_session_asks_on_for_one_that_can_not_reach_the_holder() {
    let (mut world, served) = bridge(22);
    let asked = world.now();
    let read = world.read(0, &served.token).expect("found by way of the second server");
    assert_eq!(text(&read, "user").as_deref(), Some("ann"));
    assert!(world.now().since(asked) < Duration::from_millis(20), "no repair is as fast");
    assert!(!read.stale && !read.lost);
    assert_eq!(world.status(1).counters.forwards, 1);
    assert_eq!(world.status(1).sessions, 1, "who asked on has it now too");
    assert_eq!(world.status(2).counters.forwards, 0, "nothing is asked on twice");
}

#[test]
fn a_large_session_comes_over_the_bridge_once() {
    let mut world = farm(23);
    world.network.partition(&[0], &[2]);
    settle(&mut world);
    world.network.cut.insert((2, 1));
    let mut served = create(&mut world, 2);
    for part in 0..2 {
        let value = "x".repeat(15_000);
        served = set(&mut world, 2, &served.token, &format!("part/{part}"), &value);
    }
    world.network.cut.remove(&(2, 1));
    let read = world.read(0, &served.token).expect("offered, and fetched");
    assert_eq!(text(&read, "part/1").map(|text| text.len()), Some(15_000));
    assert_eq!(world.status(2).counters.offers, 1);
    assert_eq!(world.status(0).counters.fetches, 1);
}

#[test]
fn a_session_is_lost_when_the_third_server_says_itself_that_it_lacks_it() {
    // The writer is silent for long; while it may come back, its entry is not closed.
    let give_up_after = Duration::from_secs(4);
    let mut world = World::new(24, Farm { size: 4, give_up_after, ..Farm::default() });
    settle(&mut world);
    world.network.partition(&[3], &[0, 1, 2]);
    let served = create(&mut world, 3);
    world.crash(3);
    world.network.heal();
    settle(&mut world);
    world.network.partition(&[0], &[2]);
    settle(&mut world);
    assert_eq!(world.read(0, &served.token), Err(RequestError::Lost));
    assert!(world.status(1).counters.forwards > 0, "the second server asked the third");
    // Without the third server's word it may still have it.
    world.network.partition(&[1], &[2]);
    let read = world.read(0, &served.token);
    assert!(matches!(read, Err(RequestError::Unavailable(_))), "{read:?}");
}

#[test]
fn queries_that_are_asked_on_are_bounded_and_answered_all_the_same() {
    let local = Local { pending_forwards: 1, ..Local::default() };
    let mut world = World::with_local(25, Farm::default(), local);
    settle(&mut world);
    world.network.partition(&[0], &[2]);
    settle(&mut world);
    world.network.cut.extend([(2, 1), (1, 2)]);
    let tokens: Vec<_> = (0..3).map(|_| create(&mut world, 2).token).collect();
    let policy = grapevine_core::ReadPolicy::Fresh;
    let reads: Vec<_> =
        tokens.into_iter().map(|token| world.request(0, Request::Read { token, policy })).collect();
    world.run_for(Duration::from_millis(10));
    let counters = world.status(1).counters;
    assert_eq!((counters.forwards, counters.forwards_refused), (1, 2));
    world.run_for(Duration::from_secs(2));
    assert!(reads.into_iter().all(|id| world.answer(id).is_some()), "each got an answer (G7)");
}

#[test]
fn a_server_that_hears_nobody_says_of_nothing_that_it_is_lost() {
    let give_up_after = Duration::from_secs(4);
    let mut world = World::new(181, Farm { give_up_after, ..Farm::default() });
    settle(&mut world);
    world.network.partition(&[0], &[1, 2]);
    let served = create(&mut world, 1);
    world.crash(1);
    // Both are silent for long, and the third may have what the second wrote.
    world.run_for(Duration::from_secs(10));
    let read = world.read(0, &served.token);
    assert!(matches!(read, Err(RequestError::Unavailable(_))), "{read:?}");
    world.network.heal();
    settle(&mut world);
    assert!(world.read(0, &served.token).is_ok(), "it had");
}

#[test]
fn what_a_server_said_before_it_fell_silent_makes_no_majority_for_a_crowd_that_came_later() {
    // Found by seed 920000000022365. The third server hears the others, and they don't hear it.
    let give_up_after = Duration::from_secs(4);
    let mut world = World::new(182, Farm { give_up_after, ..Farm::default() });
    settle(&mut world);
    world.network.cut.extend([(2, 0), (2, 1)]);
    let served = create(&mut world, 2);
    let read = |world: &mut World| {
        let (token, policy) = (served.token.clone(), grapevine_core::ReadPolicy::Fresh);
        world.request(1, Request::Read { token, policy })
    };
    // A crowd keeps one look-up alive: there is always one who waits. The first server says that it lacks
    // the session, and is then cut off together with the one that has it.
    let mut asked = vec![read(&mut world)];
    world.run_for(Duration::from_millis(100));
    let alone = [(0, 1), (1, 0)];
    world.network.cut.extend(alone);
    for _ in 0..30 {
        world.run_for(Duration::from_millis(200));
        asked.push(read(&mut world));
    }
    assert_eq!(world.status(1).counters.queries, 1, "one look-up for all");
    settle(&mut world);
    for id in asked {
        let answer = world.answer(id).expect("each got an answer (G7)");
        assert!(
            matches!(answer, Err(RequestError::Unavailable(_))),
            "the first server may have it by now: {answer:?}"
        );
    }
    world.network.heal();
    settle(&mut world);
    assert!(world.read(1, &served.token).is_ok(), "it had");
}

#[test]
fn a_read_says_how_long_it_waits_and_whether_stale_is_better_than_nothing() {
    use grapevine_core::ReadPolicy;
    let mut world = farm(26);
    let served = create(&mut world, 0);
    settle(&mut world);
    world.network.partition(&[1], &[0, 2]);
    let served = set(&mut world, 0, &served.token, "name", "new");
    let mut read = |policy| {
        let (token, asked) = (served.token.clone(), world.now());
        let read = world.ask(1, Request::Read { token, policy });
        (read, world.now().since(asked))
    };
    for wait in [0, 30, 800].map(Duration::from_millis) {
        let (fresh, took) = read(ReadPolicy::FreshWithin(wait));
        let why = Unavailable::NoAnswer(wait);
        assert_eq!((fresh, took), (Err(RequestError::Unavailable(why)), wait));
        let (stale, took) = read(ReadPolicy::BestEffortWithin(wait));
        assert!(stale.is_ok_and(|stale| stale.stale) && took == wait, "{wait:?}");
    }
    let queries = world.status(1).counters.queries;
    assert_eq!(queries, 4, "who does not wait asks nobody");
}

#[test]
fn what_a_process_made_that_came_after_one_that_left_is_not_said_to_be_lost() {
    // Found by seed 5048: all others had left, so all had answered.
    let mut world = World::new(179, Farm { size: 2, ..Farm::default() });
    settle(&mut world);
    world.request(1, Request::Leave);
    settle(&mut world);
    world.crash(1);
    world.network.clogged.insert((1, 0));
    world.start(1);
    world.run_for(Duration::from_secs(2));
    let served = create(&mut world, 1);
    let read = world.read(0, &served.token);
    assert!(matches!(read, Err(RequestError::Unavailable(_))), "{read:?}");
    world.unclog((1, 0));
    settle(&mut world);
    assert!(world.read(0, &served.token).is_ok(), "it was there all the time");
}

#[test]
fn what_a_server_writes_after_it_has_answered_over_a_bridge_is_not_lost() {
    // Found by seed 500000000000514: the third server does not hear the second, and counts it as none of the farm.
    let mut world = farm(180);
    let served = create(&mut world, 1);
    settle(&mut world);
    // The third server's write is lost with it, so it asks all when it is back.
    world.network.partition(&[2], &[0, 1]);
    let lacking = set(&mut world, 2, &served.token, "name", "lost").token;
    world.crash(2);
    world.run_for(Duration::from_millis(10));
    world.network.heal();
    world.network.partition(&[1], &[2]);
    let slow = |ms| Delay::Uniform { min_ms: ms, max_ms: ms };
    world.network.delays.insert((0, 2), slow(5000.0));
    world.start(2);
    let policy = grapevine_core::ReadPolicy::Fresh;
    started(&mut world, 2);
    // It has heard no heartbeat yet when the answers come.
    world.run_for(Duration::from_millis(20));
    world.network.delays.insert((0, 2), slow(100.0));
    let before = Request::Read { token: lacking, policy };
    let before = world.request(2, before);
    // The second server has answered, and that is on its way, when it writes again.
    world.run_for(Duration::from_millis(20));
    let served = set(&mut world, 1, &served.token, "name", "new");
    let after = world.request(2, Request::Read { token: served.token, policy });
    world.run_for(Duration::from_secs(2));
    let lost = |read: &grapevine_core::Response| matches!(read, grapevine_core::Response::Session(served) if served.lost);
    let read = world.answer(before).expect("each got an answer (G7)");
    assert!(read.as_ref().is_ok_and(lost), "{read:?}");
    let read = world.answer(after).expect("each got an answer (G7)");
    assert!(!read.as_ref().is_ok_and(lost), "its writer is there: {read:?}");
}
