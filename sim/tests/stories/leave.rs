//! Leaving in order.

use core::time::Duration;

use grapevine_core::{Acks, Change, Create, Request, RequestError, Response, State, Unavailable};

use crate::common::*;

#[test]
fn a_leaving_server_waits_until_the_others_have_everything() {
    let mut world = farm(60);
    let served: Vec<_> = (0..50).map(|_| create(&mut world, 0)).collect();
    let left = world.ask_any(0, Request::Leave).expect("left");
    assert_eq!(left, Response::Left { complete: true });
    world.crash(0);
    for (n, served) in served.iter().enumerate() {
        world.read(1 + n % 2, &served.token).expect("nobody is logged out");
    }
    settle(&mut world);
    assert_eq!(world.status(1).members[0].state, State::Left);
}

#[test]
fn a_server_that_left_takes_no_more_requests_and_comes_back_as_a_restart() {
    let mut world = farm(61);
    world.ask_any(2, Request::Leave).expect("left");
    let refused = world.ask(2, Request::Create(Create::default()));
    assert_eq!(refused, Err(RequestError::Unavailable(Unavailable::Leaving)));
    world.crash(2);
    let served = create(&mut world, 0);
    world.run_for(Duration::from_secs(1));
    world.start(2);
    settle(&mut world);
    assert!(!world.status(2).joining);
    assert!(world.read(2, &served.token).is_ok());
    assert_eq!(world.status(0).members[1].state, State::Alive);
}

#[test]
fn what_waits_when_a_server_leaves_is_answered() {
    let mut world = farm(62);
    let served = create(&mut world, 0);
    world.network.partition(&[0], &[1, 2]);
    let changes = vec![Change::Set(key("a"), "1".into())];
    let update = Request::Update { token: served.token, changes, acks: Acks::All };
    let waiting = world.request(0, update);
    let left = world.ask_any(0, Request::Leave).expect("left");
    assert_eq!(left, Response::Left { complete: false }, "nobody could be told");
    assert!(matches!(world.answer(waiting), Some(Err(RequestError::NotReplicated { .. }))));
}

#[test]
fn a_server_that_has_left_does_not_vouch_for_what_a_new_process_shows() {
    // Found by seed 770 when other faults could first meet a leave.
    let mut world = farm(63);
    let served = create(&mut world, 0);
    settle(&mut world);
    world.ask_any(2, Request::Leave).expect("left");
    world.crash(2);
    // The second server hears the others, and they don't hear it.
    world.network.cut_off(&[1], &[0, 2]);
    let left = world.ask_any(0, Request::Leave).expect("left");
    assert!(matches!(left, Response::Left { .. }));
    world.run_for(Duration::from_millis(100));
    // As it knows, nobody else is left: the token need not say what it wrote.
    let written = set(&mut world, 1, &served.token, "a", "1");
    // The first server has left, and its process is still there when the third comes back.
    world.start(2);
    started(&mut world, 2);
    match world.read(2, &written.token) {
        Ok(read) => assert_eq!(text(&read, "a").as_deref(), Some("1"), "an older copy was shown"),
        Err(error) => assert!(matches!(error, RequestError::Unavailable(_)), "{error}"),
    }
}

#[test]
fn the_last_server_to_leave_does_not_say_that_others_have_what_it_wrote() {
    // Found by seed 41 when what a leaving server says of itself was first judged: those who had left
    // counted, for they had acknowledged its stream.
    let mut world = farm(64);
    create(&mut world, 0);
    settle(&mut world);
    for server in [2, 1] {
        let left = world.ask_any(server, Request::Leave).expect("left");
        assert_eq!(left, Response::Left { complete: true });
        world.crash(server);
    }
    settle(&mut world);
    let left = world.ask_any(0, Request::Leave).expect("left");
    assert_eq!(left, Response::Left { complete: false }, "nobody is there");
}
