//! Many runs on all cores: each seed draws its own scenario. The first failures are kept.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use grapevine_core::Timestamp;
use serde::Serialize;

use crate::harness::On;
use crate::run::{Broken, Outcome, Run};
use crate::scenario::Scenario;
use crate::world::START;

/// Every so many runs, from the first on, one is made twice and the traces compared (G9).
const TWICE_EVERY: u64 = 64;
/// A swarm of so many runs has something for each rule of each check to look at.
pub const RULES_FROM: u64 = 2000;
/// And one of so many, elsewhere than on the queue or cut short, something for each check: few of its runs have no
/// deaths, and counters are compared in those alone.
const CHECKS_FROM: u64 = 200;
/// How many failures are kept.
const KEPT: usize = 100;
/// The largest seed: the largest number of a scenario file.
pub const LARGEST_SEED: u64 = i64::MAX as u64;

/// What a swarm does.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// The first seed.
    pub first: u64,
    /// The seed after the last; `None` for as many as there is time for.
    pub end: Option<u64>,
    /// Of so many shards (the second), this one (the first, from zero).
    pub shard: (u64, u64),
    /// When to stop at the latest.
    pub time: Option<Duration>,
    /// Threads.
    pub jobs: usize,
    /// Where all its runs are.
    pub on: On,
}

/// How often something happened in a swarm, and in how many runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hits {
    /// In all.
    pub hits: u64,
    /// Runs in which it happened.
    pub seeds: u64,
}

fn add_hits(all: &mut BTreeMap<String, Hits>, run: &BTreeMap<String, u64>) {
    for (name, &count) in run {
        if let Some(hits) = all.get_mut(name) {
            hits.hits += count;
            hits.seeds += u64::from(count > 0);
        } else {
            all.insert(name.clone(), Hits { hits: count, seeds: u64::from(count > 0) });
        }
    }
}

/// What a swarm found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Runs made.
    pub runs: u64,
    /// The first failures, by seed.
    pub failures: Vec<Outcome>,
    /// Failures in all.
    pub failed: u64,
    /// Whether time was up before all seeds of a range were run. What was looked at is no measure then.
    pub cut_short: bool,
    /// Runs of which nobody can say whether they failed: time was real, and the machine too slow.
    pub undecided: u64,
    /// What all runs were on.
    pub harness: On,
    /// Events handled.
    pub events: u64,
    /// Messages delivered, each encoded and decoded.
    pub messages: u64,
    /// Simulated seconds.
    pub simulated_s: f64,
    /// Real seconds.
    pub wall_s: f64,
    /// Messages per real second, all cores together.
    pub messages_per_s: f64,
    /// Messages per real second and core.
    pub messages_per_s_and_core: f64,
    /// Runs per hour and core.
    pub runs_per_hour_and_core: f64,
    /// Simulated seconds of a run, on average.
    pub simulated_s_per_run: f64,
    /// Runs of 60 simulated seconds per hour and core.
    pub minutes_per_hour_and_core: f64,
    /// The engines' counters, and answers by kind → how often.
    pub coverage: BTreeMap<String, u64>,
    /// Coverage marks: rare paths, by name.
    pub marks: BTreeMap<String, Hits>,
    /// Rare choices that were forced, by name.
    pub forced: BTreeMap<String, Hits>,
    /// Guarantee → how much its check looked at.
    pub looked: BTreeMap<String, u64>,
    /// Rule of a check → how much it looked at.
    pub rules: BTreeMap<String, Hits>,
}

impl Swarm {
    /// How many seeds there are, if there is an end.
    pub fn seeds(&self) -> Option<u64> {
        // Those below a number that belong to this shard.
        let below = |end: u64| (end + self.shard.1 - 1 - self.shard.0) / self.shard.1;
        self.end.map(|end| below(end) - below(self.first))
    }

