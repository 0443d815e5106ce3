//! The failures of a swarm, written down as they are found: so that a swarm that is killed keeps them.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use grapevine_sim::{On, Outcome, Scenario, Summary, report};

use crate::calls::{CALL, check_writable, verdict, write};

/// Failures that are written down.
const KEPT: usize = 100;
/// Bytes of pictures after which no more are drawn: one has 8 MB at most, most have far less.
const PICTURES: usize = 100_000_000;
/// Of so many pictures are drawn though somebody waits for the end.
const AT_LEAST: usize = 10;

/// The folder that failures are written to.
pub(super) struct Folder {
    path: PathBuf,
    /// The seeds of the failures written so far, and the first that could not be.
    noted: Mutex<(Vec<u64>, Option<String>)>,
    /// Bytes of pictures after which no more are drawn.
    room: usize,
}

impl Folder {
    /// Makes the folder, and a file in it: what can't be written is told before the first run.
    pub(super) fn new(path: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(path)
            .map_err(|error| format!("{} can't be made: {error}", path.display()))?;
        check_writable(&path.join("failures.txt"))?;
        write(&path.join("failures.txt"), "the swarm has not come to its end\n")?;
        Ok(Self { path: path.to_owned(), noted: Mutex::default(), room: PICTURES })
    }

    fn file(&self, seed: u64, end: &str) -> PathBuf {
        self.path.join(format!("seed-{seed}{end}"))
    }

    /// Writes one down: how to replay and shrink it, and its scenario.
    pub(super) fn note(&self, failure: &Outcome) {
        let mut noted = self.noted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if noted.0.len() < KEPT {
            noted.0.push(failure.seed);
            if let Err(why) = self.save(failure) {
                noted.1.get_or_insert(why);
            }
        }
    }

    fn save(&self, failure: &Outcome) -> Result<(), String> {
        let seed = failure.seed;
        write(&self.file(seed, ".toml"), &Scenario::drawn(seed).to_toml())?;
        let [small, page] = ["-small.toml", ".html"].map(|end| self.file(seed, end));
        let commands = commands(failure, &small.display().to_string(), &page.display().to_string());
        let text = format!("Seed {seed}\n{}\n\n{commands}\n", verdict(failure));
        write(&self.file(seed, ".txt"), &text)
    }

    /// Draws the pictures, and says how many failures and pictures there are, and where; and what could not be
    /// written first, if anything.
    pub(super) fn close(
        self,
        summary: &Summary,
        interrupted: &AtomicBool,
    ) -> (String, Option<String>) {
        let noted = self.noted.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (mut seeds, mut failed) = noted;
        seeds.sort_unstable();
        let (mut tried, mut drawn, mut bytes) = (0, 0, 0);
        // A picture is of a run on the queue.
        let queue = summary.harness == On::Queue;
        for seed in seeds.iter().filter(|_| queue) {
            let hurry = interrupted.load(Ordering::Relaxed) && drawn >= AT_LEAST;
            if hurry || bytes >= self.room {
                break;
            }
            let page = report(&Scenario::drawn(*seed)).1;
            bytes += page.len();
            tried += 1;
            match write(&self.path.join(format!("seed-{seed}.html")), &page) {
                Ok(()) => drawn += 1,
                Err(why) => failed = failed.or(Some(why)),
            }
        }
        let written = written(summary, seeds.len(), [tried, drawn], &self.path);
        let told = |outcome: &Outcome| format!("seed {}: {}\n", outcome.seed, verdict(outcome));
        let list: String = summary.failures.iter().map(told).collect();
        let text = format!("{} runs, {} failed\n{written}\n\n{list}", summary.runs, summary.failed);
        let list = write(&self.path.join("failures.txt"), &text);
        (written, failed.or(list.err()))
    }
}

/// How much of what failed is written down, and where; what is left out is named.
fn written(summary: &Summary, noted: usize, [tried, drawn]: [usize; 2], path: &Path) -> String {
    let path = path.display();
    let mut text = format!("Written down in {path}: failures: {noted}, pictures: {drawn}.");
    if summary.failed > noted as u64 {
        text += &format!(
            " LEFT OUT: the failures after the first {KEPT}: {}.",
            summary.failed - noted as u64
        );
    }
    if summary.harness == On::Queue && tried < noted {
        text += &format!(
            " LEFT OUT: more pictures, for these take much room: {}. The commands draw each.",
            noted - tried
        );
    }
    text
}

/// The commands that replay, shrink and draw a failure.
pub(super) fn commands(failure: &Outcome, small: &str, page: &str) -> String {
    let seed = failure.seed;
    let on = match failure.harness {
        "queue" => String::new(),
        other => format!(" --on {other}"),
    };
    // Two runs that differ are replayed by two runs, and neither is smaller.
    if failure.broken.as_ref().is_some_and(|broken| broken.guarantee == "G9") {
        return format!("Replay it:  {CALL} run --seed {seed} --twice{on}");
    }
    // What shrinks a run and draws it has the queue alone.
    if !on.is_empty() {
        return format!("Replay it:  {CALL} run --seed {seed}{on}");
    }
    format!(
        "Replay it:  {CALL} run --seed {seed}\n\
         Shrink it:  {CALL} shrink --seed {seed} --out {small}\n\
         See it:     {CALL} report --seed {seed} --out {page}"
    )
}

