//! What happens next: a queue in order of time, and of scheduling.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

use grapevine_core::{Request, RequestId, ServerId, Timestamp};

use super::World;
use super::sent::Sent;
use crate::network::Link;

/// Something that may happen to a server.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// To the process that was ran then: a connection ends with either of its ends.
    Message {
        from: ServerId,
        link: Link,
        life: u64,
        sent: Rc<Sent>,
        flipped: bool,
    },
    Timer {
        server: usize,
        due: Timestamp,
    },
    /// Two processes try to connect: `server`'s that was ran then, and the peer.
    Dial {
        server: usize,
        life: u64,
        peer: ServerId,
    },
    /// A process that could not have its number is started again, if the server is still down.
    Restart {
        server: usize,
        life: u64,
    },
    /// To the process that was ran then: a connection to this peer came up, or broke.
    Connection {
        server: usize,
        life: u64,
        peer: ServerId,
        up: bool,
    },
    /// To the process that was ran then.
    Request {
        server: usize,
        life: u64,
        id: RequestId,
        request: Rc<Request>,
    },
}

impl Happening {
    pub(super) const fn server(&self) -> usize {
        match self {
            Self::Message { link, .. } => link.1,
            Self::Timer { server, .. }
            | Self::Dial { server, .. }
            | Self::Restart { server, .. }
            | Self::Connection { server, .. }
            | Self::Request { server, .. } => *server,
        }
    }
}

/// What happens next, by time, then as scheduled.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// When, the how-manieth that was scheduled, and its place in `happenings`: what is sorted is
    /// small.
    order: BinaryHeap<Reverse<(Timestamp, u64, usize)>>,
    happenings: Vec<Option<Happening>>,
    free: Vec<usize>,
    scheduled: u64,
}

impl Queue {
    fn push(&mut self, due: Timestamp, happening: Happening) {
        let place = self.free.pop().unwrap_or(self.happenings.len());
        if place == self.happenings.len() {
            self.happenings.push(Some(happening));
        } else {
            self.happenings[place] = Some(happening);
        }
        self.scheduled += 1;
        self.order.push(Reverse((due, self.scheduled, place)));
    }

    pub(super) fn pop(&mut self) -> Option<(Timestamp, Happening)> {
        let Reverse((due, _, place)) = self.order.pop()?;
        self.free.push(place);
        let happening = self.happenings[place].take();
        Some((due, happening.expect("each place is given out once")))
    }

    /// What comes next, if it does before both these times, the second one included.
    fn next_before(&self, before: Timestamp, until: Timestamp) -> Option<&Happening> {
        let &Reverse((due, _, place)) = self.order.peek()?;
        let happening = self.happenings[place].as_ref();
        happening.filter(|_| due < before && due <= until)
    }

    /// Has what comes next happen at another time.
    fn put_off(&mut self, due: Timestamp) {
        if let Some(mut next) = self.order.peek_mut() {
            self.scheduled += 1;
            next.0.0 = due;
            next.0.1 = self.scheduled;
        }
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.order.peek().map(|&Reverse((due, ..))| due)
    }
}

impl World {
    /// When the next thing happens.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.queue.next_due()
    }

    /// Puts off what comes next, again and again, as long as its server is busy: with a slow server
    /// that is most of what happens. Not what comes at the one time or later, or after the other.
    pub(crate) fn pass_busy(&mut self, before: Timestamp, until: Timestamp) {
        while let Some(happening) = self.queue.next_before(before, until) {
            let now = self.now.max(self.queue.next_due().unwrap_or_default());
            let node = &self.nodes[happening.server()];
            if node.paused || node.busy <= now || matches!(happening, Happening::Timer { .. }) {
                return;
            }
            self.now = now;
            self.queue.put_off(node.busy);
        }
    }

    /// Moves time on to when something outside the queue happens.
    pub(crate) fn advance(&mut self, to: Timestamp) {
        self.now = self.now.max(to);
    }

    pub(super) fn schedule(&mut self, due: Timestamp, happening: Happening) {
        self.queue.push(due, happening);
    }
}
