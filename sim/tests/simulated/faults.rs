//! No fault is left out in silence, on any harness; and the named scenarios do what they are named for.

use grapevine_sim::{Fault, Memory, On, Outcome, Scenario, Timed, run_on};

/// Three servers for a short while, with these faults.
fn run(on: On, faults: &[Fault]) -> Outcome {
    let text = "seed = 5\nservers = 3\nduration_s = 4.0\n[network]\nin_order = true\n[workload]\ncustomers = 1\n\
                think_ms = [100, 200]\nkinds = [\"set\"]";
    let mut scenario = Scenario::from_toml(text).expect("a scenario");
    let timed = |(n, fault): (usize, &Fault)| Timed { at_s: 0.5 + n as f64, fault: fault.clone() };
    scenario.faults = faults.iter().enumerate().map(timed).collect();
    run_on(&scenario, on)
}

/// Each kind of fault; those that only end another one come after it.
fn all() -> Vec<Vec<Fault>> {
    let (server, side, ms) = (2, vec![2], 300.0);
    vec![
        vec![Fault::Crash { server }],
        vec![Fault::Crash { server }, Fault::Start { server }],
        vec![Fault::Pause { server }],
        vec![Fault::Pause { server }, Fault::Resume { server }],
        vec![Fault::Leave { server }],
        vec![Fault::Slow { server, ms }],
        vec![Fault::Partition { side: side.clone() }],
        vec![Fault::Isolate { server }],
        vec![Fault::OneWay { side: side.clone() }],
        vec![Fault::Bridge { server, side: vec![1] }],
        vec![Fault::Cut { from: 1, to: 2 }],
        vec![Fault::Cut { from: 1, to: 2 }, Fault::Mend],
        vec![Fault::Swallow { side }],
        vec![Fault::Clog { from: 1, to: 2 }],
        vec![Fault::Clog { from: 1, to: 2 }, Fault::Unclog { from: 1, to: 2 }],
        vec![Fault::Weather { loss: 0.9, repeats: 0.0, corruption: 0.0 }],
        vec![Fault::Weather { loss: 0.0, repeats: 0.9, corruption: 0.0 }],
        vec![Fault::Weather { loss: 0.0, repeats: 0.0, corruption: 0.9 }],
        vec![Fault::Step { server, ms: 5000 }],
        vec![Fault::Drift { server, ppm: 20_000 }],
        vec![Fault::CorruptMemory { server, what: Memory::LostCopy, pick: 1 }],
        vec![Fault::Flood { server, sessions: 50, bytes: 1000 }],
    ]
}

/// Each fault changes what happens, or is named with the outcome.
pub(crate) fn none_is_left_out_in_silence(on: On) {
    let figures = |outcome: &Outcome| (outcome.events, outcome.messages);
    let calm = run(on, &[]);
    let mut before: Option<(Vec<Fault>, Outcome)> = None;
    for faults in all() {
        let outcome = run(on, &faults);
        // What ends a fault must change what that fault alone does.
        let without = match &before {
            Some((shorter, outcome)) if faults.starts_with(shorter) => outcome,
            _ => &calm,
        };
        let named = outcome.left_out.len() > calm.left_out.len();
        let done = figures(&outcome) != figures(without);
        assert!(named || done, "{}: {faults:?} did nothing, and nobody says so", on.name());
        before = Some((faults, outcome));
    }
}

/// What the outcome of a named scenario must show, for its fault to have been one: a server that was missed and came
/// back, a process that died and started again, a full queue, a full server.
const SHOWS: [(&str, &str); 11] = [
    ("bridge-then-a-death", "down_server_heard_again"),
    ("death-and-empty-restart", "restart_counted_anew"),
    ("five-percent-loss", "down_server_heard_again"),
    ("flooding-peer", "limited"),
    ("heard-and-hearing-nothing", "down_server_heard_again"),
    ("majority-and-minority", "down_server_heard_again"),
    ("paused-server", "down_server_heard_again"),
    ("rolling-restart", "restart_counted_anew"),
    ("silent-death", "down_server_heard_again"),
    ("slow-subscriber", "queue_overflow"),
    ("swallowed", "down_server_heard_again"),
];

/// On madsim a stream loses nothing: it is late.
const NOT_ON_MADSIM: [&str; 2] = ["five-percent-loss", "swallowed"];

/// Runs every scenario file, and hands each outcome over.
pub(crate) fn every_file(on: On, held: impl Fn(&str, &Outcome)) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let mut shown = 0;
    for entry in std::fs::read_dir(folder).expect("the folder of scenarios") {
        let file = entry.expect("a file").path();
        let text = std::fs::read_to_string(&file).expect("a scenario file");
        let scenario = Scenario::from_toml(&text).expect("a scenario");
        let outcome = run_on(&scenario, on);
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name");
        held(name, &outcome);
        for (_, mark) in SHOWS.iter().filter(|(named, _)| *named == name) {
            shown += 1;
            let exempt = on.name() == "madsim" && NOT_ON_MADSIM.contains(&name);
            assert!(exempt || outcome.coverage[*mark] > 0, "{name}: {mark} never happened");
        }
    }
    assert_eq!(shown, SHOWS.len(), "a named scenario is missing");
}
