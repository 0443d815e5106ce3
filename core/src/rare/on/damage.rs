//! Damage to a server's memory, for the simulator: a copy changes, and no vector says so.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::Memory;
use crate::engine::Engine;
use crate::id::SessionId;
use crate::session::{Attribute, Life, Session, Value};
use crate::stamp::Timestamp;

impl Engine {
    /// Damages one copy of this server's memory, chosen by `pick` among those that can be damaged so,
    /// and returns its session; `None` if there is none. Request threads are not told: damage tells
    /// nobody.
    ///
    /// Only live copies of which this server has all that they have seen are damaged: what is damaged
    /// beyond that, a repair brings again. And no copy that says of another that it is over: what
    /// becomes of the other then nobody could tell.
    pub fn damage(&mut self, what: Memory, pick: usize) -> Option<SessionId> {
        let copies: Vec<Arc<Session>> = self.copies().cloned().collect();
        let fits = |copy: &Arc<Session>| {
            let settled = self.covered(&self.applied, &copy.seen)
                && copy.complete
                && copy.life == Life::Live
                && copy.fixed.replaces.is_none();
            let damaged = if settled { damaged(copy, what) } else { None };
            damaged.map(|damaged| (copy.id, damaged))
        };
        let mut fitting: Vec<_> = copies.iter().filter_map(fits).collect();
        if fitting.is_empty() {
            return None;
        }
        let (id, damaged) = fitting.swap_remove(pick % fitting.len());
        self.facts.drop_copy(id.address);
        if let Some(damaged) = damaged {
            self.facts.merge(&Arc::new(damaged), Timestamp::ZERO, &mut BTreeSet::new());
        }
        Some(id)
    }
}

/// What is left of a copy: `Some(None)` is nothing, `None` that it can't be damaged so.
fn damaged(copy: &Session, what: Memory) -> Option<Option<Session>> {
    let mut left = copy.clone();
    let changed = match what {
        Memory::LostCopy => return Some(None),
        Memory::LostAttribute => {
            let before = left.attributes.len();
            let first = copy.attributes.keys().next()?;
            left.attributes.retain(|key, _| key != first);
            left.attributes.len() < before
        }
        Memory::FlippedValue => flip(&mut left),
        Memory::LostAdd => lose_add(&mut left),
    };
    changed.then_some(Some(left))
}

fn flip(copy: &mut Session) -> bool {
    let registers = copy.attributes.iter().filter_map(|(key, attribute)| match attribute {
        Attribute::Register { version, value } if !value.as_bytes().is_empty() => {
            Some((key.clone(), *version, value.clone()))
        }
        _ => None,
    });
    let Some((key, version, value)) = registers.last() else { return false };
    let mut bytes = value.as_bytes().to_vec();
    bytes[0] ^= 1;
    copy.attributes.insert(key, Attribute::Register { version, value: Value::new(&bytes) });
    true
}

fn lose_add(copy: &mut Session) -> bool {
    let keys: Vec<_> = copy.attributes.keys().cloned().collect();
    for key in keys {
        if let Some(Attribute::Counter(counter)) = copy.attributes.get_mut(&key)
            && let Some(writer) = counter.subtotals.keys().last().copied()
        {
            counter.subtotals.retain(|&by, _| by != writer);
            return true;
        }
    }
    false
}
