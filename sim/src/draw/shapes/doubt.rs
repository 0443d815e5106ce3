//! Shapes in which a server must not be too sure: that nobody has used a session, that a part of one is
//! lost, that a process is no more, or never was, what time it is, and that who is heard hears.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::{add, alone, busy, seconds};
use crate::run::majority;
use crate::scenario::{Buggify, Delay, Fault, Heal, Kind, OwnDelay, Scenario};

/// In ms: far longer than any session lives where a clock is set ahead by this.
const AN_HOUR: i64 = 3_600_000;

/// A farm of so many, busy, where nothing goes wrong but what a shape adds.
fn calm(rng: &mut ChaCha8Rng, scenario: &mut Scenario, kinds: &[Kind], servers: [u16; 4]) {
    busy(rng, scenario, kinds);
    scenario.servers = servers[rng.random_range(0..servers.len())];
    scenario.later.clear();
    scenario.faults.clear();
    scenario.limits.pending_requests = None;
    let links = &mut scenario.network;
    (links.own, links.queue) = (Vec::new(), 10_000);
}

/// Another server than this one.
fn another(rng: &mut ChaCha8Rng, scenario: &Scenario, server: u16) -> u16 {
    (server - 1 + rng.random_range(1..scenario.servers)) % scenario.servers + 1
}

/// Sessions are idle after seconds, and used again just before and just after, at any server, while
/// servers die, stand still, leave, and can't reach each other: of most accesses few have heard.
pub(super) fn idle(rng: &mut ChaCha8Rng, scenario: &mut Scenario) {
    calm(rng, scenario, &[Kind::Set, Kind::Idle, Kind::StaleToken], [2, 3, 3, 4]);
    let after = if rng.random_bool(0.4) { 2 } else { rng.random_range(4..10) };
    let workload = &mut scenario.workload;
    workload.idle_timeout_s = after;
    workload.customers = rng.random_range(3..9);
    workload.think_ms = (50, after * 400);
    scenario.network.delay = Delay::Uniform { min_ms: 0.1, max_ms: seconds(rng, 1.0, 60.0) };
    // What is missing is fetched late.
    if rng.random_bool(0.5) {
        let points = vec!["pull_ignored".to_owned()];
        scenario.buggify = Buggify { points, probability: seconds(rng, 0.9, 1.0) };
    }
    let after = after as f64;
    let mut at = seconds(rng, 0.5, 2.0);
    while at < scenario.duration_s - 3.0 {
        let server = rng.random_range(1..=scenario.servers);
        let other = another(rng, scenario, server);
        let back = at + seconds(rng, 0.2, after + 3.0);
        match rng.random_range(0..5) {
            // It dies with what others have not heard, and is back before they say idle.
            0 | 1 => {
                add(scenario, at, Fault::Clog { from: server, to: other });
                let dies = at + seconds(rng, 1.0, after);
                add(scenario, dies, Fault::Crash { server });
                add(scenario, dies + seconds(rng, 0.01, 1.0), Fault::Start { server });
                add(scenario, dies + 1.0, Fault::Unclog { from: server, to: other });
                at = dies;
            }
            2 => {
                add(scenario, at, Fault::Pause { server });
                add(scenario, back, Fault::Resume { server });
            }
            // Who has left counts nobody new, such as the next process of one that has left before.
            3 => {
                add(scenario, at, Fault::Leave { server: other });
                let starts = at + seconds(rng, 4.0, 6.0);
                add(scenario, starts, Fault::Start { server: other });
                add(scenario, starts + seconds(rng, -1.0, 0.1), Fault::Leave { server });
                add(scenario, starts + seconds(rng, 4.0, 8.0), Fault::Start { server });
                at = starts;
            }
            _ => {
                let cut = alone(rng, server, other);
                add(scenario, at, cut);
                add(scenario, back, Fault::Mend);
            }
        }
        at += seconds(rng, 0.5, 4.0);
    }
}

/// Who is silent is soon given up, and servers are cut off for longer than that: by themselves, by twos,
/// and while others die.
pub(super) fn given_up(rng: &mut ChaCha8Rng, scenario: &mut Scenario) {
    let kinds = [Kind::Set, Kind::Add, Kind::Rotate, Kind::StaleToken, Kind::BestEffort];
    calm(rng, scenario, &kinds, [3, 3, 4, 5]);
    let after = rng.random_range(2_000..4_000);
    scenario.limits.give_up_after_ms = Some(after);
    scenario.network.delay = Delay::Uniform { min_ms: 0.1, max_ms: seconds(rng, 1.0, 60.0) };
    let mut at = seconds(rng, 0.5, 2.0);
    while at < scenario.duration_s - 3.0 {
        let server = rng.random_range(1..=scenario.servers);
        let other = another(rng, scenario, server);
        let cut = alone(rng, server, other);
        add(scenario, at, cut);
        let mend = at + after as f64 / 1000.0 + seconds(rng, -0.5, 3.0);
        if rng.random_bool(0.5) {
            let dies = at + seconds(rng, 0.0, 2.0);
            add(scenario, dies, Fault::Crash { server: other });
            add(scenario, dies + seconds(rng, 0.01, 5.0), Fault::Start { server: other });
        }
        add(scenario, mend, Fault::Mend);
        at = mend + seconds(rng, 0.5, 2.0);
    }
}

