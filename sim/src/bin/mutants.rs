//! The scorecard: puts one-place bugs into core, one at a time, in a copy of the tree, and counts
//! how many seeds the swarm takes to find each. `sim/mutants/mutants.toml` has them.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use clap::Parser;
use serde::Deserialize;

/// Puts bugs into core, one at a time, and has the swarm look for them. Exit code 0: all found; 1:
/// one was not; 2: wrong use.
#[derive(Parser)]
struct Cli {
    /// Only mutants whose name has this in it.
    #[arg(long, default_value = "")]
    only: String,
    /// Seeds tried at most per mutant.
    #[arg(long, default_value_t = 20_000)]
    seeds: u64,
    /// The root of the source tree.
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// Only check that every mutant fits the source as it is.
    #[arg(long)]
    check: bool,
}

#[derive(Deserialize)]
struct Mutants {
    mutant: Vec<Mutant>,
}

#[derive(Deserialize)]
struct Mutant {
    name: String,
    file: String,
    find: String,
    replace: String,
}

/// What became of a mutant.
enum Fate {
    Found { guarantee: String, seed: u64, seconds: f64 },
    NotFound,
    DoesNotCompile,
}

fn main() -> ExitCode {
    match scorecard(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn scorecard(cli: &Cli) -> Result<bool, String> {
    let list = read(&cli.root.join("sim/mutants/mutants.toml"))?;
    let Mutants { mutant: mutants } = toml::from_str(&list).map_err(|error| error.to_string())?;
    let mut all = true;
    let work = cli.root.join("target/mutants");
    println!("| bug | found by | after seeds | seconds |\n| --- | --- | --- | --- |");
    for mutant in mutants.iter().filter(|mutant| mutant.name.contains(&cli.only)) {
        let source = read(&cli.root.join(&mutant.file))?;
        if source.matches(&mutant.find).count() != 1 {
            let Mutant { name, file, .. } = mutant;
            return Err(format!("mutant `{name}`: its text must stand exactly once in {file}"));
        }
        if cli.check {
            continue;
        }
        let tree = work.join("tree");
        copy(&cli.root, &tree)?;
        let mutated = source.replacen(&mutant.find, &mutant.replace, 1);
        std::fs::write(tree.join(&mutant.file), mutated).map_err(|error| error.to_string())?;
        let fate = hunt(&tree, &work, cli.seeds)?;
        all &= matches!(fate, Fate::Found { .. });
        match fate {
            Fate::Found { guarantee, seed, seconds } => {
                println!("| {} | {guarantee} | {} | {seconds:.1} |", mutant.name, seed + 1);
            }
            Fate::NotFound => println!("| {} | **not found** | {} | |", mutant.name, cli.seeds),
            Fate::DoesNotCompile => println!("| {} | **does not compile** | | |", mutant.name),
        }
    }
    Ok(all)
}

/// Builds the simulator of a tree, and lets it run until the first failure.
fn hunt(tree: &Path, work: &Path, seeds: u64) -> Result<Fate, String> {
    let target = std::path::absolute(work.join("target")).map_err(|error| error.to_string())?;
    let built = Command::new("cargo")
        .args(["build", "--release", "-q", "-p", "grapevine-sim", "--bin", "grapevine-sim"])
        .arg("--no-default-features")
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", "--cap-lints=allow")
        .status()
        .map_err(|error| format!("cargo can't be run: {error}"))?;
    if !built.success() {
        return Ok(Fate::DoesNotCompile);
    }
    let summary = work.join("summary.json");
    let started = Instant::now();
    let mut swarm = Command::new(target.join("release/grapevine-sim"));
    swarm.args(["swarm", "--stop-at-first", "--seeds", &format!("0..{seeds}"), "--json"]);
    let output = swarm.arg(&summary).output().map_err(|error| error.to_string())?;
    let seconds = started.elapsed().as_secs_f64();
    if output.status.code() == Some(2) {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let summary: serde_json::Value =
        serde_json::from_str(&read(&summary)?).map_err(|error| error.to_string())?;
    let Some(failure) = summary["failures"].get(0) else { return Ok(Fate::NotFound) };
    let guarantee = failure["broken"]["guarantee"].as_str().unwrap_or("?").to_owned();
    let seed = failure["seed"].as_u64().unwrap_or(0);
    Ok(Fate::Found { guarantee, seed, seconds })
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Copies the source tree, without what was built. Files that are the same stay as they are, so
/// that only what differs is built again; files that are no more are removed.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("{}: {error}", from.display());
    std::fs::create_dir_all(to).map_err(fail)?;
    for entry in std::fs::read_dir(to).map_err(fail)? {
        let there = entry.map_err(fail)?.path();
        if !from.join(there.file_name().unwrap_or_default()).exists() {
            let gone = if there.is_dir() { std::fs::remove_dir_all } else { std::fs::remove_file };
            gone(&there).map_err(fail)?;
        }
    }
    for entry in std::fs::read_dir(from).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let (name, path) = (entry.file_name(), entry.path());
        if name == "target" || name == ".git" {
            continue;
        }
        let there = to.join(&name);
        if path.is_dir() {
            copy(&path, &there)?;
        } else if std::fs::read(&path).ok() != std::fs::read(&there).ok() {
            std::fs::copy(&path, &there).map_err(fail)?;
        }
    }
    Ok(())
}
