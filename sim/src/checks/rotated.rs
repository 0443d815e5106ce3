//! What a new ID starts with, for G3: exactly what the old one showed, and that one still shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use grapevine_core::{Life, ServerId, Session, SessionId};

use super::{Judgement, Rule, Tally};
use crate::model::{Contents, Name, name, shown};
use crate::named::Named;
use crate::shop::LOGIN;

/// Follows what each server keeps, to know what a session was like when it was rotated.
#[derive(Default)]
pub(super) struct Rotated {
    /// The last copy of each live session that each server kept.
    live: BTreeMap<ServerId, Named<Arc<Session>>>,
    /// Sessions that were rotated by this server just now: the old copy comes next.
    replaced: BTreeMap<(ServerId, Name), Contents>,
    /// What each new ID's old session was like where it was rotated.
    before: Named<Arc<Session>>,
}

impl Rotated {
    /// The copy that this session took the place of, as it was then.
    pub(super) fn before(&self, new: &SessionId) -> Option<&Arc<Session>> {
        self.before.get(&name(new))
    }

    /// Judges a copy that a server keeps from now on. What a `damaged` session hands on nobody knows.
    pub(super) fn stored(
        &mut self,
        by: ServerId,
        copy: &Arc<Session>,
        damaged: &BTreeSet<Name>,
        tally: &Tally,
    ) -> Judgement {
        let id = name(&copy.id);
        let live = self.live.entry(by).or_default();
        if let Some(replaces) = &copy.fixed.replaces
            && by == copy.id.address.origin
            && copy.life == Life::Live
            && !live.contains(&id)
            && !damaged.contains(&name(&replaces.id))
        {
            let old = name(&replaces.id);
            let Some(before) = live.get(&old) else {
                return Err(format!("{by} rotated {}, which did not live there", replaces.id));
            };
            self.before.insert(id, Arc::clone(before));
            let mut started = shown(copy);
            let mut had = shown(before);
            self.replaced.insert((by, old), had.clone());
            // What customers change when they log in.
            started.retain(|key, _| key.as_str() != LOGIN);
            had.retain(|key, _| key.as_str() != LOGIN);
            tally.looked(Rule::NewId);
            if started != had {
                return Err(format!(
                    "{} took the place of {}, which showed {had:?}, and starts with {started:?}",
                    copy.id, replaces.id
                ));
            }
        }
        if let Some(had) = self.replaced.remove(&(by, id))
            && copy.life != Life::Deleted
        {
            tally.looked(Rule::OldId);
            let (life, now) = (copy.life, shown(copy));
            if life == Life::Live || now != had {
                return Err(format!(
                    "{} was rotated when it showed {had:?}, and is {life:?} with {now:?}",
                    copy.id
                ));
            }
        }
        if copy.life == Life::Live {
            live.insert(id, Arc::clone(copy));
        } else {
            live.remove(&id);
        }
        Ok(())
    }
}
