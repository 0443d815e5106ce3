//! Words that the stories share.

use core::time::Duration;

use grapevine_core::{Acks, Change, Create, Farm, Key, Request, Served, Shown, Token};
use grapevine_sim::World;

/// A farm of three that has joined.
pub(crate) fn farm(seed: u64) -> World {
    let mut world = World::new(seed, Farm::default());
    settle(&mut world);
    assert!((0..3).all(|server| !world.status(server).joining), "the farm has not joined");
    world
}

/// Some heartbeats' time.
pub(crate) fn settle(world: &mut World) {
    world.run_for(Duration::from_secs(5));
}

/// Until a server knows that its number is its own.
pub(crate) fn started(world: &mut World, server: usize) {
    while world.engine(server).starting() {
        world.run_for(Duration::from_millis(1));
    }
}

pub(crate) fn key(name: &str) -> Key {
    Key::new(name).expect("a good key")
}

pub(crate) fn create(world: &mut World, server: usize) -> Served {
    let attributes = vec![(key("user"), "ann".into())];
    let create = Create { attributes, ..Create::default() };
    world.ask(server, Request::Create(create)).expect("created")
}

pub(crate) fn set(
    world: &mut World,
    server: usize,
    token: &Token,
    name: &str,
    value: &str,
) -> Served {
    let changes = vec![Change::Set(key(name), value.into())];
    update(world, server, token, changes)
}

pub(crate) fn add(
    world: &mut World,
    server: usize,
    token: &Token,
    name: &str,
    amount: i64,
) -> Served {
    update(world, server, token, vec![Change::Add(key(name), amount)])
}

pub(crate) fn update(
    world: &mut World,
    server: usize,
    token: &Token,
    changes: Vec<Change>,
) -> Served {
    let token = token.clone();
    world.ask(server, Request::Update { token, changes, acks: Acks::Local }).expect("updated")
}

pub(crate) fn text(served: &Served, name: &str) -> Option<String> {
    match served.session.get(name)? {
        Shown::Bytes(bytes) => Some(String::from_utf8(bytes.to_vec()).expect("text")),
        Shown::Count(count) => Some(count.to_string()),
    }
}
