//! The calls of the program that make a failure readable.

use std::path::{Path, PathBuf};

use clap::Args;
use grapevine_sim::{Effort, Outcome, Scenario, Shrunk, report, run_scenario, script, shrink};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{Source, verdict};

/// How the program is called from this repository.
const CALL: &str = "cargo run --release -p grapevine-sim --";

/// The arguments of `shrink`.
#[derive(Args)]
pub(crate) struct ShrinkArgs {
    #[command(flatten)]
    source: Source,
    /// Write the smallest scenario here.
    #[arg(long)]
    out: PathBuf,
    /// Runs at most.
    #[arg(long, default_value_t = Effort::default().runs)]
    runs: u64,
    /// Seconds at most.
    #[arg(long, default_value_t = Effort::default().time.as_secs())]
    seconds: u64,
}

/// Shrinks a failing run. `Ok(true)`: nothing was broken, and nothing is written.
pub(crate) fn shrink_call(args: &ShrinkArgs) -> Result<bool, String> {
    let scenario = args.source.scenario()?;
    let (outcome, scripted) = script(&scenario);
    let Some(broken) = &outcome.broken else {
        println!("{}\nThere is nothing to shrink.", verdict(&outcome));
        return Ok(true);
    };
    eprintln!("{}", verdict(&outcome));
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{elapsed_precise} {spinner} {msg}");
    bar.set_style(style.map_err(|error| error.to_string())?);
    let effort = Effort {
        runs: args.runs,
        time: std::time::Duration::from_secs(args.seconds),
        ..Effort::default()
    };
    let before = (scripted.faults.len(), scripted.requests.len());
    let mut breaks = |candidate: &Scenario| {
        bar.tick();
        run_scenario(candidate).broken.map(|broken| broken.guarantee)
    };
    let mut progress = |now: grapevine_sim::Progress| {
        bar.set_message(format!(
            "{} runs; {} faults and {} requests left",
            now.runs, now.faults, now.requests
        ));
    };
    let smallest = shrink(&scripted, &effort, &mut breaks, &mut progress);
    // Written down, the customers' requests break nothing if the harness itself drew on: then the
    // drawn run is shrunk as it is.
    let smallest = match smallest {
        Some(shrunk) if shrunk.guarantee == broken.guarantee => Some(shrunk),
        _ => shrink(&scenario, &effort, &mut breaks, &mut progress),
    };
    bar.finish_and_clear();
    let Some(shrunk) = smallest else {
        return Err("the run fails now and holds then: it depends on more than its seed".into());
    };
    let mut shrunk = shrunk;
    // The same run, with creates called so.
    let (again, named) = script(&shrunk.scenario);
    if shrunk.scenario.workload.customers == 0
        && named.requests.len() == shrunk.scenario.requests.len()
        && again.broken.is_some()
    {
        shrunk.scenario = named;
    }
    write(&args.out, &shrunk.scenario.to_toml())?;
    println!("{}", summary(&shrunk, before, &args.out));
    Ok(false)
}

fn summary(shrunk: &Shrunk, before: (usize, usize), out: &Path) -> String {
    let Shrunk { scenario, guarantee, runs, minimal } = shrunk;
    let end = if *minimal { "nothing smaller was found" } else { "stopped: try longer for less" };
    format!(
        "{guarantee} is broken by {} faults and {} requests ({} and {} before), {} servers; \
         {runs} runs, {end}.\n{}\n\
         Replay it:  {CALL} run --scenario {out}\n\
         See it:     {CALL} report --scenario {out} --out failure.html",
        scenario.faults.len(),
        scenario.requests.len(),
        before.0,
        before.1,
        scenario.servers,
        verdict(&run_scenario(scenario)),
        out = out.display(),
    )
}

/// The arguments of `report`.
#[derive(Args)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    source: Source,
    /// Write the picture here: one HTML file.
    #[arg(long)]
    out: PathBuf,
}

/// Draws a run. `Ok(true)`: all guarantees held in it.
pub(crate) fn report_call(args: &ReportArgs) -> Result<bool, String> {
    let (outcome, page) = report(&args.source.scenario()?);
    write(&args.out, &page)?;
    println!("{}\nThe picture: {}", verdict(&outcome), args.out.display());
    Ok(outcome.broken.is_none())
}

/// Writes down one failure of a swarm: how to replay and shrink it, its scenario, and its picture.
pub(crate) fn save_failure(folder: &Path, failure: &Outcome, draw: bool) -> Result<(), String> {
    let seed = failure.seed;
    let scenario = Scenario::drawn(seed);
    let file = |end: &str| folder.join(format!("seed-{seed}.{end}"));
    write(&file("toml"), &scenario.to_toml())?;
    let small = folder.join(format!("seed-{seed}-small.toml"));
    let text = format!(
        "Seed {seed}\n{}\n\n\
         Replay it:  {CALL} run --seed {seed}\n\
         Shrink it:  {CALL} shrink --seed {seed} --out {}\n\
         See it:     {CALL} report --seed {seed} --out {}\n",
        verdict(failure),
        small.display(),
        file("html").display(),
    );
    write(&file("txt"), &text)?;
    if draw {
        write(&file("html"), &report(&scenario).1)?;
    }
    Ok(())
}

/// Writes a file.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text)
        .map_err(|error| format!("{} can't be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_written_down_with_all_that_replays_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let outcome = run_scenario(&Scenario::drawn(3));
        save_failure(folder.path(), &outcome, true).expect("it is written");
        let read = |name: &str| {
            std::fs::read_to_string(folder.path().join(name)).expect("the file is there")
        };
        let scenario = Scenario::from_toml(&read("seed-3.toml")).expect("a scenario");
        assert_eq!(run_scenario(&scenario).trace_hash, outcome.trace_hash);
        let text = read("seed-3.txt");
        for call in ["run --seed 3", "shrink --seed 3 --out", "report --seed 3 --out"] {
            assert!(text.contains(call), "{call} is missing in: {text}");
        }
        assert!(read("seed-3.html").contains("</html>"));
    }
}
