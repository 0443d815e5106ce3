//! What a server sends: encoded once, and shared by all that get it.

use std::cell::OnceCell;
use std::rc::Rc;

use grapevine_core::{Command, Farm, wire};

/// A command on its way, perhaps to several servers.
#[derive(Debug)]
pub(super) struct Sent {
    name: &'static str,
    bytes: Box<[u8]>,
    /// What the bytes say, once somebody has read them of several who get them. For all of them they say the
    /// same: reading them again would show nothing, and is most of what a message costs.
    command: OnceCell<Command>,
}

impl Sent {
    pub(super) fn new(name: &'static str, bytes: &[u8]) -> Self {
        Self { name, bytes: bytes.into(), command: OnceCell::new() }
    }

    /// The command's name.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) const fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What one who gets it reads.
    ///
    /// # Panics
    /// If the bytes can't be read: the farm's own servers have written them.
    pub(super) fn command(sent: Rc<Self>, farm: &Farm) -> Command {
        let read = |bytes: &[u8]| wire::decode(bytes, farm).expect("own bytes decode");
        match Rc::try_unwrap(sent) {
            Ok(last) => last.command.into_inner().unwrap_or_else(|| read(&last.bytes)),
            Err(shared) => shared.command.get_or_init(|| read(&shared.bytes)).clone(),
        }
    }
}
