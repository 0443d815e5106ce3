//! Limits: what a write may add, which anonymous sessions end to make room for it, and what no correct
//! peer sends (section 10 of the protocol page; G8, G10).
//!
//! Limits on sessions and bytes are checked here, where a write is made, never in merge: a refused merge
//! would make the applied vector lie. Each write is held against what its own server has of the origin's
//! sessions. So servers that can't hear each other may come to more together, but each of them to no more
//! than the limit with what it added itself; and [`crate::Farm::most_bytes_per_origin`], which they can't
//! pass together, bounds what a peer can make this server keep. What adds nothing is never refused:
//! accesses, removals and ends.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::action::{Action, Notice};
use crate::command::Write;
use crate::engine::Engine;
use crate::error::LimitError;
use crate::event::Acks;
use crate::id::Address;
use crate::rare::{Mark, Point};
use crate::session::{Attribute, Life, Replaces, Session};
use crate::stamp::Version;

/// New anonymous sessions leave this part of the anonymous bytes to the sessions that are there, on all
/// servers: a flood of new ones must not keep a customer from filling a cart.
const TO_GROW: u64 = 16;
/// Anonymous sessions end for anonymous ones only while the places of all of them, which ends don't free,
/// take no more than this part of their bytes. The rest is for contents: a flood of new ones, however many,
/// must not end everybody who is there.
const FOR_PLACES: u64 = 2;
/// The most sessions that end for one write. If that is not enough, the write is refused and none ends.
const EVICTED_AT_ONCE: usize = 256;

/// Sessions that must end for a write to fit.
#[must_use = "the write fits only once they are ended"]
#[derive(Debug, Default)]
pub(crate) struct Victims(Vec<Address>);

// Where a write is made.
impl Engine {
    /// A free slot for a new session, or for the record of a revocation, for which some are kept. Nothing
    /// is taken yet.
    pub(crate) fn free_slot(&mut self, anonymous: bool, record: bool) -> Result<u32, LimitError> {
        let farm = &self.config.farm;
        let (all, theirs) = (farm.slots_per_origin, farm.anonymous_slots());
        let allowed = all - if record { 0 } else { farm.revocation_slots() };
        let usage = self.usage(self.config.server);
        let used = usage.anonymous_sessions;
        let closed = used >= theirs && theirs < u64::from(allowed);
        if anonymous && closed {
            self.rare.mark(Mark::RefusedForAnonymousSlots);
            return Err(LimitError::AnonymousSlots { allowed: theirs });
        }
        self.rare.mark_if(!anonymous && closed, Mark::ReservedSlotUsed);
        if usage.sessions() >= allowed.into() {
            return Err(LimitError::Slots { allowed });
        }
        let slots = self.facts.slots();
        let fresh = slots.fresh(all).filter(|_| self.rare.force(Point::SlotFresh));
        let slot = fresh.or(slots.next(all)).ok_or(LimitError::Slots { allowed })?;
        self.rare.mark_if(slots.is_freed(slot), Mark::SlotReused);
        Ok(slot)
    }

    /// Checks a write of its own before it is published: the session as it was, if it was, and as it
    /// will be. `adds` says whether the write adds anything. Returns who must be ended with it.
    ///
    /// # Errors
    /// The limit that the write would pass.
    pub(crate) fn check_limits(
        &mut self,
        before: Option<&Session>,
        after: &Session,
        adds: bool,
    ) -> Result<Victims, LimitError> {
        let farm = &self.config.farm;
        let count = after.attributes.len();
        if count > farm.attributes_per_session as usize {
            return Err(LimitError::Attributes { count, allowed: farm.attributes_per_session });
        }
        for (key, shown) in after.iter() {
            let bytes = match shown {
                crate::Shown::Bytes(bytes) => bytes.len(),
                crate::Shown::Count(_) => 0,
            };
            if bytes > farm.value_bytes as usize {
                let key = String::from(key.as_str());
                return Err(LimitError::Value { key, bytes, allowed: farm.value_bytes });
            }
        }
        if !adds {
            return Ok(Victims::default());
        }
        // A session that several servers made larger than this together takes nothing more: if what
        // replaces a value could be added to it, they could make it larger again and again.
        let bytes = after.weight();
        if bytes > farm.session_bytes as usize {
            return Err(LimitError::Session { bytes, allowed: farm.session_bytes });
        }
        self.check_bytes(before, after)
    }

    /// Checks the bytes of the session's origin.
    fn check_bytes(
        &mut self,
        before: Option<&Session>,
        after: &Session,
    ) -> Result<Victims, LimitError> {
        let farm = &self.config.farm;
        let kept = if after.is_revocation() { 0 } else { farm.revocation_bytes() };
        let (all, anonymous) = (farm.bytes_per_origin - kept, farm.anonymous_bytes());
        let for_new = anonymous - anonymous / TO_GROW;
        let mut used = self.usage(after.id.address.origin);
        let growing = before.is_some();
        before.map(|before| used.remove(before));
        used.add(after);
        if let Some(old) = self.ends_at_once(after) {
            used.free(old);
        }
        let beyond = used.bytes().saturating_sub(all);
        let (needed, error) = if after.fixed.principal.is_some() {
            // What anonymous sessions have beyond their part is not taken from the others' part.
            let full = used.named_bytes + used.anonymous_bytes.min(anonymous) > all;
            let closed = used.anonymous_bytes + after.footprint() as u64 > for_new;
            self.rare.mark_if(!full && closed, Mark::ReservedBytesUsed);
            (if full { beyond } else { 0 }, LimitError::Bytes { allowed: all })
        } else {
            let most = if growing { anonymous } else { for_new };
            let over = used.anonymous_bytes.saturating_sub(most);
            let error = if over > beyond {
                LimitError::AnonymousBytes { allowed: anonymous }
            } else {
                LimitError::Bytes { allowed: all }
            };
            (over.max(beyond), error)
        };
        if needed == 0 {
            return Ok(Victims::default());
        }
        let places = used.anonymous_sessions * Session::PLACE_BYTES as u64;
        let flooded = after.fixed.principal.is_none() && places > anonymous / FOR_PLACES;
        let found = if flooded { None } else { self.victims(needed, after) };
        self.rare.mark_if(found.is_none(), Mark::RefusedForBytes);
        let could = flooded && self.facts.evictable().iter().next().is_some();
        self.rare.mark_if(could, Mark::RefusedForPlaces);
        found.ok_or(error)
    }

