use grapevine_core::{Command, Config, Create, Event, Local};

use super::*;
use crate::network::{Extra, Fate};
use crate::scenario::Delay;

const SLOW_LINK: Duration = Duration::from_millis(200);

/// A farm of three that has joined, on links that take a fifth of a second.
fn farm() -> World {
    let mut world = World::new(9, Farm::default());
    world.run_for(Duration::from_secs(4));
    world.network.links.delay = Delay::Fixed { ms: 200.0 };
    world.run_for(SLOW_LINK);
    world
}

fn create(world: &mut World) {
    let create = grapevine_core::Request::Create(Create::default());
    world.ask(0, create).expect("created");
}

fn marked(world: &World, mark: HarnessMark) -> u64 {
    world.rare.counts(std::iter::empty())[1][&mark.name()]
}

#[test]
fn what_was_sent_to_a_process_does_not_reach_the_next_one_of_its_number() {
    let mut world = farm();
    create(&mut world);
    world.crash(1);
    world.start(1);
    let before = marked(&world, HarnessMark::MessageForPredecessor);
    world.run_for(SLOW_LINK - Duration::from_millis(1));
    let heard = world.nodes[1].heard.iter().all(|&heard| heard == Timestamp::ZERO);
    assert!(heard, "only what was sent to its predecessor can have come so soon");
    assert!(marked(&world, HarnessMark::MessageForPredecessor) > before);
    world.run_for(Duration::from_secs(5));
    assert!(world.nodes[1].heard[0] > START, "what is sent to it does reach it");
}

#[test]
fn nothing_is_sent_to_a_server_that_is_down() {
    let mut world = farm();
    world.crash(1);
    world.run_for(SLOW_LINK);
    create(&mut world);
    assert!(!world.network.is_busy((0, 1)) && world.network.is_busy((0, 2)));
}

#[test]
fn a_message_fills_its_link_until_a_slow_server_takes_it() {
    let mut world = farm();
    world.network.links.delay = Delay::Fixed { ms: 1.0 };
    world.run_for(SLOW_LINK * 2);
    assert!(!world.network.is_busy((0, 1)), "nothing is under way at rest");
    world.slow(1, Duration::from_secs(2));
    world.handle(1, Event::Timer);
    create(&mut world);
    // It has come, and waits for the server to be done with something else.
    world.run_for(Duration::from_millis(50));
    assert!(world.network.is_busy((0, 1)) && !world.network.is_busy((0, 2)));
    world.network.links.queue = 1;
    let overflown = world.network.send((0, 1), world.now, Extra::default());
    assert_eq!(overflown, Fate::Lost("overflow"));
    // As the program's runs pass the time of busy servers.
    world.pass_busy(Timestamp::MAX, world.now + SLOW_LINK);
    assert!(world.network.is_busy((0, 1)), "putting it off takes it from the link");
    world.crash(1);
    world.run_for(Duration::from_secs(3));
    assert!(!world.network.is_busy((0, 1)), "nobody will take it");
}

#[test]
fn a_message_fills_its_link_until_a_paused_server_takes_it() {
    let mut world = farm();
    // Nothing is sent after it, and all that was has come.
    let sends_one = |world: &mut World| {
        world.pause(1);
        create(world);
        world.network.cut_off(&[0], &[1]);
        world.run_for(SLOW_LINK * 2);
        assert!(world.network.is_busy((0, 1)));
    };
    sends_one(&mut world);
    world.resume(1);
    world.run_for(Duration::from_millis(1));
    assert!(!world.network.is_busy((0, 1)), "all that waited was taken");
    world.network.heal();
    sends_one(&mut world);
    world.crash(1);
    assert!(!world.network.is_busy((0, 1)), "nobody will take it");
}

#[test]
fn what_a_twin_did_before_the_last_of_several_events_is_observed_as_late() {
    let farm = Farm { size: 2, ..Farm::default() };
    let [one, two] = [1, 2].map(|number| ServerId::new(number, START));
    let mut world = World::of_twins(9, farm.clone(), Local::default());
    world.twin_starts(Config::new(one, farm), [1; 32], START);
    let command = Event::Command { from: two, command: Command::HeartbeatRequest };
    let mut after = |events: &[&Event]| {
        events.iter().for_each(|&event| world.twin_handles(0, START, event.clone()));
        world.twin_carries_out(0);
        let observed = (world.late(), world.by_command());
        assert!(world.was_joining(), "nobody has told it anything");
        let observations = world.take_observations();
        world.reuse(observations.unwrap_or_default());
        assert!(!world.late(), "all of that has been looked at");
        observed
    };
    assert_eq!(after(&[&Event::Timer]), (false, false));
    assert_eq!(after(&[&command]), (false, true));
    assert_eq!(after(&[&command, &Event::Timer]), (true, true));
    assert_eq!(after(&[&Event::Timer]), (false, false));
}

/// Seed 1608: a server had been told of a new process, and a request thread dropped from a token what
/// all had that were known before.
#[test]
fn a_request_thread_answers_by_what_was_shown_before_an_event_whose_outcome_is_not_out_yet() {
    let mut world = farm();
    for undrained in [false, true] {
        world.nodes[0].undrained = undrained;
        let before = world.as_answered_now(0);
        assert_eq!(world.late(), undrained);
        world.answered_from(0, before);
        assert!(!world.late());
    }
}