#[cfg(test)]
mod tests {
    use grapevine_sim::{Broken, run_scenario};

    use super::*;

    #[test]
    fn a_failure_is_written_down_with_all_that_replays_it_before_the_swarm_ends() {
        let path = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(path.path()).expect("it is made");
        let outcome = run_scenario(&Scenario::drawn(3));
        folder.note(&outcome);
        let read = |name: &str| {
            std::fs::read_to_string(path.path().join(name)).expect("the file is there")
        };
        let scenario = Scenario::from_toml(&read("seed-3.toml")).expect("a scenario");
        assert_eq!(run_scenario(&scenario).trace_hash, outcome.trace_hash);
        let text = read("seed-3.txt");
        for call in ["run --seed 3", "shrink --seed 3 --out", "report --seed 3 --out"] {
            assert!(text.contains(call), "{call} is missing in: {text}");
        }
        assert!(read("failures.txt").contains("not come to its end"));
        let failures = vec![outcome];
        let summary = Summary { runs: 7, failed: 1, failures, ..Summary::default() };
        let (said, unwritten) = folder.close(&summary, &AtomicBool::new(false));
        assert_eq!(unwritten, None);
        assert!(read("seed-3.html").contains("</html>"));
        let list = read("failures.txt");
        assert!(list.starts_with("7 runs, 1 failed\nWritten down in "), "{list}");
        assert!(said.ends_with(": failures: 1, pictures: 1.") && list.contains(&said), "{said}");
    }

    #[test]
    fn of_a_thousand_failures_a_hundred_are_written_down_and_all_are_counted() {
        let path = tempfile::tempdir().expect("a folder");
        // Without pictures, which would take long here.
        let folder = Folder { room: 0, ..Folder::new(path.path()).expect("it is made") };
        let outcome = run_scenario(&Scenario::drawn(3));
        for seed in 0..1000 {
            folder.note(&Outcome { seed, ..outcome.clone() });
        }
        let summary = Summary { runs: 1000, failed: 1000, ..Summary::default() };
        let (said, unwritten) = folder.close(&summary, &AtomicBool::new(false));
        assert_eq!(unwritten, None);
        assert!(
            said.contains("failures: 100, ") && said.contains("after the first 100: 900."),
            "{said}"
        );
        let files = std::fs::read_dir(path.path()).expect("a folder").count();
        assert_eq!(files, 201, "two files each, and the list");
    }

    #[test]
    fn pictures_are_drawn_of_those_that_are_written_down_until_they_take_their_room() {
        let path = tempfile::tempdir().expect("a folder");
        let folder = Folder { room: 1, ..Folder::new(path.path()).expect("it is made") };
        let outcome = run_scenario(&Scenario::drawn(3));
        // The one with the lowest seed first, whenever it was found.
        for seed in [5, 3] {
            folder.note(&Outcome { seed, ..outcome.clone() });
        }
        let summary = Summary { runs: 9, failed: 2, ..Summary::default() };
        let (said, unwritten) = folder.close(&summary, &AtomicBool::new(false));
        assert_eq!(unwritten, None);
        let there = |name: &str| path.path().join(name).exists();
        assert!(there("seed-3.html") && !there("seed-5.html") && there("seed-5.toml"));
        assert!(said.contains("take much room: 1."), "{said}");
    }

    #[test]
    fn a_picture_that_can_not_be_written_is_named_and_the_others_and_the_list_are_written() {
        let path = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(path.path()).expect("it is made");
        let outcome = run_scenario(&Scenario::drawn(3));
        for seed in [3, 5] {
            folder.note(&Outcome { seed, ..outcome.clone() });
        }
        std::fs::create_dir(path.path().join("seed-3.html")).expect("a folder in its place");
        let summary = Summary { runs: 9, failed: 2, ..Summary::default() };
        let (said, unwritten) = folder.close(&summary, &AtomicBool::new(false));
        let why = unwritten.expect("one is not written");
        assert!(why.contains("seed-3.html can't be written: "), "{why}");
        assert!(path.path().join("seed-5.html").is_file());
        assert!(said.contains("failures: 2, pictures: 1."), "{said}");
        let list = std::fs::read_to_string(path.path().join("failures.txt")).expect("the list");
        assert!(list.starts_with("9 runs, 2 failed\n"), "{list}");
    }

    #[test]
    fn a_failure_elsewhere_is_replayed_there() {
        let failure = Outcome { harness: "turmoil", ..run_scenario(&Scenario::drawn(3)) };
        assert!(commands(&failure, "a", "b").ends_with("run --seed 3 --on turmoil"));
    }

    #[test]
    fn two_runs_that_differ_are_replayed_by_two_runs() {
        let broken = Broken {
            guarantee: "G9".into(),
            sentence: String::new(),
            place: None,
            at_s: 0.0,
            event: 0,
        };
        let failure = Outcome { broken: Some(broken), ..run_scenario(&Scenario::drawn(3)) };
        assert!(commands(&failure, "a", "b").ends_with("run --seed 3 --twice"));
    }
}
