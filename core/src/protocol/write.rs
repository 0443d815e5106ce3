//! Writes: create, update, replace, delete, and the stream that carries them (`Create`, `Update`,
//! `Delete` in a `Batch`; R57 to R62, R64, R65, R86 to R92).
//!
//! The publisher's half makes a delta, merges it into its own array and appends it to its stream.
//! The subscriber's half merges what it gets; if the batch starts where its applied entry stands,
//! the entry moves, otherwise there is a gap, which repair closes.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::action::{Action, Notice, Response};
use crate::command::{Batch, Write};
use crate::engine::Engine;
use crate::error::{LimitError, RequestError, Unavailable};
use crate::event::{Acks, Create, RequestId};
use crate::facts::Merged;
use crate::id::{Address, ServerId, SessionId};
use crate::protocol::limits::{Victims, adds};
use crate::protocol::revoke::check_principal;
use crate::protocol::serve::Grounds;
use crate::rare::{Mark, Point};
use crate::session::{Change, Fixed, Key, Life, Principal, Replaces, Session, Value};
use crate::stamp::{Stamp, Timestamp, Version};
use crate::vector::Vector;

/// A batch is closed at this many writes or bytes, so that it stays far below any frame limit.
const BATCH_WRITES: usize = 64;
const BATCH_BYTES: usize = 64 << 10;

/// What a request wants written to a session.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    Update(Vec<Change>),
    Replace(Vec<(Key, Value)>),
    Delete,
}

/// What a new session is to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Particulars {
    pub(crate) lifetime: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) principal: Option<Principal>,
    pub(crate) replaces: Option<Replaces>,
    /// A revocation that it comes after, besides those that are known here.
    pub(crate) revocation: Option<Version>,
    /// Whether it is the record of a revocation.
    pub(crate) is_record: bool,
}

/// Why a session that came from a peer was not merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It breaks a limit that every correct peer keeps: what carried it doesn't count.
    OverLimit,
}

// The publisher's half.
impl Engine {
    /// Makes a new session (R57a, R74, R86a).
    pub(crate) fn create(&mut self, id: RequestId, create: Create) {
        let waits = self.acks_of_write(create.acks);
        match self.make_session(create) {
            Ok((session, victims)) => {
                self.counters.created += 1;
                let stamp = session.id.created;
                self.publish(Write::Create(Arc::clone(&session)), waits.acks);
                self.evict(victims);
                let served = self.served(&session, &Grounds::default());
                self.wait_for_acks(id, stamp, waits, Response::Session(served));
            }
            Err(error) => self.respond(id, Err(error)),
        }
    }

    fn make_session(&mut self, create: Create) -> Result<(Arc<Session>, Victims), RequestError> {
        let particulars = Particulars {
            lifetime: create.lifetime,
            idle_timeout: create.idle_timeout,
            principal: create.principal,
            ..Particulars::default()
        };
        let (session, version) = self.begin_session(particulars)?;
        let session = session.with_attributes(create.attributes, version);
        let victims = self.check_limits(None, &session, true)?;
        Ok((Arc::new(session), victims))
    }

    /// A new session without contents, in a free slot of this server, and the version of the write
    /// that makes it. Nothing is taken before it is published.
    pub(crate) fn begin_session(
        &mut self,
        wanted: Particulars,
    ) -> Result<(Session, Version), RequestError> {
        let farm = &self.config.farm;
        let max = farm.max_lifetime;
        let second = Duration::from_secs(1);
        let anonymous = wanted.principal.is_none();
        let longest = farm.longest_life(anonymous);
        let lifetime = wanted.lifetime.unwrap_or(farm.default_lifetime.min(longest));
        if !(second..=longest).contains(&lifetime) {
            return Err(LimitError::Lifetime { asked: lifetime, allowed: longest }.into());
        }
        let idle_timeout = wanted.idle_timeout.unwrap_or(farm.default_idle_timeout);
        if !(second..=max).contains(&idle_timeout) {
            return Err(LimitError::IdleTimeout { asked: idle_timeout, allowed: max }.into());
        }
        wanted.principal.as_ref().map_or(Ok(()), check_principal)?;
        if self.members.self_skewed() {
            return Err(RequestError::Unavailable(Unavailable::Skewed));
        }
        self.check_place()?;
        let slot = self.free_slot(anonymous, wanted.is_record)?;
        self.carry_stamp();
        let created = self.clock.tick(self.now);
        let address = Address { origin: self.config.server, slot };
        let id = SessionId { address, created, secret: self.random.secret() };
        let deadline = Timestamp::from_millis((created.time() + lifetime).as_millis());
        let known = wanted.principal.as_ref().and_then(|p| self.facts.owners().newest(p));
        let fixed = Fixed {
            deadline,
            idle_timeout,
            principal: wanted.principal,
            replaces: wanted.replaces,
            revocation: known.max(wanted.revocation),
            revokes: false,
        };
        Ok((Session::new(id, fixed), Version::new(created, self.config.server)))
    }

