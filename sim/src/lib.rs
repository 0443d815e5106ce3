//! Many engines on one event queue, in virtual time: no async, no sockets, no wall clock. One seed
//! gives one run, byte for byte.
//!
//! ```
//! use core::time::Duration;
//! use grapevine_core::{Create, Farm, Request};
//! use grapevine_sim::World;
//!
//! let mut world = World::new(7, Farm::default());
//! world.run_for(Duration::from_secs(5));
//! let served = world.ask(0, Request::Create(Create::default())).unwrap();
//! world.run_for(Duration::from_secs(1));
//! assert!(world.differences().is_empty());
//! # let _ = served;
//! ```
#![forbid(unsafe_code)]

mod checks;
mod claims;
mod coins;
mod coverage;
mod draw;
#[cfg_attr(
    not(any(feature = "turmoil", feature = "sockets", madsim)),
    allow(dead_code, unused_variables)
)]
mod harness;
#[cfg(madsim)]
pub mod madsim;
mod model;
mod named;
mod network;
mod on_madsim;
mod rare;
mod report;
mod run;
mod scenario;
mod shop;
mod shrink;
mod swarm;
mod trace;
mod traffic;
#[cfg(feature = "turmoil")]
pub mod turmoil;
mod world;

pub use checks::{About, guarantees};
pub use harness::On;
#[cfg(all(unix, feature = "sockets"))]
#[doc(hidden)]
pub use harness::serve_a_run;
pub use network::{Link, Network};
pub use on_madsim::{FOR_MADSIM, cargo_for_madsim};
pub use rare::rare_page;
pub use report::{LARGEST, report};
pub use run::{Broken, CONVERGED_AFTER_BEATS, Outcome, Run, SERVED_AFTER_BEATS};
pub use scenario::{
    Buggify, Delay, FIELDS, FarmAcks, Fault, Field, Heal, Kind, Limits, Links, Memory, OwnDelay,
    Scenario, ScenarioError, Scripted, Timed, Workload,
};
pub use shrink::{Effort, Progress, Shrunk, Tries, script, shrink, shrink_first};
pub use swarm::{
    Hits, LARGEST_SEED, RULES_FROM, Step, Summary, Swarm, hush_runs, run_against, run_in_steps,
    run_on, run_scenario, run_twice,
};
pub use trace::Record;
pub use world::{START, World};
