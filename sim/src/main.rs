//! The simulator's program: one run, many runs, failures one can read, and what the guarantees mean.
#![forbid(unsafe_code)]

mod calls;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

// On madsim the system's: another one would draw from the simulation's entropy where it begins.
#[cfg(all(feature = "allocator", not(madsim)))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    Run(calls::run::RunArgs),
    /// Many runs on all cores.
    Swarm(calls::swarm::SwarmArgs),
    /// The smallest schedule that still breaks the same guarantee. Exit code 1 if there is one; 0 if
    /// nothing is broken, and nothing is written.
    Shrink(calls::shrink::ShrinkArgs),
    /// The run as a picture: one HTML file that needs no network. Exit codes as of `run`.
    Report(calls::report::ReportArgs),
    /// What a guarantee means, where it is checked, its source; or the names of rare choices and
    /// paths.
    Explain {
        /// G1 to G10; `panic`, `undecided`: what else a run can fail by; `rare`: the names of all rare
        /// choices and rare paths. All of the first two, in a line each, if not given.
        name: Option<String>,
    },
    /// One server of a run on sockets. Such runs start it, and nobody else.
    #[cfg(all(unix, feature = "sockets"))]
    #[command(hide = true)]
    ServeARun,
}

fn main() -> ExitCode {
    grapevine_sim::hush_runs();
    let done = match Cli::parse().call {
        Call::Run(args) => calls::run::call(&args),
        Call::Swarm(args) => calls::swarm::call(&args),
        Call::Shrink(args) => calls::shrink::call(&args),
        Call::Report(args) => calls::report::call(&args),
        Call::Explain { name } => calls::explain::call(name.as_deref()),
        #[cfg(all(unix, feature = "sockets"))]
        Call::ServeARun => grapevine_sim::serve_a_run(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            calls::note(why);
            ExitCode::from(2)
        }
    }
}