    /// Runs all of it. `progress` is called after every run, from any thread, and says whether to go
    /// on: if not, the runs under way are the last.
    ///
    /// # Panics
    /// If a thread of the swarm itself does: a run's panic is a failure like any other.
    pub fn run(&self, progress: &(dyn Fn(&Outcome) -> ControlFlow<()> + Sync)) -> Summary {
        let started = Instant::now();
        let next = AtomicU64::new(self.first);
        let (stop, late) = (AtomicBool::new(false), AtomicBool::new(false));
        let summary = Mutex::new(Summary { harness: self.on, ..Summary::default() });
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| {
                    while let Some(seed) = self.next_seed(&next, [&stop, &late], started) {
                        let nth = (seed - self.first) / self.shard.1;
                        let scenario = Scenario::drawn(seed);
                        let twice = nth.is_multiple_of(TWICE_EVERY) && self.on.has_one_trace();
                        let outcome = if twice {
                            run_twice(&scenario, self.on)
                        } else {
                            run_on(&scenario, self.on)
                        };
                        if progress(&outcome).is_break() {
                            stop.store(true, Ordering::Relaxed);
                        }
                        summary.lock().expect("no thread panics").add(outcome);
                    }
                });
            }
        });
        let mut summary = summary.into_inner().expect("no thread panics");
        summary.wall_s = started.elapsed().as_secs_f64();
        summary.cut_short = self.end.is_some() && late.into_inner();
        let jobs = self.jobs as f64;
        summary.messages_per_s = summary.messages as f64 / summary.wall_s;
        summary.messages_per_s_and_core = summary.messages_per_s / jobs;
        summary.simulated_s_per_run = summary.simulated_s / summary.runs.max(1) as f64;
        summary.minutes_per_hour_and_core = summary.simulated_s / summary.wall_s * 60.0 / jobs;
        summary.runs_per_hour_and_core = summary.runs as f64 / summary.wall_s * 3600.0 / jobs;
        summary
    }

    /// The next seed, unless there is none, or somebody said `stop`, or it is too late: which is noted.
    fn next_seed(
        &self,
        next: &AtomicU64,
        [stop, late]: [&AtomicBool; 2],
        started: Instant,
    ) -> Option<u64> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if stop.load(Ordering::Relaxed) || seed >= self.end.unwrap_or(LARGEST_SEED) {
                return None;
            }
            if seed % self.shard.1 != self.shard.0 {
                continue;
            }
            if self.time.is_some_and(|time| started.elapsed() >= time) {
                late.store(true, Ordering::Relaxed);
                return None;
            }
            return Some(seed);
        }
    }
}

impl Summary {
    /// Adds a run.
    pub fn add(&mut self, outcome: Outcome) {
        self.runs += 1;
        self.events += outcome.events;
        self.messages += outcome.messages;
        self.simulated_s += outcome.simulated_s;
        for (name, count) in &outcome.coverage {
            if !outcome.marks.contains_key(name) {
                *self.coverage.entry(name.clone()).or_default() += count;
            }
        }
        add_hits(&mut self.marks, &outcome.marks);
        add_hits(&mut self.forced, &outcome.forced);
        add_hits(&mut self.rules, &outcome.rules);
        for (guarantee, count) in &outcome.looked {
            *self.looked.entry(guarantee.clone()).or_default() += count;
        }
        if outcome.verdict == "undecided" {
            self.undecided += 1;
        } else if outcome.broken.is_some() {
            self.failed += 1;
            self.failures.push(outcome);
            self.failures.sort_by_key(|failure| failure.seed);
            self.failures.truncate(KEPT);
        }
    }

    /// Marks whose path no run took, and rare choices that no run forced.
    pub fn missing(&self) -> Vec<&str> {
        let all = self.marks.iter().chain(&self.forced);
        all.filter(|(_, hits)| hits.seeds == 0).map(|(name, _)| name.as_str()).collect()
    }

    /// Whether all is well: there were runs, none failed, every check had something to look at, and, if that is
    /// asked for, every rare path was taken and every rare choice forced. Nobody can say that of a swarm that was cut
    /// short: whoever asks for it wants all of its runs.
    pub fn good(&self, require_marks: bool) -> bool {
        let marks = !require_marks || !self.cut_short && self.missing().is_empty();
        self.runs > 0 && self.failed + self.undecided == 0 && self.blind().is_empty() && marks
    }

    /// Checks that looked at nothing: they have shown nothing. Of a swarm that is large enough to say so,
    /// each rule of a check by itself: some look at what few runs have. Elsewhere than on the queue a swarm of few
    /// runs needs nothing to look at, for a few of them take as long as many there, and no swarm something for
    /// each rule, which only the queue has. Nor does one of few runs that was cut short.
    pub fn blind(&self) -> Vec<&str> {
        let queue = self.harness == On::Queue;
        let judged = queue && !self.cut_short || self.runs >= CHECKS_FROM;
        let checks = if judged { self.unused_checks() } else { Vec::new() };
        let rules = if queue && self.runs >= RULES_FROM { self.unused_rules() } else { Vec::new() };
        checks.into_iter().chain(rules).collect()
    }

    /// Checks that looked at nothing, however small the swarm. Where no two runs are the same, none are compared.
    pub fn unused_checks(&self) -> Vec<&str> {
        let unused = self.looked.iter().filter(|&(_, &count)| count == 0);
        let unused = unused.map(|(guarantee, _)| guarantee.as_str());
        unused.filter(|&name| name != "G9" || self.harness.has_one_trace()).collect()
    }

    /// Rules of checks that looked at nothing, however small the swarm.
    pub fn unused_rules(&self) -> Vec<&str> {
        let unused = self.rules.iter().filter(|(_, hits)| hits.seeds == 0);
        unused.map(|(rule, _)| rule.as_str()).collect()
    }
}

/// After an event: its time, its server (from zero), and the hash of all so far.
pub type Step = (Timestamp, usize, u64);

