//! Sign out everywhere: all sessions of a principal are over.

use core::time::Duration;

use grapevine_core::{
    Acks, Create, Farm, NotFound, Principal, Request, RequestError, Response, Rotation, Served,
};
use grapevine_sim::World;

use crate::common::*;
use crate::rotate::rotate;

const ENDED: RequestError = RequestError::NotFound(NotFound::Ended);

fn log_in(world: &mut World, server: usize, name: &str) -> Served {
    let principal = Some(Principal::new(name));
    world.ask(server, Request::Create(Create { principal, ..Create::default() })).expect("created")
}

fn revoke(world: &mut World, server: usize, name: &str) -> Response {
    let (principal, acks) = (Principal::new(name), Acks::Local);
    world.ask_any(server, Request::Revoke { principal, acks }).expect("revoked")
}

fn listed(world: &mut World, server: usize, name: &str) -> usize {
    let principal = Principal::new(name);
    let (mut after, mut count) = (None, 0);
    loop {
        let page = Request::Sessions { principal: principal.clone(), after, most: 2 };
        let Ok(Response::Sessions(page)) = world.ask_any(server, page) else { panic!("no list") };
        assert!(page.sessions.len() <= 2);
        count += page.sessions.len();
        after = page.next;
        if after.is_none() {
            return count;
        }
    }
}

#[test]
fn all_sessions_of_a_principal_end_and_nobody_elses() {
    let mut world = farm(80);
    let anns: Vec<Served> = (0..3).map(|server| log_in(&mut world, server, "ann")).collect();
    let bobs = log_in(&mut world, 0, "bob");
    let nobodys = create(&mut world, 0);
    settle(&mut world);
    assert_eq!(listed(&mut world, 2, "ann"), 3);
    let revoked = revoke(&mut world, 1, "ann");
    assert!(matches!(revoked, Response::Revoked { sessions: 3, .. }), "{revoked:?}");
    settle(&mut world);
    for server in 0..3 {
        for served in &anns {
            assert_eq!(world.read(server, &served.token), Err(ENDED));
        }
        assert!(world.read(server, &bobs.token).is_ok());
        assert!(world.read(server, &nobodys.token).is_ok());
        assert_eq!((listed(&mut world, server, "ann"), listed(&mut world, server, "bob")), (0, 1));
    }
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[test]
fn a_session_made_on_a_cut_off_server_after_the_revocation_ends_when_the_two_meet() {
    let mut world = farm(81);
    world.network.partition(&[2], &[0, 1]);
    revoke(&mut world, 0, "ann");
    world.run_for(Duration::from_secs(1));
    let cut_off = log_in(&mut world, 2, "ann");
    assert!(world.read(2, &cut_off.token).is_ok(), "it has not heard");
    world.network.heal();
    settle(&mut world);
    for server in 0..3 {
        assert_eq!(world.read(server, &cut_off.token), Err(ENDED), "server {server}");
    }
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[test]
fn whoever_logs_in_again_where_the_revocation_is_known_stays_logged_in() {
    let mut world = farm(82);
    world.network.partition(&[2], &[0, 1]);
    revoke(&mut world, 0, "ann");
    let again = log_in(&mut world, 0, "ann");
    let anonymous = create(&mut world, 1);
    let rotation = Rotation {
        principal: Some(Principal::new("ann")),
        acks: Acks::Local,
        ..Rotation::default()
    };
    world.run_for(Duration::from_secs(1));
    let rotated = rotate(&mut world, 1, &anonymous.token, rotation).expect("rotated");
    world.network.heal();
    settle(&mut world);
    for server in 0..3 {
        assert!(world.read(server, &again.token).is_ok(), "server {server}");
        assert!(world.read(server, &rotated.token).is_ok(), "server {server}");
    }
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[test]
fn a_new_id_does_not_outlive_a_revocation_that_its_server_had_not_heard_of() {
    let mut world = farm(83);
    let old = log_in(&mut world, 2, "ann");
    settle(&mut world);
    world.network.partition(&[2], &[0, 1]);
    revoke(&mut world, 0, "ann");
    world.run_for(Duration::from_secs(1));
    let rotation = Rotation { acks: Acks::Local, ..Rotation::default() };
    let new = rotate(&mut world, 2, &old.token, rotation).expect("rotated");
    world.network.heal();
    settle(&mut world);
    for server in 0..3 {
        assert_eq!(world.read(server, &old.token), Err(ENDED));
        assert_eq!(world.read(server, &new.token), Err(ENDED));
    }
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[test]
fn a_session_that_comes_before_the_revocation_it_was_made_after_survives_it_and_its_new_id_too() {
    let mut world = farm(84);
    // Server 3 does not hear server 1, where the revocation is made.
    world.network.cut.insert((0, 2));
    revoke(&mut world, 0, "ann");
    world.run_for(Duration::from_millis(50));
    let again = log_in(&mut world, 1, "ann");
    world.run_for(Duration::from_millis(10));
    let rotation = Rotation { acks: Acks::Local, ..Rotation::default() };
    let new = rotate(&mut world, 2, &again.token, rotation).expect("rotated");
    world.network.heal();
    settle(&mut world);
    for server in 0..3 {
        assert!(world.read(server, &new.token).is_ok(), "server {server}");
    }
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[test]
fn a_session_made_when_a_revocations_time_is_over_lives_also_where_the_record_is_still_kept() {
    // Found when scenarios could say how long sessions may live: seed 49 of the swarm of that day.
    let life = Duration::from_secs(3);
    let farm = Farm {
        max_lifetime: life,
        default_lifetime: life,
        default_idle_timeout: life,
        ..Farm::default()
    };
    let mut world = World::new(86, farm);
    // Within what clocks may differ by: it keeps copies longest.
    world.skew(2, -400_000);
    settle(&mut world);
    let revoked = revoke(&mut world, 0, "ann");
    let Response::Revoked { version, .. } = revoked else { panic!("{revoked:?}") };
    let kept = |world: &World, server: usize| {
        let records = world.engine(server).copies().filter(|copy| copy.is_revocation());
        records.filter(|copy| copy.id.created == version.stamp).count()
    };
    world.run_for(Duration::from_secs(1));
    assert_eq!((kept(&world, 0), kept(&world, 2)), (1, 1));
    while kept(&world, 0) == 1 {
        world.run_for(Duration::from_millis(1));
    }
    assert_eq!(kept(&world, 1), 0);
    let served = log_in(&mut world, 1, "ann");
    world.run_for(Duration::from_millis(20));
    assert_eq!(kept(&world, 2), 1, "the record is still there");
    for server in 0..3 {
        assert!(world.read(server, &served.token).is_ok(), "server {server}");
    }
}
