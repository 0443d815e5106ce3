//! Writers that are gone: their last writes are published again, and their entries closed (section 6
//! of the protocol page).
//!
//! A process is gone when its number is known under a newer boot, or when it left; nothing is taken
//! from it directly any more. (Numbers are configured for a process's whole life, so none is taken
//! out of the configuration under way.) Its last writes may have reached some servers only, beyond a
//! gap: equal vectors, different copies. So whoever holds such a session publishes it again, whole,
//! in its own stream, and says so in its heartbeats, with the processes that it then counts. A server
//! that heard this from the newest process of every configured number, all counting the same ones,
//! and that covers what each of them covered, has whatever is left of the writer: it *closes* the
//! entry, which stays where it is. A hole may begin behind it, and what a customer's context has from
//! beyond it is lost.
//!
//! Why all must count the same processes: then each of them refuses what older ones still have under
//! way, and what they send each other somebody held who has published it. So nothing new can come up.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

mod close;
mod duty;
mod line;
mod publish;

use duty::Duty;
use line::Line;

use crate::config::Config;
use crate::engine::Engine;
use crate::facts::Entry;
use crate::id::{Address, ServerId};
use crate::member::State;
use crate::protocol::membership::Members;
use crate::stamp::Timestamp;
use crate::vector::Vector;

/// Sessions that wait to be published again, at most; what is beyond waits in its list.
const WAITING: usize = 1024;

/// What a server does about writers that are gone.
#[derive(Clone, Debug)]
pub(crate) struct Gone {
    /// Who is gone: as far as this server's members tell.
    line: Line,
    /// Whose entries are closed.
    closed: Line,
    /// See [`Gone::nothing_to_close`]; it follows from the lines.
    level: bool,
    /// Who publishes again what writers left.
    duties: BTreeMap<ServerId, Duty>,
    /// Lists that are still to be walked, and from which place.
    walks: BTreeMap<ServerId, Entry>,
    /// Sessions to be published again, and for whose writes: these, or anybody's.
    waiting: BTreeMap<Address, Option<BTreeSet<ServerId>>>,
    due: Option<Timestamp>,
    /// The numbers that have published everything again, counting the same processes as this server.
    said: BTreeSet<u16>,
    /// What they covered when they first said so.
    target: Vector,
    /// What others have closed, and what they covered then.
    offered: BTreeMap<u16, (Line, Vector)>,
}

impl Gone {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            line: Line::drawn(&[config.server], &[]),
            closed: Line::default(),
            level: false,
            duties: BTreeMap::new(),
            walks: BTreeMap::new(),
            waiting: BTreeMap::new(),
            due: None,
            said: BTreeSet::new(),
            target: Vector::default(),
            offered: BTreeMap::new(),
        }
    }

    pub(crate) fn next_review(&self) -> Option<Timestamp> {
        self.due
    }

    /// Whether nothing that the farm still has of this writer can be missing here.
    pub(crate) fn is_closed(&self, writer: ServerId) -> bool {
        self.closed.has_passed(writer)
    }

    /// Whether this server has closed all that one has closed that says this list.
    pub(crate) fn has_closed(&self, list: &[ServerId]) -> bool {
        list.iter().all(|&first| self.closed.reaches_process(first))
    }

    /// Per number, the first process that is not closed.
    pub(crate) fn closed(&self) -> Vec<ServerId> {
        self.closed.list()
    }

    /// Whether all that is gone is closed.
    pub(crate) fn all_closed(&self) -> bool {
        self.closed.reaches(&self.line)
    }

    /// Whether no line that this server may move to is ahead of what it has closed. Each heartbeat asks, so it is
    /// kept.
    fn nothing_to_close(&self) -> bool {
        self.level
    }

    /// There is another line, or more is closed.
    fn lines_changed(&mut self) {
        self.level = self.has_closed_all_lines();
        if self.level {
            // Who said what is asked no more: two servers that have closed all are alike.
            self.said.clear();
            self.target = Vector::default();
        }
    }

    fn has_closed_all_lines(&self) -> bool {
        self.all_closed() && self.offered.values().all(|(line, _)| self.closed.reaches(line))
    }

    /// Checks that what is kept is what would be found anew.
    pub(crate) fn check_kept(&self) {
        assert_eq!(self.level, self.has_closed_all_lines(), "whether there is nothing to close");
        let forgotten = self.said.is_empty() && self.target.is_empty();
        assert!(!self.level || forgotten, "all is closed, and it is still noted who said so");
    }

    /// Whether there is nothing left to publish.
    pub(crate) fn nothing_waits(&self) -> bool {
        self.walks.is_empty() && self.waiting.is_empty()
    }

    pub(crate) fn check_invariants(&self, config: &Config) {
        let numbers = usize::from(config.farm.size);
        assert!(self.waiting.len() <= WAITING, "too many sessions wait to be published again");
        let lines = self.line.len().max(self.closed.len());
        assert!(lines <= numbers, "more numbers than configured");
        assert!(self.offered.len() <= numbers && self.said.len() <= numbers);
        assert!(self.nothing_waits() || self.due.is_some(), "what waits is never looked at");
    }
}

impl Members {
    /// Those of the newest processes that left.
    pub(crate) fn gone_for_good(&self) -> Vec<ServerId> {
        let left = self.peers.values().filter(|peer| peer.state == State::Left);
        left.map(|peer| peer.server).collect()
    }
}

impl Engine {
    /// The members have changed: some may be gone now.
    pub(crate) fn members_moved(&mut self) {
        let line = Line::drawn(self.members.newest(), &self.members.gone_for_good());
        if line != self.gone.line {
            self.gone.line = line;
            self.gone.lines_changed();
            self.gone.said.clear();
            self.gone.target = Vector::default();
            self.note_gone_writers();
        }
    }

    /// Whether nothing is taken from a process any more, nor what others pass on of its answers.
    pub(crate) fn is_gone(&self, server: ServerId) -> bool {
        self.gone.line.has_passed(server)
    }

    /// Whether nothing more can be expected from this writer, and it isn't known yet who has what of
    /// it.
    fn is_open(&self, writer: ServerId) -> bool {
        let gone = self.gone.line.has_passed(writer)
            || self.members.given_up(writer, self.steady, &self.config);
        gone && !self.gone.is_closed(writer)
    }
}
