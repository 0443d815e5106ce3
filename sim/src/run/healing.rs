//! The second phase: what is healed, how long the farm has to converge, and what every customer
//! must get then.

use std::time::Duration;

use grapevine_core::{Acks, Engine, Request};
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::Run;
use crate::scenario::{Delay, Heal};
use crate::shop::{Intent, errand};

/// So many heartbeats after healing every customer is served, or gets an answer that is as good (G7 says
/// which).
pub const SERVED_AFTER_BEATS: u32 = 50;
/// So many heartbeats after healing the healed servers hold the same (G1).
pub const CONVERGED_AFTER_BEATS: u32 = 100;
/// So many heartbeats after `give_up_after` what silent servers wrote last is published again.
const PUBLISHED_AGAIN_BEATS: u32 = 50;
/// The longest delay after healing, in ms. It stays short because the numbers above are for a network
/// that is well: a repair whose byte budget takes one session per part needs as many round trips as there
/// are sessions (section 6: the asker's byte budget sets the pace), and seeds draw such budgets.
const HEALED_DELAY_MS: f64 = 5.0;
/// How long a server that is asked to may take to compare its copies with all others'.
const VERIFY: Duration = Duration::from_secs(3);
/// So much longer for each server that may hear its questions and not answer, or not hear them: it is
/// asked several times.
const UNANSWERED: Duration = Duration::from_secs(5);
/// A server whose clock is off by more than this, in microseconds, is set right by a new process.
const CLOCK_OFF: u64 = 200_000;
/// Between two requests after healing.
const BETWEEN: Duration = Duration::from_millis(300);
/// How long nothing happens at the end.
const REST: Duration = Duration::from_secs(3);

fn coins(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed ^ 0x4ea1)
}

/// Which servers of how many are healed in a run of this seed that heals a majority.
pub(crate) fn majority(seed: u64, size: usize) -> Vec<usize> {
    shuffled_majority(&mut coins(seed), size)
}

fn shuffled_majority(rng: &mut ChaCha8Rng, size: usize) -> Vec<usize> {
    let mut servers: Vec<usize> = (0..size).collect();
    servers.shuffle(rng);
    servers.truncate(size / 2 + 1);
    servers.sort_unstable();
    servers
}

impl Run {
    pub(super) fn liveness(&mut self) {
        // A script replays a run to its end, though its customers flip fewer coins.
        self.rng = coins(self.scenario.seed);
        self.heal();
        self.shop.close();
        let beat = self.world.farm().heartbeat_every;
        let dead = self.dead_after_healing();
        self.run_until(self.world.now() + dead + beat * SERVED_AFTER_BEATS);
        self.judge_all(|check, scene| check.served_again(scene));
        for n in 0..self.shop.len() {
            if let Some((request, flight)) = self.shop.last_look(n, self.world.now()) {
                let at = self.rng.random_range(0..self.healed.len());
                self.submit(self.healed[at], request, flight);
                // Not all at once: some runs allow one waiting request.
                self.run_until(self.world.now() + BETWEEN);
            }
            let server = self.healed[n % self.healed.len()];
            let all = n % 2 == 1 && self.all_have_all_of(server);
            let acks = if all { Acks::All } else { Acks::Majority };
            let (request, flight) = self.shop.last_write(n, acks, self.world.now(), &self.rng);
            self.submit(server, request, flight);
            self.run_until(self.world.now() + BETWEEN);
        }
        self.run_until(self.world.now() + beat * (CONVERGED_AFTER_BEATS - SERVED_AFTER_BEATS));
        self.judge_all(|check, scene| check.converged(scene));
        self.wait_for_the_silent();
        self.verify();
        self.look();
        self.judge_all(|check, scene| check.rest_begins(scene));
        self.run_until(self.world.now() + REST);
        self.compare_with_twins();
        self.judge_all(|check, scene| check.end(scene));
        self.world.check_invariants();
    }

    /// Whether all are healed and have what this server has written. Where a repair may bring only a session at a time,
    /// one may come to that later than customers are served (G1 says when), and confirms nothing until then.
    fn all_have_all_of(&self, server: usize) -> bool {
        let Some(writer) = self.world.running(server).map(Engine::status) else { return false };
        let all = (0..self.world.size()).map(|server| self.world.running(server));
        self.healed.len() == self.world.size() && { all }
            .flatten()
            .all(|e| e.applied().covers_entry(writer.server, writer.end))
    }

    /// What a server that is not healed wrote last may have reached some of the healed ones beyond a gap.
    /// Those publish it again once that one has been silent for `give_up_after` (section 6), not before.
    fn wait_for_the_silent(&mut self) {
        let differ = !self.world.differences_among(&self.healed).is_empty();
        if differ && self.healed.len() < self.world.size() {
            let farm = self.world.farm();
            let silent = farm.give_up_after + farm.heartbeat_every * PUBLISHED_AGAIN_BEATS;
            self.run_until(self.world.now() + silent);
        }
    }

    /// Asks every healed server to compare its copies with all others'.
    fn verify(&mut self) {
        // Who is not healed may be heard and not answer.
        let rest = self.world.size() - self.healed.len();
        let within = VERIFY + UNANSWERED * rest as u32;
        for server in self.healed.clone() {
            let mut flight = errand(server, Intent::Verify, self.world.now());
            flight.last = true;
            self.submit(server, Request::Verify { within }, flight);
        }
        self.run_until(self.world.now() + within);
    }

    fn heal(&mut self) {
        self.world.note_scheduled(|| "healing".to_owned());
        let size = self.world.size();
        let servers = match self.scenario.heal {
            Heal::Majority => shuffled_majority(&mut self.rng, size),
            Heal::All => (0..size).collect(),
        };
        self.healed.clone_from(&servers);
        self.world.stop_buggify();
        let links = &mut self.world.network.links;
        (links.loss, links.repeats, links.corruption) = (0.0, 0.0, 0.0);
        links.queue = 100_000;
        links.delay = Delay::Uniform { min_ms: 0.1, max_ms: HEALED_DELAY_MS };
        for &from in &servers {
            for &to in &servers {
                self.world.network.cut.remove(&(from, to));
                self.world.network.delays.remove(&(from, to));
                self.world.unclog((from, to));
            }
        }
        self.world.note_links();
        self.links_elsewhere();
        if let Some(harness) = &mut self.harness {
            harness.servers.calm(HEALED_DELAY_MS);
        }
        for &server in &servers {
            self.world.slow(server, Duration::ZERO);
            self.world.drift(server, 0);
            self.resume(server);
            if self.world.skew_of(server).unsigned_abs() > CLOCK_OFF {
                self.crash(server);
                self.observe();
            }
            self.world.skew(server, 0);
            // One that was told to leave stays gone, even if it has not heard it yet.
            if !self.world.is_up(server) || self.is_to_stop(server) {
                self.crash(server);
                self.start(server);
            }
            self.observe();
        }
    }
}
