//! `run`: one run, or two of the same to be compared.

use std::path::PathBuf;

use clap::Args;
use grapevine_core::Timestamp;
use grapevine_sim::{On, run_in_steps, run_on, run_twice};

use super::{Source, check_writable, say, verdict, write};

#[derive(Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    source: Source,
    /// What it runs on: engines on one event queue (`queue`), the adapter that ships on turmoil's
    /// network (`turmoil`), or in processes of its own on real sockets and in real time (`sockets`, Unix
    /// only).
    #[arg(long, value_parser = parse_on, default_value = "queue")]
    on: On,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Run it twice and compare the traces (G9); if they differ, the first event that does is named.
    #[arg(long, conflicts_with = "on")]
    twice: bool,
    /// Write a line per event here: number, time, server, hash so far. The first line that differs
    /// between two traces of one seed is where they part.
    #[arg(long, conflicts_with_all = ["on", "twice"])]
    trace: Option<PathBuf>,
}

pub(crate) fn call(args: &RunArgs) -> Result<bool, String> {
    let scenario = args.source.scenario()?;
    let outcome = match &args.trace {
        None if args.twice => run_twice(&scenario),
        None => run_on(&scenario, args.on),
        Some(path) => {
            check_writable(path)?;
            let (outcome, steps) = run_in_steps(&scenario);
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

fn parse_on(name: &str) -> Result<On, String> {
    let named = On::ALL.iter().find(|on| on.name() == name);
    let names: Vec<&str> = On::ALL.iter().map(|on| on.name()).collect();
    named.copied().ok_or_else(|| format!("there are: {}", names.join(", ")))
}
