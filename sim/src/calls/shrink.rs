//! `shrink`: the smallest schedule that still breaks the same guarantee.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use grapevine_sim::{
    Effort, Progress, Scenario, Shrunk, Tries, run_scenario, script, shrink_first,
};
use indicatif::{ProgressBar, ProgressStyle};

use super::{CALL, Source, check_could_be_written, check_writable, note, say, verdict, write};

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
pub(crate) fn call(args: &ShrinkArgs) -> Result<bool, String> {
    let scenario = args.source.scenario()?;
    args.source.spare(&args.out)?;
    check_could_be_written(&args.out)?;
    let (outcome, scripted) = script(&scenario);
    let Some(broken) = &outcome.broken else {
        say(format_args!("{}\nThere is nothing to shrink.", verdict(&outcome)))?;
        return Ok(true);
    };
    check_writable(&args.out)?;
    note(verdict(&outcome));
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{elapsed_precise} {spinner} {msg}");
    bar.set_style(style.map_err(|error| error.to_string())?);
    let effort =
        Effort { runs: args.runs, time: Duration::from_secs(args.seconds), ..Effort::default() };
    let before = (scripted.faults.len(), scripted.requests.len());
    let what = broken.what();
    let mut tries = Tries::of(&what);
    let mut breaks = |candidate: &Scenario| {
        bar.tick();
        tries.broken(candidate)
    };
    let mut progress = |now: Progress| {
        bar.set_message(format!(
            "{} runs; {} faults and {} requests left",
            now.runs, now.faults, now.requests
        ));
    };
    // Written down, the customers' requests break nothing if the harness itself drew on: then the
    // drawn run is shrunk as it is.
    let runs = [&scripted, &scenario];
    let smallest = shrink_first(&runs, &what, &effort, &mut breaks, &mut progress);
    bar.finish_and_clear();
    let Some(mut shrunk) = smallest else {
        return Err("the run fails now and holds then: it depends on more than its seed".into());
    };
    let mut breaks = |named: &Scenario| run_scenario(named).broken.map(|broken| broken.what());
    if let Some(named) = named(&shrunk, &mut breaks) {
        shrunk.scenario = named;
        // The one run that is always made besides.
        shrunk.runs += 1;
    }
    write(&args.out, &shrunk.scenario.to_toml())?;
    say(summary(&shrunk, &scenario, before, &args.out))?;
    Ok(false)
}

/// The same run with creates called so, if it breaks the same guarantee when it is run.
fn named(shrunk: &Shrunk, breaks: &mut dyn FnMut(&Scenario) -> Option<String>) -> Option<Scenario> {
    if shrunk.scenario.workload.customers > 0 {
        return None;
    }
    let named = script(&shrunk.scenario).1;
    let all = named.requests.len() == shrunk.scenario.requests.len();
    (all && breaks(&named).as_ref() == Some(&shrunk.guarantee)).then_some(named)
}

fn summary(shrunk: &Shrunk, from: &Scenario, before: (usize, usize), out: &Path) -> String {
    let Shrunk { scenario, guarantee, runs, minimal } = shrunk;
    let end = if *minimal { "nothing smaller was found" } else { "stopped: try longer for less" };
    let seed = if scenario.seed == from.seed {
        String::new()
    } else {
        format!(" With seed {} instead of {}: its coins fall so.", scenario.seed, from.seed)
    };
    format!(
        "{guarantee}: {} faults and {} requests are left ({} and {} before), {} servers; \
         {runs} runs, {end}.{seed}\n{}\n\
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_whose_creates_are_called_so_is_taken_only_if_it_breaks_the_same_when_it_is_run() {
        let scenario = script(&Scenario::drawn(3)).1;
        let guarantee = "G3".to_owned();
        let shrunk = Shrunk { scenario, guarantee, runs: 1, minimal: true };
        for (breaks, taken) in [(None, false), (Some("G1"), false), (Some("G3"), true)] {
            let mut run = Vec::new();
            let named = named(&shrunk, &mut |candidate| {
                run.push(candidate.clone());
                breaks.map(str::to_owned)
            });
            assert_eq!(run.len(), 1, "what is written was run");
            assert_eq!(named, taken.then(|| run.remove(0)), "{breaks:?}");
        }
    }
}
