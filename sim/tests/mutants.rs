//! The bugs of the scorecard fit the source as it is.

use std::path::Path;
use std::process::Command;

#[test]
fn every_bug_of_the_scorecard_has_its_place_in_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(env!("CARGO_BIN_EXE_mutants"))
        .args(["--check", "--root"])
        .arg(&root)
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
