//! What a server sends: encoded once, and shared by all that get it.

use std::cell::OnceCell;
use std::rc::Rc;

use grapevine_core::{Command, Farm, wire};

/// Free places for bytes that are kept.
const KEPT: usize = 64;

/// A command on its way, perhaps to several servers.
#[derive(Debug)]
pub(super) struct Sent {
    name: &'static str,
    bytes: Vec<u8>,
    /// A batch, once somebody has read it of several who get it. For all of them the bytes say the same, and its
    /// sessions are shared by whoever has them: all else is read as fast as it is copied.
    batch: OnceCell<Command>,
}

impl Sent {
    pub(super) const fn new(name: &'static str, bytes: Vec<u8>) -> Self {
        Self { name, bytes, batch: OnceCell::new() }
    }

    /// The command's name.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What one who gets it reads. The last one leaves the memory of the bytes for others.
    ///
    /// # Panics
    /// If the bytes can't be read: the farm's own servers have written them.
    #[inline]
    pub(super) fn command(sent: Rc<Self>, farm: &Farm, free: &mut Vec<Vec<u8>>) -> Command {
        let read = |bytes: &[u8]| wire::decode(bytes, farm).expect("own bytes decode");
        match Rc::try_unwrap(sent) {
            Ok(last) => {
                let command = last.batch.into_inner().unwrap_or_else(|| read(&last.bytes));
                if free.len() < KEPT {
                    free.push(last.bytes);
                }
                command
            }
            Err(shared) => match shared.batch.get() {
                Some(batch) => batch.clone(),
                None => {
                    let command = read(&shared.bytes);
                    if matches!(command, Command::Batch(_)) {
                        _ = shared.batch.set(command.clone());
                    }
                    command
                }
            },
        }
    }
}
