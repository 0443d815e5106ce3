use grapevine_core::{Command, Event, Stamp};

use super::*;
use crate::run::{START, WARM_UP};
use crate::scenario::Scenario;

const CALM: &str = "seed = 5\nservers = 3\nduration_s = 20.0\n";

/// A run of three servers at this many seconds, and its time so far.
fn run_at(seconds: u64) -> Run {
    let mut run = Run::new(&Scenario::from_toml(CALM).expect("a scenario"));
    run.run_until(START + WARM_UP + Duration::from_secs(seconds));
    run
}

fn go_on(run: &mut Run, ms: u64) {
    run.run_until(run.world.now() + Duration::from_millis(ms));
    assert!(run.broken.is_none(), "{:?}", run.broken);
}

#[test]
fn a_leave_takes_no_time_from_what_else_happens_and_stops_its_process_later() {
    let mut run = run_at(3);
    let before = run.world.now();
    run.fault(&Fault::Leave { server: 1 });
    assert_eq!(run.world.now(), before, "other faults come at their own times");
    assert!(run.world.is_up(0) && run.world.status(0).leaving);
    go_on(&mut run, 3499);
    assert!(run.world.is_up(0), "it goes on answering that it leaves");
    go_on(&mut run, 1);
    assert!(!run.world.is_up(0));
}

#[test]
fn a_server_that_died_while_leaving_and_started_again_is_not_stopped() {
    let mut run = run_at(3);
    run.fault(&Fault::Isolate { server: 1 });
    run.fault(&Fault::Leave { server: 1 });
    go_on(&mut run, 1000);
    run.fault(&Fault::Crash { server: 1 });
    run.fault(&Fault::Start { server: 1 });
    run.fault(&Fault::Mend);
    go_on(&mut run, 6000);
    assert!(run.world.is_up(0) && !run.world.status(0).leaving, "another process has its number");
}

#[test]
fn a_server_that_is_paused_when_it_is_told_to_leave_is_stopped_all_the_same() {
    let mut run = run_at(3);
    run.fault(&Fault::Pause { server: 2 });
    run.fault(&Fault::Leave { server: 2 });
    go_on(&mut run, 3500);
    assert!(!run.world.is_up(1));
    run.fault(&Fault::Resume { server: 2 });
    go_on(&mut run, 1000);
    assert!(!run.world.is_up(1));
}

#[test]
fn a_server_that_says_that_another_misbehaves_breaks_a_guarantee_whatever_the_reason() {
    let mut run = run_at(3);
    let from = run.world.engine(1).server();
    let applied = Stamp::at(run.world.now());
    let command = Command::Ack { applied };
    run.world.handle(0, Event::Command { from, command });
    run.observe();
    run.look();
    let broken = run.broken.expect("the first server says that the second misbehaves");
    assert_eq!(broken.guarantee, "G8");
    assert!(broken.sentence.contains("never made"), "{}", broken.sentence);
}

#[test]
fn healing_sets_a_clock_right_under_way_up_to_200_ms_and_by_a_new_process_beyond() {
    let mut run = run_at(3);
    for (server, ms) in [(1, 190), (2, -210), (3, 210)] {
        run.fault(&Fault::Step { server, ms });
    }
    // One that is set back stands still first.
    go_on(&mut run, 1000);
    let processes = |run: &Run| [0, 1, 2].map(|server| run.world.status(server).server);
    let before = processes(&run);
    run.liveness();
    assert!(run.broken.is_none(), "{:?}", run.broken);
    let after = processes(&run);
    assert_eq!([0, 1, 2].map(|n| before[n] == after[n]), [true, false, false]);
    assert_eq!([0, 1, 2].map(|server| run.world.skew_of(server)), [0, 0, 0]);
}
