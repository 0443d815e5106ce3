//! Draws what goes wrong, kind by kind.

use rand::RngExt as _;

use super::Draw;
use crate::scenario::Fault;

impl Draw {
    pub(super) fn feature(&mut self, feature: &str) {
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
                    let (server, ms) = (self.server(), self.rounded(0.1, 8.0));
                    self.add(at, Fault::Slow { server, ms });
                    let back = self.after(at, 0.5, 8.0);
                    self.add(back, Fault::Slow { server, ms: 0.0 });
                }
                "clock" => self.clock(at),
                "restart_clock" => self.restart_clock(at),
                "later" => {
                    self.later_servers();
                    return;
                }
                "rolling" => {
                    self.rolling(at);
                    return;
                }
                "weather" => {
                    let [loss, repeats, corruption] =
                        [0.3, 0.2, 0.05].map(|most| self.rounded(0.0, most));
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
                let (server, ms) = (self.far, self.rng.random_range(5_000..100_000));
                self.add(at, Fault::Step { server, ms });
                let back = self.after(at, 1.0, 8.0);
                self.add(back, Fault::Crash { server });
                self.add(back, Fault::Step { server, ms: -ms });
                let start = self.after(back, 0.1, 3.0);
                self.add(start, Fault::Start { server });
            }
        }
    }

    /// A restart with another clock than before: set a little, or far back until somebody sets it
    /// right.
    fn restart_clock(&mut self, at: f64) {
        let far = self.rng.random_bool(0.3);
        let server = if far { self.far } else { self.server() };
        let ms = if far {
            -self.rng.random_range(5_000..100_000)
        } else {
            self.rng.random_range(-200..200)
        };
        self.add(at, Fault::Crash { server });
        self.add(at, Fault::Step { server, ms });
        let start = self.after(at, 0.01, 5.0);
        self.add(start, Fault::Start { server });
        if far {
            let right = self.after(start, 1.0, 8.0);
            self.add(right, Fault::Step { server, ms: -ms });
        }
    }

    /// Servers that join under load. A majority runs from the beginning.
    fn later_servers(&mut self) {
        let most = self.servers - (self.servers / 2 + 1);
        if most == 0 {
            return;
        }
        let count = self.rng.random_range(1..=most);
        self.later = (self.servers - count + 1..=self.servers).collect();
        for server in self.later.clone() {
            let at = self.time();
            self.add(at, Fault::Start { server });
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
        if self.servers == 1 {
            return;
        }
        let end = self.after(at, 0.1, 10.0);
        match feature {
            "partition" => {
                let side = self.side();
                self.add(at, Fault::Partition { side });
                self.add(end, Fault::Mend);
            }
            "isolate" => {
                let server = self.server();
                self.add(at, Fault::Isolate { server });
                self.add(end, Fault::Mend);
            }
            "one_way" => {
                if self.rng.random_bool(0.5) {
                    let (from, to) = self.pair();
                    self.add(at, Fault::Cut { from, to });
                } else {
                    let side = self.side();
                    self.add(at, Fault::OneWay { side });
                }
                self.add(end, Fault::Mend);
            }
            "bridge" => {
                // A reaches B, B reaches C, A doesn't reach C; in a larger farm, two groups.
                let (server, first) = self.pair();
                let mut side = self.side();
                side.push(first);
                side.sort_unstable();
                side.dedup();
                side.retain(|&other| other != server);
                self.add(at, Fault::Bridge { server, side });
                self.add(end, Fault::Mend);
            }
            "clog" => {
                let (from, to) = self.pair();
                self.add(at, Fault::Clog { from, to });
                self.add(end, Fault::Unclog { from, to });
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

    /// Some of the servers, at random; at least one.
    fn side(&mut self) -> Vec<u16> {
        let side: Vec<u16> = (1..=self.servers).filter(|_| self.rng.random_bool(0.5)).collect();
        if side.is_empty() { vec![self.server()] } else { side }
    }
}
