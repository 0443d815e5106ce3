//! The protocol's stories, one file per conversation, told on the simulated farm.

mod acknowledge;
mod boot;
mod common;
mod expiry;
mod full;
mod gone;
mod heartbeat;
mod leave;
mod limits;
mod lookup;
mod membership;
mod places;
mod repair;
mod revoke;
mod rotate;
mod verify;
mod write;
