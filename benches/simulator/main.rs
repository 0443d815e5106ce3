//! The simulator: farms of several sizes in virtual time, every message encoded and decoded. Beside
//! a bare queue that carries as many bytes. With all checks and without any: what is between the
//! two is what checking costs. A program of its own, with the allocator that the simulator ships with.
#![forbid(unsafe_code)]

use std::path::Path;
use std::time::Duration;

use grapevine_benches::cpu;
use grapevine_benches::floor::Queue;
use grapevine_benches::lab::Lab;
use grapevine_sim::{Kind, Outcome, Run, Scenario, Workload};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The bytes of an average heartbeat in a farm of three, and how much more each server adds.
const BYTES: (usize, usize) = (80, 24);

fn main() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("criterion");
    let mut lab = Lab::new(target);
    farms(&mut lab);
    drawn(&mut lab);
    lab.finish();
}

fn farms(lab: &mut Lab) {
    for servers in [3, 16, 64] {
        let bytes = BYTES.0 + BYTES.1 * usize::from(servers - 3);
        let under_way = usize::from(servers) * usize::from(servers - 1);
        let mut queue = Queue::new(under_way, bytes);
        let floor = lab.time("simulator", &format!("{servers}_floor"), |times| {
            cpu::time(|| (0..times).for_each(|_| queue.pass()))
        });
        let few = if servers > 16 { 2 } else { 10 };
        steady(lab, &STEADY, servers, few, floor);
        steady(lab, &QUIET, servers, 4 * few, floor);
    }
}

/// How much customers ask.
struct Load {
    name: &'static str,
    customers: u32,
    think_ms: (u64, u64),
}

/// At three servers there are more requests than messages, and a request costs more: its customer, its token,
/// and the checks of its answer.
const STEADY: Load = Load { name: "steady", customers: 24, think_ms: (5, 50) };

/// Almost all messages are heartbeats.
const QUIET: Load = Load { name: "quiet", customers: 2, think_ms: (500, 5000) };

/// A farm under the same load all the time, nothing going wrong.
fn steady(lab: &mut Lab, load: &Load, servers: u16, seconds: usize, floor: Option<f64>) {
    let scenario = scenario(load, servers, lab.size(seconds, 1) as f64);
    // What one run does is the same each time.
    let messages = Run::unchecked(&scenario).finish().messages;
    for (how, checked) in [("with all checks", true), ("without checks", false)] {
        let of = if checked { "checked" } else { "unchecked" };
        let id = format!("{servers}_{}_{of}", load.name);
        let run = |scenario: &mut Scenario| {
            let mut run = if checked { Run::new(scenario) } else { Run::unchecked(scenario) };
            timed(|| run.finish())
        };
        let make = || scenario.clone();
        let each = lab.rounds_with(("simulator", &id), messages, &mut None, make, run);
        let what = format!("{servers} servers, {} load, {how}", load.name);
        lab.row(&format!("simulated message, {what}"), each, floor, None);
        if let Some(nanos) = each {
            lab.note(format!("{what}: {:.2} M messages/s per core.", 1e3 / nanos));
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

fn scenario(load: &Load, servers: u16, duration_s: f64) -> Scenario {
    let kinds = vec![Kind::Set, Kind::Add, Kind::Remove];
    let &Load { customers, think_ms, .. } = load;
    let workload = Workload { customers, think_ms, kinds, ..Workload::default() };
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
