//! The calls of the program, and what they share: where a scenario comes from, how a verdict is told, and
//! how things are written. Each returns `Ok(true)` if all held, `Ok(false)` if something is broken, and
//! an error for wrong use.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use grapevine_sim::{LARGEST_SEED, Outcome, Scenario};

pub(crate) mod explain;
mod on_madsim;
mod place;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod shrink;
pub(crate) mod swarm;

/// What a shell has for a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// How the program is called from this repository.
const CALL: &str = "cargo run --release -p grapevine-sim --";

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Source {
    /// The seed that draws the scenario.
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=LARGEST_SEED))]
    seed: Option<u64>,
    /// The scenario file.
    #[arg(long)]
    scenario: Option<PathBuf>,
}

impl Source {
    fn scenario(&self) -> Result<Scenario, String> {
        match (&self.scenario, self.seed) {
            (Some(path), _) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("{} can't be read: {error}", path.display()))?;
                Scenario::from_toml(&text).map_err(|error| format!("{}: {error}", path.display()))
            }
            (None, seed) => Ok(Scenario::drawn(seed.unwrap_or(0))),
        }
    }

    /// Fails if a result that is to be written here would take the scenario's place.
    fn spare(&self, out: &Path) -> Result<(), String> {
        let real = |path: &Path| path.canonicalize().ok();
        let same = |path: &PathBuf| real(path).is_some_and(|path| real(out) == Some(path));
        match &self.scenario {
            Some(path) if same(path) => {
                Err(format!("{} is the scenario itself: write to another file", out.display()))
            }
            _ => Ok(()),
        }
    }
}

/// What a run came to, in words.
fn verdict(outcome: &Outcome) -> String {
    let left_out = outcome.left_out.iter().map(|what| format!("\nNot as in the file: {what}"));
    let late = outcome.late_ms.map(|ms| format!(", {ms} ms late at most"));
    let figures = format!(
        "{} servers, {} events, {} messages, {:.1} simulated s in {:.3} s on {}{}; trace {}{}",
        outcome.servers,
        outcome.events,
        outcome.messages,
        outcome.simulated_s,
        outcome.wall_s,
        outcome.harness,
        late.unwrap_or_default(),
        outcome.trace_hash,
        left_out.collect::<String>()
    );
    match &outcome.broken {
        None => format!("All guarantees held. {figures}"),
        Some(broken) if outcome.verdict == "undecided" => {
            format!("Undecided at {:.6} s: {}\n{figures}", broken.at_s, broken.sentence)
        }
        Some(broken) => format!(
            "{} BROKEN at {:.6} s, event {}: {}\n{figures}",
            broken.guarantee, broken.at_s, broken.event, broken.sentence
        ),
    }
}

/// Writes a line to standard output. Who stops reading (`| head`) has seen enough: the call goes on to its
/// verdict, and ends with its exit code.
fn say(text: impl Display) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("standard output can't be written: {error}"))
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error, if anybody reads it.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes a file.
fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| cant_be_written(path, &error))
}

/// Whether a file can be written, before long work whose result it is to hold. It is made if it is not
/// there; what is in it stays.
fn check_writable(path: &Path) -> Result<(), String> {
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
    opened.map(drop).map_err(|error| cant_be_written(path, &error))
}

/// The same, before it is known whether there will be a result: what is not there is not made.
fn check_could_be_written(path: &Path) -> Result<(), String> {
    let was_there = path.exists();
    check_writable(path)?;
    if !was_there {
        std::fs::remove_file(path).map_err(|error| cant_be_written(path, &error))?;
    }
    Ok(())
}

fn cant_be_written(path: &Path, error: &std::io::Error) -> String {
    format!("{} can't be written: {error}", path.display())
}
