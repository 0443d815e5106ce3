//! Processor time: what a piece of work costs whoever else uses the machine meanwhile.

use std::fs;
use std::time::Duration;

/// Ticks per second in `/proc`: a constant of Linux's interface, whatever the kernel's own rate.
const TICKS_PER_SECOND: u64 = 100;

/// The processor time that this process has used since its start, in all its threads, to 10 ms.
/// `None` where there is no `/proc`.
pub fn used() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in brackets, may have blanks in it; what follows has not.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1_000 / TICKS_PER_SECOND))
}

/// Adds up processor time over many pieces of work.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    used: Duration,
    items: u64,
}

impl Meter {
    /// Counts the time since `before`, an earlier answer of [`used`], as that of `items` items.
    pub fn add(&mut self, before: Option<Duration>, items: u64) {
        if let (Some(before), Some(now)) = (before, used()) {
            self.used += now.saturating_sub(before);
            self.items += items;
        }
    }

    /// Nanoseconds of processor time per item. `None` if too little was measured to tell.
    pub fn nanos_per_item(&self) -> Option<f64> {
        let enough = self.used >= Duration::from_millis(500);
        enough.then(|| self.used.as_nanos() as f64 / self.items as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_uses_processor_time() {
        let Some(before) = used() else { return };
        let mut sum = 0_u64;
        while used().unwrap() < before + Duration::from_millis(30) {
            sum = std::hint::black_box((0..10_000).fold(sum, u64::wrapping_add));
        }
    }

    #[test]
    fn a_meter_that_saw_little_says_nothing() {
        let mut meter = Meter::default();
        meter.add(used(), 10);
        assert_eq!(meter.nanos_per_item(), None);
    }
}
