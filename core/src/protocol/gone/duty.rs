//! Who is to publish what is left of a writer that is gone: whoever has it first hand. Who was only told
//! of it leaves it to who told, as long as that one lives; a process that is started again and again
//! would else publish it once more in each of its lives, and each would take a place in everybody's
//! vectors (decisions 3 and 7).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::engine::Engine;
use crate::id::ServerId;
use crate::protocol::membership::Members;
use crate::protocol::repair::after_base;
use crate::rare::Mark;
use crate::session::Session;
use crate::stamp::Stamp;

/// Who publishes what this server has of one writer that is gone, beyond the applied entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// These processes, who told of it. What came besides came in streams that live, where it is already; if all
    /// did, there are none.
    Tellers(BTreeSet<ServerId>),
    /// This server: its list has been walked, or is to be.
    Own,
}

impl Members {
    /// Whether what this process has told can be left to it: it counts, and lives as far as one can tell.
    fn lives(&self, server: ServerId) -> bool {
        self.peer(server.number()).is_some_and(|peer| peer.server == server && peer.is_alive())
    }
}

impl Engine {
    /// Takes up the lists of writers from whom nothing more can be expected.
    pub(crate) fn note_gone_writers(&mut self) {
        let mut duties = core::mem::take(&mut self.gone.duties);
        // One that came back may write more, and be gone another time.
        duties.retain(|&writer, _| self.is_open(writer));
        let open = self.facts.changes().writers().filter(|&writer| self.is_open(writer));
        for writer in open.collect::<Vec<_>>() {
            duties.entry(writer).or_insert_with(|| {
                self.gone.walks.insert(writer, after_base(&self.applied, writer));
                Duty::Own
            });
        }
        self.gone.duties = duties;
        self.arm_gone();
        self.take_over();
    }

    /// Does itself what was left to others who are no more, or may be no more.
    pub(super) fn take_over(&mut self) {
        let mut duties = core::mem::take(&mut self.gone.duties);
        let mut taken = false;
        for (&writer, duty) in &mut duties {
            if let Duty::Tellers(tellers) = duty
                && !tellers.iter().all(|&teller| self.members.lives(teller))
            {
                *duty = Duty::Own;
                self.gone.walks.insert(writer, after_base(&self.applied, writer));
                taken = true;
            }
        }
        self.gone.duties = duties;
        if taken {
            self.rare.mark(Mark::LeftToOneThatDied);
            self.arm_gone();
        }
    }

    /// Before a session from a live stream is merged: what comes in a stream need not be published
    /// again by whoever reads the stream.
    pub(crate) fn hear_of_gone(&mut self, session: &Session) {
        self.leave_what_is_new(session, &BTreeSet::new());
    }

    /// Before a session is merged that another server tells: all that is here of a writer who is gone
    /// before it was heard of was told.
    pub(crate) fn be_told_of_gone(&mut self, from: ServerId, session: &Session) {
        if self.members.lives(from) {
            self.leave_what_is_new(session, &BTreeSet::from([from]));
        }
    }

    /// Leaves to others what is to come of gone writers of whom nothing is here yet.
    fn leave_what_is_new(&mut self, session: &Session, tellers: &BTreeSet<ServerId>) {
        for (writer, _) in session.seen.iter() {
            if !self.facts.changes().knows(writer) && self.is_open(writer) {
                let duty = self.gone.duties.entry(writer);
                duty.or_insert_with(|| Duty::Tellers(tellers.clone()));
            }
        }
    }

    /// Leaves to a server what it told of gone writers, but of those of whom more is here than others told.
    pub(super) fn leave_to(&mut self, from: ServerId, brought: &mut Vec<(ServerId, Stamp)>) {
        if !self.members.lives(from) {
            return;
        }
        let before = brought.len();
        brought.retain(|(writer, _)| match self.gone.duties.get_mut(writer) {
            Some(Duty::Tellers(tellers)) => {
                tellers.insert(from);
                false
            }
            Some(Duty::Own) | None => true,
        });
        self.rare.mark_if(brought.len() < before, Mark::LeftToWhoToldOfIt);
    }
}
