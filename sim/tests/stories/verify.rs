//! Verification: copies are compared, and what memory lost or changed is found, told and mended.

use core::time::Duration;

use grapevine_core::rare::Memory;
use grapevine_core::{
    Farm, Local, Missed, Notice, Report, Request, RequestError, Response, SessionId, Token,
    Unavailable,
};
use grapevine_sim::World;

use crate::common::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A farm of three that compares ten ranges a second.
fn comparing(seed: u64) -> World {
    let local = Local { verify_every: Duration::from_millis(100), ..Local::default() };
    with(seed, local)
}

/// A farm of three that compares on demand only.
fn silent(seed: u64) -> World {
    with(seed, Local { verify_every: Duration::ZERO, ..Local::default() })
}

fn with(seed: u64, local: Local) -> World {
    let mut world = World::with_local(seed, Farm::default(), local);
    settle(&mut world);
    world
}

fn verify(world: &mut World, server: usize, within: Duration) -> Report {
    match world.ask_any(server, Request::Verify { within }) {
        Ok(Response::Verified(report)) => report,
        other => panic!("expected a report, got {other:?}"),
    }
}

/// A session that all servers have: an attribute from server 0, adds from all.
fn shared(world: &mut World) -> Token {
    let mut token = create(world, 0).token;
    for server in 0..3 {
        token = add(world, server, &token, "clicks", 1 + server as i64).token;
    }
    settle(world);
    token
}

fn mismatches(world: &World) -> u64 {
    let running = (0..3).filter_map(|server| world.running(server));
    running.map(|engine| engine.counters().mismatches).sum()
}

fn told(world: &World, id: &SessionId) -> bool {
    let hashed = id.hashed();
    world.notices().iter().any(|(_, notice)| {
        matches!(notice, Notice::Mismatch { sessions, .. } if sessions.contains(&hashed))
    })
}

/// Damages server 1's memory and waits until the servers have compared their copies.
fn damaged_and_mended(seed: u64, what: Memory) -> (World, Token) {
    let mut world = comparing(seed);
    let token = shared(&mut world);
    assert_eq!(mismatches(&world), 0);
    let id = world.damage(1, what, 0).expect("there is a copy to damage");
    assert_eq!(id, token.id);
    assert!(!world.differences().is_empty(), "the story needs a difference");
    settle(&mut world);
    assert_eq!(world.differences(), Vec::<String>::new());
    assert!(mismatches(&world) > 0);
    assert!(told(&world, &id));
    (world, token)
}

#[test]
fn a_copy_that_a_server_lost_comes_back_though_no_vector_speaks_of_it() {
    let (mut world, token) = damaged_and_mended(400, Memory::LostCopy);
    let queries = world.status(1).counters.queries;
    let served = world.read(1, &token).expect("found");
    assert_eq!(text(&served, "clicks").as_deref(), Some("6"));
    assert_eq!(world.status(1).counters.queries, queries, "it is there, nobody is asked");
    let repaired: u64 = (0..3).map(|s| world.status(s).counters.mismatches_repaired).sum();
    assert_eq!(repaired, mismatches(&world));
}

#[test]
fn an_attribute_that_a_server_lost_comes_back() {
    let (mut world, token) = damaged_and_mended(401, Memory::LostAttribute);
    let served = world.read(1, &token).expect("found");
    assert_eq!(text(&served, "user").as_deref(), Some("ann"));
    assert_eq!(text(&served, "clicks").as_deref(), Some("6"));
}

#[test]
fn an_add_that_a_server_lost_comes_back_and_counts_once() {
    let (mut world, token) = damaged_and_mended(402, Memory::LostAdd);
    for server in 0..3 {
        let served = world.read(server, &token).expect("found");
        assert_eq!(text(&served, "clicks").as_deref(), Some("6"));
    }
}

