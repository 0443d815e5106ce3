//! The scorecard: puts one-place bugs into core, one at a time, in a copy of the tree, and counts
//! how many seeds the swarm takes to find each. `sim/mutants/mutants.toml` has them.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use clap::Parser;
use serde::Deserialize;

mod shrunk;

use shrunk::{Broken, FAILURES, Shrunk};

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
    /// Replay, shrink and draw the first failure of each too, by the commands that the swarm writes. It counts as
    /// found only if so many faults and requests, or fewer, still break the same guarantee.
    #[arg(long, value_name = "N")]
    shrink: Option<usize>,
    /// Build without optimisation: for bugs that the first seeds find, for there it is the building that takes long.
    #[arg(long)]
    quick: bool,
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
    Found { guarantee: String, seed: u64, seconds: f64, shrunk: Option<Result<Shrunk, String>> },
    NotFound,
    DoesNotCompile,
}

impl Fate {
    /// Whether it was found, and is as small as it must be when it was shrunk.
    fn good(&self, at_most: Option<usize>) -> bool {
        match self {
            Self::Found { shrunk: None, .. } => true,
            Self::Found { shrunk: Some(Ok(shrunk)), .. } => {
                at_most.is_none_or(|most| shrunk.left <= most)
            }
            _ => false,
        }
    }

    /// Its row of the table.
    fn row(&self, name: &str, cli: &Cli) -> String {
        match self {
            Self::Found { guarantee, seed, seconds, shrunk } => {
                let found = format!("| {name} | {guarantee} | {} | {seconds:.1} |", seed + 1);
                let more = match shrunk {
                    None => String::new(),
                    Some(Ok(Shrunk { left, said, seconds })) if self.good(cli.shrink) => {
                        format!(" {left} | {seconds:.1} | {said} |")
                    }
                    Some(Ok(Shrunk { left, said, seconds })) => {
                        format!(" **{left}: too many** | {seconds:.1} | {said} |")
                    }
                    Some(Err(why)) => format!(" | | **{why}** |"),
                };
                found + &more
            }
            Self::NotFound => format!("| {name} | **not found** | {} | |", cli.seeds),
            Self::DoesNotCompile => format!("| {name} | **does not compile** | | |"),
        }
    }
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
    let mutants: Vec<Mutant> =
        mutants.into_iter().filter(|mutant| mutant.name.contains(&cli.only)).collect();
    if mutants.is_empty() {
        let only = &cli.only;
        return Err(format!(
            "--only {only:?}: there is no such bug; it must be a part of a name in sim/mutants/mutants.toml"
        ));
    }
    let mut all = true;
    let work = cli.root.join("target/mutants");
    let more = if cli.shrink.is_some() {
        [" faults and requests left | seconds | what `shrink` said |", " --- | --- | --- |"]
    } else {
        ["", ""]
    };
    println!("| bug | found by | after seeds | seconds |{}", more[0]);
    println!("| --- | --- | --- | --- |{}", more[1]);
    for mutant in &mutants {
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
        let fate = hunt(&tree, &work, cli)?;
        all &= fate.good(cli.shrink);
        println!("{}", fate.row(&mutant.name, cli));
    }
    Ok(all)
}

/// Builds the simulator of a tree, and lets it run until the first failure.
fn hunt(tree: &Path, work: &Path, cli: &Cli) -> Result<Fate, String> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(|error| error.to_string());
    let (work, target) = (&absolute(work)?, absolute(&work.join("target"))?);
    let profile = if cli.quick { "quick" } else { "release" };
    let built = Command::new("cargo")
        .args([
            "build",
            "-q",
            "-p",
            "grapevine-sim",
            "--bin",
            "grapevine-sim",
            "--profile",
            profile,
        ])
        .arg("--no-default-features")
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", "--cap-lints=allow")
        .status()
        .map_err(|error| format!("cargo can't be run: {error}"))?;
    if !built.success() {
        return Ok(Fate::DoesNotCompile);
    }
    let program = target.join(profile).join("grapevine-sim");
    let (summary, failures) = (work.join("summary.json"), work.join(FAILURES));
    if failures.exists() {
        std::fs::remove_dir_all(&failures)
            .map_err(|error| format!("{}: {error}", failures.display()))?;
    }
    let started = Instant::now();
    let mut swarm = Command::new(&program);
    swarm.args(["swarm", "--stop-at-first", "--seeds", &format!("0..{}", cli.seeds), "--json"]);
    swarm.arg(&summary).current_dir(work);
    if cli.shrink.is_some() {
        swarm.args(["--out", FAILURES]);
    }
    let output = swarm.output().map_err(|error| error.to_string())?;
    let seconds = started.elapsed().as_secs_f64();
    if output.status.code() == Some(2) {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let summary: serde_json::Value =
        serde_json::from_str(&read(&summary)?).map_err(|error| error.to_string())?;
    let Some(failure) = summary["failures"].get(0) else { return Ok(Fate::NotFound) };
    let guarantee = failure["broken"]["guarantee"].as_str().unwrap_or("?").to_owned();
    let seed = failure["seed"].as_u64().unwrap_or(0);
    let broken = Broken { program: &program, work };
    let shrunk = cli.shrink.map(|_| broken.shrink(failure));
    Ok(Fate::Found { guarantee, seed, seconds, shrunk })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_that_is_found_but_stays_large_or_can_not_be_replayed_is_not_good() {
        let cli = Cli::parse_from(["mutants", "--shrink", "10"]);
        let fate = |shrunk| Fate::Found {
            guarantee: "G1".to_owned(),
            seed: 0,
            seconds: 0.1,
            shrunk: Some(shrunk),
        };
        let left = |left| fate(Ok(Shrunk { left, said: "so".to_owned(), seconds: 2.0 }));
        let cases = [
            (left(10), true, "| x | G1 | 1 | 0.1 | 10 | 2.0 | so |"),
            (left(11), false, "| x | G1 | 1 | 0.1 | **11: too many** | 2.0 | so |"),
            (fate(Err("no page".to_owned())), false, "| x | G1 | 1 | 0.1 | | | **no page** |"),
            (Fate::NotFound, false, "| x | **not found** | 20000 | |"),
        ];
        for (fate, good, row) in cases {
            assert_eq!((fate.good(cli.shrink), fate.row("x", &cli).as_str()), (good, row));
        }
    }
}
