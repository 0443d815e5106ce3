//! `swarm`: many runs on all cores, with how far it is, and the first failures kept as they are found.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use grapevine_sim::{Hits, LARGEST_SEED, On, Outcome, RULES_FROM, Summary, Swarm};
use indicatif::{ProgressBar, ProgressStyle};

use super::place::{Place, parse_on};
use super::{CALL, INTERRUPTED, check_writable, note, say, verdict, write};

mod failures;

use failures::Folder;

/// Failures told while a swarm runs, with their commands; the others are counted, and in its files.
const TOLD: u64 = 20;
/// A swarm says how far it is at least so often, in seconds.
const SILENCE_S: u64 = 30;

#[derive(Args)]
pub(crate) struct SwarmArgs {
    /// Seeds from A up to, not including, B: `A..B`; or, with `--minutes`, from A on: `A..`.
    #[arg(long)]
    seeds: Option<String>,
    /// Run for so many minutes; from seed 0 on, if no seeds are given. With seeds A..B: for so many at most, and what
    /// is cut short by that is not blamed for what it had no time to look at, unless marks are required.
    #[arg(long)]
    minutes: Option<f64>,
    /// What the runs are on: `queue`, `turmoil`, `madsim` or `sockets`, as `run` has it. On sockets time is real:
    /// some 25 runs at once (`--jobs`) keep a core busy.
    #[arg(long, value_parser = parse_on, default_value = "queue")]
    on: Place,
    /// Threads; all cores if not given.
    #[arg(long)]
    jobs: Option<usize>,
    /// Only the I-th of N parts, from 1: `I/N`.
    #[arg(long)]
    shard: Option<String>,
    /// Write the summary here as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Fail, naming them, if some coverage marks were never hit or some rare choices never forced; or if that can't be
    /// said, because time was up before the last seed.
    #[arg(long)]
    require_marks: bool,
    /// A swarm with `--require-marks` whose time is up before its last seed is not asked for marks: a slow machine alone
    /// makes it fail no more than one without. The last line says it.
    #[arg(long)]
    may_be_cut_short: bool,
    /// Stop at the first failure.
    #[arg(long)]
    stop_at_first: bool,
    /// Write each failure here as soon as it is found: the seed and the commands that replay and shrink
    /// it, and the scenario; at the end the pictures. At most a hundred failures and 100 MB of pictures: what is
    /// left out is said.
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(crate) fn call(args: &SwarmArgs) -> Result<bool, String> {
    let Place(Some(on)) = args.on else { return super::on_madsim::call() };
    let swarm = args.swarm(on)?;
    let interrupted = stop_on_ctrl_c()?;
    // Before the runs: nothing is worse than a failure that can't be written down.
    let folder = args.out.as_deref().map(Folder::new).transpose()?;
    if let Some(path) = &args.json {
        check_writable(path)?;
        // A swarm that is killed leaves no earlier one's summary behind, to be taken for its own.
        write(path, "")?;
    }
    let bar = match swarm.end {
        Some(_) => ProgressBar::new(swarm.seeds().unwrap_or(0)),
        None => ProgressBar::new_spinner(),
    };
    let style = "{elapsed_precise} {wide_bar} {pos} runs, {msg}";
    bar.set_style(ProgressStyle::with_template(style).map_err(|error| error.to_string())?);
    let (failed, told) = (AtomicU64::new(0), AtomicU64::new(0));
    let summary = swarm.run(&|outcome| {
        bar.inc(1);
        if outcome.broken.is_some() {
            if let Some(folder) = &folder {
                folder.note(outcome);
            }
            let nth = failed.fetch_add(1, Ordering::Relaxed);
            bar.suspend(|| tell(outcome, nth, folder.is_some()));
        }
        let failed = failed.load(Ordering::Relaxed);
        bar.set_message(format!("{failed} failed"));
        // Where nobody sees the bar, a line now and then.
        let lines = bar.elapsed().as_secs() / SILENCE_S;
        if bar.is_hidden() && told.fetch_max(lines, Ordering::Relaxed) < lines {
            note(format_args!("{} s: {} runs, {failed} failed", lines * SILENCE_S, bar.position()));
        }
        let enough = args.stop_at_first && outcome.broken.is_some();
        match enough || interrupted.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    bar.finish_and_clear();
    let (written, unwritten) =
        folder.map(|folder| folder.close(&summary, &interrupted)).unwrap_or_default();
    let json = args.json.as_deref().map_or(Ok(()), |path| write_json(path, &summary));
    let told = report(&summary, &swarm, args, &written);
    let good = came_to(&summary, told, [unwritten, json.err()])?;
    if interrupted.load(Ordering::Relaxed) && summary.failed == 0 {
        // Nobody takes the part that was run for the whole.
        note("stopped before the end");
        std::process::exit(INTERRUPTED);
    }
    Ok(good)
}

fn write_json(path: &Path, summary: &Summary) -> Result<(), String> {
    write(path, &serde_json::to_string_pretty(summary).map_err(|error| error.to_string())?)
}

/// What a swarm came to, when it is also told what of it could not be written: a guarantee that was broken counts for
/// more.
fn came_to(
    summary: &Summary,
    told: Result<bool, String>,
    unwritten: [Option<String>; 2],
) -> Result<bool, String> {
    let (told, untold) = told.map_or_else(|why| (false, Some(why)), |good| (good, None));
    let why: Vec<String> = unwritten.into_iter().chain([untold]).flatten().collect();
    match why.is_empty() {
        true => Ok(told),
        false if summary.failed == 0 => Err(why.join("\n")),
        false => {
            note(why.join("\n"));
            Ok(false)
        }
    }
}

/// Whether to come to an end: then the runs under way are the last, and what there is is told. Who can't
/// wait for that asks again.
fn stop_on_ctrl_c() -> Result<Arc<AtomicBool>, String> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&interrupted);
    let handler = ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED);
        }
    });
    handler.map_err(|error| format!("Ctrl-C can't be listened for: {error}"))?;
    Ok(interrupted)
}