/// Nobody can tell which of two values of one version is the right one. But all show the same.
#[test]
fn of_two_values_of_one_version_all_servers_take_the_same() {
    let (mut world, token) = damaged_and_mended(403, Memory::FlippedValue);
    let shown =
        |world: &mut World, server| text(&world.read(server, &token).expect("found"), "user");
    let first = shown(&mut world, 0);
    assert!((1..3).all(|server| shown(&mut world, server) == first));
    assert_eq!(first.as_deref(), Some("ann"), "`a` is larger than `a` with its last bit flipped");
}

#[test]
fn a_server_takes_its_own_session_back_when_it_lost_the_copy() {
    let mut world = comparing(404);
    let token = shared(&mut world);
    world.damage(0, Memory::LostCopy, 0).expect("there is a copy to damage");
    settle(&mut world);
    assert_eq!(world.differences(), Vec::<String>::new());
    let served = world.read(0, &token).expect("found");
    assert_eq!(text(&served, "clicks").as_deref(), Some("6"));
    let next = create(&mut world, 0);
    assert_ne!(next.session.id.address, token.id.address, "its slot is not given away");
}

#[test]
fn on_demand_a_server_says_how_it_compares_with_every_other() {
    let mut world = silent(405);
    let token = shared(&mut world);
    let report = verify(&mut world, 0, MINUTE);
    assert!(report.identical() && !report.differs(), "{report:?}");
    assert_eq!(report.peers.iter().map(|peer| peer.sessions).collect::<Vec<_>>(), [1, 1]);
    world.damage(1, Memory::LostAttribute, 0).expect("there is a copy to damage");
    settle(&mut world);
    assert!(!world.differences().is_empty(), "nobody compares without being asked");
    let report = verify(&mut world, 0, MINUTE);
    assert!(report.differs() && !report.identical());
    let named = |number| report.peers.iter().find(|peer| peer.number == number).expect("there");
    assert_eq!((named(2).differing, named(2).repaired), (1, 1));
    assert_eq!(named(2).named, [token.id.hashed()]);
    assert_eq!((named(3).differing, named(3).sessions), (0, 1));
    assert_eq!(world.differences(), Vec::<String>::new());
    assert!(verify(&mut world, 0, MINUTE).identical());
}

#[test]
fn a_server_that_is_down_or_joining_is_reported_as_not_compared() {
    let mut world = silent(406);
    shared(&mut world);
    world.crash(2);
    world.run_for(Duration::from_secs(3));
    let report = verify(&mut world, 0, MINUTE);
    assert!(!report.identical() && !report.differs());
    assert_eq!(report.peers[0].missed, None);
    assert_eq!(report.peers[1].missed, Some(Missed::Down));
    world.network.partition(&[2], &[1]);
    world.start(2);
    world.run_for(Duration::from_millis(50));
    assert!(world.status(2).joining, "the story needs a server that is joining");
    let report = verify(&mut world, 2, MINUTE);
    assert!(report.peers.iter().all(|peer| peer.missed == Some(Missed::OwnNotReady)), "{report:?}");
}

#[test]
fn one_that_does_not_answer_ends_a_verification_in_bounded_time() {
    let mut world = silent(407);
    shared(&mut world);
    world.network.cut.insert((1, 0));
    let report = verify(&mut world, 0, Duration::from_millis(300));
    assert_eq!(report.peers[0].missed, Some(Missed::NoTime));
    world.network.cut.insert((1, 0));
    let before = world.now();
    let report = verify(&mut world, 0, MINUTE);
    assert!(report.peers[0].missed.is_some(), "{report:?}");
    assert_eq!(report.peers[1].missed, None, "the next one is compared with all the same");
    assert!(world.now().since(before) < Duration::from_secs(6));
}

#[test]
fn a_second_verification_at_once_is_refused_by_name() {
    let mut world = silent(408);
    shared(&mut world);
    world.request(0, Request::Verify { within: MINUTE });
    let second = world.ask_any(0, Request::Verify { within: MINUTE });
    assert_eq!(second, Err(RequestError::Unavailable(Unavailable::Verifying)));
}

