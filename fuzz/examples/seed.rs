//! Writes libFuzzer's first corpus: drawn commands for `decode`, drawn scripts for `engine`.
//!
//! `cargo run --manifest-path fuzz/Cargo.toml --example seed`

use std::path::Path;
use std::{fs, io};

use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

#[path = "../tests/drawn/mod.rs"]
mod drawn;

const FILES: usize = 500;

fn main() -> io::Result<()> {
    let mut runner = TestRunner::deterministic();
    let command = drawn::common::commands::command().prop_map(|command| drawn::encoded(&command));
    write("decode", &command, &mut runner)?;
    let script = vec(drawn::step(), 1..40).prop_map(|steps| drawn::script(&steps));
    write("engine", &script, &mut runner)
}

fn write(
    target: &str,
    strategy: &impl Strategy<Value = Vec<u8>>,
    runner: &mut TestRunner,
) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    for number in 0..FILES {
        let bytes = strategy.new_tree(runner).map_err(|e| io::Error::other(e.to_string()))?;
        fs::write(folder.join(format!("drawn-{number}")), bytes.current())?;
    }
    Ok(())
}
