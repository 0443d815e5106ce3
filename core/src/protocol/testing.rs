//! Farms of engines for the unit tests of what engines keep, which no test from outside can see.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::action::Action;
use crate::command::{Command, Heartbeat};
use crate::config::{Config, Farm};
use crate::engine::Engine;
use crate::event::Event;
use crate::id::ServerId;
use crate::stamp::Timestamp;

pub(crate) const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// The time of a step, 50 ms after the one before.
pub(crate) fn at(step: u64) -> Timestamp {
    START.plus_micros(step * 50_000)
}

/// Three servers that have run for 40 steps.
pub(crate) fn farm() -> Vec<Engine> {
    let servers: Vec<_> = (1..=3).map(|number| ServerId::new(number, START)).collect();
    let engine = |&server: &ServerId| {
        let config = Config::new(server, Farm::default());
        Engine::new(config, [7; 32], START).expect("a good configuration")
    };
    let mut engines: Vec<Engine> = servers.iter().map(engine).collect();
    for (engine, &own) in engines.iter_mut().zip(&servers) {
        let others = servers.iter().filter(|&&other| other != own);
        others.for_each(|&other| engine.handle(START, Event::PeerUp(other)));
    }
    run(&mut engines, 1, 40);
    engines
}

/// Runs for so many steps from one on, commands arriving at once. Returns all that was done.
pub(crate) fn run(engines: &mut [Engine], from: u64, steps: u64) -> String {
    let mut did = Vec::new();
    for now in (from..from + steps).map(at) {
        for of in 0..engines.len() {
            engines[of].handle(now, Event::Timer);
            while let Some(action) = engines[of].poll_action() {
                if let Action::Publish { command, .. } = &action {
                    let from = engines[of].server();
                    for to in (0..engines.len()).filter(|&to| to != of) {
                        let command = command.clone();
                        engines[to].handle(now, Event::Command { from, command });
                    }
                }
                did.push(format!("{of} {now:?} {action:?}"));
            }
        }
    }
    did.join("\n")
}

/// What a server answers who asks for its heartbeat.
pub(crate) fn heartbeat(engine: &mut Engine, now: Timestamp, asks: ServerId) -> Heartbeat {
    let command = Command::HeartbeatRequest;
    engine.handle(now, Event::Command { from: asks, command });
    loop {
        if let Action::Publish { command: Command::Heartbeat(heartbeat), .. } =
            engine.poll_action().expect("a heartbeat")
        {
            return heartbeat;
        }
    }
}