/// Tells of a failure while the others run.
fn tell(failure: &Outcome, nth: u64, written: bool) {
    // Whether anybody reads this is found out at the end.
    if nth < TOLD {
        let _ = say(format_args!("seed {}: {}", failure.seed, verdict(failure)));
        let _ = say(failures::commands(failure, "failure.toml", "failure.html"));
    }
    if nth == TOLD {
        let more = if written { "" } else { "; `--out DIR` writes down the first hundred" };
        let _ = say(format_args!("more failures are counted, and not told one by one{more}"));
    }
}

impl SwarmArgs {
    /// What the arguments ask for, or why they ask for nothing.
    fn swarm(&self, on: On) -> Result<Swarm, String> {
        if self.require_marks && on != On::Queue {
            return Err(format!("--require-marks: no rare choice is forced on {}", on.name()));
        }
        let (first, end) = self.range()?;
        let shard = match &self.shard {
            Some(shard) => match parse_pair(shard, "/", "--shard I/N")? {
                (i, n) if (1..=n).contains(&i) && n <= 1_000_000 => (i - 1, n),
                _ => {
                    return Err(format!(
                        "--shard {shard}: I must be from 1 to N, N at most 1000000"
                    ));
                }
            },
            None => (0, 1),
        };
        let jobs = match self.jobs {
            Some(jobs) if !(1..=1024).contains(&jobs) => {
                return Err(format!("--jobs {jobs}: it must be from 1 to 1024"));
            }
            Some(jobs) => jobs,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let time = match self.minutes {
            // A year; nothing that a clock can't hold.
            Some(minutes) if !(minutes > 0.0 && minutes <= 525_600.0) => {
                return Err(format!("--minutes {minutes}: it must be more than 0, at most 525600"));
            }
            minutes => minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0)),
        };
        let swarm = Swarm { first, end, shard, time, jobs, on };
        if swarm.seeds() == Some(0) {
            return Err("no seed of the range is in this shard".to_owned());
        }
        Ok(swarm)
    }

    /// The first seed, and the one after the last if there is a last.
    fn range(&self) -> Result<(u64, Option<u64>), String> {
        let Some(range) = &self.seeds else {
            let why =
                "say which seeds to run (--seeds A..B), or for how long (--minutes M), or both";
            return if self.minutes.is_some() { Ok((0, None)) } else { Err(why.to_owned()) };
        };
        if let Some(first) = range.strip_suffix("..")
            && let Ok(first) = first.parse::<u64>()
        {
            return match self.minutes {
                _ if first > LARGEST_SEED => {
                    Err(format!("--seeds {range}: A must be at most {LARGEST_SEED}"))
                }
                None => Err(format!("--seeds {range} has no end: say for how long (--minutes M)")),
                Some(_) => Ok((first, None)),
            };
        }
        match parse_pair(range, "..", "--seeds A..B")? {
            (a, b) if a >= b => {
                Err(format!("--seeds {range}: there is no seed in it; A must be less than B"))
            }
            (_, b) if b > LARGEST_SEED => {
                Err(format!("--seeds {range}: B must be at most {LARGEST_SEED}"))
            }
            (a, b) => Ok((a, Some(b))),
        }
    }
}

