//! Rotation: a session under a new ID, with the old one's contents; the old one is over (sections 3
//! and 9 of the protocol page; G4).
//!
//! The publisher's half makes the new session, which names the old one, and publishes it as a
//! `Create`. The other half is no conversation: whoever merges the new session, by a batch, an answer
//! or a repair, retires the old one with it (`facts/ends.rs`). So no cut batch leaves both alive.
//!
//! In its grace the old session shows its own last contents, read only, and never the new one's:
//! whoever planted the old ID with a customer gains nothing.

use alloc::sync::Arc;

use crate::action::Response;
use crate::command::Write;
use crate::engine::Engine;
use crate::error::RequestError;
use crate::event::{RequestId, Rotation};
use crate::protocol::serve::Grounds;
use crate::protocol::write::Particulars;
use crate::rare::Mark;
use crate::session::{Replaces, Session};
use crate::vector::Vector;

impl Engine {
    /// Gives a session a new ID. The copy is one that may be written to, and live.
    pub(crate) fn rotate(
        &mut self,
        id: RequestId,
        copy: &Arc<Session>,
        grounds: &Grounds,
        rotation: &Rotation,
    ) -> Result<(), RequestError> {
        self.clock.observe(grounds.context.newest().stamp);
        let old = &copy.fixed;
        let until = (self.now + rotation.grace).min(old.deadline);
        let until = (!rotation.grace.is_zero()).then_some(until);
        // Its copies stay for as long as those of what it replaced itself.
        let replaces = Replaces { id: copy.id, deadline: old.end(), until };
        let principal = rotation.principal.as_ref().or(old.principal.as_ref()).cloned();
        // A revocation that the old session came after may not have come here.
        let known = old.revocation.filter(|_| principal == old.principal);
        let particulars = Particulars {
            lifetime: rotation.lifetime,
            idle_timeout: rotation.idle_timeout.or(Some(old.idle_timeout)),
            principal,
            replaces: Some(replaces),
            revocation: known,
            is_record: false,
        };
        let (session, version) = self.begin_session(particulars)?;
        let session = session.with_contents_of(copy, &rotation.changes, version)?;
        let victims = self.check_limits(None, &session, true)?;
        let session = Arc::new(session);
        self.counters.created += 1;
        self.counters.rotated += 1;
        self.rare.mark_if(until.is_some(), Mark::RotatedWithGrace);
        let waits = self.acks_of_end(rotation.acks);
        self.publish(Write::Create(Arc::clone(&session)), waits.acks);
        self.evict(victims);
        // What the customer depended on is in the new session, by this one write.
        let (context, lost) = (Vector::default(), grounds.lost.clone());
        let served = self.served(&session, &Grounds { context, lost, stale: false });
        self.wait_for_acks(id, version.stamp, waits, Response::Session(served));
        Ok(())
    }
}
