//! `run`: one run, or two of the same to be compared.

use std::path::PathBuf;

use clap::Args;
use grapevine_core::Timestamp;
use grapevine_sim::{run_in_steps, run_on, run_twice};

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
}

pub(crate) fn call(args: &RunArgs) -> Result<bool, String> {
    let scenario = args.source.scenario()?;
    let Place(Some(on)) = args.on else { return super::on_madsim::call() };
    if (args.twice || args.trace.is_some()) && !on.has_one_trace() {
        return Err(format!("--twice, --trace: no two runs on {} are the same", on.name()));
    }
    let outcome = match &args.trace {
        None if args.twice => run_twice(&scenario, on),
        None => run_on(&scenario, on),
        Some(path) => {
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
        say(format_args!("{}\n{}", scenario.to_toml(), verdict(&outcome)))?;
    }
    Ok(outcome.broken.is_none())
}
