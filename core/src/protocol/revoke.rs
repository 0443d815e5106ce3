//! Revocation: every session of a principal is over (section 9 of the protocol page; G4).
//!
//! A revocation is a record that lies in a slot of the revoker like a session, a tombstone from the
//! start: so streams, repair, answers, expiry and limits treat it as they treat any other. Whoever
//! merges it ends the principal's sessions that don't name a revocation as new; whoever merges such a
//! session later ends it at once (`facts/ends.rs`). It stays for `max_lifetime` and the margin: by
//! then every session that was made before it is past its deadline.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::action::Response;
use crate::command::Write;
use crate::engine::Engine;
use crate::error::RequestError;
use crate::event::{Acks, RequestId};
use crate::protocol::serve::{Standing, standing};
use crate::protocol::write::Particulars;
use crate::session::{Life, Principal, Session};

impl Engine {
    /// Ends all sessions of a principal, here and wherever the record comes.
    pub(crate) fn revoke(&mut self, id: RequestId, principal: Principal, acks: Acks) {
        match self.record_of(principal.clone()) {
            Ok(record) => {
                let sessions = self.facts.owners().sessions(&principal);
                let copies = sessions.filter_map(|address| self.facts.array().get(address));
                let sessions = copies.filter(|copy| copy.life != Life::Deleted).count() as u64;
                let stamp = record.id.created;
                self.counters.revocations += 1;
                let acks = self.acks_of_end(acks);
                self.publish(Write::Revoke(Arc::new(record)), acks);
                self.wait_for_acks(id, stamp, acks, Response::Revoked { sessions });
            }
            Err(error) => self.respond(id, Err(error)),
        }
    }

    fn record_of(&mut self, principal: Principal) -> Result<Session, RequestError> {
        let lifetime = Some(self.config.farm.max_lifetime);
        let principal = Some(principal);
        let particulars = Particulars { lifetime, principal, ..Particulars::default() };
        let (session, _) = self.begin_session(particulars)?;
        let record = session.into_revocation();
        self.check_limits(None, &record)?;
        Ok(record)
    }

    /// The sessions of a principal that this server could serve now, as far as it knows.
    pub fn sessions_of(&self, principal: &Principal) -> Vec<Arc<Session>> {
        let copies = self.facts.owners().sessions(principal);
        let copies = copies.filter_map(|address| self.facts.array().get(address));
        let ready = copies.filter(|copy| standing(copy, self.now) == Standing::Ready);
        ready.map(Arc::clone).collect()
    }
}
