//! `run`: one run, or two of the same to be compared.

use std::path::{Path, PathBuf};

use clap::Args;
use grapevine_core::Timestamp;
use grapevine_sim::{Step, run_against, run_in_steps, run_on, run_twice};

use super::place::{Place, parse_on};
use super::{Source, check_writable, say, verdict, write};

#[derive(Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    source: Source,
    /// What it runs on: engines on one event queue (`queue`), the adapter that ships on turmoil's
    /// network (`turmoil`), or on madsim (`madsim`; builds what it needs by itself, with cargo), or in
    /// processes of its own on real sockets and in real time (`sockets`, Unix only).
    #[arg(long, value_parser = parse_on, default_value = "queue")]
    on: Place,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Run it twice and compare the traces (G9); if they differ, the first event that does is named.
    #[arg(long)]
    twice: bool,
    /// Write a line per event here: number, time, server, hash so far. The first line that differs
    /// between two traces of one seed is where they part.
    #[arg(long, conflicts_with = "twice")]
    trace: Option<PathBuf>,
    /// Compare with a trace of the same run that another process, or another build, wrote here with `--trace` (G9); if
    /// they differ, the first event that does is named.
    #[arg(long, conflicts_with_all = ["twice", "trace"])]
    against: Option<PathBuf>,
}

pub(crate) fn call(args: &RunArgs) -> Result<bool, String> {
    let scenario = args.source.scenario()?;
    let Place(Some(on)) = args.on else { return super::on_madsim::call() };
    if (args.twice || args.trace.is_some() || args.against.is_some()) && !on.has_one_trace() {
        let name = on.name();
        return Err(format!("--twice, --trace, --against: no two runs on {name} are the same"));
    }
    if let Some(path) = &args.trace {
        args.source.spare(path)?;
    }
    let outcome = match (&args.trace, &args.against) {
        (None, Some(path)) => run_against(&scenario, on, &steps(path)?),
        (None, None) if args.twice => run_twice(&scenario, on),
        (None, None) => run_on(&scenario, on),
        (Some(path), _) => {
            check_writable(path)?;
            let (outcome, steps) = run_in_steps(&scenario, on);
            let line = |(n, (at, server, hash)): (usize, &(Timestamp, usize, u64))| {
                format!("{n} {} {} {hash:016x}\n", at.as_micros(), server + 1)
            };
            let lines: String = steps.iter().enumerate().map(line).collect();
            write(path, &lines)?;
            outcome
        }
    };
    if args.json {
        say(serde_json::to_string(&outcome).map_err(|error| error.to_string())?)?;
    } else {
        say(format_args!("{}\n{}", scenario.to_toml(), comment(&verdict(&outcome))))?;
    }
    Ok(outcome.broken.is_none())
}

/// Text as TOML skips it: what is printed is the scenario's file all the same.
fn comment(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("# {line}")).collect();
    lines.join("\n")
}

/// The events of a trace, as `--trace` writes them.
fn steps(path: &Path) -> Result<Vec<Step>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    let lines = text.lines().enumerate();
    let steps = lines.map(|(n, line)| {
        step(n, line).ok_or_else(|| {
            format!(
                "{}, line {}: `{line}` is no line of a trace: {n}, microseconds, server, 16 hex digits",
                path.display(),
                n + 1
            )
        })
    });
    steps.collect()
}

/// The line of the n-th event.
fn step(n: usize, line: &str) -> Option<Step> {
    let mut words = line.split(' ');
    let [number, at, server, hash] = [(); 4].map(|()| words.next());
    if number?.parse() != Ok(n) || words.next().is_some() {
        return None;
    }
    let server = server?.parse::<usize>().ok()?.checked_sub(1)?;
    Some((Timestamp::from_micros(at?.parse().ok()?), server, u64::from_str_radix(hash?, 16).ok()?))
}
