//! From a seed to a scenario: swarm testing draws which kinds of fault and which features a run has
//! at all, so that each run goes deep in some and the swarm goes through all (Groce et al., 2012).

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::scenario::{
    Buggify, Delay, Fault, Heal, Kind, Limits, Links, Scenario, Timed, Workload,
};

/// What a run may have, apart from what it always has. Each is drawn with an even chance.
const FEATURES: [&str; 13] = [
    "crash",
    "pause",
    "leave",
    "slow",
    "partition",
    "one_way",
    "bridge",
    "swizzle",
    "flapping",
    "weather",
    "clock",
    "rolling",
    "tiny",
];

/// Draws scenarios.
struct Draw {
    rng: ChaCha8Rng,
    servers: u16,
    duration: f64,
    faults: Vec<Timed>,
}

impl Scenario {
    /// The scenario that this seed stands for: 60 simulated seconds, faults drawn.
    pub fn drawn(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let servers = [3, 3, 3, 3, 4, 5, 2, 7][rng.random_range(0..8)];
        let duration = 40.0;
        let on: Vec<&str> = FEATURES.into_iter().filter(|_| rng.random_bool(0.4)).collect();
        let mut draw = Draw { rng, servers, duration, faults: Vec::new() };
        for feature in &on {
            draw.feature(feature);
        }
        draw.faults.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        let tiny = on.contains(&"tiny");
        let limits = draw.limits(tiny);
        let network = draw.network(on.contains(&"weather"));
        let workload = draw.workload();
        let heal = if draw.rng.random_bool(0.75) { Heal::All } else { Heal::Majority };
        let buggify = Buggify::drawn(seed);
        let Draw { faults, .. } = draw;
        let (duration_s, requests) = (duration, Vec::new());
        Self {
            seed,
            servers,
            duration_s,
            heal,
            limits,
            network,
            workload,
            buggify,
            faults,
            requests,
        }
    }
}

impl Draw {
    fn time(&mut self) -> f64 {
        // Rounded, because people read it.
        (self.rng.random_range(0.0..self.duration) * 1000.0).round() / 1000.0
    }

    fn after(&mut self, at: f64, shortest: f64, longest: f64) -> f64 {
        ((at + self.rng.random_range(shortest..longest)) * 1000.0).round() / 1000.0
    }

    fn server(&mut self) -> u16 {
        self.rng.random_range(1..=self.servers)
    }

    fn pair(&mut self) -> (u16, u16) {
        let from = self.server();
        let step = self.rng.random_range(1..self.servers);
        (from, (from - 1 + step) % self.servers + 1)
    }

    fn add(&mut self, at_s: f64, fault: Fault) {
        self.faults.push(Timed { at_s, fault });
    }

    fn feature(&mut self, feature: &str) {
        let times = self.rng.random_range(1..=4);
        for _ in 0..times {
            let at = self.time();
            match feature {
                "crash" => {
                    let server = self.server();
                    self.add(at, Fault::Crash { server });
                    let back = self.after(at, 0.01, 12.0);
                    self.add(back, Fault::Start { server });
                }
                "pause" => {
                    let server = self.server();
                    self.add(at, Fault::Pause { server });
                    let back = self.after(at, 0.05, 10.0);
                    self.add(back, Fault::Resume { server });
                }
                "leave" => {
                    let server = self.server();
                    self.add(at, Fault::Leave { server });
                    let back = self.after(at, 4.0, 12.0);
                    self.add(back, Fault::Start { server });
                }
                "slow" => {
                    let (server, ms) = (self.server(), self.rng.random_range(0.1..8.0));
                    self.add(at, Fault::Slow { server, ms });
                    let back = self.after(at, 0.5, 8.0);
                    self.add(back, Fault::Slow { server, ms: 0.0 });
                }
                "clock" => self.clock(at),
                "rolling" => {
                    self.rolling(at);
                    return;
                }
                "weather" => {
                    let [loss, repeats, corruption] =
                        [0.3, 0.2, 0.05].map(|most| self.rng.random_range(0.0..most));
                    self.add(at, Fault::Weather { loss, repeats, corruption });
                }
                other => self.links(other, at),
            }
        }
    }

    fn clock(&mut self, at: f64) {
        let server = self.server();
        match self.rng.random_range(0..4) {
            // Within what clocks may differ by.
            0 | 1 => {
                let ms = self.rng.random_range(-200..200);
                self.add(at, Fault::Step { server, ms });
            }
            2 => {
                let ppm = self.rng.random_range(-3000..3000);
                self.add(at, Fault::Drift { server, ppm });
            }
            // Far ahead: the others refuse its stamps, and it serves nothing.
            _ => {
                // Always the same server: a farm whose majority is wrong has no right time.
                let (server, ms) = (1, self.rng.random_range(5_000..100_000));
                self.add(at, Fault::Step { server, ms });
                let back = self.after(at, 1.0, 8.0);
                self.add(back, Fault::Crash { server });
                self.add(back, Fault::Step { server, ms: -ms });
                let start = self.after(back, 0.1, 3.0);
                self.add(start, Fault::Start { server });
            }
        }
    }

