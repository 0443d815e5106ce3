//! The adapter that ships, on turmoil: the very source of `runtime-tokio`, in virtual time, with what no
//! scenario file can say. The others are run by `tests/harness.rs`.

mod farm;
mod stories;
