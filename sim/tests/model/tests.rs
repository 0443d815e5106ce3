//! The searches.

use grapevine_core::Acks;
use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

use crate::farm::{Action, Farm, State};
use crate::properties::PLANTED;
use crate::script::{Ask, Bounds, Crash, Op};

const LOCAL: Acks = Acks::Local;
const ONE: Acks = Acks::Peers(1);

const fn op(customer: usize, server: usize, ask: Ask, acks: Acks) -> Op {
    Op { customer, server, ask, acks }
}

/// So much goes wrong: messages lost and repeated, deaths, timers.
fn bounds(
    servers: usize,
    script: &[Op],
    (drops, repeats): (u8, u8),
    crash: Crash,
    beats: u8,
) -> Bounds {
    Bounds { servers, script: script.to_vec(), drops, repeats, crash, beats, planted: false }
}

/// Searches all states, and says how many there are. At least `least` must be.
fn search(name: &str, bounds: Bounds, least: usize) {
    let checker =
        Farm::new(bounds).checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let farm = checker.model();
    println!(
        "{name}: {} states, {} steps, {} at most in a row, {} states of one engine, {} last farms",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        farm.engines.len(),
        farm.ends(),
    );
    for property in farm.properties() {
        let found = checker.discovery(property.name);
        match (property.expectation, found) {
            (Expectation::Sometimes, None) => panic!("{name}: never happens: {}", property.name),
            (Expectation::Always, Some(path)) => {
                tell(farm, path);
                panic!("{name}: does not hold: {}", property.name);
            }
            _ => {}
        }
    }
    let states = checker.unique_state_count();
    assert!(states >= least, "{name}: {states} states; once there were {least}");
}

/// How it came to what is wrong, in the fewest steps.
fn tell(farm: &Farm, path: Path<State, Action>) {
    let last = path.last_state().clone();
    for (at, action) in path.into_actions().iter().enumerate() {
        println!("{:>3} {}", at + 1, farm.tell(action));
    }
    println!("{last:?}");
    if let Some(fault) = last.fault {
        println!("wrong: {}", farm.engines.fault(fault));
    } else if farm.at_end(&last) {
        println!("in the end: {:?}", farm.healed(&last));
    }
}

/// Whether the long searches are wanted too: they take minutes and gigabytes.
fn long() -> bool {
    std::env::var("GRAPEVINE_MODEL").is_ok_and(|what| what == "long")
}

/// Two customers write at two servers, and one reads where it did not write.
const SET_ADD_READ: [Op; 3] =
    [op(0, 0, Ask::Set, ONE), op(1, 1, Ask::Add, LOCAL), op(0, 1, Ask::Read, LOCAL)];
const SET_READ: [Op; 2] = [op(0, 0, Ask::Set, ONE), op(0, 1, Ask::Read, LOCAL)];
const SET_ADD: [Op; 2] = [op(0, 0, Ask::Set, ONE), op(1, 1, Ask::Add, LOCAL)];
const SET: [Op; 1] = [op(0, 0, Ask::Set, ONE)];
/// Two wait at one server for an acknowledgement.
const SET_SET: [Op; 2] = [op(0, 0, Ask::Set, ONE), op(1, 0, Ask::Set, ONE)];
/// A session is made at one server, and handed to who writes at another.
const CREATE_SET: [Op; 2] = [op(0, 0, Ask::Create, ONE), op(1, 1, Ask::Set, LOCAL)];
const ADD_ADD_DELETE: [Op; 3] =
    [op(0, 0, Ask::Add, LOCAL), op(1, 1, Ask::Add, LOCAL), op(0, 1, Ask::Delete, ONE)];
/// Two write the same attribute at once, one of them ends the session, the other wants to see it.
const SAME_DELETE_READ: [Op; 4] = [
    op(0, 0, Ask::SetSame, LOCAL),
    op(1, 1, Ask::SetSame, LOCAL),
    op(0, 1, Ask::Delete, ONE),
    op(1, 0, Ask::Read, LOCAL),
];
/// Two writes of one server, of which the one may be lost and the other not.
const SET_ADD_ADD: [Op; 3] =
    [op(0, 0, Ask::Set, LOCAL), op(0, 0, Ask::Add, ONE), op(1, 1, Ask::Add, LOCAL)];

