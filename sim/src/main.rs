//! The simulator's program: one run, many runs, and what the guarantees mean.
#![forbid(unsafe_code)]

mod calls;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use grapevine_core::Timestamp;
use grapevine_sim::{
    Hits, On, Outcome, Run, Scenario, Summary, Swarm, guarantees, rare_page, run_on,
};
use indicatif::{ProgressBar, ProgressStyle};

/// Of how many failures of a swarm pictures are drawn.
const PICTURES: usize = 10;

/// The largest seed: the largest number of a scenario file.
const LARGEST_SEED: u64 = i64::MAX as u64;

/// Grapevine's simulator: many servers on one event queue, in virtual time, checked against the
/// guarantees G1 to G10 while everything goes wrong. Exit code 0: all held; 1: one was broken; 2:
/// wrong use.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    call: Call,
}

#[derive(Subcommand)]
enum Call {
    /// One run, from a seed or from a scenario file.
    Run(RunArgs),
    /// Many runs on all cores.
    Swarm(SwarmArgs),
    /// The smallest schedule that still breaks the same guarantee. Exit code 1 if there is one; 0 if
    /// nothing is broken, and nothing is written.
    Shrink(calls::ShrinkArgs),
    /// The run as a picture: one HTML file that needs no network. Exit codes as of `run`.
    Report(calls::ReportArgs),
    /// What a guarantee means, where it is checked, its source; or the names of rare choices and
    /// paths.
    Explain {
        /// G1 to G10; or `rare`, for the names of all rare choices and rare paths.
        guarantee: String,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// The seed that draws the scenario.
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=LARGEST_SEED))]
    seed: Option<u64>,
    /// The scenario file.
    #[arg(long)]
    scenario: Option<PathBuf>,
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    source: Source,
    /// What it runs on: engines on one event queue, or the adapter that ships on turmoil's network.
    #[arg(long, value_parser = parse_on, default_value = "queue")]
    on: On,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Write a line per event here: number, time, server, hash so far. The first line that differs
    /// between two traces of one seed is where they part.
    #[arg(long, conflicts_with = "on")]
    trace: Option<PathBuf>,
}

#[derive(Args)]
struct SwarmArgs {
    /// Seeds from A up to, not including, B: `A..B`.
    #[arg(long, required_unless_present = "minutes")]
    seeds: Option<String>,
    /// Run for so many minutes.
    #[arg(long)]
    minutes: Option<f64>,
    /// Threads; all cores if not given.
    #[arg(long)]
    jobs: Option<usize>,
    /// Only the I-th of N parts, from 1: `I/N`.
    #[arg(long)]
    shard: Option<String>,
    /// Write the summary here as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Fail, naming them, if some coverage marks were never hit or some rare choices never forced.
    #[arg(long)]
    require_marks: bool,
    /// Stop at the first failure.
    #[arg(long)]
    stop_at_first: bool,
    /// Write for each failure here: the seed and the commands that replay and shrink it, the
    /// scenario, and the picture (of the first ten).
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    // A run's panic is reported as a broken guarantee.
    std::panic::set_hook(Box::new(|_| {}));
    let done = match Cli::parse().call {
        Call::Run(args) => run(&args),
        Call::Swarm(args) => swarm(&args),
        Call::Shrink(args) => calls::shrink_call(&args),
        Call::Report(args) => calls::report_call(&args),
        Call::Explain { guarantee } => explain(&guarantee),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

impl Source {
    fn scenario(&self) -> Result<Scenario, String> {
        match (&self.scenario, self.seed) {
            (Some(path), _) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("{} can't be read: {error}", path.display()))?;
                Scenario::from_toml(&text).map_err(|error| error.to_string())
            }
            (None, seed) => Ok(Scenario::drawn(seed.unwrap_or(0))),
        }
    }
}

fn run(args: &RunArgs) -> Result<bool, String> {
    let scenario = args.source.scenario()?;
    let outcome = match &args.trace {
        None => run_on(&scenario, args.on),
        Some(path) => {
            let mut run = Run::new(&scenario);
            run.keep_steps();
            let outcome = run.finish();
            let line = |(n, (at, server, hash)): (usize, &(Timestamp, usize, u64))| {
                format!("{n} {} {} {hash:016x}\n", at.as_micros(), server + 1)
            };
            let lines: String = run.world().steps().iter().enumerate().map(line).collect();
            std::fs::write(path, lines).map_err(|error| format!("{}: {error}", path.display()))?;
            outcome
        }
    };
    if args.json {
        println!("{}", serde_json::to_string(&outcome).map_err(|error| error.to_string())?);
    } else {
        println!("{}\n{}", scenario.to_toml(), verdict(&outcome));
    }
    Ok(outcome.broken.is_none())
}

fn parse_on(name: &str) -> Result<On, String> {
    let named = On::ALL.iter().find(|on| on.name() == name);
    let names: Vec<&str> = On::ALL.iter().map(|on| on.name()).collect();
    named.copied().ok_or_else(|| format!("there are: {}", names.join(", ")))
}

fn verdict(outcome: &Outcome) -> String {
    let left_out = outcome.left_out.iter().map(|what| format!("\nNot as in the file: {what}"));
    let figures = format!(
        "{} servers, {} events, {} messages, {:.1} simulated s in {:.3} s on {}; trace {}{}",
        outcome.servers,
        outcome.events,
        outcome.messages,
        outcome.simulated_s,
        outcome.wall_s,
        outcome.harness,
        outcome.trace_hash,
        left_out.collect::<String>()
    );
    match &outcome.broken {
        None => format!("All guarantees held. {figures}"),
        Some(broken) => format!(
            "{} BROKEN at {} s, event {}: {}\n{figures}",
            broken.guarantee, broken.at_s, broken.event, broken.sentence
        ),
    }
}

