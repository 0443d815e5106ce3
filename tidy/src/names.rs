//! Names and words that must not be in the tree, each with the reason.

use crate::{File, root, tokens};

/// Where a rule looks.
type Place = fn(&str) -> bool;

/// Names in Rust code, as tokens: comments may speak of them.
const NAMES: &[(&str, Place, &str)] = &[
    ("unsafe", not_the_proof, "memory safety is the compiler's business"),
    ("HashMap", deterministic, "its order differs from run to run (G9); use a BTreeMap"),
    ("HashSet", deterministic, "its order differs from run to run (G9); use a BTreeSet"),
    ("RandomState", deterministic, "it differs from run to run (G9)"),
    ("SystemTime", without_clock, "time is handed in (G9)"),
    ("Instant", without_clock, "time is handed in (G9)"),
    ("unimplemented", everywhere, "unfinished"),
    ("todo", everywhere, "unfinished"),
    ("dbg", everywhere, "left over from debugging"),
];

fn everywhere(_: &str) -> bool {
    true
}

fn not_the_proof(path: &str) -> bool {
    !path.starts_with("core/no-std-proof/")
}

fn deterministic(path: &str) -> bool {
    path.starts_with("core/src/") || path.starts_with("sim/")
}

/// The simulator's stopwatches say how long runs took; no run depends on them. And on real sockets time is real.
fn without_clock(path: &str) -> bool {
    let stopwatch = ["sim/src/run.rs", "sim/src/shrink.rs", "sim/src/swarm.rs"].contains(&path);
    let real = ["sim/src/harness/sockets/", "sim/tests/sockets.rs", "sim/src/bin/"];
    deterministic(path) && !stopwatch && !real.iter().any(|real| path.starts_with(real))
}

/// Texts in any file. Written in two parts, so that this file doesn't have them.
const TEXTS: &[(&str, &str)] = &[
    (concat!("FIX", "ME"), "unfinished"),
    (concat!("#[ign", "ore"), "a test that doesn't run shows nothing"),
    (concat!("```ign", "ore"), "an example that isn't compiled goes stale"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("/Us", "ers/"), "a path of one machine"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/tm", "p/"), "a path of one machine; tests use fresh folders"),
];

/// Uses of what must not be used. `own` is where this tree lies: no file may say so.
pub fn check(files: &[File], own: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !file.path.ends_with("Cargo.lock")) {
        for (number, line) in file.text.lines().enumerate() {
            let mut banned: Vec<_> =
                TEXTS.iter().filter(|(text, _)| line.contains(text)).copied().collect();
            if own.len() > 1 && line.contains(own) {
                banned.push((own, "where this copy of the tree lies"));
            }
            for (text, why) in banned {
                findings.push(format!("{}:{}: `{text}`: {why}", file.path, number + 1));
            }
        }
        if file.is_rust() {
            tokens::identifiers(&file.text, &mut |name, line| {
                let here = |rule: &&(&str, Place, &str)| rule.0 == name && rule.1(&file.path);
                if let Some((_, _, why)) = NAMES.iter().find(here) {
                    findings.push(format!("{}:{line}: `{name}`: {why}", file.path));
                }
            });
        }
    }
    findings
}

/// Where this tree lies.
pub fn own_place() -> String {
    root().display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{none, tree};

    #[test]
    fn no_file_has_a_name_that_must_not_be_used() {
        none(check(&tree(), &own_place()));
    }

    #[test]
    fn banned_names_are_found_where_they_are_banned() {
        let code =
            "use std::collections::HashMap; // HashSet is only spoken of\nfn f() { todo!() }";
        let found = |path| check(&[File::new(path, code)], "/x/grapevine").len();
        assert_eq!(found("core/src/a.rs"), 2);
        assert_eq!(found("sim/tests/a.rs"), 2);
        assert_eq!(found("node/src/a.rs"), 1, "maps that hash are fine outside");
        assert_eq!(check(&[File::new("node/src/a.rs", "unsafe fn f() {}")], "/x").len(), 1);
        assert_eq!(check(&[File::new("core/no-std-proof/src/lib.rs", "unsafe {}")], "/x").len(), 0);
    }

    #[test]
    fn every_banned_text_is_found_with_its_line() {
        for (text, why) in TEXTS {
            let file = File::new("docs/a.md", &format!("fine\nsee {text}x"));
            assert_eq!(check(&[file], "/elsewhere"), [format!("docs/a.md:2: `{text}`: {why}")]);
        }
        let file = File::new("docs/a.md", "cd /x/grapevine");
        assert_eq!(check(&[file], "/x/grapevine").len(), 1, "where this tree lies");
    }
}
