//! Heartbeats: periodic, and on request.

use core::time::Duration;

use grapevine_core::command::Heartbeat;
use grapevine_core::{
    Action, Command, Config, Engine, Event, Farm, Notice, ServerId, Stamp, State, Timestamp, To,
    Vector,
};

use crate::common::*;

fn drain(engine: &mut Engine) -> Vec<Action> {
    std::iter::from_fn(|| engine.poll_action()).collect()
}

fn alone() -> (Engine, Timestamp, ServerId) {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut config = Config::new(ServerId::new(1, now), Farm::default());
    config.local.start_wait = Duration::ZERO;
    let engine = Engine::new(config, [1; 32], now).expect("a valid configuration");
    (engine, now, ServerId::new(2, now))
}

#[test]
fn heartbeats_are_sent_to_all_periodically() {
    let (mut engine, start, _) = alone();
    let mut beats = 0;
    let mut now = start;
    while now.since(start) < Duration::from_secs(10) {
        now = engine.poll_timeout().expect("always a heartbeat").0.max(now);
        engine.handle(now, Event::Timer);
        let beat = |action: &Action| {
            matches!(action, Action::Publish { to: To::All, command: Command::Heartbeat(_) })
        };
        beats += drain(&mut engine).iter().filter(|action| beat(action)).count();
    }
    assert!((50..=52).contains(&beats), "{beats} heartbeats in 10 s of one per 200 ms");
}

#[test]
fn a_heartbeat_is_answered_to_the_one_who_asks() {
    let (mut engine, now, peer) = alone();
    engine.handle(now, Event::Timer);
    drain(&mut engine);
    engine.handle(now, Event::Command { from: peer, command: Command::HeartbeatRequest });
    let answered = drain(&mut engine).into_iter().any(|action| {
        matches!(action, Action::Publish { to: To::One(to), command: Command::Heartbeat(_) } if to == peer)
    });
    assert!(answered);
}

#[test]
fn a_server_that_falls_silent_is_asked_for_a_heartbeat_before_it_counts_as_down() {
    let mut world = farm(50);
    world.crash(2);
    world.run_for(Duration::from_millis(900));
    let states = |world: &grapevine_sim::World| -> Vec<_> {
        world.status(0).members.iter().map(|member| member.state).collect()
    };
    assert_eq!(states(&world)[1], State::Suspect);
    world.run_for(Duration::from_secs(2));
    assert_eq!(states(&world)[1], State::Down);
    world.start(2);
    settle(&mut world);
    assert_eq!(states(&world)[1], State::Alive);
}

#[test]
fn a_heartbeat_from_the_future_is_ignored_and_its_owner_shown_as_skewed() {
    let (mut engine, now, peer) = alone();
    let end = Stamp::at(now + Duration::from_secs(5));
    let applied = Vector::from_iter([(peer, end)]);
    let members = vec![peer];
    let (left, closed) = (Vec::new(), Vec::new());
    let (joining, partial, published) = (false, false, false);
    let beat = Heartbeat {
        clock: now,
        end,
        applied,
        members,
        joining,
        partial,
        left,
        published,
        closed,
        copies: 0,
        linked: Vec::new(),
    };
    engine.handle(now, Event::Command { from: peer, command: Command::Heartbeat(beat) });
    let status = engine.status();
    assert_eq!(status.counters.ignored_skewed, 1);
    assert_eq!(status.members[0].state, State::Skewed);
    assert_eq!(status.members[0].end, Stamp::ZERO, "nothing of it was taken in");
    engine.check_invariants();
}

#[test]
fn a_silent_server_is_not_asked_at_each_message_that_holds_its_stamps_from_the_future() {
    let (mut engine, start, silent) = alone();
    let messenger = ServerId::new(3, start);
    let ahead = Stamp::at(start + Duration::from_secs(60));
    let beat = |applied: Vector, clock: Timestamp| {
        Command::Heartbeat(Heartbeat {
            clock,
            end: Stamp::ZERO,
            applied,
            members: vec![silent, messenger],
            joining: false,
            partial: false,
            left: Vec::new(),
            published: true,
            closed: Vec::new(),
            copies: 0,
            linked: Vec::new(),
        })
    };
    let command = beat(Vector::default(), start);
    engine.handle(start, Event::Command { from: silent, command });
    let (mut asked, mut news, mut beats) = (0, Vec::new(), 0);
    for ms in 0..4000 {
        let now = start + Duration::from_millis(ms);
        let command = beat(Vector::from_iter([(silent, ahead)]), now);
        engine.handle(now, Event::Command { from: messenger, command });
        engine.handle(now, Event::Timer);
        for action in drain(&mut engine) {
            match action {
                Action::Publish { to: To::One(to), command: Command::HeartbeatRequest } => {
                    asked += usize::from(to == silent);
                }
                Action::Publish { to: To::All, command: Command::Heartbeat(_) } => beats += 1,
                Action::Notify(Notice::Member { server, state }) if server == silent => {
                    news.push(state);
                }
                _ => {}
            }
        }
    }
    assert!(beats > 10 && asked <= beats + 1, "asked {asked} times in {beats} heartbeats");
    let expected = [State::Alive, State::Skewed, State::Suspect, State::Down];
    assert_eq!(news, expected, "it is down, whoever passes its stamps on");
    engine.check_invariants();
}
