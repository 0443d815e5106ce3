//! The protocol's stories, one file per conversation, told on the simulated farm.

mod common;
mod lookup;
mod repair;
mod write;
