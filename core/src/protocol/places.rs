//! Places: which processes are remembered, and who may begin to write (sections 6 and 10 of the protocol
//! page; G8).
//!
//! Every process that writes takes a place in everybody's vectors and lists, and a server may restart
//! every few seconds for ever. So what a process has written is forgotten as soon as nothing more can be
//! missing of it and no copy shows it; and no number may have more than its share of places
//! (`docs/decisions/0007-places-of-processes.md`).

use crate::applied::Applied;
use crate::engine::Engine;
use crate::error::LimitError;
use crate::id::ServerId;
use crate::rare::Mark;
use crate::stamp::Stamp;

impl Engine {
    /// Drops what this server has of streams that ended longer ago than any session lives, and of
    /// those that are closed and of which no copy shows anything any more: nobody can lack anything of
    /// them, and vectors stay small however often servers restart. A live server's entry is never
    /// dropped.
    pub(crate) fn forget_expired_writers(&mut self) {
        let mut applied = core::mem::replace(&mut self.applied, Applied::new(self.config.server));
        let drops = applied.retain(|server, stamp| {
            server == self.config.server
                || self.members.counts(server)
                || !self.is_of_long_ago(stamp)
                    && (!self.gone.is_closed(server) || self.facts.changes().knows(server))
        });
        self.rare.mark_if(drops, Mark::WriterForgotten);
        self.applied = applied;
    }

    /// Whether this server has forgotten a writer, or need never hear of it: all that is left of it
    /// was here, and no copy shows anything of it any more.
    pub(crate) fn is_forgotten(&self, writer: ServerId) -> bool {
        self.gone.is_closed(writer)
            && self.applied.get(writer) == Stamp::ZERO
            && !self.facts.changes().knows(writer)
    }

    /// Whether this process may begin to write: there must be a place among the processes that are
    /// remembered. Each number has its share of `known_servers`, so that one that restarts again and
    /// again takes no other's place; half of it stays free for processes that can't know yet. One that joins
    /// goes by what it was told as it started: it may be asked to write before it hears anything else.
    pub(crate) fn check_place(&self) -> Result<(), LimitError> {
        if self.end() > Stamp::ZERO {
            return Ok(());
        }
        let farm = &self.config.farm;
        let allowed = (farm.known_servers / u32::from(farm.size) / 2).max(1);
        let told = if self.members.joining() { self.places_told } else { 0 };
        let earlier = self.places_of(self.config.server.number()).max(told as usize);
        self.rare.mark_if(earlier >= allowed as usize, Mark::RefusedForServers);
        if earlier < allowed as usize { Ok(()) } else { Err(LimitError::Servers { allowed }) }
    }

    /// How many processes of a number are remembered here: places that it takes.
    pub(crate) fn places_of(&self, number: u16) -> usize {
        let its = |server: &ServerId| server.number() == number;
        let changes = self.facts.changes();
        let applied = self.applied.iter().map(|(server, _)| server);
        changes.writers().filter(its).count()
            + applied.filter(|server| its(server) && !changes.knows(*server)).count()
    }
}
