//! The simulator: farms of several sizes in virtual time, every message encoded and decoded. Beside
//! a bare queue that carries as many bytes. With all checks and without any: what is between the
//! two is what checking costs.

use std::time::Duration;

use grapevine_benches::cpu;
use grapevine_benches::floor::Queue;
use grapevine_benches::lab::Lab;
use grapevine_sim::{Kind, Outcome, Run, Scenario, Workload};

/// The bytes of an average heartbeat in a farm of three, and how much more each server adds.
const BYTES: (usize, usize) = (80, 24);

pub(crate) fn run(lab: &mut Lab) {
    steady(lab);
    drawn(lab);
}

/// A farm under steady load, nothing going wrong.
fn steady(lab: &mut Lab) {
    for servers in [3, 16, 64] {
        let seconds = if servers > 16 { 2 } else { 10 };
        let scenario = scenario(servers, lab.size(seconds, 1) as f64);
        // What one run does is the same each time.
        let messages = Run::unchecked(&scenario).finish().messages;
        let bytes = BYTES.0 + BYTES.1 * usize::from(servers - 3);
        let under_way = usize::from(servers) * usize::from(servers - 1);
        let mut queue = Queue::new(under_way, bytes);
        let floor = lab.time("simulator", &format!("{servers}_floor"), |times| {
            cpu::time(|| (0..times).for_each(|_| queue.pass()))
        });
        let named = [("with all checks", true), ("without checks", false)];
        for (how, checked) in named {
            let id = format!("{servers}_{}", if checked { "checked" } else { "unchecked" });
            let run = |scenario: &mut Scenario| {
                let mut run = if checked { Run::new(scenario) } else { Run::unchecked(scenario) };
                timed(|| run.finish())
            };
            let make = || scenario.clone();
            let each = lab.rounds_with(("simulator", &id), messages, &mut None, make, run);
            lab.row(&format!("simulated message, {servers} servers, {how}"), each, floor, None);
            if let Some(nanos) = each {
                let rate = 1e3 / nanos;
                lab.note(format!("{servers} servers, {how}: {rate:.2} M messages/s per core."));
            }
        }
    }
}

/// Runs of three servers as seeds draw them, everything going wrong, all checks on.
fn drawn(lab: &mut Lab) {
    let count = lab.size(60, 2);
    let three = (0..).map(Scenario::drawn).filter(|scenario| scenario.servers == 3);
    let three: Vec<Scenario> = three.take(count).collect();
    let seconds: f64 = three.iter().map(|s| Run::new(s).finish().simulated_s).sum();
    let per_run = seconds / three.len() as f64;
    let run = |three: &mut Vec<Scenario>| {
        three.iter().map(|scenario| timed(|| Run::new(scenario).finish())).sum()
    };
    let minutes = (seconds / 60.0).round().max(1.0) as u64;
    let each = lab.rounds_with(("simulator", "drawn"), minutes, &mut None, || three.clone(), run);
    if let Some(nanos) = each {
        let rate = 3600e9 / nanos;
        // Few of them, with many customers, take most of the time.
        let middle = 3600.0 / middle_minute(&three).as_secs_f64();
        lab.note(format!(
            "3 servers, drawn faults, all checks: {rate:.0} runs of 60 simulated seconds per hour \
             and core (a drawn run has {per_run:.0}); by the one in the middle, {middle:.0}."
        ));
    }
}

/// What a simulated minute takes of that one of these scenarios than which as many take more as take less.
fn middle_minute(scenarios: &[Scenario]) -> Duration {
    let minute = |scenario: &Scenario| {
        let mut simulated_s = 0.0;
        let time = cpu::time(|| simulated_s = Run::new(scenario).finish().simulated_s);
        time.mul_f64(60.0 / simulated_s)
    };
    let mut minutes: Vec<Duration> = scenarios.iter().map(minute).collect();
    minutes.sort_unstable();
    minutes[minutes.len() / 2]
}

fn scenario(servers: u16, duration_s: f64) -> Scenario {
    let kinds = vec![Kind::Set, Kind::Add, Kind::Remove];
    let workload = Workload { customers: 24, think_ms: (5, 50), kinds, ..Workload::default() };
    let plain = Scenario::from_toml(&format!("seed = 1\nservers = {servers}\nduration_s = 1.0"));
    Scenario { duration_s, workload, ..plain.expect("a good scenario") }
}

fn timed(run: impl FnOnce() -> Outcome) -> Duration {
    let mut outcome = None;
    let time = cpu::time(|| outcome = Some(run()));
    let broken = outcome.and_then(|outcome| outcome.broken);
    assert!(broken.is_none(), "a guarantee is broken: {broken:?}");
    time
}
