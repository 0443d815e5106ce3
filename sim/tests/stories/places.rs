//! Which processes are remembered, and what becomes of a server that restarts again and again.

use core::time::Duration;

use grapevine_core::{Create, Farm, LimitError, Notice, Request, RequestError, Served};
use grapevine_sim::World;

use crate::common::{create, settle};

/// Asks a server for a session of a minute.
fn make(world: &mut World, server: usize) -> Result<Served, RequestError> {
    let lifetime = Some(Duration::from_secs(60));
    world.ask(server, Request::Create(Create { lifetime, ..Create::default() }))
}

#[test]
fn a_server_that_dies_of_its_customers_again_and_again_takes_no_place_from_others() {
    // Four places for each number, and as many that stay free.
    let mut world = World::new(720, Farm { known_servers: 24, ..Farm::default() });
    settle(&mut world);
    let (mut made, mut refused) = (0, 0);
    for _ in 0..40 {
        world.crash(2);
        world.start(2);
        // Before it has heard anything but what is known of its number.
        match make(&mut world, 2) {
            Ok(_) => made += 1,
            Err(RequestError::Limit(LimitError::Servers { allowed: 4 })) => refused += 1,
            other => panic!("{other:?}"),
        }
        world.run_for(Duration::from_millis(300));
    }
    assert_eq!((made, refused), (4, 36));
    for server in 0..2 {
        world.crash(server);
        world.start(server);
        settle(&mut world);
        assert!(!world.status(server).joining, "server {server} is one of the farm again");
        let served = create(&mut world, server);
        settle(&mut world);
        for other in 0..3 {
            world.read(other, &served.token).expect("what it writes counts everywhere");
        }
    }
    let blamed = |(_, notice): &(usize, Notice)| matches!(notice, Notice::Misbehaving { .. });
    assert!(!world.notices().iter().any(blamed), "{:?}", world.notices());
    assert!(make(&mut world, 2).is_err(), "also when it has joined");
    world.run_for(Duration::from_secs(70));
    make(&mut world, 2).expect("places are free when the sessions of all those lives are over");
}
