//! The rules, one file per conversation, with both halves in it: the side that sends a command and
//! the side that gets it.

pub(crate) mod acknowledge;
pub(crate) mod boot;
pub(crate) mod clocks;
pub(crate) mod expiry;
pub(crate) mod gone;
pub(crate) mod heartbeat;
pub(crate) mod isolation;
pub(crate) mod joining;
pub(crate) mod leave;
pub(crate) mod limits;
pub(crate) mod links;
pub(crate) mod lookup;
pub(crate) mod membership;
mod places;
pub(crate) mod repair;
pub(crate) mod revoke;
pub(crate) mod rotate;
pub(crate) mod serve;
mod silence;
pub(crate) mod sources;
#[cfg(test)]
mod testing;
pub(crate) mod verify;
pub(crate) mod write;
