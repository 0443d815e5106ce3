//! The lab: runs benchmarks under criterion, and puts each figure beside its floor.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, SamplingMode, Throughput};

/// A median in nanoseconds per item; `None` if the benchmark was not measured in this run (left out
/// by a filter, or run only once to see that it works).
pub type Nanos = Option<f64>;

/// One line of the closing table.
#[derive(Clone, Debug)]
struct Row {
    name: String,
    ours: f64,
    floor: f64,
    aim: Option<f64>,
}

/// All benchmarks of one run, and the table of their ratios.
pub struct Lab {
    criterion: Criterion,
    folder: PathBuf,
    started: SystemTime,
    quick: bool,
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Lab {
    /// A lab that takes criterion's arguments from the command line and keeps its results in
    /// `folder`.
    pub fn new(folder: PathBuf) -> Self {
        // As criterion decides it: `cargo bench` measures, `cargo test` and `--test` try once.
        let mut arguments = std::env::args();
        let measures =
            arguments.any(|a| a == "--bench") && !std::env::args().any(|a| a == "--test");
        let criterion = Criterion::default()
            .output_directory(&folder)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(2))
            .sample_size(30)
            .configure_from_args();
        Self {
            criterion,
            folder,
            started: SystemTime::now(),
            quick: !measures,
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether everything runs only once, to see that it works: then small sizes will do.
    pub const fn is_quick(&self) -> bool {
        self.quick
    }

    /// `measured`, or `quick` when everything runs only once.
    pub const fn size(&self, measured: usize, quick: usize) -> usize {
        if self.quick { quick } else { measured }
    }

    /// Measures small work: `run` does it as often as it is told and returns how long that took.
    pub fn time(&mut self, group: &str, name: &str, mut run: impl FnMut(u64) -> Duration) -> Nanos {
        let mut benches = self.criterion.benchmark_group(group);
        benches.sampling_mode(SamplingMode::Flat);
        benches.bench_function(name, |bencher| bencher.iter_custom(&mut run));
        benches.finish();
        self.median(group, name)
    }

    /// Measures large work of `items` items: `run` does it once and returns how long that took.
    pub fn rounds(
        &mut self,
        group: &str,
        name: &str,
        items: u64,
        mut run: impl FnMut() -> Duration,
    ) -> Nanos {
        let mut benches = self.criterion.benchmark_group(group);
        benches.sampling_mode(SamplingMode::Flat).sample_size(15);
        benches.measurement_time(Duration::from_secs(5)).throughput(Throughput::Elements(items));
        benches.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| run()).sum());
        });
        benches.finish();
        self.median(group, name).map(|nanos| nanos / items as f64)
    }

    /// Puts a figure beside its floor in the closing table. `aim` is the ratio that would be good.
    pub fn row(&mut self, name: &str, ours: Nanos, floor: Nanos, aim: Option<f64>) {
        if let (Some(ours), Some(floor)) = (ours, floor) {
            self.rows.push(Row { name: name.to_owned(), ours, floor, aim });
        }
    }

    /// Adds a sentence below the closing table, unless everything runs only once.
    pub fn note(&mut self, note: String) {
        if !self.quick {
            self.notes.push(note);
        }
    }

    /// Shows the table.
    pub fn finish(self) {
        self.criterion.final_summary();
        if !self.rows.is_empty() {
            print!("\n{}", table(&self.rows));
        }
        for note in &self.notes {
            println!("\n{note}");
        }
    }

    /// The median that criterion has just written down.
    fn median(&self, group: &str, name: &str) -> Nanos {
        if self.quick {
            return None;
        }
        let file = self.folder.join(group).join(name).join("new").join("estimates.json");
        // A benchmark that a filter left out has at most an old file.
        let written = fs::metadata(&file).and_then(|data| data.modified()).ok()?;
        if written < self.started {
            return None;
        }
        let estimates: serde_json::Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
        estimates["median"]["point_estimate"].as_f64()
    }
}

/// The closing table, as `docs/performance.md` has it.
fn table(rows: &[Row]) -> String {
    let mut text =
        String::from("| work | median | floor | ratio | aim |\n| --- | --- | --- | --- | --- |\n");
    for Row { name, ours, floor, aim } in rows {
        let aim = aim.map_or_else(|| "–".to_owned(), |aim| format!("{aim:.1}"));
        let (ratio, ours, floor) = (ours / floor, duration(*ours), duration(*floor));
        text += &format!("| {name} | {ours} | {floor} | {ratio:.1} | {aim} |\n");
    }
    text
}

fn duration(nanos: f64) -> String {
    match nanos {
        n if n < 100.0 => format!("{n:.1} ns"),
        n if n < 10_000.0 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.1} µs", n / 1e3),
        n => format!("{:.1} ms", n / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_ratio_of_each_figure_to_its_floor() {
        let row = Row { name: "work".into(), ours: 250.0, floor: 50.0, aim: Some(3.5) };
        let text = table(&[row]);
        assert!(text.ends_with("| work | 250 ns | 50.0 ns | 5.0 | 3.1 |\n"), "{text}");
    }

    #[test]
    fn durations_are_shown_in_the_unit_that_suits_them() {
        let shown = [3.25, 512.3, 51_234.0, 5.1e7].map(duration);
        assert_eq!(shown, ["3.1 ns", "512 ns", "51.2 µs", "51.0 ms"]);
    }
}
