//! The half of whoever closes the entries of writers that are gone.

use super::line::Line;
use crate::command::Heartbeat;
use crate::engine::Engine;
use crate::id::ServerId;
use crate::rare::Mark;
use crate::stamp::Stamp;

impl Engine {
    /// Takes in what a heartbeat says of those who are gone. The sender is known already.
    pub(crate) fn on_gone_said(&mut self, from: ServerId, heartbeat: &Heartbeat) {
        for &server in &heartbeat.left {
            self.hear_that_left(server);
        }
        let covers = || {
            let mut covers = heartbeat.applied.clone();
            covers.raise(from, heartbeat.end);
            covers
        };
        if !self.gone.nothing_to_close() {
            let kept = |server, _| !heartbeat.has_forgotten(server);
            self.gone.target.retain(kept);
            if let Some((_, covers)) = self.gone.offered.get_mut(&from.number()) {
                covers.retain(kept);
            }
        }
        // Where all is closed up to this line, a move to it moves nothing; and another line asks everybody anew.
        let matters = heartbeat.published && !self.gone.nothing_to_close();
        if matters && !self.gone.said.contains(&from.number()) {
            let theirs = Line::drawn(&heartbeat.members, &heartbeat.left);
            if theirs == self.gone.line {
                self.gone.said.insert(from.number());
                self.gone.target.join(&covers());
            }
        }
        if !self.gone.closed.reaches_list(&heartbeat.closed) {
            let mut closed = Line::from_list(&heartbeat.closed);
            closed.keep_up_to(&self.gone.line);
            let offered = self.gone.offered.get(&from.number());
            if !self.gone.closed.reaches(&closed) && offered.is_none_or(|(said, _)| *said != closed)
            {
                self.gone.offered.insert(from.number(), (closed, covers()));
                self.gone.lines_changed();
            }
        }
        self.review_closed();
    }

    /// That a server left is told on, for its own word may have been lost.
    fn hear_that_left(&mut self, server: ServerId) {
        if !self.hear_of(server) {
            return;
        }
        if self.take_leave(server) {
            self.rare.mark(Mark::LeaveToldByAnother);
        }
    }

    /// Whether a write is lost for good: its writer's entry is closed, and it is beyond it.
    pub(crate) fn beyond_closed(&self, writer: ServerId, stamp: Stamp) -> bool {
        let lost = self.gone.is_closed(writer) && !self.covered_entry(&self.applied, writer, stamp);
        self.rare.mark_if(lost, Mark::LostBeyondClosedHole);
        lost
    }

    /// Closes what can be closed.
    pub(crate) fn review_closed(&mut self) {
        if self.gone.nothing_to_close() || !self.all_published_again() {
            return;
        }
        let numbers = self.members.size;
        let mut closed = 0;
        let everyone = self.gone.said.len() >= self.members.expected();
        if everyone && self.covered(&self.applied, &self.gone.target) {
            closed += self.gone.closed.move_to(&self.gone.line, numbers);
        }
        self.rare.mark_if(closed > 0, Mark::GoneWriterClosed);
        let own = closed;
        // What one server has closed it had in full; so has whoever covers all that it covered.
        for (line, covers) in self.gone.offered.values() {
            if self.covered(&self.applied, covers) {
                closed += self.gone.closed.move_to(line, numbers);
            }
        }
        self.rare.mark_if(closed > own, Mark::ClosedAsAnotherSaid);
        if closed > 0 {
            self.gone.lines_changed();
            self.counters.closed += closed;
            self.view_changed();
            self.settle_lookups();
        }
    }
}
