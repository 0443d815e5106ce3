//! What Grapevine's benchmarks are made of. Times differ from machine to machine and from hour to
//! hour; so every figure stands beside a *floor*, the least that the same work could cost, measured
//! in the same run, and what counts is the ratio of the two. `docs/performance.md` has the figures.
#![forbid(unsafe_code)]

pub mod cpu;
pub mod farm;
pub mod floor;
pub mod lab;
pub mod work;