fn report(
    summary: &Summary,
    swarm: &Swarm,
    args: &SwarmArgs,
    written: &str,
) -> Result<bool, String> {
    say(format_args!(
        "{} runs on {} of {:.1} simulated s, {} failed; {} events, {} messages, each encoded and decoded",
        summary.runs,
        summary.harness.name(),
        summary.simulated_s_per_run,
        summary.failed,
        summary.events,
        summary.messages,
    ))?;
    if swarm.time.is_some() && summary.runs > 0 {
        let last = swarm.first + summary.runs * swarm.shard.1;
        let shard = args.shard.as_ref().map(|shard| format!(" --shard {shard}"));
        say(format_args!(
            "the same again: {CALL} swarm --seeds {}..{last}{}{}",
            swarm.first,
            super::place::option(swarm.on),
            shard.unwrap_or_default()
        ))?;
    }
    say(format_args!(
        "per core: {:.0} messages/s, {:.0} runs/h, {:.0} simulated minutes/h",
        summary.messages_per_s_and_core,
        summary.runs_per_hour_and_core,
        summary.minutes_per_hour_and_core
    ))?;
    for (guarantee, count) in &summary.looked {
        say(format_args!("  {guarantee} looked at {count}"))?;
    }
    for (rule, Hits { hits, seeds }) in &summary.rules {
        say(format_args!("  rule {rule}: {hits} in {seeds} runs"))?;
    }
    for (name, count) in &summary.coverage {
        say(format_args!("  {name}: {count}"))?;
    }
    for (what, all) in [("mark", &summary.marks), ("forced", &summary.forced)] {
        for (name, Hits { hits, seeds }) in all {
            say(format_args!("  {what} {name}: {hits} in {seeds} runs"))?;
        }
    }
    let missing = if args.require_marks { summary.missing() } else { Vec::new() };
    if !missing.is_empty() {
        let judged = if summary.cut_short { " (not judged, for time was up)" } else { "" };
        say(format_args!(
            "Marks never hit, or choices never forced{judged}: {}",
            missing.join(", ")
        ))?;
    }
    tell_unused(summary)?;
    if summary.undecided > 0 {
        say(format_args!(
            "{} runs undecided: the machine was too slow for them",
            summary.undecided
        ))?;
    }
    if summary.failed > 0 && !written.is_empty() {
        say(written)?;
    }
    let judge_marks = args.require_marks && !(summary.cut_short && args.may_be_cut_short);
    let good = summary.good(judge_marks);
    say(last_line(summary, judge_marks, swarm.seeds()))?;
    Ok(good)
}

