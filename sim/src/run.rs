//! One run: a scenario, a world, customers and checks. First the safety phase, with faults; then
//! all or a majority is healed, and the farm must converge and serve. No run ends undecided.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use grapevine_core::{ServerId, Timestamp};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::checks::{self, Check, Damage, Tally};
use crate::harness::{Elsewhere, On, harness};
use crate::model::Model;
use crate::scenario::{Scenario, Scripted};
use crate::shop::Shop;
use crate::world::{START, World};

mod customers;
mod elsewhere;
mod faults;
mod healing;
mod judge;
mod outcome;

pub(crate) use healing::majority;
pub use healing::{CONVERGED_AFTER_BEATS, SERVED_AFTER_BEATS};
pub use outcome::{Broken, Outcome};

/// How long servers run before the customers come and the faults begin.
pub(crate) const WARM_UP: Duration = Duration::from_secs(2);
/// Events between two looks of the checks that look at everything, in a small farm. What there is
/// to see grows as pairs of servers do, and so do the events of a second: a large farm is looked at
/// as often in its own time.
const LOOK_EVERY: u64 = 256;
/// Of so many seeds one has all of an engine's state checked after every event, or as often as 8 copies an event
/// allow. The others have what an event changed checked after every event, and all of it now and then: it is each copy that is
/// looked at, and most of the time would be spent on what cannot have changed.
const WHOLE_STATE_SEEDS: u64 = 32;
/// Events between two looks at all of an engine's state in the other seeds.
const WHOLE_STATE_EVERY: u64 = 256;
/// Events of one simulated second that even the busiest run stays far below: so many for each pair of
/// servers, and so many besides. A run with more would never come to its end, and is stopped: that is
/// a failure like any other (no run ends undecided).
const EVENTS_PER_PAIR: u64 = 1_000;
const EVENTS_BESIDES: u64 = 200_000;

/// Whether a scenario's network or rare choices do what a farm is normally spared.
fn disturbs(scenario: &Scenario) -> bool {
    let links = &scenario.network;
    links.loss + links.corruption > 0.0
        || !scenario.buggify.points.is_empty()
        || !scenario.later.is_empty()
}

/// Whether a link's queue may be too short for what is said on it.
const fn drops(scenario: &Scenario) -> bool {
    scenario.network.queue < 1000
}

/// Whether messages may take so long that streams suffer though nothing else goes wrong: nothing overtakes
/// there, so what is slow now and then is slow always. A handshake is not done in its time, and a leave has no
/// time for two round trips, as it needs if a session's time is up meanwhile.
fn lags(scenario: &Scenario) -> bool {
    let own = scenario.network.own.iter().map(|own| own.delay);
    let longest = own.chain([scenario.network.delay]).map(|delay| delay.range_ms().1);
    let longest = longest.fold(0.0, f64::max);
    4.0 * longest / 1000.0 >= scenario.limits.local().leave_timeout.as_secs_f64()
}

/// A run under way.
pub struct Run {
    scenario: Scenario,
    world: World,
    model: Model,
    shop: Shop,
    checks: Vec<Box<dyn Check>>,
    tally: Tally,
    damage: Damage,
    healed: Vec<usize>,
    rng: ChaCha8Rng,
    broken: Option<Broken>,
    asked: Option<Vec<Scripted>>,
    coverage: BTreeMap<String, u64>,
    next_look: u64,
    on: On,
    /// Processes that were told to leave, and when they are stopped, in order of time.
    stops: VecDeque<(Timestamp, ServerId)>,
    /// The servers, if they run elsewhere; the world has their twins.
    harness: Option<Elsewhere>,
    /// What the harness leaves out.
    left_out: BTreeSet<&'static str>,
    /// The simulated second under way, what has happened in it, and how much may.
    second: (u64, u64, u64),
    /// When the run is stopped though nothing is broken.
    stop: Timestamp,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("seed", &self.scenario.seed).finish_non_exhaustive()
    }
}

impl Run {
    /// A run of this scenario, from the start.
    pub fn new(scenario: &Scenario) -> Self {
        Self::on(scenario, On::Queue)
    }

    /// The same on a harness.
    pub(crate) fn on(scenario: &Scenario, on: On) -> Self {
        let farm = scenario.limits.farm(scenario.servers);
        let later: Vec<usize> = scenario.later.iter().copied().map(index).collect();
        let (servers, left_out) = harness(on, scenario).unzip();
        let local = scenario.limits.local();
        let mut world = match servers {
            None => World::without(scenario.seed, farm, local, &later),
            Some(_) => World::of_twins(scenario.seed, farm, local),
        };
        world.network.links = scenario.network.clone();
        let own = scenario.network.own.iter();
        world.network.delays =
            own.map(|own| ((index(own.from), index(own.to)), own.delay)).collect();
        world.keep_answers = false;
        world.local_reads = scenario.workload.local_reads;
        let all = scenario.seed.is_multiple_of(WHOLE_STATE_SEEDS);
        world.whole_state_every = if all { 1 } else { WHOLE_STATE_EVERY };
        world.buggify(&scenario.buggify, scenario.seed);
        let pairs = u64::from(scenario.servers).pow(2);
        let allowed = EVENTS_BESIDES + pairs * EVENTS_PER_PAIR;
        let disturbed = disturbs(scenario) || servers.is_some() && lags(scenario);
        Self {
            scenario: scenario.clone(),
            shop: Shop::new(scenario, START + WARM_UP),
            world,
            model: Model::default(),
            checks: checks::all(),
            tally: Tally::default(),
            damage: Damage {
                disturbed,
                faults: u64::from(disturbed || drops(scenario)),
                ..Damage::default()
            },
            healed: Vec::new(),
            rng: ChaCha8Rng::seed_from_u64(scenario.seed ^ 0x5eed),
            broken: None,
            asked: None,
            coverage: BTreeMap::new(),
            next_look: LOOK_EVERY,
            on,
            stops: VecDeque::new(),
            harness: servers.map(Elsewhere::new),
            left_out: left_out.unwrap_or_default().into_iter().collect(),
            second: (0, 0, allowed),
            stop: Timestamp::MAX,
        }
    }

