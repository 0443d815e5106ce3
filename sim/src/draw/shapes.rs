//! Shapes: situations that bugs of one kind need and that independent draws hardly ever make, so the
//! seed now and then draws one whole. Each says which situation it aims at; `docs/testing.md` has
//! how soon the swarm finds the bugs of the scorecard with them.
//!
//! Drawn apart from all else, so that a run without a shape is what it would be without this file.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::scenario::{Buggify, Delay, Fault, Kind, OwnDelay, Scenario, Timed};

mod doubt;

/// A shape bends a drawn scenario into its situation.
type Shape = fn(&mut ChaCha8Rng, &mut Scenario);

/// The shapes, and how probable each is.
const SHAPES: [(f64, Shape); 12] = [
    (0.07, turnover),
    (0.04, unheard_restarts),
    (0.04, late_parts),
    (0.04, last_words),
    (0.05, left_and_back),
    (0.04, doubt::idle),
    (0.03, doubt::given_up),
    (0.03, doubt::late_answers),
    (0.02, doubt::stillborn),
    (0.02, doubt::ahead_alone),
    (0.015, doubt::deaf_writers),
    (0.03, doubt::split_words),
];

/// Gives a scenario a shape, or, mostly, none.
pub(super) fn shape(scenario: &mut Scenario) {
    let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed ^ 0x51_07);
    let mut coin: f64 = rng.random_range(0.0..1.0);
    for (chance, shape) in SHAPES {
        if coin < chance {
            shape(&mut rng, scenario);
            scenario.faults.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
            return;
        }
        coin -= chance;
    }
}

/// In some runs silent servers are given up within the run, not only after a minute.
pub(super) fn give_up(scenario: &mut Scenario) {
    let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed ^ 0x91_7e);
    if rng.random_bool(0.15) {
        scenario.limits.give_up_after_ms = Some(rng.random_range(2_000..9_000));
    }
}

/// Seconds, rounded, because people read them.
fn seconds(rng: &mut ChaCha8Rng, least: f64, most: f64) -> f64 {
    (rng.random_range(least..most) * 1000.0).round() / 1000.0
}

fn add(scenario: &mut Scenario, at_s: f64, fault: Fault) {
    let at_s = (at_s * 1000.0).round() / 1000.0;
    scenario.faults.push(Timed { at_s, fault });
}

/// Customers who ask much and write what others must see: each every 24 to 160 ms on average, all of them some
/// hundred times a second. Four times as much took 1.6 times the time and found fewer bugs of the scorecard
/// (`docs/performance.md`).
fn busy(rng: &mut ChaCha8Rng, scenario: &mut Scenario, kinds: &[Kind]) {
    let workload = &mut scenario.workload;
    workload.customers = rng.random_range(6..12);
    workload.think_ms = (8, 4 * rng.random_range(10..80));
    workload.patience_ms = rng.random_range(200..900);
    (workload.idle_timeout_s, workload.lifetime_s) = (600, 3600);
    workload.kinds = kinds.to_vec();
}

/// Sessions live for seconds, slots are few, clocks differ by all that they may and some messages
/// take long: slots are used again while others still hold, or send, what was in them.
fn turnover(rng: &mut ChaCha8Rng, scenario: &mut Scenario) {
    scenario.limits.slots_per_origin = Some(rng.random_range(2..8));
    scenario.workload.lifetime_s = rng.random_range(1..4);
    scenario.workload.customers = rng.random_range(5..12);
    scenario.workload.think_ms = (5, 100);
    for server in 1..=scenario.servers {
        let ms = if rng.random_bool(0.5) { 240 } else { -240 };
        scenario.faults.insert(0, Timed { at_s: 0.0, fault: Fault::Step { server, ms } });
    }
    if rng.random_bool(0.8) {
        scenario.network.in_order = false;
        scenario.network.delay = Delay::LongTail { usual_ms: 5.0, rare_ms: 1200.0, rare: 0.15 };
        scenario.network.own.clear();
    }
}