    fn rolling(&mut self, at: f64) {
        let mut at = at / 2.0;
        for server in 1..=self.servers {
            let graceful = self.rng.random_bool(0.5);
            let stop = if graceful { Fault::Leave { server } } else { Fault::Crash { server } };
            self.add(at, stop);
            let back = self.after(at, if graceful { 3.5 } else { 0.1 }, 5.0);
            self.add(back, Fault::Start { server });
            at = self.after(back, 0.2, 6.0);
        }
    }

    fn links(&mut self, feature: &str, at: f64) {
        let end = self.after(at, 0.1, 10.0);
        match feature {
            "partition" => {
                let mut side: Vec<u16> =
                    (1..=self.servers).filter(|_| self.rng.random_bool(0.5)).collect();
                if side.is_empty() {
                    side.push(self.server());
                }
                self.add(at, Fault::Partition { side });
                self.add(end, Fault::Mend);
            }
            "one_way" => {
                let (from, to) = self.pair();
                self.add(at, Fault::Cut { from, to });
                self.add(end, Fault::Mend);
            }
            "bridge" => {
                let (from, to) = self.pair();
                self.add(at, Fault::Cut { from, to });
                self.add(at, Fault::Cut { from: to, to: from });
                self.add(end, Fault::Mend);
            }
            "swizzle" => {
                let links: Vec<(u16, u16)> = (0..self.servers).map(|_| self.pair()).collect();
                let mut clog = at;
                for &(from, to) in &links {
                    self.add(clog, Fault::Clog { from, to });
                    clog = self.after(clog, 0.01, 0.5);
                }
                for &(from, to) in links.iter().rev() {
                    clog = self.after(clog, 0.01, 1.0);
                    self.add(clog, Fault::Unclog { from, to });
                }
            }
            "flapping" => {
                let (from, to) = self.pair();
                let mut at = at;
                for _ in 0..self.rng.random_range(2..8) {
                    self.add(at, Fault::Cut { from, to });
                    at = self.after(at, 0.02, 0.8);
                    self.add(at, Fault::Mend);
                    at = self.after(at, 0.02, 0.8);
                }
            }
            _ => {}
        }
    }

    fn limits(&mut self, tiny: bool) -> Limits {
        let mut limits = Limits {
            pull_budget: self.rng.random_bool(0.5).then(|| self.rng.random_range(1..4096)),
            offer_above: self.rng.random_bool(0.5).then(|| self.rng.random_range(0..1500)),
            answer_all: self.rng.random_bool(0.3).then_some(true),
            ..Limits::default()
        };
        if tiny {
            limits.pending_forwards = Some(self.rng.random_range(0..3));
            limits.slots_per_origin = Some(self.rng.random_range(2..12));
            limits.session_bytes = Some(self.rng.random_range(1024..3000));
            limits.attributes_per_session = Some(self.rng.random_range(2..10));
            limits.pending_requests = Some(self.rng.random_range(1..8));
        }
        limits
    }

    fn network(&mut self, weather: bool) -> Links {
        let usual_ms = self.rng.random_range(0.1..20.0);
        let delay = if self.rng.random_bool(0.5) {
            Delay::Uniform { min_ms: 0.1, max_ms: usual_ms }
        } else {
            let (rare_ms, rare) = (self.rng.random_range(20.0..900.0), 0.02);
            Delay::LongTail { usual_ms, rare_ms, rare }
        };
        let loss = if weather { self.rng.random_range(0.0..0.05) } else { 0.0 };
        let in_order = self.rng.random_bool(0.6);
        let queue = if self.rng.random_bool(0.2) { self.rng.random_range(1..30) } else { 10_000 };
        Links { delay, loss, in_order, queue, ..Links::default() }
    }

    fn workload(&mut self) -> Workload {
        let kinds: Vec<Kind> =
            Kind::ALL.into_iter().filter(|_| self.rng.random_bool(0.6)).collect();
        let idle = kinds.contains(&Kind::Idle);
        Workload {
            customers: self.rng.random_range(1..10),
            think_ms: (5, self.rng.random_range(100..2500)),
            patience_ms: self.rng.random_range(300..4000),
            idle_timeout_s: if idle { self.rng.random_range(4..12) } else { 600 },
            lifetime_s: if self.rng.random_bool(0.2) {
                self.rng.random_range(12..40)
            } else {
                3600
            },
            kinds,
        }
    }
}
