//! The `grapevine` program: one server of a farm with its HTTP interface, and a demo that runs a
//! whole farm on this machine.
#![forbid(unsafe_code)]

mod cli;
mod config;
mod demo;

mod http;
mod serve;
mod signals;
mod verify;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command, ServeArgs};

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("the async runtime could not start: {error}")),
    };
    let outcome = match Cli::parse().command {
        Command::Serve(args) => runtime.block_on(run_server(args)),
        Command::Demo(args) => runtime.block_on(demo::run(args)),
        Command::Verify(args) => runtime.block_on(verify::run(args)),
    };
    // A task that hangs must not keep the program from ending.
    runtime.shutdown_background();
    outcome
}

async fn run_server(args: ServeArgs) -> ExitCode {
    let stop_with_stdin = args.stop_with_stdin;
    let options = match config::load(args) {
        Ok(options) => options,
        Err(error) => return failed(&error.to_string()),
    };
    if let Err(error) = serve::log_to_stderr(&options.log) {
        return failed(&error);
    }
    match serve::run(options, stop_with_stdin).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(why: &str) -> ExitCode {
    // Whoever has closed standard error gets the exit code all the same.
    let _unread = writeln!(std::io::stderr(), "grapevine: {why}");
    ExitCode::FAILURE
}
