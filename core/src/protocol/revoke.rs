//! Revocation: every session of a principal is over (section 9 of the protocol page; G4).
//!
//! A revocation is a record that lies in a slot of the revoker like a session, a tombstone from the
//! start: so streams, repair, answers, expiry and limits treat it as they treat any other. Whoever
//! merges it ends the principal's sessions that don't name a revocation as new; whoever merges such a
//! session later ends it at once (`facts/ends.rs`). It stays for `max_lifetime` and the margin: by
//! then every session that was made before it is past its deadline.

use alloc::sync::Arc;

use crate::action::{Listed, Response};
use crate::command::Write;
use crate::engine::Engine;
use crate::error::{LimitError, RequestError};
use crate::event::{Acks, MAX_LISTED, RequestId};
use crate::id::Address;
use crate::protocol::limits::Victims;
use crate::protocol::serve::{Standing, standing};
use crate::protocol::write::Particulars;
use crate::session::{Life, Principal, Session};
use crate::wire::MAX_PRINCIPAL_BYTES;

/// Copies looked at for one page of a list: tombstones are passed over.
const LOOKED: usize = 4096;

impl Engine {
    /// Ends all sessions of a principal, here and wherever the record comes.
    pub(crate) fn revoke(&mut self, id: RequestId, principal: Principal, acks: Acks) {
        match self.record_of(principal.clone()) {
            Ok((record, victims)) => {
                let sessions = self.facts.owners().sessions(&principal);
                let copies = sessions.filter_map(|address| self.facts.array().get(address));
                let sessions = copies.filter(|copy| copy.life != Life::Deleted).count() as u64;
                let version = record.created();
                self.counters.revocations += 1;
                let waits = self.acks_of_end(acks);
                self.publish(Write::Revoke(Arc::new(record)), waits.acks);
                self.evict(victims);
                let response = Response::Revoked { sessions, version };
                self.wait_for_acks(id, version.stamp, waits, response);
            }
            Err(error) => self.respond(id, Err(error)),
        }
    }

    fn record_of(&mut self, principal: Principal) -> Result<(Session, Victims), RequestError> {
        let lifetime = Some(self.config.farm.max_lifetime);
        let principal = Some(principal);
        let particulars =
            Particulars { lifetime, principal, is_record: true, ..Particulars::default() };
        let (session, _) = self.begin_session(particulars)?;
        let record = session.into_revocation();
        let victims = self.check_limits(None, &record, true)?;
        Ok((record, victims))
    }

    /// Lists a page of the sessions of a principal that this server could serve now.
    pub(crate) fn list(
        &mut self,
        id: RequestId,
        principal: &Principal,
        after: Option<Address>,
        most: u16,
    ) {
        let outcome = check_principal(principal);
        let outcome = outcome.map(|()| Response::Sessions(self.listed(principal, after, most)));
        self.respond(id, outcome.map_err(RequestError::from));
    }

    fn listed(&self, principal: &Principal, after: Option<Address>, most: u16) -> Listed {
        let most = usize::from(most.clamp(1, MAX_LISTED));
        let mut listed = Listed::default();
        let mut last = None;
        let addresses = self.facts.owners().sessions_after(principal, after);
        for (looked, address) in addresses.enumerate() {
            if listed.sessions.len() == most || looked == LOOKED {
                listed.next = last;
                break;
            }
            last = Some(address);
            let copy = self.facts.array().get(address);
            let ready = copy.filter(|copy| standing(copy, self.now) == Standing::Ready);
            listed.sessions.extend(ready.cloned());
        }
        listed
    }
}

/// # Errors
/// A principal longer than any may be.
pub(crate) fn check_principal(principal: &Principal) -> Result<(), LimitError> {
    let (bytes, allowed) = (principal.as_str().len(), MAX_PRINCIPAL_BYTES);
    if bytes > allowed { Err(LimitError::Principal { bytes, allowed }) } else { Ok(()) }
}
