//! What is made simpler once nothing more can be left out: limits, network, healing, servers, kinds
//! of request, times.

use super::{Heal, Scenario, Search};
use crate::scenario::{Buggify, Delay, Fault, Kind, Limits, Links};

impl Search<'_> {
    pub(super) fn simpler(&mut self) {
        self.network();
        self.change(|scenario| scenario.heal = Heal::All);
        self.limits();
        self.floods();
        self.buggify();
        self.servers();
        self.customers();
        self.kinds();
        self.times();
    }

    /// Takes the best with this change, if it still breaks the guarantee. Returns whether the best
    /// has the change now.
    fn change(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        let mut candidate = self.best.clone();
        change(&mut candidate);
        candidate == self.best || self.take(candidate)
    }

    fn network(&mut self) {
        if self.change(|scenario| scenario.network = Links::default()) {
            return;
        }
        let default = Links::default();
        self.change(|scenario| scenario.network.loss = default.loss);
        self.change(|scenario| scenario.network.repeats = default.repeats);
        self.change(|scenario| scenario.network.corruption = default.corruption);
        self.change(|scenario| scenario.network.queue = default.queue);
        self.change(|scenario| scenario.network.in_order = default.in_order);
        self.change(|scenario| scenario.network.own.clear());
        if !self.change(|scenario| scenario.network.delay = default.delay) {
            for max_ms in [10.0, 100.0] {
                let uniform = Delay::Uniform { min_ms: 0.0, max_ms };
                if self.change(|scenario| scenario.network.delay = uniform) {
                    break;
                }
            }
        }
    }

    fn limits(&mut self) {
        if self.change(|scenario| scenario.limits = Limits::default()) {
            return;
        }
        self.change(|scenario| scenario.limits.slots_per_origin = None);
        self.change(|scenario| scenario.limits.bytes_per_origin = None);
        self.change(|scenario| scenario.limits.anonymous_percent = None);
        self.change(|scenario| scenario.limits.known_servers = None);
        self.change(|scenario| scenario.limits.evict_anonymous = None);
        self.change(|scenario| scenario.limits.session_bytes = None);
        self.change(|scenario| scenario.limits.attributes_per_session = None);
        self.change(|scenario| scenario.limits.pull_budget = None);
        self.change(|scenario| scenario.limits.offer_above = None);
        self.change(|scenario| scenario.limits.answer_all = None);
        self.change(|scenario| scenario.limits.refuse_when_isolated = None);
        self.change(|scenario| scenario.limits.acks = None);
        self.change(|scenario| scenario.limits.pending_forwards = None);
        self.change(|scenario| scenario.limits.pending_requests = None);
        self.change(|scenario| scenario.limits.give_up_after_ms = None);
        self.change(|scenario| scenario.limits.anonymous_lifetime_s = None);
        self.change(|scenario| scenario.limits.max_lifetime_s = None);
        self.change(|scenario| scenario.limits.verify_every_ms = None);
    }

    /// Makes floods smaller.
    fn floods(&mut self) {
        for n in 0..self.best.faults.len() {
            while let Fault::Flood { sessions: 2.., .. } = self.best.faults[n].fault
                && self.change(|scenario| {
                    if let Fault::Flood { sessions, .. } = &mut scenario.faults[n].fault {
                        *sessions /= 2;
                    }
                })
            {}
        }
    }

    /// Forces fewer rare choices.
    fn buggify(&mut self) {
        if self.change(|scenario| scenario.buggify = Buggify::default()) {
            return;
        }
        for point in self.best.buggify.points.clone() {
            self.change(|scenario| scenario.buggify.points.retain(|other| *other != point));
        }
        self.change(|scenario| scenario.buggify.probability = 1.0);
    }

    /// Takes servers away, one by one, with what is said of them.
    fn servers(&mut self) {
        self.change(|scenario| scenario.later.clear());
        for server in (1..=self.best.servers).rev() {
            if self.best.servers == 1 {
                return;
            }
            if !self.take(without(&self.best, server)) {
                for other in (1..=self.best.servers).filter(|&other| other != server) {
                    let moved = without(&moved(&self.best, server, other), server);
                    if self.take(moved) {
                        break;
                    }
                }
            }
        }
    }

    /// Lets one customer do another's requests, so that fewer are left.
    fn customers(&mut self) {
        let most = self.best.requests.iter().map(|request| request.customer).max().unwrap_or(0);
        for customer in (2..=most).rev() {
            for other in 1..customer {
                let merged = self.change(|scenario| {
                    let requests = scenario.requests.iter_mut();
                    requests
                        .filter(|request| request.customer == customer)
                        .for_each(|request| request.customer = other);
                });
                if merged {
                    break;
                }
            }
        }
        // Numbers without gaps.
        self.change(|scenario| {
            let mut known: Vec<u32> = Vec::new();
            for request in &mut scenario.requests {
                let at = known.iter().position(|&customer| customer == request.customer);
                let at = at.unwrap_or_else(|| {
                    known.push(request.customer);
                    known.len() - 1
                });
                request.customer = at as u32 + 1;
            }
        });
    }

    fn kinds(&mut self) {
        for n in 0..self.best.requests.len() {
            for kind in [Kind::Read, Kind::Set] {
                let rank = |kind| match kind {
                    Kind::Create | Kind::Read => 0,
                    Kind::Set => 1,
                    _ => 2,
                };
                if rank(self.best.requests[n].kind) > rank(kind)
                    && self.change(|scenario| {
                        scenario.requests[n].kind = kind;
                        scenario.requests[n].servers.truncate(1);
                    })
                {
                    break;
                }
            }
            self.change(|scenario| scenario.requests[n].flips = n as u32);
        }
        for kind in self.best.workload.kinds.clone() {
            self.change(|scenario| scenario.workload.kinds.retain(|&other| other != kind));
        }
    }

    /// Rounds and shortens times; the coarsest that will do.
    fn times(&mut self) {
        for gap in [1.0, 0.1, 0.01] {
            if evenly(&self.best, gap) == self.best || self.take(evenly(&self.best, gap)) {
                break;
            }
        }
        for digits in [1.0, 10.0, 100.0, 1000.0] {
            let duration = self.best.duration_s;
            let round = |at_s: f64| ((at_s * digits).round() / digits).min(duration);
            for n in 0..self.best.faults.len() {
                self.change(|scenario| {
                    scenario.faults[n].at_s = round(scenario.faults[n].at_s);
                    scenario.faults.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
                });
            }
            for n in 0..self.best.requests.len() {
                self.change(|scenario| {
                    scenario.requests[n].at_s = round(scenario.requests[n].at_s);
                    scenario.requests.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
                });
            }
        }
        let last = times(&self.best).into_iter().fold(0.0, f64::max);
        for duration in [last.ceil(), last.ceil() + 1.0, last.ceil() + 5.0] {
            let shorter = duration < self.best.duration_s;
            if shorter && self.change(|scenario| scenario.duration_s = duration) {
                break;
            }
        }
    }
}

