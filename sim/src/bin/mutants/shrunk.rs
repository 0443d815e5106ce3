//! What becomes of the first failure of a bug: it is replayed, shrunk and drawn by the very commands that the
//! swarm wrote down, as somebody would who finds them there.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use grapevine_sim::Scenario;

/// How those commands begin. What they call is the program with the bug in it.
const CALL: &str = "cargo run --release -p grapevine-sim -- ";
/// Where the swarm writes its failures, within the folder of this program's work.
pub(crate) const FAILURES: &str = "failures";

/// A failure that was shrunk.
pub(crate) struct Shrunk {
    /// Faults and requests that are left.
    pub(crate) left: usize,
    /// What `shrink` said it came to.
    pub(crate) said: String,
    /// Seconds that it took.
    pub(crate) seconds: f64,
}

/// A program with a bug in it, and the folder that it is called in.
pub(crate) struct Broken<'a> {
    pub(crate) program: &'a Path,
    pub(crate) work: &'a Path,
}

impl Broken<'_> {
    /// Replays, shrinks and draws a failure, as the swarm's summary has it. An error says what of that did not
    /// go as it must.
    pub(crate) fn shrink(&self, failure: &serde_json::Value) -> Result<Shrunk, String> {
        let seed = failure["seed"].as_u64().ok_or("the summary names no seed")?;
        let file = |end: &str| self.work.join(FAILURES).join(format!("seed-{seed}{end}"));
        let written = crate::read(&file(".txt"))?;
        let replay = command(&written, "Replay it:")?;
        let scenario = format!("run --scenario {FAILURES}/seed-{seed}.toml");
        for call in [replay, &scenario] {
            let run = self.replayed(call)?;
            alike(call, "trace_hash", &run, failure)?;
            alike(call, "broken", &run, failure)?;
        }
        drawn(&file(".html"), failure)?;
        let started = Instant::now();
        // As long as it takes: what is left must not depend on how fast the machine is.
        let call = format!("{} --seconds 3600", command(&written, "Shrink it:")?);
        let shrunk = text(&self.call(&call, 1)?);
        let seconds = started.elapsed().as_secs_f64();
        let small = file("-small.toml");
        let scenario = Scenario::from_toml(&crate::read(&small)?)
            .map_err(|error| format!("{}: {error}", small.display()))?;
        let replay = command(&shrunk, "Replay it:")?;
        let run = self.replayed(replay)?;
        same_guarantee(replay, &run, failure)?;
        // The picture of what is left, and that of the whole run once more.
        let small_page = self.work.join("failure.html");
        for (told, page) in [(&shrunk, &small_page), (&written, &file(".html"))] {
            let _ = std::fs::remove_file(page);
            self.call(command(told, "See it:")?, 1)?;
            drawn(page, failure)?;
        }
        Ok(Shrunk {
            left: scenario.faults.len() + scenario.requests.len(),
            said: shrunk.lines().next().unwrap_or_default().to_owned(),
            seconds,
        })
    }

    /// The JSON of a run that must fail.
    fn replayed(&self, call: &str) -> Result<serde_json::Value, String> {
        let output = self.call(&format!("{call} --json"), 1)?;
        serde_json::from_slice(&output.stdout).map_err(|error| format!("`{call}`: {error}"))
    }

    /// Calls the program, which must end with this exit code.
    fn call(&self, call: &str, code: i32) -> Result<Output, String> {
        let mut command = Command::new(self.program);
        command.args(call.split_whitespace()).current_dir(self.work);
        let output = command.output().map_err(|error| format!("`{call}`: {error}"))?;
        if output.status.code() != Some(code) {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("`{call}` ended with {}, not {code}: {said}", output.status));
        }
        Ok(output)
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The arguments of a command that the simulator told, after this word.
fn command<'a>(told: &'a str, word: &str) -> Result<&'a str, String> {
    let line = told.lines().find_map(|line| line.strip_prefix(word));
    let line = line.ok_or_else(|| format!("no `{word}` in what was told: {told}"))?.trim();
    line.strip_prefix(CALL).ok_or_else(|| format!("`{line}` does not begin with `{CALL}`"))
}

/// Whether a replayed run has what the failure has.
fn alike(
    call: &str,
    what: &str,
    run: &serde_json::Value,
    failure: &serde_json::Value,
) -> Result<(), String> {
    if run[what] == failure[what] && !run[what].is_null() {
        return Ok(());
    }
    Err(format!("`{call}` has {what} {}, and the swarm found {}", run[what], failure[what]))
}

fn same_guarantee(
    call: &str,
    run: &serde_json::Value,
    failure: &serde_json::Value,
) -> Result<(), String> {
    alike(call, "guarantee", &run["broken"], &failure["broken"])
}

/// Whether a page is a whole one and says what is broken.
fn drawn(page: &Path, failure: &serde_json::Value) -> Result<(), String> {
    let text = crate::read(page)?;
    let broken = format!("\"guarantee\":{}", failure["broken"]["guarantee"]);
    for part in [&*broken, "</html>"] {
        if !text.contains(part) {
            return Err(format!("{} has no {part}", page.display()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_is_taken_as_it_was_told_and_one_that_is_missing_is_missed() {
        let told =
            "Seed 3\nReplay it:  cargo run --release -p grapevine-sim -- run --seed 3\nSee it: x";
        assert_eq!(command(told, "Replay it:").as_deref(), Ok("run --seed 3"));
        let why = command(told, "Shrink it:").expect_err("there is none");
        assert!(why.starts_with("no `Shrink it:`"), "{why}");
        let why = command(told, "See it:").expect_err("it calls something else");
        assert!(why.starts_with("`x` does not begin with"), "{why}");
    }

    #[test]
    fn a_replay_that_breaks_something_else_or_nothing_is_told_apart() {
        let failure = json!({ "broken": { "guarantee": "G1" }, "trace_hash": "aa" });
        assert_eq!(same_guarantee("run", &failure, &failure), Ok(()));
        for run in [json!({ "broken": { "guarantee": "G3" } }), json!({ "broken": null })] {
            let why = same_guarantee("run", &run, &failure).expect_err("it is another");
            assert!(why.ends_with("and the swarm found \"G1\""), "{why}");
        }
        let why = alike("run", "trace_hash", &json!({ "trace_hash": "ab" }), &failure);
        assert!(why.is_err_and(|why| why.contains("has trace_hash \"ab\"")));
    }

    #[test]
    fn a_picture_of_another_failure_or_half_a_picture_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let page = folder.path().join("page.html");
        let failure = json!({ "broken": { "guarantee": "G1" } });
        assert!(drawn(&page, &failure).is_err(), "there is no file");
        let pages = [
            (r#"{"guarantee":"G1"}</html>"#, true),
            (r#"{"guarantee":"G10"}</html>"#, false),
            (r#"{"guarantee":"G1"}"#, false),
        ];
        for (text, good) in pages {
            std::fs::write(&page, text).expect("written");
            assert_eq!(drawn(&page, &failure).is_ok(), good, "{text}");
        }
    }
}
