//! Writes that wait for other servers.

use core::time::Duration;

use grapevine_core::{Acks, Change, Farm, Request, RequestError, Rotation, Token};
use grapevine_sim::World;

use crate::common::*;

fn update(token: &Token, acks: Acks) -> Request {
    let changes = vec![Change::Set(key("a"), "1".into())];
    Request::Update { token: token.clone(), changes, acks }
}

#[test]
fn a_write_that_all_acknowledged_is_on_every_server() {
    let mut world = farm(30);
    let served = create(&mut world, 0);
    let served = world.ask(0, update(&served.token, Acks::All)).expect("all have it");
    for server in 0..3 {
        let copy = world.engine(server).copies().next().expect("a copy");
        assert!(copy.seen.covers(&served.session.seen));
    }
}

#[test]
fn a_write_acknowledged_by_one_other_survives_its_writer() {
    for seed in 0..20 {
        let mut world = farm(1000 + seed);
        let served = create(&mut world, 0);
        let served = world.ask(0, update(&served.token, Acks::Peers(1))).expect("acknowledged");
        world.crash(0);
        settle(&mut world);
        for server in 1..3 {
            let read = world.read(server, &served.token).expect("found");
            assert_eq!(text(&read, "a").as_deref(), Some("1"), "seed {seed}");
        }
    }
}

#[test]
fn when_acknowledgements_do_not_come_the_answer_is_honest_and_the_write_stands() {
    let mut world = farm(31);
    let served = create(&mut world, 0);
    settle(&mut world);
    world.network.partition(&[0], &[1, 2]);
    let refused = world.ask(0, update(&served.token, Acks::Peers(2)));
    let Err(RequestError::NotReplicated { acked: 0, wanted: 2, token: Some(token), .. }) = refused
    else {
        panic!("{refused:?}")
    };
    world.network.heal();
    settle(&mut world);
    let read = world.read(2, &token).expect("found");
    assert_eq!(text(&read, "a").as_deref(), Some("1"));
}

#[test]
fn a_majority_is_counted_against_the_configured_farm_and_all_against_the_living() {
    let mut world = farm(32);
    let served = create(&mut world, 0);
    settle(&mut world);
    world.crash(2);
    world.ask(0, update(&served.token, Acks::Majority)).expect("two of three");
    world.run_for(Duration::from_secs(5));
    world.ask(0, update(&served.token, Acks::All)).expect("all that live");
    world.crash(1);
    let refused = world.ask(0, update(&served.token, Acks::Majority));
    assert!(
        matches!(refused, Err(RequestError::NotReplicated { acked: 0, wanted: 1, .. })),
        "{refused:?}"
    );
}

#[test]
fn a_write_to_a_session_held_only_in_part_is_not_acknowledged() {
    let mut world = farm(33);
    // The third server gets no create, but the second server's update to the session.
    world.network.cut.extend([(0, 2), (2, 0)]);
    let served = create(&mut world, 0);
    world.run_for(Duration::from_millis(20));
    let id = world.request(1, update(&served.token, Acks::Peers(2)));
    world.run_for(Duration::from_millis(15));
    assert_eq!(world.status(2).partial, 1, "the story needs a copy in part");
    assert!(world.answer(id).is_none(), "a server without the create can't serve the session");
    // The second server repairs the third, which then acknowledges.
    settle(&mut world);
    assert!(matches!(world.answer(id), Some(Ok(_))), "{:?}", world.answer(id));
}

#[test]
fn what_a_response_that_waited_may_drop_from_the_context_is_found_when_it_goes_out() {
    let mut world = World::new(38, Farm { size: 2, ..Farm::default() });
    settle(&mut world);
    let served = create(&mut world, 0);
    world.request(1, Request::Leave);
    settle(&mut world);
    world.crash(1);
    // Nobody else counts now. While it waits, a new process comes, that has nothing.
    let waiting = world.request(0, update(&served.token, Acks::Peers(1)));
    world.network.clogged.insert((1, 0));
    world.start(1);
    settle(&mut world);
    let answer = world.answer(waiting);
    let Some(Err(RequestError::NotReplicated { token: Some(token), .. })) = answer else {
        panic!("{answer:?}")
    };
    assert!(!token.context.is_empty(), "the other one may not have it");
}

#[test]
fn an_end_that_waits_for_all_that_live_waits_for_one_even_if_nobody_does() {
    // A review's find: a cut-off server takes all others for dead, so all that live had it, and one crash undid it.
    let mut world = World::new(64, Farm { acks: Acks::All, ..Farm::default() });
    settle(&mut world);
    let served = create(&mut world, 0);
    let token = &served.token;
    settle(&mut world);
    world.network.partition(&[0], &[1, 2]);
    settle(&mut world);
    let only_here =
        Err(RequestError::NotReplicated { acked: 0, wanted: 1, token: None, lost: false });
    for acks in [Acks::Farm, Acks::All] {
        let principal = grapevine_core::Principal::new("ann");
        let revoked = world.ask_any(0, Request::Revoke { principal, acks });
        assert_eq!(revoked, only_here, "{acks:?}");
    }
    let rotated =
        world.ask(0, Request::Rotate { token: token.clone(), rotation: Rotation::default() });
    assert!(
        matches!(rotated, Err(RequestError::NotReplicated { acked: 0, wanted: 1, .. })),
        "{rotated:?}"
    );
    let other = world.ask(0, Request::Create(grapevine_core::Create::default())).expect("a write");
    let ended = world.ask_any(0, Request::Delete { token: other.token, acks: Acks::Farm });
    assert_eq!(ended, only_here);
}