/// Two runs of one scenario, compared (G9). If their traces differ, the outcome is a failure that names
/// the first event that does.
pub fn run_twice(scenario: &Scenario, on: On) -> Outcome {
    let mut outcome = run_on(scenario, on);
    if outcome.broken.is_some() {
        return outcome;
    }
    *outcome.looked.entry("G9".to_owned()).or_default() += 1;
    if run_on(scenario, on).trace_hash != outcome.trace_hash {
        let [one, other] = [(); 2].map(|()| run_in_steps(scenario, on).1);
        outcome.verdict = "fail";
        outcome.broken = Some(parted(&one, &other));
    }
    outcome
}

/// A run compared with what another process wrote down of the same (G9). If they differ, the outcome is a failure
/// that names the first event that does.
pub fn run_against(scenario: &Scenario, on: On, other: &[Step]) -> Outcome {
    let (mut outcome, steps) = run_in_steps(scenario, on);
    *outcome.looked.entry("G9".to_owned()).or_default() += 1;
    if steps != other {
        outcome.verdict = "fail";
        outcome.broken = Some(parted(&steps, other));
    }
    outcome
}

/// Where two traces of one seed part, as far as these two do.
fn parted(one: &[Step], other: &[Step]) -> Broken {
    let differ = one.iter().zip(other).position(|(one, other)| one != other);
    let shorter = one.len().min(other.len());
    let event = differ.or((one.len() != other.len()).then_some(shorter));
    let mut sentence = "two runs of one seed had different traces".to_owned();
    let mut at_s = 0.0;
    if let Some(event) = event {
        let step = |steps: &[Step]| match steps.get(event) {
            Some((_, server, hash)) => format!("{hash:016x} at server {}", server + 1),
            None => "the end".to_owned(),
        };
        sentence += &format!("; they part at event {event}: {}, and {}", step(one), step(other));
        let at = one.get(event).or(other.get(event)).map_or(START, |step| step.0);
        at_s = Broken::seconds(at);
    }
    let event = event.unwrap_or(0) as u64;
    Broken { guarantee: "G9".to_owned(), sentence, place: None, at_s, event }
}

/// One run of a scenario, with what is hashed after each event.
pub fn run_in_steps(scenario: &Scenario, on: On) -> (Outcome, Vec<Step>) {
    where_it_can(on, || {
        let mut run = Run::on(scenario, on);
        run.keep_steps();
        let outcome = finish(&mut run);
        (outcome, run.world().steps().to_vec())
    })
}

/// One run of a scenario. A panic is a broken guarantee like any other.
pub fn run_scenario(scenario: &Scenario) -> Outcome {
    run_on(scenario, On::Queue)
}

/// One run of a scenario on another harness. A panic is a broken guarantee like any other.
pub fn run_on(scenario: &Scenario, on: On) -> Outcome {
    where_it_can(on, || finish(&mut Run::on(scenario, on)))
}

/// Does something in a thread that has all that a harness needs: for madsim one that has hashed nothing before,
/// for only there the order of all that madsim hashes is the seed's.
fn where_it_can<T: Send>(on: On, run: impl FnOnce() -> T + Send) -> T {
    #[cfg(madsim)]
    if on == On::Madsim {
        let run = std::thread::scope(|threads| threads.spawn(run).join());
        return run.expect("a run's panic is an outcome");
    }
    let _ = on;
    run()
}

thread_local! {
    /// Whether a run is under way on this thread.
    static RUNS: Cell<bool> = const { Cell::new(false) };
    /// Where the last run on this thread that panicked did.
    static WHERE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Has panics of runs print nothing: each is reported as a broken guarantee, with where it was. All others are told as
/// before.
pub fn hush_runs() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if RUNS.get() {
            let place = |at: &std::panic::Location<'_>| format!("{}:{}", at.file(), at.line());
            WHERE.set(panic.location().map(place).unwrap_or_default());
        } else {
            tell(panic);
        }
    }));
}

/// Runs to the end. A panic is a broken guarantee like any other.
pub(crate) fn finish(run: &mut Run) -> Outcome {
    RUNS.set(true);
    let finished = std::panic::catch_unwind(AssertUnwindSafe(|| run.finish()));
    RUNS.set(false);
    finished.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let text = text.unwrap_or_else(|| "a panic without a message".to_owned());
        run.panicked(&WHERE.take(), &text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_two_traces_part_is_named() {
        let (outcome, steps) = run_in_steps(&Scenario::drawn(3), On::Queue);
        assert!(outcome.broken.is_none() && steps.len() > 1000);
        let mut doctored = steps.clone();
        doctored.iter_mut().skip(700).for_each(|step| step.2 ^= 1);
        let broken = parted(&steps, &doctored);
        assert_eq!((broken.event, broken.guarantee.as_str()), (700, "G9"));
        assert!(broken.sentence.contains("they part at event 700: "), "{}", broken.sentence);
        assert!(broken.at_s > 0.0);
        let broken = parted(&steps, &steps[..900]);
        assert!(broken.sentence.ends_with("and the end"), "{}", broken.sentence);
        assert_eq!(broken.event, 900);
    }
}
