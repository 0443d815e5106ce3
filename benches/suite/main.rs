//! All benchmarks but the simulator's in one program, so that one table can hold them together.
//!
//! `cargo bench -p grapevine-benches` measures, about five minutes long; a word after `--` picks
//! those that have it in their names; `-- --test` runs each only once, to see that it works.
#![forbid(unsafe_code)]

use std::path::Path;

use grapevine_benches::lab::Lab;

mod catch_up;
mod codec;
mod merge;
mod read;
mod step;
mod updates;

fn main() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("criterion");
    let mut lab = Lab::new(target);
    merge::run(&mut lab);
    codec::run(&mut lab);
    step::run(&mut lab);
    read::run(&mut lab);
    updates::run(&mut lab);
    catch_up::run(&mut lab);
    lab.finish();
}