/// What servers say takes now and then seconds, so that answers come when whoever gave them is no more,
/// and all have counted it out.
pub(super) fn late_answers(rng: &mut ChaCha8Rng, scenario: &mut Scenario) {
    calm(rng, scenario, &[Kind::Set, Kind::Add, Kind::StaleToken], [3, 3, 4, 5]);
    scenario.network.in_order = false;
    let usual_ms = seconds(rng, 1.0, 20.0);
    scenario.network.delay = Delay::Uniform { min_ms: 0.1, max_ms: usual_ms };
    let slow = rng.random_range(1..=scenario.servers);
    for to in (1..=scenario.servers).filter(|&to| to != slow) {
        let rare = seconds(rng, 0.1, 0.5);
        let delay = Delay::LongTail { usual_ms, rare_ms: seconds(rng, 3_000.0, 9_000.0), rare };
        scenario.network.own.push(OwnDelay { from: slow, to, delay });
    }
    if rng.random_bool(0.5) {
        let points = vec!["query_unneeded".to_owned(), "query_all".to_owned()];
        scenario.buggify = Buggify { points, probability: seconds(rng, 0.1, 0.6) };
    }
    let mut at = seconds(rng, 1.0, 3.0);
    while at < scenario.duration_s - 3.0 {
        add(scenario, at, Fault::Crash { server: slow });
        add(scenario, at + seconds(rng, 0.01, 1.0), Fault::Start { server: slow });
        at += seconds(rng, 2.0, 8.0);
    }
}

/// Processes that die as soon as they have started, of which links alone tell, by a clock that is then set
/// back: the next process of that number is older.
pub(super) fn stillborn(rng: &mut ChaCha8Rng, scenario: &mut Scenario) {
    calm(rng, scenario, &[Kind::Set, Kind::Add, Kind::Acks], [2, 3, 3, 4]);
    scenario.network.delay = Delay::Uniform { min_ms: 0.1, max_ms: seconds(rng, 5.0, 80.0) };
    let mut at = seconds(rng, 0.5, 2.0);
    while at < scenario.duration_s - 5.0 {
        let server = rng.random_range(1..=scenario.servers);
        add(scenario, at, Fault::Crash { server });
        let ms = rng.random_range(50..240);
        let mut starts = at + seconds(rng, 0.05, 3.0);
        add(scenario, starts, Fault::Step { server, ms });
        add(scenario, starts, Fault::Start { server });
        starts += seconds(rng, 0.001, 0.04);
        add(scenario, starts, Fault::Crash { server });
        add(scenario, starts, Fault::Step { server, ms: -ms });
        if rng.random_bool(0.8) {
            add(scenario, starts + seconds(rng, 0.001, 0.05), Fault::Start { server });
        }
        at = starts + seconds(rng, 1.0, 6.0);
    }
}

/// A server is cut off, and its clock is set ahead again and again meanwhile, by seconds each time; or it starts,
/// far ahead, where nobody tells it the time, and its own sessions end by its clock. Then it hears the others
/// again, whose sessions live.
pub(super) fn ahead_alone(rng: &mut ChaCha8Rng, scenario: &mut Scenario) {
    let kinds = [Kind::Set, Kind::StaleToken, Kind::BestEffort];
    calm(rng, scenario, &kinds, [3, 3, 4, 5]);
    let starts = rng.random_bool(0.5);
    let lives = if starts { 1..4 } else { 10..25 };
    scenario.workload.lifetime_s = rng.random_range(lives);
    scenario.workload.think_ms = (20, 400);
    scenario.network.delay = Delay::Uniform { min_ms: 0.1, max_ms: seconds(rng, 1.0, 20.0) };
    let server = rng.random_range(1..=scenario.servers);
    let mut at = seconds(rng, 2.0, 4.0);
    while at < scenario.duration_s - 15.0 {
        let mut ahead = 0;
        add(scenario, at, Fault::Isolate { server });
        let mend = at + if starts { seconds(rng, 5.0, 8.0) } else { seconds(rng, 6.0, 12.0) };
        if starts {
            ahead = AN_HOUR;
            add(scenario, at, Fault::Crash { server });
            add(scenario, at, Fault::Step { server, ms: ahead });
            add(scenario, at + 0.1, Fault::Start { server });
        }
        while !starts && at < mend - 0.3 {
            let ms = rng.random_range(1_000..3_000);
            ahead += ms;
            add(scenario, at, Fault::Step { server, ms });
            at += seconds(rng, 0.1, 0.4);
        }
        add(scenario, mend, Fault::Mend);
        at = mend + seconds(rng, 1.0, 3.0);
        add(scenario, at, Fault::Crash { server });
        add(scenario, at, Fault::Step { server, ms: -ahead });
        add(scenario, at + seconds(rng, 0.01, 0.5), Fault::Start { server });
        at += seconds(rng, 2.0, 4.0);
    }
}