/// Failures told while a swarm runs; the others are in its files.
const TOLD: u64 = 20;
/// A swarm says how far it is at least so often, in seconds.
const SILENCE_S: u64 = 30;

fn swarm(args: &SwarmArgs) -> Result<bool, String> {
    let swarm = args.swarm()?;
    let end = swarm.end;
    if let Some(folder) = &args.out {
        // Before the runs: nothing is worse than a failure that can't be written down.
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let bar =
        end.map_or_else(ProgressBar::new_spinner, |_| ProgressBar::new(swarm.seeds().unwrap_or(0)));
    let style = "{elapsed_precise} {wide_bar} {pos} runs, {msg}";
    bar.set_style(ProgressStyle::with_template(style).map_err(|error| error.to_string())?);
    let (failed, told) = (AtomicU64::new(0), AtomicU64::new(0));
    let summary = swarm.run(&|outcome| {
        bar.inc(1);
        if outcome.broken.is_some() && failed.fetch_add(1, Ordering::Relaxed) < TOLD {
            bar.suspend(|| println!("seed {}: {}", outcome.seed, verdict(outcome)));
        }
        let failed = failed.load(Ordering::Relaxed);
        bar.set_message(format!("{failed} failed"));
        // Where nobody sees the bar, a line now and then.
        let lines = bar.elapsed().as_secs() / SILENCE_S;
        if bar.is_hidden() && told.fetch_max(lines, Ordering::Relaxed) < lines {
            eprintln!("{} s: {} runs, {failed} failed", lines * SILENCE_S, bar.position());
        }
    });
    bar.finish_and_clear();
    report_swarm(&summary, args)
}

impl SwarmArgs {
    /// What the arguments ask for, or why they ask for nothing.
    fn swarm(&self) -> Result<Swarm, String> {
        let (first, end) = match &self.seeds {
            Some(range) => match parse_pair(range, "..", "--seeds A..B")? {
                (a, b) if a >= b => {
                    return Err(format!(
                        "--seeds {range}: there is no seed in it; A must be less than B"
                    ));
                }
                (_, b) if b > LARGEST_SEED => {
                    return Err(format!("--seeds {range}: B must be at most {LARGEST_SEED}"));
                }
                (a, b) => (a, Some(b)),
            },
            None => (0, None),
        };
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
        let swarm = Swarm { first, end, shard, time, jobs, stop_at_first: self.stop_at_first };
        if swarm.seeds() == Some(0) {
            return Err("no seed of the range is in this shard".to_owned());
        }
        Ok(swarm)
    }
}

fn report_swarm(summary: &Summary, args: &SwarmArgs) -> Result<bool, String> {
    let write = |path: &PathBuf, text: String| {
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    if let Some(path) = &args.json {
        write(path, serde_json::to_string_pretty(summary).map_err(|error| error.to_string())?)?;
    }
    if let Some(folder) = &args.out {
        for (n, failure) in summary.failures.iter().enumerate() {
            calls::save_failure(folder, failure, n < PICTURES)?;
        }
    }
    println!(
        "{} runs of {:.1} simulated s, {} failed; {} events, {} messages, each encoded and decoded",
        summary.runs, summary.simulated_s_per_run, summary.failed, summary.events, summary.messages,
    );
    println!(
        "per core: {:.0} messages/s, {:.0} runs/h, {:.0} simulated minutes/h",
        summary.messages_per_s_and_core,
        summary.runs_per_hour_and_core,
        summary.minutes_per_hour_and_core
    );
    for (guarantee, count) in &summary.looked {
        println!("  {guarantee} looked at {count}");
    }
    for (name, count) in &summary.coverage {
        println!("  {name}: {count}");
    }
    for (what, all) in [("mark", &summary.marks), ("forced", &summary.forced)] {
        for (name, Hits { hits, seeds }) in all {
            println!("  {what} {name}: {hits} in {seeds} runs");
        }
    }
    let missing = if args.require_marks { summary.missing() } else { Vec::new() };
    if !missing.is_empty() {
        println!("Marks never hit, or choices never forced: {}", missing.join(", "));
    }
    let blind = summary.blind();
    if !blind.is_empty() {
        println!("Checks that had nothing to look at: {}", blind.join(", "));
    }
    Ok(summary.good(args.require_marks))
}

fn parse_pair(text: &str, between: &str, usage: &str) -> Result<(u64, u64), String> {
    let pair = text.split_once(between).and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    pair.ok_or_else(|| format!("`{text}` is not of the form {usage}, with whole numbers"))
}

fn explain(name: &str) -> Result<bool, String> {
    if name.eq_ignore_ascii_case("rare") {
        print!("{}", rare_page());
        return Ok(true);
    }
    let all = guarantees();
    let wanted = all.iter().find(|about| about.name.eq_ignore_ascii_case(name));
    let about = wanted.ok_or_else(|| format!("`{name}` is no guarantee; there are G1 to G10"))?;
    println!("{}  {}\n", about.name, about.promise);
    println!("Source:  {}\nRule:    {}\nChecked: {}", about.source, about.rule, about.file);
    if let Some(what) = about.not_applied {
        println!("Not applied yet: {what}");
    }
    Ok(true)
}
