//! From a failing run to the smallest schedule that still breaks the same guarantee: delta debugging
//! (Zeller and Hildebrandt, 2002) over requests and faults, then everything else made simpler.
//!
//! A run is turned into a script first, so that leaving one request out moves no other. Where the
//! network's coin flips matter, a smaller schedule is tried with some other seeds too.

use std::time::{Duration, Instant};

use crate::run::{Outcome, Run};
use crate::scenario::{Fault, Heal, Scenario, Scripted, Timed};
use crate::swarm::finish;

mod simpler;
mod tries;

pub use tries::Tries;

/// Into so many parts a schedule is divided at most while only its own seed is tried.
const COARSE: usize = 32;

/// How hard shrinking may try.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Runs at most.
    pub runs: u64,
    /// Time at most.
    pub time: Duration,
    /// Other seeds tried for each smaller schedule, besides the one at hand.
    pub seeds: u64,
}

impl Default for Effort {
    fn default() -> Self {
        Self { runs: 20_000, time: Duration::from_secs(55), seeds: 3 }
    }
}

impl Effort {
    /// What is left of it after so many runs and so much time.
    fn less(self, runs: u64, time: Duration) -> Self {
        let (runs, time) = (self.runs.saturating_sub(runs), self.time.saturating_sub(time));
        Self { runs, time, ..self }
    }
}

/// What shrinking has come to.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest scenario found.
    pub scenario: Scenario,
    /// The guarantee that it breaks.
    pub guarantee: String,
    /// Runs made.
    pub runs: u64,
    /// Whether nothing smaller was found; `false` if runs or time had come to their end.
    pub minimal: bool,
}

/// How far shrinking has come, for a display.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Runs made.
    pub runs: u64,
    /// Faults left.
    pub faults: usize,
    /// Requests left.
    pub requests: usize,
}

/// Turns a run into a script: the same run, with every request of every customer written down.
/// Returns how the run ended, too.
pub fn script(scenario: &Scenario) -> (Outcome, Scenario) {
    let mut run = Run::new(scenario);
    run.keep_asked();
    let outcome = finish(&mut run);
    let mut scripted = scenario.clone();
    scripted.workload.customers = 0;
    scripted.requests = run.asked().to_vec();
    (outcome, scripted)
}

/// Makes a scenario as small as it gets that breaks this guarantee. `breaks` says which guarantee a scenario breaks, if
/// any; `progress` is called whenever it got smaller. `None`, after one run, if this one does not break it.
pub fn shrink(
    scenario: &Scenario,
    guarantee: &str,
    effort: &Effort,
    breaks: &mut dyn FnMut(&Scenario) -> Option<String>,
    progress: &mut dyn FnMut(Progress),
) -> Option<Shrunk> {
    let started = Instant::now();
    let guarantee = breaks(scenario).filter(|broken| broken == guarantee)?;
    let best = scenario.clone();
    let effort = *effort;
    let seeds = 0;
    let mut search = Search { best, guarantee, effort, seeds, started, runs: 1, breaks, progress };
    // What is long takes long to run: first large parts only, and with this seed alone.
    search.shorter();
    search.fewer(COARSE);
    search.seeds = effort.seeds;
    loop {
        let before = search.best.clone();
        search.fewer(usize::MAX);
        search.simpler();
        if search.best == before || search.over() {
            break;
        }
    }
    let minimal = !search.over();
    let Search { best, guarantee, runs, .. } = search;
    Some(Shrunk { scenario: best, guarantee, runs, minimal })
}

/// Makes the first of these scenarios small that breaks this guarantee, as [`shrink`] does. The runs and the time are for
/// all of them together.
pub fn shrink_first(
    scenarios: &[&Scenario],
    guarantee: &str,
    effort: &Effort,
    breaks: &mut dyn FnMut(&Scenario) -> Option<String>,
    progress: &mut dyn FnMut(Progress),
) -> Option<Shrunk> {
    let started = Instant::now();
    (0..).zip(scenarios).find_map(|(before, scenario)| {
        // Each that does not break it took one run.
        let left = effort.less(before, started.elapsed());
        if before > 0 && (left.runs == 0 || left.time.is_zero()) {
            return None;
        }
        let shrunk = shrink(scenario, guarantee, &left, breaks, progress)?;
        Some(Shrunk { runs: shrunk.runs + before, ..shrunk })
    })
}

/// Has every damage to memory fall on the copy of this number: which one a number means depends on what was
/// asked before, so leaving that out would move the damage to another copy.
fn pick(scenario: &mut Scenario, number: u32) {
    for timed in &mut scenario.faults {
        if let Fault::CorruptMemory { pick, .. } = &mut timed.fault {
            *pick = number;
        }
    }
}

/// One event of a schedule.
#[derive(Clone)]
enum Item {
    Fault(Timed),
    Request(Scripted),
}