/// All times of a schedule, sorted.
fn times(scenario: &Scenario) -> Vec<f64> {
    let faults = scenario.faults.iter().map(|timed| timed.at_s);
    let mut times: Vec<f64> =
        faults.chain(scenario.requests.iter().map(|request| request.at_s)).collect();
    times.sort_by(f64::total_cmp);
    times.dedup();
    times
}

/// The same schedule with no gap between two events longer than this.
fn evenly(scenario: &Scenario, gap: f64) -> Scenario {
    let times = times(scenario);
    let mut moved = Vec::new();
    let mut at = 0.0;
    for (n, time) in times.iter().enumerate() {
        let before = if n == 0 { 0.0 } else { times[n - 1] };
        at += (time - before).min(gap);
        moved.push((at * 1e6_f64).round() / 1e6);
    }
    let place = |at_s: f64| moved[times.iter().position(|&time| time == at_s).unwrap_or(0)];
    let mut scenario = scenario.clone();
    scenario.faults.iter_mut().for_each(|timed| timed.at_s = place(timed.at_s));
    scenario.requests.iter_mut().for_each(|request| request.at_s = place(request.at_s));
    scenario
}

/// The same scenario with the requests of one server made at another.
fn moved(scenario: &Scenario, from: u16, to: u16) -> Scenario {
    let mut scenario = scenario.clone();
    for request in &mut scenario.requests {
        if request.servers.contains(&to) {
            request.servers.retain(|&server| server != from);
        }
        request.servers.iter_mut().filter(|server| **server == from).for_each(|s| *s = to);
    }
    scenario
}

/// The same scenario on one server fewer; what this one was asked or suffered is left out.
fn without(scenario: &Scenario, gone: u16) -> Scenario {
    let mut scenario = scenario.clone();
    scenario.servers -= 1;
    let renamed = |server: u16| server - u16::from(server > gone);
    scenario.faults.retain_mut(|timed| {
        if let Some(side) = timed.fault.side_mut() {
            side.retain(|&server| server != gone);
            if side.is_empty() {
                return false;
            }
        }
        !timed.fault.servers().contains(&gone)
    });
    scenario.network.own.retain(|own| own.from != gone && own.to != gone);
    for own in &mut scenario.network.own {
        (own.from, own.to) = (renamed(own.from), renamed(own.to));
    }
    scenario.later.retain(|&server| server != gone);
    scenario.later.iter_mut().for_each(|server| *server = renamed(*server));
    for timed in &mut scenario.faults {
        timed.fault.each_server(|server| *server = renamed(*server));
    }
    for request in &mut scenario.requests {
        request.servers.retain(|&server| server != gone);
        request.servers.iter_mut().for_each(|server| *server = renamed(*server));
    }
    scenario.requests.retain(|request| !request.servers.is_empty());
    scenario
}