/// One server after another dies and starts again at once, while it and another can't reach each
/// other: so for a while the other counts the dead process with all that it had, and the new one is
/// fed by a third server, which lacks what was last written.
fn unheard_restarts(rng: &mut ChaCha8Rng, scenario: &mut Scenario) {
    busy(rng, scenario, &[Kind::Set, Kind::Add]);
    scenario.servers = if rng.random_bool(0.7) { 3 } else { 4 };
    scenario.later.clear();
    scenario.faults.clear();
    scenario.limits.pending_requests = None;
    let links = &mut scenario.network;
    (links.own, links.queue, links.in_order) = (Vec::new(), 10_000, true);
    links.delay = Delay::Uniform { min_ms: 0.1, max_ms: 2.0 };
    // Who feeds is far from who restarts, and near to all others.
    let [restarts, feeds] = [rng.random_range(1..=scenario.servers), 0];
    let step = rng.random_range(1..scenario.servers);
    let feeds = feeds + (restarts - 1 + step) % scenario.servers + 1;
    for (from, to) in [(restarts, feeds), (feeds, restarts)] {
        let slow = seconds(rng, 5.0, 200.0);
        let delay = Delay::Uniform { min_ms: slow / 2.0, max_ms: slow };
        links.own.push(OwnDelay { from, to, delay });
    }
    let mut at = seconds(rng, 0.5, 2.0);
    while at < scenario.duration_s - 4.0 {
        add(scenario, at, Fault::Bridge { server: feeds, side: vec![restarts] });
        let dies = at + seconds(rng, 0.0, 0.3);
        add(scenario, dies, Fault::Crash { server: restarts });
        add(scenario, dies + seconds(rng, 0.001, 0.1), Fault::Start { server: restarts });
        add(scenario, dies + seconds(rng, 0.7, 2.0), Fault::Mend);
        at = dies + seconds(rng, 2.5, 4.0);
    }
}

/// Repairs of many small parts that break off all the time, while parts of the earlier rounds are
/// still on their way, late, twice and in any order.
fn late_parts(rng: &mut ChaCha8Rng, scenario: &mut Scenario) {
    busy(rng, scenario, &[Kind::Set, Kind::Add, Kind::Replace, Kind::Delete]);
    scenario.servers = rng.random_range(3..6);
    scenario.later.clear();
    scenario.faults.clear();
    scenario.limits.pending_requests = None;
    scenario.limits.pull_budget = Some(rng.random_range(1..400));
    let points =
        ["round_timeout_tiny", "repair_at_once", "holder_any", "walk_one", "run_forgotten"];
    let points = points.iter().filter(|_| rng.random_bool(0.6)).map(|&point| point.to_owned());
    let points: Vec<String> = points.collect();
    if !points.is_empty() {
        scenario.buggify = Buggify { points, probability: seconds(rng, 0.2, 0.6) };
    }
    let most = seconds(rng, 5.0, 60.0);
    let links = &mut scenario.network;
    (links.own, links.queue, links.in_order) = (Vec::new(), 10_000, false);
    links.delay = Delay::Uniform { min_ms: 0.1, max_ms: most };
    (links.loss, links.repeats) = (seconds(rng, 0.0, 0.2), seconds(rng, 0.0, 0.2));
    let mut at = seconds(rng, 0.5, 2.0);
    while at < scenario.duration_s - 3.0 {
        let server = rng.random_range(1..=scenario.servers);
        let back = at + seconds(rng, 0.2, 1.5);
        if rng.random_bool(0.5) {
            add(scenario, at, Fault::Isolate { server });
            add(scenario, back, Fault::Mend);
        } else {
            add(scenario, at, Fault::Crash { server });
            add(scenario, back, Fault::Start { server });
        }
        at = back + seconds(rng, 0.2, 2.0);
    }
}