#[test]
fn two_servers_that_lose_and_repeat_messages() {
    let b = bounds(2, &SET_ADD, (2, 1), Crash::Never, 2);
    search("two servers, set and add", b, 60_000);
    let b = bounds(2, &SET_ADD_ADD, (2, 1), Crash::Never, 1);
    search("two servers, set, add and add", b, 60_000);
    let b = bounds(2, &SAME_DELETE_READ, (1, 1), Crash::Never, 0);
    search("two servers, delete", b, 15_000);
}

#[test]
fn two_servers_one_of_which_dies_and_comes_back() {
    let b = bounds(2, &SET_ADD_READ, (1, 0), Crash::One, 0);
    search("two servers, a restart, set, add and read", b, 100_000);
    let b = bounds(2, &SET_SET, (1, 0), Crash::One, 0);
    search("two servers, a restart, set and set", b, 120_000);
    let b = bounds(2, &CREATE_SET, (1, 0), Crash::One, 0);
    search("two servers, a restart, create and set", b, 20_000);
    let b = bounds(2, &ADD_ADD_DELETE, (0, 0), Crash::One, 0);
    search("two servers, a restart, delete", b, 200_000);
}

#[test]
fn two_servers_one_of_which_dies_while_timers_come_up() {
    let b = bounds(2, &SET_READ, (1, 0), Crash::One, 1);
    search("two servers, a restart, timers, set and read", b, 600_000);
}

#[test]
fn three_servers_that_lose_and_repeat_messages() {
    let b = bounds(3, &SET_ADD, (1, 1), Crash::Never, 1);
    search("three servers, set and add", b, 110_000);
    let b = bounds(3, &SAME_DELETE_READ, (1, 0), Crash::Never, 0);
    search("three servers, delete", b, 500_000);
    let b = bounds(3, &SET_ADD_READ, (2, 1), Crash::Never, 0);
    search("three servers, set, add and read", b, 11_000);
}

#[test]
fn three_servers_one_of_which_dies_for_good() {
    let b = bounds(3, &SET_ADD_READ, (1, 1), Crash::OneForGood, 0);
    search("three servers, a death, set, add and read", b, 18_000);
    let b = bounds(3, &SET_SET, (2, 0), Crash::OneForGood, 0);
    search("three servers, a death, set and set", b, 4_000);
    let b = bounds(3, &CREATE_SET, (1, 1), Crash::OneForGood, 0);
    search("three servers, a death, create and set", b, 2_000);
    let b = bounds(3, &ADD_ADD_DELETE, (1, 0), Crash::OneForGood, 0);
    search("three servers, a death, delete", b, 35_000);
}

#[test]
fn further_searches_if_they_are_wanted() {
    if !long() {
        return;
    }
    let b = bounds(2, &SET_ADD, (1, 1), Crash::One, 0);
    search("long: two servers, a restart, set and add", b, 1_000_000);
    let b = bounds(2, &ADD_ADD_DELETE, (1, 0), Crash::One, 0);
    search("long: two servers, a restart, delete", b, 1_000_000);
    let b = bounds(2, &SAME_DELETE_READ, (1, 1), Crash::Never, 1);
    search("long: two servers, delete", b, 1_000_000);
    let b = bounds(3, &SAME_DELETE_READ, (1, 1), Crash::Never, 0);
    search("long: three servers, delete", b, 1_000_000);
    let b = bounds(3, &SET, (0, 0), Crash::One, 0);
    search("long: three servers, a restart, set", b, 8_000_000);
    let b = bounds(3, &ADD_ADD_DELETE, (1, 1), Crash::OneForGood, 0);
    search("long: three servers, a death, delete", b, 400_000);
}

/// A search that can find nothing would pass all of the above.
#[test]
fn a_property_that_does_not_hold_is_found_out_in_the_fewest_steps() {
    let planted = bounds(3, &SET_ADD_READ, (1, 1), Crash::Never, 0);
    let planted = Bounds { planted: true, ..planted };
    let checker = Farm::new(planted).checker().spawn_bfs().join();
    let path = checker.discovery(PLANTED).expect("it does not hold");
    // Asked, come to one of the two others, acknowledged.
    assert_eq!(path.into_actions().len(), 3);
    assert_eq!(checker.discoveries().len(), 3, "and what must happen at all; nothing else");
}
