//! Does to a world what a schedule's faults say.

use std::time::Duration;

use grapevine_core::{Engine, Farm, Request, ServerId};

use super::{Run, index};
use crate::scenario::Fault;
use crate::shop::{Intent, errand};

/// How long after it was told to leave a process is stopped: longer than it may wait for the others. One
/// that can't be told, or does not say that it has left, is stopped all the same.
const STOPS_AFTER: Duration = Duration::from_millis(3500);

impl Run {
    /// Does what a fault says. One that fits nothing any more (a crash of a server that is down)
    /// does nothing: so a schedule stays one when parts of it are left out.
    pub(super) fn fault(&mut self, fault: &Fault) {
        self.world.note_scheduled(|| describe(fault));
        if self.is_left_out(fault) {
            return;
        }
        self.damage.disturbed = true;
        self.damage.faults += 1;
        let world = &mut self.world;
        match fault {
            Fault::Crash { server } => self.crash(index(*server)),
            Fault::Start { server } => {
                if !world.is_up(index(*server)) {
                    self.start(index(*server));
                }
            }
            Fault::Pause { server } => {
                self.unprompt(index(*server));
                self.pause(index(*server));
            }
            Fault::Resume { server } => self.resume(index(*server)),
            Fault::Leave { server } => self.leave(index(*server)),
            Fault::Slow { server, ms } => {
                world.slow(index(*server), Duration::from_secs_f64(ms / 1000.0));
                self.unprompt(index(*server));
            }
            Fault::Partition { .. }
            | Fault::Isolate { .. }
            | Fault::OneWay { .. }
            | Fault::Bridge { .. }
            | Fault::Cut { .. } => self.divide(fault),
            Fault::Swallow { side } => self.swallow(side),
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
                // One that is set back stands still first.
                let allowed = world.farm().max_drift;
                self.damage.clock_off(index(*server), skew.unsigned_abs(), allowed);
                self.clock_changed(index(*server));
            }
            Fault::Drift { server, ppm } => {
                world.drift(index(*server), *ppm);
                let far = self.scenario.duration_s * ppm.unsigned_abs() as f64;
                let allowed = world.farm().max_drift;
                self.damage.clock_off(index(*server), far as u64, allowed);
                self.clock_changed(index(*server));
            }
            Fault::CorruptMemory { server, what, pick } => {
                world.damage(index(*server), (*what).into(), *pick);
            }
            Fault::Flood { server, sessions, bytes } => {
                self.flood(index(*server), *sessions, *bytes as usize);
            }
        }
        self.world.note_links();
        self.links_elsewhere();
        self.observe();
    }

    /// Cuts links as a fault says.
    fn divide(&mut self, fault: &Fault) {
        let network = &mut self.world.network;
        let all = 0..usize::from(self.scenario.servers);
        let indices = |side: &[u16]| -> Vec<usize> { side.iter().copied().map(index).collect() };
        let others = |one: &[usize]| -> Vec<usize> {
            all.clone().filter(|server| !one.contains(server)).collect()
        };
        match fault {
            Fault::Partition { side } => {
                let side = indices(side);
                network.partition(&side, &others(&side));
            }
            Fault::Isolate { server } => {
                let one = [index(*server)];
                network.partition(&one, &others(&one));
            }
            Fault::OneWay { side } => {
                let side = indices(side);
                network.cut_off(&side, &others(&side));
            }
            Fault::Bridge { server, side } => {
                let bridge = index(*server);
                let mut side = indices(side);
                side.retain(|&server| server != bridge);
                let mut others = others(&side);
                others.retain(|&server| server != bridge);
                network.partition(&side, &others);
            }
            Fault::Cut { from, to } => network.cut_off(&[index(*from)], &[index(*to)]),
            _ => {}
        }
    }

    /// Has connections swallow everything. On the queue, which has none, until adapters would give them up.
    fn swallow(&mut self, side: &[u16]) {
        let one: Vec<usize> = side.iter().copied().map(index).collect();
        let all = 0..usize::from(self.scenario.servers);
        let other: Vec<usize> = all.filter(|server| !one.contains(server)).collect();
        let until = self.world.now() + silence(self.world.farm());
        let links = self.world.network.swallow(&one, &other, until);
        if let Some(harness) = &mut self.harness {
            harness.servers.swallow(&links);
        }
    }

    /// Makes sessions that nobody will ask for again.
    fn flood(&mut self, server: usize, sessions: u32, bytes: usize) {
        for _ in 0..sessions {
            if !self.world.is_up(server) {
                return;
            }
            let (request, flight) = self.shop.nobody(bytes, self.world.now());
            self.submit(server, request, flight);
        }
    }

    fn clock_changed(&mut self, server: usize) {
        self.unprompt(server);
        let ahead = self.world.skew_of(server).unsigned_abs();
        self.damage.clock_off(server, ahead, self.world.farm().max_drift);
    }

    fn unprompt(&mut self, server: usize) {
        for flight in self.shop.flights.values_mut().filter(|flight| flight.server == server) {
            flight.prompt = false;
        }
    }

    /// Tells a server to leave. Its process stops some time later, as whoever runs it would see to;
    /// meanwhile everything else goes on.
    fn leave(&mut self, server: usize) {
        let Some(process) = self.world.running(server).map(Engine::server) else { return };
        self.damage.left = true;
        let now = self.world.now();
        self.submit(server, Request::Leave, errand(server, Intent::Leave, now));
        if self.stops.iter().all(|&(_, stops)| stops != process) {
            self.stops.push_back((now + STOPS_AFTER, process));
        }
    }

    /// Stops a process that was told to leave, if it still is its server's.
    pub(super) fn stop_left(&mut self, process: ServerId) {
        let server = index(process.number());
        if self.world.running(server).map(Engine::server) == Some(process) {
            self.crash(server);
            self.observe();
        }
    }

    /// Whether a server's process was told to leave, and has not stopped yet.
    pub(super) fn is_to_stop(&self, server: usize) -> bool {
        let process = self.world.running(server).map(Engine::server);
        self.stops.iter().any(|&(_, stops)| Some(stops) == process)
    }
}

/// For how long a connection may be silent until adapters give it up, unless they are told otherwise.
pub(super) fn silence(farm: &Farm) -> Duration {
    (farm.down_after * 5).max(Duration::from_secs(1))
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

#[cfg(test)]
mod tests;