/// Servers die soon after they have written, much of which was lost on the way, and start again:
/// what is left of their last writes is told on by answers and repairs, and what others have said of
/// the old process must not count for the new one.
fn last_words(rng: &mut ChaCha8Rng, scenario: &mut Scenario) {
    busy(rng, scenario, &[Kind::Set, Kind::Add, Kind::Acks, Kind::StaleToken, Kind::Delete]);
    scenario.servers = [3, 4, 5, 5][rng.random_range(0..4)];
    scenario.later.clear();
    scenario.faults.clear();
    scenario.limits.pending_requests = None;
    let links = &mut scenario.network;
    (links.own, links.queue) = (Vec::new(), 10_000);
    links.delay = Delay::Uniform { min_ms: 0.1, max_ms: seconds(rng, 1.0, 150.0) };
    (links.loss, links.repeats) = (seconds(rng, 0.0, 0.5), 0.0);
    // Who holds them may die before they are in a stream that lives.
    if rng.random_bool(0.5) {
        let points = vec!["again_late".to_owned(), "again_one".to_owned()];
        scenario.buggify = Buggify { points, probability: seconds(rng, 0.3, 1.0) };
    }
    let mut at = seconds(rng, 0.5, 2.0);
    while at < scenario.duration_s - 3.0 {
        let server = rng.random_range(1..=scenario.servers);
        add(scenario, at, Fault::Crash { server });
        add(scenario, at + seconds(rng, 0.01, 1.0), Fault::Start { server });
        at += seconds(rng, 0.3, 4.0);
    }
}

/// A server leaves, starts again where only some hear it, or nobody, and serves what it has there; or
/// another one leaves meanwhile. Those who have counted it out carry no context for it.
fn left_and_back(rng: &mut ChaCha8Rng, scenario: &mut Scenario) {
    busy(rng, scenario, &[Kind::Set, Kind::Add, Kind::Acks]);
    scenario.servers = rng.random_range(2..5);
    scenario.later.clear();
    scenario.faults.clear();
    scenario.limits.pending_requests = None;
    scenario.network.own.clear();
    scenario.network.delay = Delay::Uniform { min_ms: 0.1, max_ms: seconds(rng, 1.0, 30.0) };
    let mut at = seconds(rng, 0.5, 2.0);
    while at < scenario.duration_s - 5.0 {
        let back = rng.random_range(1..=scenario.servers);
        let other = (back - 1 + rng.random_range(1..scenario.servers)) % scenario.servers + 1;
        add(scenario, at, Fault::Leave { server: back });
        // Its process has stopped by then.
        let cut = at + seconds(rng, 3.6, 4.5);
        add(scenario, cut, alone(rng, back, other));
        let starts = cut + seconds(rng, 0.0, 0.5);
        add(scenario, starts, Fault::Start { server: back });
        let mend = starts + seconds(rng, 0.2, 6.0);
        if rng.random_bool(0.6) {
            let leaves = starts + seconds(rng, -0.5, 4.0);
            add(scenario, leaves, Fault::Leave { server: other });
            add(
                scenario,
                leaves.max(mend) + seconds(rng, 3.6, 5.0),
                Fault::Start { server: other },
            );
        }
        if rng.random_bool(0.5) {
            let (from, to) = if rng.random_bool(0.5) { (back, other) } else { (other, back) };
            add(scenario, starts + seconds(rng, 0.0, 0.2), Fault::Clog { from, to });
            add(scenario, mend + seconds(rng, 0.5, 3.0), Fault::Unclog { from, to });
        }
        add(scenario, mend, Fault::Mend);
        at = mend + seconds(rng, 1.0, 4.0);
    }
}

/// How a server is cut off, wholly or for the most part.
fn alone(rng: &mut ChaCha8Rng, server: u16, other: u16) -> Fault {
    match rng.random_range(0..3) {
        0 => Fault::Isolate { server },
        1 => Fault::OneWay { side: vec![server] },
        _ => Fault::Bridge { server: other, side: vec![server] },
    }
}
