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
    /// network (`turmoil`), or on madsim (`madsim`; builds what it needs by itself, with cargo), or in
    /// processes of its own on real sockets and in real time (`sockets`, Unix only).
    #[arg(long, value_parser = parse_on, default_value = "queue")]
    on: Place,
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

/// Where a run can be. `None`: on madsim, in a program of its own.
#[derive(Clone, Copy)]
struct Place(Option<On>);

pub(crate) fn call(args: &RunArgs) -> Result<bool, String> {
    let scenario = args.source.scenario()?;
    let Place(Some(on)) = args.on else { return super::on_madsim::call() };
    let outcome = match &args.trace {
        None if args.twice => run_twice(&scenario),
        None => run_on(&scenario, on),
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

fn parse_on(name: &str) -> Result<Place, String> {
    let here = On::ALL.iter().map(|&on| (on.name(), Place(Some(on))));
    let beyond =
        (!here.clone().any(|(name, _)| name == "madsim")).then_some(("madsim", Place(None)));
    let all: Vec<(&str, Place)> = here.chain(beyond).collect();
    let named = all.iter().find(|(known, _)| *known == name).map(|&(_, place)| place);
    let names: Vec<&str> = all.iter().map(|&(known, _)| known).collect();
    named.ok_or_else(|| format!("there are: {}", names.join(", ")))
}
