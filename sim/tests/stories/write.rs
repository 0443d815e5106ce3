//! Create, update, replace, delete, and the stream that carries them.

use grapevine_core::{Acks, NotFound, Request, RequestError};

use crate::common::*;

#[test]
fn a_session_made_at_one_server_is_read_and_changed_at_the_others() {
    let mut world = farm(1);
    let served = create(&mut world, 0);
    let served = set(&mut world, 1, &served.token, "cart/sku-1", "2");
    let served = set(&mut world, 2, &served.token, "cart/sku-2", "1");
    for server in 0..3 {
        let read = world.read(server, &served.token).expect("found");
        assert_eq!(text(&read, "user").as_deref(), Some("ann"));
        assert_eq!(text(&read, "cart/sku-1").as_deref(), Some("2"));
        assert_eq!(text(&read, "cart/sku-2").as_deref(), Some("1"));
        assert!(!read.stale && !read.lost);
    }
    settle(&mut world);
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[test]
fn adds_at_all_servers_at_once_are_all_counted() {
    let mut world = farm(2);
    let served = create(&mut world, 0);
    settle(&mut world);
    for round in 0..10 {
        for server in 0..3 {
            let changes = vec![grapevine_core::Change::Add(key("clicks"), round + server as i64)];
            let token = served.token.clone();
            world.request(server, Request::Update { token, changes, acks: Acks::Local });
        }
    }
    settle(&mut world);
    assert_eq!(world.differences(), Vec::<String>::new());
    let read = world.read(1, &served.token).expect("found");
    assert_eq!(text(&read, "clicks").as_deref(), Some("165"));
}

#[test]
fn an_add_to_a_register_that_holds_a_number_goes_on_from_there() {
    let mut world = farm(3);
    let served = create(&mut world, 0);
    let served = set(&mut world, 0, &served.token, "cart/sku-1", "2");
    settle(&mut world);
    for server in 0..3 {
        let changes = vec![grapevine_core::Change::Add(key("cart/sku-1"), 1)];
        let token = served.token.clone();
        world.request(server, Request::Update { token, changes, acks: Acks::Local });
    }
    settle(&mut world);
    let read = world.read(2, &served.token).expect("found");
    assert_eq!(text(&read, "cart/sku-1").as_deref(), Some("5"));
}

#[test]
fn replacing_a_session_removes_what_it_had_everywhere() {
    let mut world = farm(4);
    let served = create(&mut world, 0);
    let token = served.token;
    let attributes = vec![(key("fresh"), "yes".into())];
    let replace = Request::Replace { token, attributes, acks: Acks::Local };
    let served = world.ask(1, replace).expect("replaced");
    settle(&mut world);
    for server in 0..3 {
        let read = world.read(server, &served.token).expect("found");
        assert_eq!(text(&read, "user"), None);
        assert_eq!(text(&read, "fresh").as_deref(), Some("yes"));
    }
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[test]
fn a_deleted_session_is_gone_everywhere_and_stays_gone() {
    let mut world = farm(5);
    let served = create(&mut world, 0);
    settle(&mut world);
    world.network.partition(&[2], &[0, 1]);
    let token = served.token.clone();
    world.ask_any(0, Request::Delete { token, acks: Acks::Peers(1) }).expect("deleted");
    // Cut off, the third server still changes it.
    set(&mut world, 2, &served.token, "late", "1");
    world.network.heal();
    settle(&mut world);
    for server in 0..3 {
        let read = world.read(server, &served.token);
        assert_eq!(read, Err(RequestError::NotFound(NotFound::Ended)));
    }
    assert_eq!(world.differences(), Vec::<String>::new());
}