    /// Uses the counter of this millisecond's stamps up, where a rare choice says so.
    fn carry_stamp(&mut self) {
        if self.clock.newest().time() <= self.now && self.rare.force(Point::StampCarry) {
            self.clock.observe(Stamp::at(self.now + Duration::from_millis(1)).previous());
        }
    }

    /// Writes to a copy that may be written to: complete, live, and covered. Responds, or waits for
    /// acknowledgements.
    pub(crate) fn write(
        &mut self,
        id: RequestId,
        copy: &Arc<Session>,
        grounds: &Grounds,
        wanted: &Wanted,
        acks: Acks,
    ) -> Result<(), RequestError> {
        assert!(copy.complete && copy.life == Life::Live, "only whole live copies are written to");
        self.check_place()?;
        let waits = match wanted {
            Wanted::Delete => self.acks_of_end(acks),
            Wanted::Update(_) | Wanted::Replace(_) => self.acks_of_write(acks),
        };
        self.clock.observe(grounds.context.newest().stamp);
        self.carry_stamp();
        let version = Version::new(self.clock.tick(self.now), self.config.server);
        let write = match wanted {
            Wanted::Update(changes) => {
                copy.modify(changes, version)?.map(Arc::new).map(Write::Update)
            }
            Wanted::Replace(attributes) => {
                let delta = copy.replace(attributes.iter().cloned(), version);
                Some(Write::Update(Arc::new(delta)))
            }
            Wanted::Delete => Some(Write::Delete(Arc::new(copy.tombstone(version)))),
        };
        let Some(write) = write else {
            // Nothing to change is no write, and nothing to wait for; but it is an access.
            let touched = self.touch(copy);
            let served = self.served(&touched, grounds);
            self.respond(id, Ok(Response::Session(served)));
            return Ok(());
        };
        let mut victims = Victims::default();
        if !matches!(wanted, Wanted::Delete) {
            let mut merged = (**copy).clone();
            merged.merge(write.session());
            victims = self.check_limits(Some(copy), &merged, adds(write.session()))?;
        }
        self.publish(write, waits.acks);
        self.evict(victims);
        let response = match self.facts.array().get(copy.id.address) {
            Some(written) if written.life == Life::Live => {
                let written = Arc::clone(written);
                Response::Session(self.served(&written, grounds))
            }
            _ => Response::Deleted,
        };
        self.wait_for_acks(id, version.stamp, waits, response);
        Ok(())
    }

    /// Merges an own write into the array and appends it to the stream.
    pub(crate) fn publish(&mut self, write: Write, acks: Acks) {
        let me = self.config.server;
        let session = Arc::clone(write.session());
        let (prev, stamp) = (self.end(), session.seen.get(me));
        assert!(stamp > prev, "a write must come after the end of the stream");
        let mut others = BTreeSet::new();
        let now = self.sure_now_of_replaced(&session);
        let merged = self.facts.merge(&session, now, &mut others);
        assert_eq!(merged, Merged::Changed, "an own write must change the copy");
        self.applied.raise(me, stamp);
        self.view_changed();
        self.counters.writes += 1;
        let ack = acks != Acks::Local || self.rare.force(Point::AckAsked);
        self.append(write, prev, stamp, ack);
        self.store(session.id.address);
        for address in others {
            self.store(address);
        }
    }

    fn append(&mut self, write: Write, prev: Stamp, last: Stamp, ack: bool) {
        if let Some(batch) = self.outbox.batches.back_mut()
            && batch.writes.len() < BATCH_WRITES
            && self.outbox.batch_bytes < BATCH_BYTES
            && !self.rare.force(Point::BatchOfOne)
        {
            self.outbox.batch_bytes += write.session().weight();
            batch.writes.push(write);
            batch.last = last;
            batch.ack |= ack;
            return;
        }
        let publisher = self.config.server;
        self.outbox.batch_bytes = write.session().weight();
        let writes = Vec::from([write]);
        self.outbox.batches.push_back(Batch { publisher, prev, writes, last, ack });
    }

    /// Has the copy at this address, or its absence, shown to request threads.
    pub(crate) fn store(&mut self, address: Address) {
        let copy = self.facts.array().get(address).cloned();
        let settled = copy.as_ref().is_some_and(|copy| self.covered(&self.applied, &copy.seen));
        self.act(Action::Store { address, copy, settled });
    }
}

// The subscriber's half.
impl Engine {
    /// Merges a part of a peer's stream (R57d, R59, R112b2).
    pub(crate) fn on_batch(&mut self, from: ServerId, batch: Batch) {
        if !well_formed(from, &batch) {
            self.counters.ignored_malformed += 1;
            return self.misbehaving(from, "it published a batch that is not part of its stream");
        }
        let gap = !self.covered_entry(&self.applied, from, batch.prev);
        let mut changed = BTreeSet::new();
        let mut refused = None;
        self.rare.mark_if(self.applied.covers_entry(from, batch.last), Mark::BatchRepeated);
        let mut writes: Vec<&Write> = batch.writes.iter().collect();
        if self.rare.force(Point::BatchReversed) {
            writes.reverse();
        }
        for write in writes {
            self.hear_of_gone(write.session());
            let completed = Mark::PartialCopyCompletedByBatch;
            self.rare.completes(&self.facts, write.session(), completed);
            match self.merge_in(write.session(), &mut changed) {
                Ok(()) => self.counters.merged += 1,
                Err(why) => refused = Some(why),
            }
            if let Write::Again(session) = write {
                self.on_again(session);
            }
        }
        if refused.is_some() {
            self.misbehaving(from, "it published a session over the farm's limits");
        } else if gap {
            self.counters.gaps += 1;
            self.note_run(from, batch.prev, batch.last);
            self.members.saw_end(from, batch.last);
            self.notice_behind(Vector::from_iter([(from, batch.last)]));
        } else {
            self.raise_applied(from, batch.last);
        }
        if batch.ack {
            self.outbox.acks.insert(from);
            if self.rare.force(Point::AckAtOnce) {
                let ack = self.ack_for(from);
                self.act(ack);
            }
        }
        self.merged(changed);
    }

