//! Which of its own anonymous sessions a server would end first to make room. It follows the copies, in
//! [`super::Facts`]'s one way of putting and dropping them, so nothing can be left in it.

use alloc::collections::BTreeSet;

use crate::id::{Address, ServerId};
use crate::session::{Life, Session};
use crate::stamp::Timestamp;

/// Sessions of this server that may be ended to make room, those first that would end first by
/// themselves if nobody used them. Those without contents are not among them: their end frees nothing.
#[derive(Clone, Debug)]
pub(crate) struct Evictable {
    /// Whose sessions; `None` if none are ever ended.
    origin: Option<ServerId>,
    first: BTreeSet<(Timestamp, Address)>,
}

impl Evictable {
    /// Of this origin, if any are ever ended.
    pub(crate) const fn new(origin: Option<ServerId>) -> Self {
        Self { origin, first: BTreeSet::new() }
    }

    fn entry(&self, copy: &Session) -> Option<(Timestamp, Address)> {
        let may_end = self.origin == Some(copy.id.address.origin)
            && copy.fixed.principal.is_none()
            && copy.complete
            && copy.life == Life::Live
            && !copy.attributes.is_empty();
        may_end.then(|| (copy.idle_deadline().min(copy.fixed.deadline), copy.id.address))
    }

    /// Notes a copy that is put in the place of another, or of none.
    pub(crate) fn put(&mut self, old: Option<&Session>, new: &Session) {
        if let Some(old) = old {
            self.remove(old);
        }
        if let Some(entry) = self.entry(new) {
            self.first.insert(entry);
        }
    }

    /// Forgets a copy that is dropped.
    pub(crate) fn remove(&mut self, old: &Session) {
        if let Some(entry) = self.entry(old) {
            self.first.remove(&entry);
        }
    }

    /// Those that may be ended, in the order in which they are.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Address> + '_ {
        self.first.iter().map(|&(_, address)| address)
    }

    /// Whether this copy is noted as it should be.
    pub(crate) fn has(&self, copy: &Session) -> bool {
        self.entry(copy).is_none_or(|entry| self.first.contains(&entry))
    }

    /// Whether this copy should be among them.
    pub(crate) fn may_end(&self, copy: &Session) -> bool {
        self.entry(copy).is_some()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.first.len()
    }
}
