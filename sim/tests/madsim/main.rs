//! The adapter that ships, on madsim: the very source of `runtime-tokio`, in virtual time, with tasks in any
//! order and streams that go on after partitions. Madsim is only in builds of its own: the ordinary one has
//! them made, and fails if anything of them is missing.

#[cfg(not(madsim))]
mod outside;

#[cfg(madsim)]
#[path = "../simulated/farm.rs"]
mod farm;
#[cfg(madsim)]
#[path = "../simulated/faults.rs"]
mod faults;
#[cfg(madsim)]
mod net;
#[cfg(madsim)]
mod scenarios;
#[cfg(madsim)]
#[path = "../simulated/stories.rs"]
mod stories;