struct Search<'a> {
    best: Scenario,
    guarantee: String,
    effort: Effort,
    /// Other seeds tried for now.
    seeds: u64,
    started: Instant,
    runs: u64,
    breaks: &'a mut dyn FnMut(&Scenario) -> Option<String>,
    progress: &'a mut dyn FnMut(Progress),
}

impl Search<'_> {
    fn over(&self) -> bool {
        self.runs >= self.effort.runs || self.started.elapsed() >= self.effort.time
    }

    /// Takes this scenario instead of the best so far, if it breaks the same guarantee, with its
    /// own seed or one of some others.
    fn take(&mut self, mut candidate: Scenario) -> bool {
        if candidate == self.best || candidate.validate().is_err() {
            return false;
        }
        let seed = candidate.seed;
        for more in 0..=self.seeds {
            if self.over() {
                return false;
            }
            // Seeds of seven digits at most: a reader sees them.
            candidate.seed = if more == 0 { seed } else { (seed + more * 7919) % 10_000_000 };
            if let Some(picks) = more.checked_sub(1) {
                pick(&mut candidate, picks as u32);
            }
            self.runs += 1;
            if (self.breaks)(&candidate).is_some_and(|broken| broken == self.guarantee) {
                let (faults, requests) = (candidate.faults.len(), candidate.requests.len());
                self.best = candidate;
                (self.progress)(Progress { runs: self.runs, faults, requests });
                return true;
            }
        }
        false
    }

    /// Ends the first phase, and with it the schedule, as early as will do.
    fn shorter(&mut self) {
        for duration_s in [1.0, 3.0, 10.0, 20.0] {
            if duration_s >= self.best.duration_s {
                return;
            }
            let mut candidate = Scenario { duration_s, ..self.best.clone() };
            candidate.faults.retain(|timed| timed.at_s <= duration_s);
            candidate.requests.retain(|request| request.at_s <= duration_s);
            if self.take(candidate) {
                return;
            }
        }
    }

    /// Leaves out what can be left out: first the end, then parts of all sizes down to one, or to one of
    /// so many parts.
    fn fewer(&mut self, most: usize) {
        self.cut_the_end();
        self.without_customers();
        let mut parts = 2;
        loop {
            let items = items(&self.best);
            if items.is_empty() || self.over() || parts > most {
                return;
            }
            let size = items.len().div_ceil(parts.min(items.len()));
            let mut left = items.clone();
            // From the end: what comes late needs what came before, not the other way round.
            let mut end = items.len();
            while end > 0 {
                let start = end.saturating_sub(size);
                let mut fewer = left.clone();
                fewer.drain(start..end);
                if self.take(with_items(&self.best, &fewer)) {
                    left = fewer;
                }
                end = start;
            }
            if size == 1 {
                if left.len() == items.len() {
                    return;
                }
            } else {
                parts = left.len().div_ceil(size).max(1) * 2;
            }
        }
    }

    /// The shortest beginning of the schedule that is enough, by halving.
    fn cut_the_end(&mut self) {
        let items = items(&self.best);
        let (mut few, mut enough) = (0, items.len());
        while few < enough {
            let half = usize::midpoint(few, enough);
            if self.take(with_items(&self.best, &items[..half])) {
                enough = half;
            } else {
                few = half + 1;
            }
        }
    }

    /// Sends customers home one by one.
    fn without_customers(&mut self) {
        for customer in (0..self.best.workload.customers).rev() {
            let mut candidate = self.best.clone();
            candidate.workload.customers = customer;
            if !self.take(candidate) {
                break;
            }
        }
        let mut customers: Vec<u32> = self.best.requests.iter().map(|r| r.customer).collect();
        customers.sort_unstable();
        customers.dedup();
        for customer in customers {
            let mut candidate = self.best.clone();
            candidate.requests.retain(|request| request.customer != customer);
            self.take(candidate);
        }
    }
}

/// A schedule as one list, in order of time.
fn items(scenario: &Scenario) -> Vec<Item> {
    let faults = scenario.faults.iter().cloned().map(|timed| (timed.at_s, Item::Fault(timed)));
    let requests = scenario.requests.iter().cloned();
    let requests = requests.map(|request| (request.at_s, Item::Request(request)));
    let mut items: Vec<(f64, Item)> = faults.chain(requests).collect();
    items.sort_by(|a, b| a.0.total_cmp(&b.0));
    items.into_iter().map(|(_, item)| item).collect()
}

fn with_items(scenario: &Scenario, items: &[Item]) -> Scenario {
    let (mut faults, mut requests) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Item::Fault(timed) => faults.push(timed.clone()),
            Item::Request(request) => requests.push(request.clone()),
        }
    }
    Scenario { faults, requests, ..scenario.clone() }
}

#[cfg(test)]
mod tests;
