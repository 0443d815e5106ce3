//! One run: a scenario, a world, customers and checks. First the safety phase, with faults; then
//! all or a majority is healed, and the farm must converge and serve. No run ends undecided.

use std::collections::BTreeMap;
use std::time::Duration;

use grapevine_core::{Acks, Request, RequestId, Timestamp, Vector};
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::checks::{self, Answered, Check, Damage, Judgement, Scene};
use crate::model::Model;
use crate::scenario::{Delay, Fault, Heal, Scenario, Scripted};
use crate::shop::{Flight, Intent, Shop};
use crate::world::{Observation, START, World};

mod customers;

/// How long after healing the farm may take to converge: 100 heartbeats.
pub const CONVERGE: Duration = Duration::from_secs(20);
/// How long nothing happens at the end.
const REST: Duration = Duration::from_secs(3);
/// How long servers run before the customers come and the faults begin.
const WARM_UP: Duration = Duration::from_secs(2);
/// Events between two looks of the checks that look at everything.
const LOOK_EVERY: u64 = 256;

/// A broken guarantee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Which: `G1` to `G10`, or `panic`.
    pub guarantee: String,
    /// How.
    pub sentence: String,
    /// When, in simulated seconds since the start.
    pub at_s: String,
    /// After how many events.
    pub event: u64,
}

/// How a run ended.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The scenario's seed.
    pub seed: u64,
    /// `pass` or `fail`.
    pub verdict: &'static str,
    /// What was broken.
    pub broken: Option<Broken>,
    /// Events handled.
    pub events: u64,
    /// Messages delivered.
    pub messages: u64,
    /// Simulated seconds.
    pub simulated_s: f64,
    /// Real seconds.
    pub wall_s: f64,
    /// Servers configured.
    pub servers: u16,
    /// The rolling hash over everything, in hex.
    pub trace_hash: String,
    /// Named rare paths → how often they were taken.
    pub coverage: BTreeMap<String, u64>,
    /// Guarantee → how much its check looked at.
    pub looked: BTreeMap<String, u64>,
}

/// A run under way.
pub struct Run {
    scenario: Scenario,
    world: World,
    model: Model,
    shop: Shop,
    checks: Vec<Box<dyn Check>>,
    damage: Damage,
    healed: Vec<usize>,
    rng: ChaCha8Rng,
    broken: Option<Broken>,
    asked: Option<Vec<Scripted>>,
    coverage: BTreeMap<String, u64>,
    next_look: u64,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("seed", &self.scenario.seed).finish_non_exhaustive()
    }
}

