//! The engine's step: decode an update, check it, merge it, store the copy for request threads.
//! Beside copying the payload into its slot.

use std::time::{Duration, Instant};

use grapevine_benches::floor::Slots;
use grapevine_benches::lab::Lab;
use grapevine_benches::work::{Reader, Spread, Writer};

/// Updates that are made beforehand: their frames stay in the cache, as just received ones are.
const MADE: u64 = 1024;

pub(crate) fn run(lab: &mut Lab) {
    let many = lab.size(1 << 17, 1 << 8);
    for (what, sessions, aim) in [("hot", 1, 3.1), ("uniform", many, 2.1)] {
        let mut slots = Slots::new(sessions);
        let mut spread = Spread::new(2, sessions);
        let floor =
            lab.time("step", &format!("{what}_floor"), |times| slots.write(times, &mut spread));
        drop(slots);
        let mut servers = Servers::new(sessions);
        for (together, name) in [(64, "full batches"), (1, "batches of one")] {
            let id = format!("{what}_batches_of_{together}");
            let step = lab.time("step", &id, |times| servers.step(times, together));
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
        let mut total = Duration::ZERO;
        let mut left = updates;
        while left > 0 {
            let count = left.min(MADE);
            let frames = self.writer.updates(count, together, &mut self.spread);
            let now = self.writer.now();
            let start = Instant::now();
            for frame in &frames {
                self.reader.take(now, frame);
            }
            total += start.elapsed();
            left -= count;
        }
        assert_eq!(self.reader.merged() - before, updates, "every update must be merged");
        total
    }
}
