//! Leaving in order: `Leave` (section 8 of the protocol page). A leaving server takes no more
//! requests, waits until the others have its stream, says that it goes, and is not counted any more.

use crate::action::{Action, Response, To};
use crate::command::Command;
use crate::engine::Engine;
use crate::event::RequestId;
use crate::id::ServerId;
use crate::member::State;
use crate::rare::{Mark, Point};
use crate::stamp::{Stamp, Timestamp};
use crate::vector::Vector;

/// A server's own leaving.
#[derive(Clone, Debug)]
pub(crate) struct Leaving {
    request: RequestId,
    until: Timestamp,
    /// Whether the others lacked something when it began to leave.
    waited: bool,
    done: bool,
}

impl Leaving {
    pub(crate) fn next_review(&self) -> Option<Timestamp> {
        (!self.done).then_some(self.until)
    }
}

// The leaving server's half.
impl Engine {
    /// Whether this server has said that it is gone. From then on others don't count on it to have what
    /// customers have seen, so its word about a session is not that of a server that has joined.
    pub(crate) fn has_left(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.done)
    }

    /// Stops taking requests, and waits for the others to have everything.
    pub(crate) fn leave(&mut self, request: RequestId) {
        let mut until = self.now + self.config.local.leave_timeout;
        if self.rare.force(Point::LeaveAtOnce) {
            until = self.now;
        }
        self.leaving = Some(Leaving { request, until, waited: false, done: false });
        self.view_changed();
        self.stop_waiting();
        // Heartbeats carry what the others have applied; don't wait for the next one.
        self.send_heartbeats();
        self.act(Action::Publish { to: To::All, command: Command::HeartbeatRequest });
        self.review_leaving();
    }

    /// Says that it goes, once every other live server has everything, or time is over.
    pub(crate) fn review_leaving(&mut self) {
        if self.leaving.is_none() {
            return;
        }
        // With nobody else alive, nobody has anything: who has left goes, whatever it had.
        let alone = self.config.farm.size > 1 && self.members.live() == 0;
        let complete = self.members.all_acked(self.end()) && !alone && self.gone.nothing_waits();
        let now = self.now;
        let Some(leaving) = &mut self.leaving else { return };
        if leaving.done || !complete && now < leaving.until {
            leaving.waited = true;
            return;
        }
        leaving.done = true;
        self.rare.mark_if(complete && leaving.waited, Mark::LeaveWaitedForStream);
        self.rare.mark_if(!complete, Mark::LeaveGaveUpWaiting);
        let request = leaving.request;
        let (end, members) = (self.end(), self.members.newest().to_vec());
        let linked = self.members.linked_unheard();
        self.act(Action::Publish { to: To::All, command: Command::Leave { end, members, linked } });
        self.respond(request, Ok(Response::Left { complete }));
    }

    /// This process ends without leaving.
    pub(super) fn stop_leaving(&mut self) {
        if let Some(leaving) = self.leaving.take_if(|leaving| !leaving.done) {
            self.respond(leaving.request, Ok(Response::Left { complete: false }));
        }
    }
}

// The others' half.
impl Engine {
    /// Takes a server's leave: it is not counted from then on. Whom it counted counts: it may have fed
    /// one whose number had left too, that nobody else has heard
    /// (`docs/decisions/0006-processes-count-by-hearsay.md`).
    pub(crate) fn on_leave(
        &mut self,
        from: ServerId,
        end: Stamp,
        members: &[ServerId],
        linked: &[ServerId],
    ) {
        self.hear_of_members(members);
        self.hear_of_links(linked);
        self.members.saw_end(from, end);
        self.take_leave(from);
        if !self.covered_entry(&self.applied, from, end) {
            self.rare.mark(Mark::LeaveShowedGap);
            self.notice_behind(Vector::from_iter([(from, end)]));
        }
    }

    /// A server left, as itself or another says. Returns whether that is news.
    pub(super) fn take_leave(&mut self, server: ServerId) -> bool {
        if !self.members.left(server) {
            return false;
        }
        self.forget_run(server);
        self.member_changed(server, State::Left);
        self.check_joined();
        self.review_waiting();
        self.settle_lookups();
        true
    }
}