    /// Merges one session or delta that came from a peer, by whatever path. Notes the address if
    /// the copy changed.
    pub(crate) fn merge_in(
        &mut self,
        session: &Arc<Session>,
        changed: &mut BTreeSet<Address>,
    ) -> Result<(), Refused> {
        let Address { origin, slot } = session.id.address;
        let farm = &self.config.farm;
        let longest = session.id.created.time() + farm.max_lifetime;
        if slot >= farm.slots_per_origin
            || session.fixed.deadline > longest
            || !self.may_replace(session)
            || !self.room_for(session)
            || self.too_heavy(session)
        {
            self.counters.ignored_over_limit += 1;
            return Err(Refused::OverLimit);
        }
        if self.is_surely_gone(session) {
            self.counters.ignored_expired += 1;
            self.rare.mark(Mark::ExpiredSessionIgnored);
            return Ok(());
        }
        if origin == self.config.server && !self.is_own(session) && !self.was_lost(session) {
            // Only the origin gives slots out, and this one is not in use, or not for this session.
            self.counters.ignored_superseded += 1;
            self.rare.mark(Mark::SupersededSessionIgnored);
            return Ok(());
        }
        self.clock.observe(session.newest_stamp());
        self.rare.meets(&self.facts, session, self.now);
        let now = self.sure_now_of_replaced(session);
        match self.facts.merge(session, now, changed) {
            Merged::Changed => {
                changed.insert(session.id.address);
            }
            Merged::Same => {}
            Merged::Superseded => self.counters.ignored_superseded += 1,
        }
        if self.rare.force(Point::MergeTwice) && self.facts.merge_again(session) {
            changed.insert(session.id.address);
        }
        Ok(())
    }

    /// The same for what another server tells of others' writes.
    pub(crate) fn merge_told(
        &mut self,
        from: ServerId,
        session: &Arc<Session>,
        changed: &mut BTreeSet<Address>,
    ) -> Result<(), Refused> {
        let address = session.id.address;
        self.be_told_of_gone(from, session);
        let before = self.facts.array().get(address).cloned();
        self.merge_in(session, changed)?;
        self.on_told(from, address, before.as_deref());
        Ok(())
    }

    fn is_own(&self, session: &Session) -> bool {
        let copy = self.facts.array().get(session.id.address);
        copy.is_some_and(|copy| copy.id == session.id)
    }

    /// Whether this server made the session and has lost its own copy, by damage to its memory: a copy
    /// is dropped only once its deadline has passed here, and the slot has no other.
    fn was_lost(&self, session: &Session) -> bool {
        let lost = self.facts.slots().is_freed(session.id.address.slot)
            && session.id.created <= self.end()
            && self.now < session.fixed.deadline;
        self.rare.mark_if(lost, Mark::OwnLostCopyTakenBack);
        lost
    }

    /// What follows a merge: request threads see the copies, and look-ups may be answered.
    pub(crate) fn merged(&mut self, changed: BTreeSet<Address>) {
        for address in changed {
            self.store(address);
        }
        self.settle_lookups();
    }

    /// Tells that a peer does what no correct server does; the runtime cuts it off.
    pub(crate) fn misbehaving(&mut self, server: ServerId, why: &'static str) {
        self.act(Action::Notify(Notice::Misbehaving { server, why }));
    }
}

/// Whether a batch is what its sender's stream can hold: its own writes, in stamp order, from after
/// `prev` to `last`.
fn well_formed(from: ServerId, batch: &Batch) -> bool {
    let mut newest = batch.prev;
    for write in &batch.writes {
        let stamp = write.session().seen.get(from);
        if stamp <= newest {
            return false;
        }
        newest = stamp;
        let fits = match write {
            Write::Create(session) => {
                let made = session.complete && session.id.address.origin == from;
                made && session.life == Life::Live && !session.is_revocation()
            }
            Write::Update(session) => !session.complete && session.life == Life::Live,
            Write::Delete(session) => session.life == Life::Deleted && !session.is_revocation(),
            Write::Revoke(session) => session.is_revocation() && session.id.address.origin == from,
            Write::Again(_) => true,
        };
        if !fits {
            return false;
        }
    }
    batch.publisher == from && !batch.writes.is_empty() && newest == batch.last
}
