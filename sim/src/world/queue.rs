//! What happens next: a queue in order of time, and of scheduling.

use std::rc::Rc;

use grapevine_core::{Request, RequestId, ServerId, Timestamp};

use super::World;
use super::order::{Next, Order};
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
    order: Order,
    happenings: Vec<Option<Happening>>,
    free: Vec<usize>,
    scheduled: u64,
    /// Until when some server is busy, at the latest.
    pub(super) busiest: Timestamp,
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
        self.order.push(Next::new(due, self.scheduled, place));
    }

    pub(super) fn pop(&mut self) -> Option<(Timestamp, Happening)> {
        let next = self.order.pop()?;
        self.free.push(next.place());
        let happening = self.happenings[next.place()].take();
        Some((next.due(), happening.expect("each place is given out once")))
    }

    /// What comes next, if it does before both these times, the second one included.
    fn next_before(&self, before: Timestamp, until: Timestamp) -> Option<&Happening> {
        let next = self.order.first()?;
        let happening = self.happenings[next.place()].as_ref();
        happening.filter(|_| next.due() < before && next.due() <= until)
    }

    /// Has what comes next happen at another time.
    fn put_off(&mut self, due: Timestamp) {
        if let Some(next) = self.order.pop() {
            self.scheduled += 1;
            self.order.push(Next::new(due, self.scheduled, next.place()));
        }
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.order.first().map(Next::due)
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
        // Mostly none ever was.
        if self.queue.busiest <= self.now {
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_next_is_the_earliest_and_of_one_time_the_first_that_was_scheduled() {
        let mut queue = Queue::default();
        let mut expected = Vec::new();
        let dues = [7, 3, u64::MAX, 3, 0, 7, 1 << 40, 3].map(Timestamp::from_micros);
        for (server, due) in dues.into_iter().cycle().take(40).enumerate() {
            queue.push(due, Happening::Timer { server, due });
            expected.push((due, server));
            if server % 5 == 4 {
                // Its place is taken by another one.
                expected.sort();
                let (due, happening) = queue.pop().expect("some are left");
                assert_eq!((due, happening.server()), expected.remove(0));
            }
        }
        expected.sort();
        for next in expected {
            assert_eq!(queue.next_due(), Some(next.0));
            assert_eq!(queue.pop().map(|(due, what)| (due, what.server())), Some(next));
        }
        assert!(queue.pop().is_none());
    }

    #[test]
    fn what_is_put_off_comes_after_what_was_scheduled_for_that_time() {
        let mut queue = Queue::default();
        let at = Timestamp::from_micros;
        for (server, due) in [5, 9].into_iter().enumerate() {
            queue.push(at(due), Happening::Timer { server, due: at(due) });
        }
        queue.put_off(at(9));
        let order: Vec<usize> =
            std::iter::from_fn(|| queue.pop()).map(|(_, what)| what.server()).collect();
        assert_eq!(order, [1, 0]);
    }
}
