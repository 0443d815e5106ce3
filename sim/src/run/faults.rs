//! Does to a world what a schedule's faults say.

use std::time::Duration;

use grapevine_core::Request;

use super::{Run, index};
use crate::scenario::Fault;
use crate::shop::{Intent, errand};

impl Run {
    /// Does what a fault says. One that fits nothing any more (a crash of a server that is down)
    /// does nothing: so a schedule stays one when parts of it are left out.
    pub(super) fn fault(&mut self, fault: &Fault) {
        self.world.note_scheduled(|| describe(fault));
        if self.is_left_out(fault) {
            return;
        }
        self.damage.disturbed = true;
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
                self.world.pause(index(*server));
            }
            Fault::Resume { server } => world.resume(index(*server)),
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
            Fault::CorruptMemory { server, what, pick } => {
                world.damage(index(*server), (*what).into(), *pick);
            }
            Fault::Flood { server, sessions, bytes } => {
                self.flood(index(*server), *sessions, *bytes as usize);
            }
        }
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
        let flight = errand(server, Intent::Leave, self.world.now());
        self.shop.flights.insert(id, flight);
        match &mut self.harness {
            None => self.world.submit(server, id, Request::Leave),
            Some(harness) => drop(harness.ask(server, id, Request::Leave)),
        }
        self.observe();
        // It stops once it has left; a server that can't be told any more is stopped all the same.
        self.run_until(self.world.now() + Duration::from_millis(3500));
        self.crash(server);
        self.world.advance(self.world.now());
        self.observe();
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