    /// The same without any check: engines, network and customers alone, to measure what checking
    /// costs. Its verdict says nothing.
    pub fn unchecked(scenario: &Scenario) -> Self {
        let mut run = Self::new(scenario);
        run.checks.clear();
        run.world.checked = false;
        run
    }

    /// The world, to look at.
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// Has everything recorded, for a picture.
    pub fn record(&mut self) {
        self.world.record();
    }

    /// Has the hash kept after every event; see [`World::steps`].
    pub fn keep_steps(&mut self) {
        self.world.keep_steps();
    }

    /// Has every request kept; see [`Run::asked`].
    pub(crate) fn keep_asked(&mut self) {
        self.asked = Some(Vec::new());
    }

    /// The requests that customers made in the safety phase, as a script that makes them again.
    pub(crate) fn asked(&self) -> &[Scripted] {
        self.asked.as_deref().unwrap_or_default()
    }

    /// Runs to the end.
    pub fn finish(&mut self) -> Outcome {
        let started = std::time::Instant::now();
        self.safety();
        if self.broken.is_none() {
            self.liveness();
        }
        self.outcome(started.elapsed())
    }

    fn safety(&mut self) {
        let faults = self.scenario.faults.clone();
        let begin = START + WARM_UP;
        let end = begin + Duration::from_secs_f64(self.scenario.duration_s);
        for timed in faults {
            let at = begin + Duration::from_secs_f64(timed.at_s.max(0.0));
            // A scenario file has none beyond the end.
            if at > end {
                break;
            }
            self.run_until(at);
            if self.broken.is_some() {
                return;
            }
            self.fault(&timed.fault);
        }
        self.run_until(end);
    }

    /// Lets everything happen that happens until then.
    fn run_until(&mut self, until: Timestamp) {
        while let Some((at, process)) = self.stops.pop_front_if(|&mut (at, _)| at <= until) {
            self.run_undisturbed_until(at);
            if self.broken.is_some() {
                return;
            }
            self.stop_left(process);
        }
        self.run_undisturbed_until(until);
    }

    /// The same, if no process is to be stopped before.
    fn run_undisturbed_until(&mut self, until: Timestamp) {
        if self.harness.is_some() {
            return self.run_elsewhere_until(until);
        }
        while self.broken.is_none() {
            let customer = self.shop.next().filter(|&(due, _)| due <= until);
            self.world.pass_busy(customer.map_or(Timestamp::MAX, |(due, _)| due), until);
            let queued = self.world.next_due().filter(|&due| due <= until);
            match (queued, customer) {
                (None, None) => break,
                (queued, Some((due, n))) if queued.is_none_or(|queued| due <= queued) => {
                    self.world.advance(due);
                    self.customer(n);
                }
                _ => self.world.step(),
            }
            self.observe();
            self.goes_on();
            self.look_now_and_then();
        }
        self.world.advance(until);
    }
}

impl Run {
    /// Has the checks look that look at everything, if it is time.
    fn look_now_and_then(&mut self) {
        if self.world.events() >= self.next_look {
            let pairs = u64::from(self.scenario.servers).pow(2);
            self.next_look = self.world.events() + LOOK_EVERY * (pairs / 64).max(1);
            self.look();
        }
    }

    /// Allows so many events per simulated second, to see what happens beyond.
    pub const fn allow_events(&mut self, per_second: u64) {
        self.second.2 = per_second;
    }

    /// Stops the run after this time, as broken by that.
    pub(crate) const fn stop_after(&mut self, time: Timestamp) {
        self.stop = time;
    }

    /// Stops a run that does not come to its end, or need not.
    fn goes_on(&mut self) {
        if self.world.now() > self.stop {
            self.fail("stopped", "it has held for long enough".to_owned());
        }
        let second = self.world.now().as_millis() / 1000;
        let (current, events, allowed) = &mut self.second;
        if *current != second {
            (*current, *events) = (second, 0);
        }
        *events += 1;
        if *events > *allowed {
            let sentence = format!(
                "the run does not come to its end: more than {allowed} events in one simulated second"
            );
            self.fail("undecided", sentence);
        } else if let Some(server) = self.world.endless() {
            let sentence = format!(
                "the run does not come to its end: one event has server {} do more than {} things",
                server + 1,
                crate::world::ACTIONS_PER_EVENT
            );
            self.fail("undecided", sentence);
        }
    }
}

/// The index of the server with this number.
fn index(number: u16) -> usize {
    usize::from(number) - 1
}
