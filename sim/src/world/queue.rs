//! What happens next: a queue in order of time, and of scheduling.

use std::cmp::Reverse;
use std::rc::Rc;

use grapevine_core::{Request, RequestId, ServerId, Timestamp};

use super::World;
use crate::network::Link;

/// Something that may happen to a server.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// To the process that was booted then: a connection ends with either of its ends.
    Message {
        from: ServerId,
        link: Link,
        boot: Timestamp,
        bytes: Rc<[u8]>,
        flipped: bool,
    },
    Timer {
        server: usize,
        due: Timestamp,
    },
    /// Two processes try to connect: `server`'s that was booted then, and the peer.
    Dial {
        server: usize,
        boot: Timestamp,
        peer: ServerId,
    },
    /// To the process that was booted then: a connection to this peer came up, or broke.
    Connection {
        server: usize,
        boot: Timestamp,
        peer: ServerId,
        up: bool,
    },
    /// To the process that was booted then.
    Request {
        server: usize,
        boot: Timestamp,
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
            | Self::Connection { server, .. }
            | Self::Request { server, .. } => *server,
        }
    }
}

/// The queue's order: by time, then as scheduled.
#[derive(Debug)]
pub(super) struct Entry(pub(super) Reverse<(Timestamp, u64)>, pub(super) Happening);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl World {
    /// When the next thing happens.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.queue.peek().map(|entry| entry.0.0.0)
    }

    /// Moves time on to when something outside the queue happens.
    pub(crate) fn advance(&mut self, to: Timestamp) {
        self.now = self.now.max(to);
    }

    pub(super) fn schedule(&mut self, due: Timestamp, happening: Happening) {
        self.scheduled += 1;
        self.queue.push(Entry(Reverse((due, self.scheduled)), happening));
    }
}
