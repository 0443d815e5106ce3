//! Runs on madsim, in a program of its own: built when it is asked for, unless it is built already.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use grapevine_sim::{FOR_MADSIM, cargo_for_madsim};

use super::{INTERRUPTED, note};

/// Runs this very call again in a program that has madsim.
pub(crate) fn call() -> Result<bool, String> {
    if std::env::var_os(FOR_MADSIM).is_some() {
        return Err(
            "this program was built for madsim, and without it: `--cfg madsim` was lost".into()
        );
    }
    let program = build()?;
    // Who stops it means the other program: it tells what there is, and this one waits for that.
    ctrlc::set_handler(|| {}).map_err(|error| format!("Ctrl-C can't be listened for: {error}"))?;
    let mut run = Command::new(&program);
    let ended = run.args(std::env::args_os().skip(1)).env(FOR_MADSIM, "1").status();
    let ended = ended.map_err(|error| format!("{}: {error}", program.display()))?;
    match ended.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        // It has said why.
        Some(2) => Err("madsim ran nothing".into()),
        Some(INTERRUPTED) => std::process::exit(INTERRUPTED),
        _ => Err(format!("the run on madsim ended by itself: {ended}")),
    }
}

fn build() -> Result<PathBuf, String> {
    let mut cargo = cargo_for_madsim("build");
    cargo.args(["--quiet", "--bin", "grapevine-sim"]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    note("Building for madsim: the first time it takes a minute or two.");
    let built = cargo.stderr(Stdio::inherit()).output();
    let built = built
        .map_err(|error| format!("madsim needs cargo and the source, to build with it: {error}"))?;
    if !built.status.success() {
        return Err(format!("the build for madsim failed: {}", built.status));
    }
    let lines = built.stdout.split(|&byte| byte == b'\n');
    let mut told = lines.filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    let program = told.find_map(|told| told["executable"].as_str().map(PathBuf::from));
    program.ok_or_else(|| "the build for madsim made no program".into())
}
