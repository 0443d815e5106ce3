//! The adapter that ships, on turmoil: the very source of `runtime-tokio`, in virtual time, with what no
//! scenario file can say. The others are run by `tests/harness.rs`.

#[path = "../simulated/farm.rs"]
mod farm;
mod net;
#[path = "../simulated/stories.rs"]
mod stories;
