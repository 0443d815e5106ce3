//! The bugs of the scorecard fit the source as it is.

use std::path::Path;
use std::process::Command;

#[test]
fn the_scorecard_has_a_row_with_all_figures_for_every_bug_and_none_besides() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("it is there");
    let list: toml::Table = toml::from_str(&read("mutants/mutants.toml")).expect("TOML");
    let list = list["mutant"].as_array().expect("a list");
    let mut bugs: Vec<&str> =
        list.iter().map(|bug| bug["name"].as_str().expect("a name")).collect();
    let docs = read("../docs/testing.md");
    let (_, table) =
        docs.split_once("| bug | found by | after seeds | seconds |\n").expect("a table");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let mut rows: Vec<Vec<&str>> =
        rows.map(|row| row.split('|').map(str::trim).collect()).collect();
    for row in &rows {
        assert!(
            row[3].parse::<u64>().is_ok_and(|seeds| seeds > 0),
            "{row:?}: after how many seeds"
        );
        assert!(row[4].parse::<f64>().is_ok(), "{row:?}: in how many seconds");
    }
    rows.sort_unstable();
    bugs.sort_unstable();
    assert_eq!(rows.iter().map(|row| row[1]).collect::<Vec<_>>(), bugs);
}

#[test]
fn a_name_that_no_bug_has_is_refused_so_that_no_scorecard_is_empty() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let check = |only: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mutants"));
        command.args(["--check", "--only", only, "--root"]).arg(&root);
        command.output().expect("the program runs")
    };
    let output = check("a bug by no name");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--only \"a bug by no name\": there is no such bug"), "{said}");
    assert!(output.stdout.is_empty(), "a heading without rows");
    assert_eq!(check("a gap is not noticed").status.code(), Some(0));
}

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
