//! The engine's step: decode an update, check it, merge it, store the copy for request threads.
//! Beside the same for slots that hold nothing but a stamp and a payload.

use std::time::Duration;

use grapevine_benches::cpu;
use grapevine_benches::floor::Slots;
use grapevine_benches::lab::Lab;
use grapevine_benches::work::{Reader, Spread, Writer};

/// Updates that are made beforehand: their frames stay in the cache, as just received ones are.
const MADE: u64 = 1024;

pub(crate) fn run(lab: &mut Lab) {
    let many = lab.size(1 << 17, 1 << 8);
    for (what, sessions, aim) in [("hot", 1, 3.1), ("uniform", many, 2.1)] {
        let mut spread = Spread::new(2, sessions);
        let (make, id) = (|| Slots::new(sessions), format!("{what}_floor"));
        let floor = lab.time_with("step", &id, &mut None, make, |slots, times| {
            made(times, |count| {
                let updates = slots.updates(count, &mut spread);
                cpu::time(|| updates.iter().for_each(|update| slots.take(update)))
            })
        });
        let mut servers = None;
        for (together, name) in [(64, "full batches"), (1, "batches of one")] {
            let id = format!("{what}_batches_of_{together}");
            let make = || Servers::new(sessions);
            let step = lab.time_with("step", &id, &mut servers, make, |servers, times| {
                servers.step(times, together)
            });
            lab.row(&format!("engine step, {what}, {name}"), step, floor, Some(aim));
        }
    }
}

struct Servers {
    writer: Writer,
    reader: Reader,
    spread: Spread,
}

impl Servers {
    fn new(sessions: usize) -> Self {
        let (writer, creates) = Writer::new(sessions);
        let reader = Reader::new(sessions, &creates);
        Self { writer, reader, spread: Spread::new(3, sessions) }
    }

    /// The time that the reader takes for so many updates.
    fn step(&mut self, updates: u64, together: u64) -> Duration {
        let before = self.reader.merged();
        let total = made(updates, |count| {
            let frames = self.writer.updates(count, together, &mut self.spread);
            let now = self.writer.now();
            cpu::time(|| frames.iter().for_each(|frame| self.reader.take(now, frame)))
        });
        assert_eq!(self.reader.merged() - before, updates, "every update must be merged");
        total
    }
}

/// Runs so many updates, not too many at once.
fn made(updates: u64, mut run: impl FnMut(u64) -> Duration) -> Duration {
    let mut total = Duration::ZERO;
    let mut left = updates;
    while left > 0 {
        let count = left.min(MADE);
        total += run(count);
        left -= count;
    }
    total
}