/// Says what had nothing to look at.
fn tell_unused(summary: &Summary) -> Result<(), String> {
    let blind = summary.blind();
    if !blind.is_empty() {
        say(format_args!("Checks that had nothing to look at: {}", blind.join(", ")))?;
    }
    let unused = summary.unused_checks();
    if !unused.is_empty() && blind.is_empty() {
        say(format_args!(
            "Checks that had nothing to look at, as is usual in so few runs: {}",
            unused.join(", ")
        ))?;
    }
    let unused = summary.unused_rules();
    if !unused.is_empty() && summary.harness != On::Queue {
        say(format_args!("Rules that had nothing to look at: {}", unused.join("; ")))?;
    } else if !unused.is_empty() && summary.runs < RULES_FROM {
        say(format_args!(
            "Rules that had nothing to look at, as is usual in fewer than {RULES_FROM} runs: {}",
            unused.join("; ")
        ))?;
    }
    Ok(())
}

/// What it came to, where it is looked for first: in the last line.
fn last_line(summary: &Summary, judge_marks: bool, asked: Option<u64>) -> String {
    let asked = asked.unwrap_or(0);
    let missed = asked.saturating_sub(summary.runs);
    match (summary.good(judge_marks), summary.failed) {
        (true, _) if summary.cut_short => format!(
            "All guarantees held in all of {} runs, but TIME WAS UP: {missed} more were not run.",
            summary.runs
        ),
        (true, _) => format!("All guarantees held in all of {} runs.", summary.runs),
        (false, 0) if summary.runs == 0 => "NOTHING WAS RUN: time was up.".to_owned(),
        (false, 0) if summary.undecided > 0 => {
            format!(
                "UNDECIDED: {} of {} runs; no guarantee was broken.",
                summary.undecided, summary.runs
            )
        }
        (false, 0) if judge_marks && summary.cut_short => format!(
            "No guarantee was broken, but marks could not be judged, for time was up: {} of {asked} seeds were run.",
            summary.runs
        ),
        (false, 0) => "No guarantee was broken, but not everything was looked at: see above. More \
                       seeds look at more."
            .to_owned(),
        (false, failed) => format!("FAILED: {failed} of {} runs.", summary.runs),
    }
}

fn parse_pair(text: &str, between: &str, usage: &str) -> Result<(u64, u64), String> {
    let pair = text.split_once(between).and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    pair.ok_or_else(|| format!("`{text}` is not of the form {usage}, with whole numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swarm_with_failures_ends_with_how_many_there_were() {
        let summary = Summary { runs: 9, failed: 2, ..Summary::default() };
        assert_eq!(last_line(&summary, false, None), "FAILED: 2 of 9 runs.");
    }

    #[test]
    fn a_swarm_whose_time_was_up_says_how_many_were_not_run_and_one_that_ran_nothing_is_not_good() {
        let mut summary = Summary { runs: 9, cut_short: true, ..Summary::default() };
        let said = last_line(&summary, false, Some(12));
        assert!(
            said.ends_with("in all of 9 runs, but TIME WAS UP: 3 more were not run."),
            "{said}"
        );
        let said = last_line(&summary, true, Some(12));
        assert!(
            said.ends_with("could not be judged, for time was up: 9 of 12 seeds were run."),
            "{said}"
        );
        summary.runs = 0;
        let said = last_line(&summary, true, Some(12));
        assert_eq!(said, "NOTHING WAS RUN: time was up.");
    }

    #[test]
    fn what_can_not_be_written_never_hides_a_broken_guarantee() {
        let full = || [Some("the disk is full".to_owned()), None];
        let held = Summary { runs: 9, ..Summary::default() };
        let broken = Summary { failed: 2, ..held.clone() };
        assert_eq!(came_to(&held, Ok(true), [None, None]), Ok(true));
        assert_eq!(came_to(&held, Ok(true), full()), Err("the disk is full".to_owned()));
        assert_eq!(came_to(&broken, Ok(false), full()), Ok(false));
        assert_eq!(came_to(&broken, Err("no output".to_owned()), [None, None]), Ok(false));
    }
}