impl Run {
    /// A run of this scenario, from the start.
    pub fn new(scenario: &Scenario) -> Self {
        let farm = scenario.limits.farm(scenario.servers);
        let mut world = World::with_local(scenario.seed, farm, scenario.limits.local());
        world.network.links = scenario.network.clone();
        world.keep_answers = false;
        Self {
            scenario: scenario.clone(),
            shop: Shop::new(scenario, START + WARM_UP),
            world,
            model: Model::default(),
            checks: checks::all(),
            damage: Damage::default(),
            healed: Vec::new(),
            rng: ChaCha8Rng::seed_from_u64(scenario.seed ^ 0x5eed),
            broken: None,
            asked: None,
            coverage: BTreeMap::new(),
            next_look: LOOK_EVERY,
        }
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
            self.run_until(at.min(end));
            if self.broken.is_some() {
                return;
            }
            self.fault(&timed.fault);
        }
        self.run_until(end);
    }

    fn liveness(&mut self) {
        // A script replays a run to its end, though its customers flip fewer coins.
        self.rng = ChaCha8Rng::seed_from_u64(self.scenario.seed ^ 0x4ea1);
        self.heal();
        self.shop.close();
        self.run_until(self.world.now() + CONVERGE / 2);
        for n in 0..self.shop.len() {
            if let Some((request, flight)) = self.shop.last_look(n, self.world.now()) {
                let at = self.rng.random_range(0..self.healed.len());
                self.submit(self.healed[at], request, flight);
                // Not all at once: some runs allow one waiting request.
                self.run_until(self.world.now() + Duration::from_millis(600));
            }
        }
        self.run_until(self.world.now() + CONVERGE / 2);
        self.look();
        self.run_until(self.world.now() + REST);
        self.judge_all(|check, scene| check.end(scene));
    }

    /// Lets everything happen that happens until then.
    fn run_until(&mut self, until: Timestamp) {
        while self.broken.is_none() {
            let queued = self.world.next_due().filter(|&due| due <= until);
            let customer = self.shop.next().filter(|&(due, _)| due <= until);
            match (queued, customer) {
                (None, None) => break,
                (queued, Some((due, n))) if queued.is_none_or(|queued| due <= queued) => {
                    self.world.advance(due);
                    self.customer(n);
                }
                _ => self.world.step(),
            }
            self.observe();
            if self.world.events() >= self.next_look {
                self.next_look = self.world.events() + LOOK_EVERY;
                self.look();
            }
        }
        self.world.advance(until);
    }

    fn look(&mut self) {
        self.judge_all(|check, scene| check.now_and_then(scene));
    }

    /// Tells the model, the customers and the checks what has happened.
    fn observe(&mut self) {
        for observation in self.world.take_observations() {
            if self.broken.is_some() {
                return;
            }
            match observation {
                Observation::Wrote { by, write } => {
                    let first = self.model.wrote(by, &write, self.world.now());
                    self.judge_all(|check, scene| check.wrote(scene, by, &write, first));
                }
                Observation::Stored { by, id, life } => {
                    self.judge_all(|check, scene| check.stored(scene, by, id, life));
                }
                Observation::Answered { server, id, outcome } => {
                    self.answered(server, id, &outcome);
                }
                Observation::Crashed { server } => {
                    self.damage.deaths.push(self.world.now());
                    self.shop.flights.retain(|_, flight| flight.server != server);
                    self.judge_all(|check, scene| check.crashed(scene));
                }
            }
        }
    }

    fn answered(
        &mut self,
        server: usize,
        id: RequestId,
        outcome: &Result<grapevine_core::Response, grapevine_core::RequestError>,
    ) {
        let Some(flight) = self.shop.flights.remove(&id) else {
            return self
                .fail("G7", "a request was answered twice, or after its server died".into());
        };
        let answered = Answered { server, flight: &flight, outcome };
        self.judge_all(|check, scene| check.answered(scene, &answered));
        if let Ok(grapevine_core::Response::Session(served)) = outcome
            && !served.stale
            && let Some(known) = self.model.get_mut(&served.session.id)
        {
            // The access was somewhere between the request and now.
            known.used = known.used.max(flight.sent);
        }
        let kind = match outcome {
            Ok(_) => "answered_ok".to_owned(),
            Err(error) => format!("answered_{}", word(error)),
        };
        *self.coverage.entry(kind).or_default() += 1;
        self.shop.take(&flight, outcome, self.world.now(), &mut self.rng);
    }

    fn judge_all(&mut self, mut judge: impl FnMut(&mut dyn Check, &Scene<'_>) -> Judgement) {
        let scene = Scene {
            world: &self.world,
            model: &self.model,
            damage: &self.damage,
            healed: &self.healed,
            flights: &self.shop.flights,
        };
        let mut broken = None;
        for check in &mut self.checks {
            if let Err(sentence) = judge(&mut **check, &scene) {
                broken = broken.or(Some((check.about().name, sentence)));
            }
        }
        if let Some((name, sentence)) = broken {
            self.fail(name, sentence);
        }
    }

    fn fail(&mut self, guarantee: &str, sentence: String) {
        if self.broken.is_none() {
            let at = self.world.now().since(START).as_secs_f64();
            self.broken = Some(Broken {
                guarantee: guarantee.to_owned(),
                sentence,
                at_s: format!("{at:.6}"),
                event: self.world.events(),
            });
        }
    }

    /// Does what a fault says. One that fits nothing any more (a crash of a server that is down)
    /// does nothing: so a schedule stays one when parts of it are left out.
    fn fault(&mut self, fault: &Fault) {
        self.world.note_scheduled(|| describe(fault));
        let world = &mut self.world;
        match fault {
            Fault::Crash { server } => world.crash(index(*server)),
            Fault::Start { server } => {
                if !world.is_up(index(*server)) {
                    world.start(index(*server));
                }
            }
            Fault::Pause { server } => {
                self.unprompt(index(*server));
                self.world.pause(index(*server));
            }
            Fault::Resume { server } => world.resume(index(*server)),
            Fault::Leave { server } => self.leave(index(*server)),
            Fault::Slow { server, ms } => {
                world.slow(index(*server), Duration::from_secs_f64(ms / 1000.0));
                self.unprompt(index(*server));
            }
            Fault::Partition { side } => {
                let side: Vec<usize> = side.iter().copied().map(index).collect();
                let other: Vec<usize> = (0..world.size()).filter(|s| !side.contains(s)).collect();
                world.network.partition(&side, &other);
            }
            Fault::Cut { from, to } => {
                world.network.cut.insert((index(*from), index(*to)));
            }
            Fault::Mend => world.network.heal(),
            Fault::Clog { from, to } => {
                world.network.clogged.insert((index(*from), index(*to)));
            }
            Fault::Unclog { from, to } => world.unclog((index(*from), index(*to))),
            Fault::Weather { loss, repeats, corruption } => {
                let links = &mut world.network.links;
                (links.loss, links.repeats, links.corruption) = (*loss, *repeats, *corruption);
            }
            Fault::Step { server, ms } => {
                let skew = world.skew_of(index(*server)) + ms * 1000;
                world.skew(index(*server), skew);
                self.damage.skew = self.damage.skew.max(skew.unsigned_abs());
                self.clock_changed(index(*server));
            }
            Fault::Drift { server, ppm } => {
                world.drift(index(*server), *ppm);
                let far = self.scenario.duration_s * ppm.unsigned_abs() as f64;
                self.damage.skew = self.damage.skew.max(far as u64);
                self.clock_changed(index(*server));
            }
        }
        self.observe();
    }

    fn clock_changed(&mut self, server: usize) {
        self.unprompt(server);
        let ahead = self.world.skew_of(server).unsigned_abs();
        self.damage.skew = self.damage.skew.max(ahead);
        let allowed = self.world.farm().max_drift.as_micros() as u64;
        self.damage.far |= self.damage.skew * 2 > allowed;
    }

    fn unprompt(&mut self, server: usize) {
        for flight in self.shop.flights.values_mut().filter(|flight| flight.server == server) {
            flight.prompt = false;
        }
    }

    fn leave(&mut self, server: usize) {
        if !self.world.is_up(server) || self.world.is_paused(server) {
            return;
        }
        self.damage.left = true;
        let id = self.world.announce();
        let flight = Flight {
            customer: None,
            server,
            intent: Intent::Leave,
            acks: Acks::Local,
            token: None,
            known: Vector::default(),
            sent: self.world.now(),
            prompt: true,
            forged: false,
            last: false,
        };
        self.shop.flights.insert(id, flight);
        self.world.submit(server, id, Request::Leave);
        self.observe();
        // It stops once it has left; a server that can't be told any more is stopped all the same.
        self.run_until(self.world.now() + Duration::from_millis(3500));
        self.world.crash(server);
        self.world.advance(self.world.now());
        self.observe();
    }

    fn heal(&mut self) {
        self.world.note_scheduled(|| "healing".to_owned());
        let mut servers: Vec<usize> = (0..self.world.size()).collect();
        if self.scenario.heal == Heal::Majority {
            servers.shuffle(&mut self.rng);
            servers.truncate(self.world.size() / 2 + 1);
            servers.sort_unstable();
        }
        self.healed.clone_from(&servers);
        let links = &mut self.world.network.links;
        (links.loss, links.repeats, links.corruption) = (0.0, 0.0, 0.0);
        links.queue = 100_000;
        links.delay = Delay::Uniform { min_ms: 0.1, max_ms: 5.0 };
        for &from in &servers {
            for &to in &servers {
                self.world.network.cut.remove(&(from, to));
                self.world.unclog((from, to));
            }
        }
        for &server in &servers {
            self.world.slow(server, Duration::ZERO);
            self.world.drift(server, 0);
            self.world.resume(server);
            if self.world.skew_of(server).unsigned_abs() > 200_000 {
                self.world.crash(server);
                self.observe();
            }
            self.world.skew(server, 0);
            if !self.world.is_up(server) || self.world.status(server).leaving {
                self.world.crash(server);
                self.world.start(server);
            }
            self.observe();
        }
    }

    /// The outcome of a run that a panic has stopped.
    pub(crate) fn panicked(&mut self, text: String) -> Outcome {
        self.fail("panic", text);
        self.outcome(Duration::ZERO)
    }

    fn outcome(&mut self, wall: Duration) -> Outcome {
        for server in 0..self.world.size() {
            if let Some(engine) = self.world.running(server) {
                crate::coverage::count(&engine.counters(), &mut self.coverage);
            }
        }
        let looked =
            self.checks.iter().map(|check| (check.about().name.to_owned(), check.looked()));
        Outcome {
            seed: self.scenario.seed,
            verdict: if self.broken.is_some() { "fail" } else { "pass" },
            broken: self.broken.clone(),
            events: self.world.events(),
            messages: self.world.messages(),
            simulated_s: self.world.now().since(START).as_secs_f64(),
            wall_s: wall.as_secs_f64(),
            servers: self.scenario.servers,
            trace_hash: format!("{:016x}", self.world.trace_hash()),
            coverage: std::mem::take(&mut self.coverage),
            looked: looked.collect(),
        }
    }
}

/// A fault as one line of the schedule.
fn describe(fault: &Fault) -> String {
    toml::to_string(fault)
        .unwrap_or_default()
        .replace("kind = ", "")
        .replace('"', "")
        .trim()
        .replace('\n', ", ")
}

/// The index of the server with this number.
fn index(number: u16) -> usize {
    usize::from(number) - 1
}

fn word(error: &grapevine_core::RequestError) -> &'static str {
    use grapevine_core::RequestError;
    match error {
        RequestError::NotFound(_) => "not_found",
        RequestError::Lost => "lost",
        RequestError::Unavailable(_) => "unavailable",
        RequestError::NotReplicated { .. } => "not_replicated",
        RequestError::Limit(_) => "limit",
        _ => "refused",
    }
}