/// In the end one server lacks what several wrote whom it hears, and who never hear it; who has it all has
/// written nothing since, and is not the writer of anything that is missing.
pub(super) fn deaf_writers(rng: &mut ChaCha8Rng, scenario: &mut Scenario) {
    calm(rng, scenario, &[Kind::Set, Kind::Add, Kind::BestEffort], [5, 5, 5, 7]);
    scenario.network.delay = Delay::Uniform { min_ms: 0.1, max_ms: seconds(rng, 1.0, 20.0) };
    scenario.heal = Heal::Majority;
    let healed = majority(scenario.seed, usize::from(scenario.servers));
    let healed: Vec<u16> = healed.into_iter().map(|server| server as u16 + 1).collect();
    let lacks = healed[rng.random_range(0..healed.len())];
    let ends = scenario.duration_s;
    let cut = ends - seconds(rng, 1.5, 4.0);
    for to in (1..=scenario.servers).filter(|server| !healed.contains(server)) {
        add(scenario, cut, Fault::Clog { from: lacks, to });
    }
    for &server in healed.iter().filter(|&&server| server != lacks) {
        add(scenario, cut, Fault::Pause { server });
    }
    add(scenario, cut + 0.1, Fault::Isolate { server: lacks });
    add(scenario, ends - seconds(rng, 0.0, 0.5), Fault::Mend);
}

/// What a server wrote last before it died reaches two others, a part each, beyond a gap. One of these dies for good
/// before its turn to publish its part, of which it has told the other, that has published its own by then.
pub(super) fn split_words(rng: &mut ChaCha8Rng, scenario: &mut Scenario) {
    calm(rng, scenario, &[Kind::Set, Kind::Add], [3, 3, 3, 3]);
    scenario.network.delay = Delay::Uniform { min_ms: 0.1, max_ms: seconds(rng, 1.0, 8.0) };
    // Who asks again only after seconds: most is not told at once.
    scenario.workload.customers = rng.random_range(40..80);
    scenario.workload.think_ms = (20, rng.random_range(1_000..4_000));
    let points = vec!["again_late".to_owned()];
    scenario.buggify = Buggify { points, probability: seconds(rng, 0.3, 0.7) };
    scenario.heal = Heal::Majority;
    let healed = majority(scenario.seed, usize::from(scenario.servers));
    let healed: Vec<u16> = healed.into_iter().map(|server| server as u16 + 1).collect();
    let writer = healed[rng.random_range(0..healed.len())];
    let first = healed
        [(healed.iter().position(|&server| server == writer).unwrap_or(0) + 1) % healed.len()];
    let others = (1..=scenario.servers).filter(|&server| server != writer);
    let second = others.clone().find(|server| !healed.contains(server)).unwrap_or(first);
    scenario.duration_s = seconds(rng, 8.0, 12.0);
    let mut at = scenario.duration_s - seconds(rng, 5.5, 6.5);
    add(scenario, at, Fault::Isolate { server: writer });
    at += seconds(rng, 0.1, 0.4);
    for hears in [first, second] {
        add(scenario, at, Fault::Mend);
        for other in others.clone() {
            if other != hears {
                add(scenario, at, Fault::Cut { from: writer, to: other });
            }
            // Nor is it asked for what is missing.
            add(scenario, at, Fault::Cut { from: other, to: writer });
        }
        at += seconds(rng, 0.2, 0.8);
    }
    add(scenario, at, Fault::Crash { server: writer });
    add(scenario, at, Fault::Mend);
    at += seconds(rng, 0.01, 0.2);
    add(scenario, at, Fault::Start { server: writer });
    at += seconds(rng, 0.8, 3.0);
    add(scenario, at, Fault::Crash { server: second });
}
