//! The program as its users meet it: real processes, real sockets, a real HTTP client.
#![allow(missing_docs, reason = "test names tell what they show")]

mod cookie;
mod cut_off;
mod demo;
mod ends;
mod expirations;
mod farm;
mod faults;
mod floods;
mod input;
mod page;
mod principals;
mod sessions;
mod start;
mod verify;
