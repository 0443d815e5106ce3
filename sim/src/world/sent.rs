//! What a server sends: encoded once, and shared by all that get it.

use std::rc::Rc;

use grapevine_core::{Command, Farm, wire};

/// Free places for bytes that are kept.
const KEPT: usize = 64;

/// A command on its way, perhaps to several servers.
#[derive(Debug)]
pub(super) struct Sent {
    name: &'static str,
    bytes: Vec<u8>,
}

impl Sent {
    pub(super) const fn new(name: &'static str, bytes: Vec<u8>) -> Self {
        Self { name, bytes }
    }

    /// The command's name.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What one who gets it reads, each of several anew. The last one leaves the memory of the bytes for others.
    ///
    /// # Panics
    /// If the bytes can't be read: the farm's own servers have written them.
    pub(super) fn command(sent: Rc<Self>, farm: &Farm, free: &mut Vec<Vec<u8>>) -> Command {
        let command = wire::decode(&sent.bytes, farm).expect("own bytes decode");
        if let Ok(last) = Rc::try_unwrap(sent)
            && free.len() < KEPT
        {
            free.push(last.bytes);
        }
        command
    }
}
