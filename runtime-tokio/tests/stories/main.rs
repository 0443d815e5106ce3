//! Stories of servers on real sockets: what customers and operators see, and what faults do.

mod bad_peers;
mod common;
mod expiry;
mod faults;
mod lost;
mod members;
mod numbers;
mod principals;
mod raw;
mod sharing;
mod verify;
