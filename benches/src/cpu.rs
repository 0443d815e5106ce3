//! Processor time: what a piece of work costs, nearly whoever else uses the machine meanwhile. It
//! leaves out the time in which others have the processor, not the caches that they spoil.

use std::time::Duration;

#[cfg(unix)]
fn used_by_thread() -> Duration {
    used(rustix::time::ClockId::ThreadCPUTime)
}

#[cfg(unix)]
fn used_by_process() -> Duration {
    used(rustix::time::ClockId::ProcessCPUTime)
}

#[cfg(unix)]
fn used(clock: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    Duration::try_from(time).unwrap_or_default()
}

/// Where processor time can't be had: the time since the first call.
#[cfg(not(unix))]
fn used_by_thread() -> Duration {
    static FIRST: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    FIRST.elapsed()
}

#[cfg(not(unix))]
fn used_by_process() -> Duration {
    used_by_thread()
}

/// Runs `work` and returns the processor time that this thread took for it.
pub fn time(work: impl FnOnce()) -> Duration {
    let before = used_by_thread();
    work();
    used_by_thread() - before
}

/// Adds up the processor time of all threads over many pieces of work.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    used: Duration,
    items: u64,
}

impl Meter {
    /// Runs `work` on so many items, and counts what it uses.
    pub fn run<T>(&mut self, items: u64, work: impl FnOnce() -> T) -> T {
        let before = used_by_process();
        let done = work();
        self.used += used_by_process() - before;
        self.items += items;
        done
    }

    /// Nanoseconds of processor time per item, on average.
    pub fn nanos_per_item(&self) -> f64 {
        self.used.as_nanos() as f64 / self.items as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() {
        let mut sum = 0_u64;
        for n in 0..1_000_000 {
            sum = std::hint::black_box(sum + n);
        }
    }

    #[test]
    fn work_takes_processor_time() {
        assert!(time(work) > Duration::ZERO);
    }

    #[test]
    fn a_meter_counts_the_work_of_other_threads() {
        let mut meter = Meter::default();
        meter.run(10, || std::thread::scope(|scope| scope.spawn(work).join().unwrap()));
        assert!(meter.nanos_per_item() > 0.0);
    }
}