/// Two servers' vectors are hardly ever equal while everybody writes.
#[test]
fn sessions_at_rest_are_compared_while_others_are_written_to() {
    let mut world = comparing(409);
    let resting = shared(&mut world);
    let busy: Vec<Token> = (0..3).map(|server| create(&mut world, server).token).collect();
    let before = world.status(0).counters.verified_sessions;
    for round in 0..200 {
        for (server, token) in busy.iter().enumerate() {
            set(&mut world, server, token, "round", &round.to_string());
        }
        if round == 100 {
            world.damage(1, Memory::LostAttribute, 0).expect("there is a copy to damage");
        }
        world.run_for(Duration::from_millis(20));
    }
    assert!(told(&world, &resting.id));
    assert!(world.status(0).counters.verified_sessions > before + 20);
    let others = |(_, notice): &&(usize, Notice)| {
        let resting = resting.id.hashed();
        matches!(notice, Notice::Mismatch { sessions, .. } if sessions.iter().any(|s| *s != resting))
    };
    let others = world.notices().iter().filter(others).count();
    assert_eq!(others, 0, "what is on its way is no mismatch");
    settle(&mut world);
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[test]
fn a_copy_from_beyond_a_gap_is_no_mismatch() {
    let mut world = comparing(410);
    let token = shared(&mut world);
    world.network.partition(&[2], &[0, 1]);
    set(&mut world, 2, &token, "first", "x");
    world.network.heal();
    world.network.partition(&[2], &[0]);
    set(&mut world, 2, &token, "second", "y");
    world.run_for(Duration::from_millis(5));
    world.crash(2);
    world.network.heal();
    world.run_for(Duration::from_secs(2));
    assert!(!world.differences().is_empty(), "the story needs a difference that is none");
    let ranges = world.status(0).counters.verified_ranges;
    world.run_for(Duration::from_secs(2));
    assert!(world.status(0).counters.verified_ranges > ranges);
    assert_eq!(mismatches(&world), 0);
    world.start(2);
    settle(&mut world);
    assert_eq!(world.differences(), Vec::<String>::new());
    assert_eq!(mismatches(&world), 0);
    // Everybody has closed the dead writer: what it wrote beyond its entry is compared again.
    world.damage(1, Memory::LostAttribute, 0);
    let report = verify(&mut world, 0, MINUTE);
    assert_eq!(report.peers.iter().map(|peer| peer.left_out).sum::<u64>(), 0);
}

#[test]
fn sessions_close_to_their_deadline_are_left_out() {
    let mut world = silent(411);
    let lifetime = Some(Duration::from_secs(10));
    let new = grapevine_core::Create { lifetime, ..grapevine_core::Create::default() };
    world.ask(0, Request::Create(new)).expect("created");
    world.run_for(Duration::from_secs(5));
    assert_eq!(verify(&mut world, 0, MINUTE).peers[0].sessions, 1);
    world.run_for(Duration::from_millis(4500));
    let report = verify(&mut world, 0, MINUTE);
    assert_eq!((report.peers[0].sessions, report.peers[0].left_out), (0, 1));
    assert!(report.identical());
}

#[test]
fn many_copies_are_compared_and_mended_in_parts() {
    let mut world = silent(412);
    for n in 0..700 {
        create(&mut world, n % 3);
    }
    settle(&mut world);
    let report = verify(&mut world, 0, MINUTE);
    assert_eq!(report.peers.iter().map(|peer| peer.sessions).collect::<Vec<_>>(), [700, 700]);
    for pick in 0..400 {
        world.damage(1, Memory::LostCopy, pick * 7).expect("there is a copy to damage");
    }
    let report = verify(&mut world, 1, MINUTE);
    assert_eq!(world.differences(), Vec::<String>::new());
    assert_eq!((report.peers[0].differing, report.peers[0].repaired), (400, 400));
    assert_eq!(report.peers[0].named.len(), 64, "not all are named");
    assert_eq!(report.peers[1].differing, 0, "the first has brought all");
}