    /// The session of the same origin that ends with this one's create, without a grace.
    fn ends_at_once(&self, after: &Session) -> Option<&Session> {
        let replaces = after.fixed.replaces.filter(|replaces| replaces.until.is_none())?;
        let old = self.facts.array().get(replaces.id.address)?;
        let same = old.id == replaces.id && old.id.address.origin == after.id.address.origin;
        same.then_some(old)
    }

    /// The sessions to end for so many bytes, if that is how room is made and they are enough.
    fn victims(&self, needed: u64, after: &Session) -> Option<Victims> {
        // None are noted in a farm that ends none.
        if after.id.address.origin != self.config.server {
            return None;
        }
        let replaced = after.fixed.replaces.map(|replaces| replaces.id.address);
        let spared = |address: &Address| *address == after.id.address || Some(*address) == replaced;
        let (mut freed, mut victims) = (0, Vec::new());
        let idlest = self.facts.evictable().iter().filter(|address| !spared(address));
        for address in idlest.take(EVICTED_AT_ONCE) {
            freed += self.facts.array().get(address).map_or(0, |copy| copy.contents() as u64);
            victims.push(address);
            if freed >= needed {
                return Some(Victims(victims));
            }
        }
        None
    }

    /// Ends those who make room for a write that was published just now.
    pub(crate) fn evict(&mut self, victims: Victims) {
        for address in victims.0 {
            let copy = self.facts.array().get(address).filter(|copy| copy.life == Life::Live);
            let Some(copy) = copy.cloned() else { continue };
            let version = Version::new(self.clock.tick(self.now), self.config.server);
            self.publish(Write::Delete(Arc::new(copy.tombstone(version))), Acks::Local);
            self.counters.evicted += 1;
            self.rare.mark(Mark::Evicted);
            self.rare.mark_if(copy.idle_deadline() <= self.now, Mark::EvictedWhileIdle);
            self.act(Action::Notify(Notice::Evicted { session: copy }));
        }
    }
}

/// Whether a delta adds anything: values, not only removals.
pub(crate) fn adds(delta: &Session) -> bool {
    delta.attributes.values().any(|attribute| !matches!(attribute, Attribute::Removed { .. }))
}

// Where something comes in.
impl Engine {
    /// Whether a session can have taken the place of the one that it names.
    pub(crate) fn may_replace(&self, session: &Session) -> bool {
        let farm = &self.config.farm;
        session.fixed.replaces.is_none_or(|Replaces { id, deadline, .. }| {
            id.address.slot < farm.slots_per_origin
                && id.created < session.id.created
                && deadline <= id.created.time() + farm.max_lifetime
        })
    }

    /// Whether the servers named in it still fit into what this server remembers.
    pub(crate) fn room_for(&self, session: &Session) -> bool {
        let changes = self.facts.changes();
        let array = self.facts.array();
        let limit = self.config.farm.known_servers as usize;
        let own = session.seen.get(self.config.server) <= self.end();
        let writers = changes.writers().len();
        // Mostly there is room for all that it names, whether they are known or not.
        if writers + session.seen.len() <= limit && array.origins().len() + 2 <= limit {
            return own;
        }
        let new = session.seen.iter().filter(|&(server, _)| !changes.knows(server)).count();
        let origin = session.id.address.origin;
        let replaced = session.fixed.replaces.map(|replaces| replaces.id.address.origin);
        let replaced = replaced.filter(|&other| other != origin && !array.knows(other));
        let origins = array.origins().len()
            + usize::from(!array.knows(origin))
            + usize::from(replaced.is_some());
        writers + new <= limit && origins <= limit && own
    }

    /// Whether a copy, or all copies of its origin, would become larger than correct servers can make
    /// them, however many of them write at once: so that a peer can't fill this server's memory. Copies
    /// that fit into no frame could not be sent on. What makes a copy no larger is always taken.
    pub(crate) fn too_heavy(&self, session: &Session) -> bool {
        let farm = &self.config.farm;
        let array = self.facts.array();
        let heaviest = farm.frame_bytes as usize / 2;
        let most = farm.most_bytes_per_origin();
        let bytes = array.usage(session.id.address.origin).bytes();
        let there = array.get(session.id.address);
        let copy = there.filter(|copy| copy.id == session.id);
        let held = copy.map_or(0, |copy| copy.weight());
        let light = held + session.weight() <= heaviest;
        if light && bytes + session.footprint() as u64 <= most {
            return false;
        }
        let merged = copy.map(|copy| {
            let mut merged = Session::clone(copy);
            merged.merge(session);
            merged
        });
        let merged = merged.as_ref().unwrap_or(session);
        let before = there.map_or(0, |copy| copy.footprint()) as u64;
        let after = merged.footprint() as u64;
        merged.weight() > heaviest || after > before && bytes - before + after > most
    }
}
