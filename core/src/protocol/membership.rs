//! Membership: who is of the farm, who lives, who is joining, whose clock is off (section 8 of the
//! protocol page). Numbers are configured; processes make themselves known by heartbeats.

use alloc::vec::Vec;
use core::time::Duration;

use crate::action::{Action, Notice};
use crate::config::{Config, Farm};
use crate::engine::Engine;
use crate::id::ServerId;
use crate::kept::Kept;
use crate::member::{Member, State};
use crate::protocol::clocks::{Clocks, same_distance};
use crate::protocol::links::Links;
use crate::protocol::sources::{Together, Told};
use crate::rare::Mark;
use crate::sorted::SortedMap;
use crate::stamp::{Stamp, Timestamp};
use crate::vector::Vector;

/// Clock readings kept per peer. A reading comes late by the time its message took, so of several
/// the one furthest ahead is the truest.
pub(super) const CLOCK_READINGS: usize = 8;

#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) server: ServerId,
    pub(super) state: State,
    pub(super) joining: bool,
    pub(super) reachable: bool,
    /// When it was last heard from, by this server's steady time.
    pub(super) heard: Timestamp,
    /// When its last command came, by this server's clock, steps included. (That a link came up is not enough: its
    /// other direction may be dead.)
    pub(super) heard_at: Timestamp,
    /// When it last said what its clock shows, by the time that has surely passed here.
    pub(super) clock_read: Timestamp,
    /// Whether a heartbeat of this process has come.
    pub(super) introduced: bool,
    pub(super) clock: Timestamp,
    /// The last of them are the latest; those before the first reading are as low as can be.
    pub(super) offsets: [i64; CLOCK_READINGS],
    /// The furthest ahead of them.
    pub(super) clock_offset: Option<i64>,
    /// See [`Clocks`].
    pub(super) counted: Option<i64>,
    pub(super) end: Stamp,
    /// How many copies it holds.
    pub(super) copies: u64,
    pub(super) told: Told,
    acked: Stamp,
    /// Up to this reading of its clock, all its writes are here.
    pub(super) covered_until: Timestamp,
    /// What must be covered here before this process counts for joining: its vector when it first
    /// named this server. Kept as long as this server joins.
    pub(super) named_me_at: Option<Vector>,
    pub(super) skewed_until: Timestamp,
}

/// What a server knows of the farm.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    pub(super) peers: SortedMap<u16, Peer>,
    /// This server's own.
    number: u16,
    /// The newest process of each number, this server included.
    newest: Vec<ServerId>,
    pub(super) clocks: Clocks,
    /// When the first silence becomes too long, and whose it is, if that is known; no later than that, if its
    /// peer was heard since.
    pub(super) first_silence: Kept<Option<(Timestamp, u16)>>,
    pub(super) heard_since: Kept<bool>,
    pub(super) size: usize,
    pub(super) links: Links,
    /// When this server started, by its steady time, as are all silences here.
    pub(super) started: Timestamp,
    next_heartbeat: Timestamp,
    pub(super) joining: bool,
    pub(super) self_skewed: bool,
    /// What time a majority had reached when it last said so, and what had passed here then; `None` if none
    /// has since this process started.
    pub(super) told: Option<(Timestamp, Timestamp)>,
    pub(super) together: Kept<Together>,
}

impl Members {
    pub(crate) fn new(config: &Config, now: Timestamp) -> Self {
        Self {
            peers: SortedMap::new(),
            number: config.server.number(),
            newest: Vec::from([config.server]),
            clocks: Clocks::default(),
            first_silence: Kept::default(),
            heard_since: Kept::default(),
            size: usize::from(config.farm.size),
            links: Links::default(),
            started: now,
            next_heartbeat: now,
            joining: true,
            self_skewed: false,
            told: None,
            together: Kept::default(),
        }
    }

    pub(crate) fn next_heartbeat(&self) -> Timestamp {
        self.next_heartbeat
    }

    pub(crate) fn heartbeat_sent(&mut self, now: Timestamp, farm: &Farm) {
        self.next_heartbeat = now + farm.heartbeat_every;
    }

    pub(crate) const fn joining(&self) -> bool {
        self.joining
    }

    pub(crate) const fn self_skewed(&self) -> bool {
        self.self_skewed
    }

    fn of(&self, server: ServerId) -> Option<&Peer> {
        self.peer(server.number()).filter(|peer| peer.server == server)
    }

    pub(super) fn of_mut(&mut self, server: ServerId) -> Option<&mut Peer> {
        self.peer_mut(server.number()).filter(|peer| peer.server == server)
    }

    /// The newest process of another number.
    pub(super) fn peer(&self, number: u16) -> Option<&Peer> {
        self.peers.get_near(self.place(number), &number)
    }

    pub(super) fn peer_mut(&mut self, number: u16) -> Option<&mut Peer> {
        self.peers.get_near_mut(self.place(number), &number)
    }

    /// Where it is if all are known: numbers mostly begin at 1, and this server's own is not among them.
    pub(super) fn place(&self, number: u16) -> usize {
        usize::from(number).wrapping_sub(1 + usize::from(number > self.number))
    }

    /// Whether all of these are the newest of their numbers here. May say no of a list out of order.
    fn counts_all(&self, members: &[ServerId]) -> bool {
        // Mostly both count the same ones.
        if ServerId::are_same(members, &self.newest) {
            return true;
        }
        let mut known = self.newest.iter();
        let mut next = |server| known.by_ref().find(|&&known| known >= server);
        members.iter().all(|&server| next(server) == Some(&server))
    }

    pub(crate) fn suspects(&self) -> Vec<ServerId> {
        let silent =
            self.peers.values().filter(|p| matches!(p.state, State::Suspect | State::Down));
        silent.map(|peer| peer.server).collect()
    }

    /// The newest process of each number, this server included.
    pub(crate) fn newest(&self) -> &[ServerId] {
        &self.newest
    }

    /// Puts a process in its number's place.
    fn put(&mut self, peer: Peer, max_drift: Duration) {
        let (server, number) = (peer.server, peer.server.number());
        self.states_changed();
        if let Some(before) = self.peers.insert(number, peer) {
            self.clocks.forget(&before, max_drift);
        }
        self.newest.retain(|counted| counted.number() != number);
        let at = self.newest.partition_point(|&counted| counted < server);
        self.newest.insert(at, server);
    }

    /// Notes that a link to this process came up, or went down.
    pub(crate) fn reachable(&mut self, server: ServerId, reachable: bool) {
        self.links.note(server, reachable, self.size);
        if let Some(peer) = self.of_mut(server) {
            peer.reachable = reachable;
        }
    }

    /// A batch shows that a server's stream goes at least this far.
    pub(crate) fn saw_end(&mut self, server: ServerId, end: Stamp) {
        if let Some(peer) = self.of_mut(server) {
            peer.end = peer.end.max(end);
        }
    }

    /// Whether this process is its number's newest and has not left.
    pub(crate) fn counts(&self, server: ServerId) -> bool {
        self.of(server).is_some_and(|peer| peer.state != State::Left)
    }

    /// Whether a process said of itself that it is joining.
    pub(crate) fn is_joining(&self, server: ServerId) -> bool {
        self.of(server).is_some_and(|peer| peer.joining)
    }

    /// How many other numbers are configured, without those that left.
    pub(crate) fn expected(&self) -> usize {
        let left = self.peers.values().filter(|peer| peer.state == State::Left).count();
        (self.size - 1).saturating_sub(left)
    }

    /// The processes that are heard from.
    pub(crate) fn alive(&self) -> impl Iterator<Item = ServerId> + '_ {
        let heard = |peer: &&Peer| {
            peer.introduced && matches!(peer.state, State::Alive | State::Suspect | State::Skewed)
        };
        self.peers.values().filter(heard).map(|peer| peer.server)
    }

    /// Whether nothing more can be expected from this process for now: its number is known under a
    /// newer boot, it left, it is not configured, or its number was silent for `give_up_after`.
    pub(crate) fn given_up(&self, server: ServerId, steady: Timestamp, config: &Config) -> bool {
        if server == config.server {
            return false;
        }
        match self.peer(server.number()) {
            Some(peer) if peer.server == server => {
                peer.state == State::Left || steady.since(peer.heard) >= config.farm.give_up_after
            }
            Some(peer) if peer.server > server => true,
            // A token tells of it, and nobody else has.
            Some(peer) => steady.since(peer.heard) >= config.farm.give_up_after,
            None if server.number() == config.server.number() => server < config.server,
            None => steady.since(self.started) >= config.farm.give_up_after,
        }
    }

    /// Whether this process came after one of its number that left, and was not heard here.
    pub(crate) fn is_unheard(&self, server: ServerId) -> bool {
        let counted = self.peer(server.number());
        counted.is_some_and(|peer| peer.server < server && peer.state == State::Left)
    }

    /// How many other servers have acknowledged a stamp of this server's stream.
    pub(crate) fn acked(&self, stamp: Stamp) -> u16 {
        self.peers.values().filter(|peer| peer.acked >= stamp).count() as u16
    }

    /// How many other servers are not known to be down or to have left.
    pub(crate) fn live(&self) -> u16 {
        let live = |peer: &&Peer| !matches!(peer.state, State::Down | State::Left);
        self.peers.values().filter(live).count() as u16
    }

    /// Whether every other live server has acknowledged a stamp.
    pub(crate) fn all_acked(&self, stamp: Stamp) -> bool {
        let live = self.peers.values().filter(|p| !matches!(p.state, State::Down | State::Left));
        live.into_iter().all(|peer| peer.acked >= stamp)
    }

    /// Notes how far a server has applied this server's stream. Returns whether that is news.
    pub(crate) fn on_ack(&mut self, server: ServerId, stamp: Stamp) -> bool {
        match self.of_mut(server) {
            Some(peer) if peer.acked < stamp => {
                peer.acked = stamp;
                true
            }
            _ => false,
        }
    }

    /// Notes that a server left. Returns whether that is news.
    pub(crate) fn left(&mut self, server: ServerId) -> bool {
        match self.of_mut(server) {
            Some(peer) if peer.state != State::Left => {
                peer.state = State::Left;
                self.states_changed();
                self.count_clock(server);
                true
            }
            _ => false,
        }
    }

    /// Up to which reading of their clocks all writes of all configured servers are here; `None`
    /// if one was never heard from.
    pub(crate) fn all_covered_until(&self, applied: &Vector) -> Option<Timestamp> {
        let counted =
            self.peers.values().filter(|peer| peer.state != State::Left && peer.introduced);
        let untils = counted.map(|peer| {
            if applied.covers_entry(peer.server, peer.end) {
                peer.clock
            } else {
                peer.covered_until
            }
        });
        let (count, until) = untils.fold((0, Timestamp::MAX), |(n, min), t| (n + 1, min.min(t)));
        (count >= self.expected()).then_some(until)
    }

    /// The others, as people see them.
    pub(crate) fn show(&self, now: Timestamp, steady: Timestamp) -> Vec<Member> {
        let show = |peer: &Peer| Member {
            server: peer.server,
            state: peer.state,
            joining: peer.joining,
            reachable: peer.reachable,
            heard: same_distance(steady, peer.heard, now),
            clock_offset_us: peer.clock_offset.unwrap_or(0),
            end: peer.end,
            copies: peer.copies,
            acked: peer.acked,
        };
        self.peers.values().map(show).collect()
    }

    pub(crate) fn check_invariants(&self, config: &Config) {
        assert!(self.peers.len() < self.size.max(1), "more servers than configured");
        let number = config.server.number();
        // Where it would be if all are known, its neighbours show at once that it is not there.
        let missing = self.peers.lacks_near(usize::from(number).wrapping_sub(1), &number);
        assert!(missing, "a peer with this number");
    }

    /// Checks that what is kept is what would be found anew.
    pub(crate) fn check_kept(&self, config: &Config) {
        let mut newest: Vec<ServerId> = self.peers.values().map(|peer| peer.server).collect();
        newest.push(config.server);
        newest.sort();
        assert_eq!(self.newest, newest, "the newest processes");
        if self.first_silence.is_some() {
            let found = self.find_first_silence(&config.farm);
            let due = |found: Option<(Timestamp, u16)>| found.map(|(due, _)| due);
            let fits = due(*self.first_silence) == due(found)
                || *self.heard_since && due(*self.first_silence) < due(found);
            assert!(fits, "the first silence: {:?}, not {found:?}", *self.first_silence);
        }
        self.check_clocks(&config.farm);
        self.check_links();
    }
}

impl Peer {
    fn new(server: ServerId, steady: Timestamp) -> Self {
        Self {
            server,
            state: State::Alive,
            joining: true,
            reachable: false,
            heard: steady,
            heard_at: Timestamp::ZERO,
            introduced: false,
            clock: Timestamp::ZERO,
            clock_read: steady,
            offsets: [i64::MIN; CLOCK_READINGS],
            clock_offset: None,
            counted: None,
            end: Stamp::ZERO,
            copies: 0,
            told: Told::default(),
            acked: Stamp::ZERO,
            covered_until: Timestamp::ZERO,
            named_me_at: None,
            skewed_until: Timestamp::ZERO,
        }
    }

    /// Whether it counts, and was heard lately, its clock being right.
    pub(super) fn is_alive(&self) -> bool {
        self.introduced && self.state == State::Alive
    }

    /// A command of its came.
    fn hear(&mut self, steady: Timestamp, now: Timestamp) {
        (self.heard, self.heard_at) = (steady, now);
    }

    /// How many copies it holds, as it last said.
    pub(super) const fn copies(&self) -> u64 {
        self.copies
    }

    /// The end of its stream, as far as this server has heard.
    pub(super) const fn end(&self) -> Stamp {
        self.end
    }
}

impl Engine {
    /// Whether a server may speak here: a configured number, and its newest process. It counts as
    /// heard from.
    pub(crate) fn admit(&mut self, server: ServerId) -> bool {
        let (steady, now) = (self.steady, self.now);
        // Mostly it is known, and was heard just now.
        if let Some(peer) = self.members.of_mut(server)
            && matches!(peer.state, State::Alive | State::Skewed)
        {
            peer.hear(steady, now);
            self.members.heard_again(server);
            return true;
        }
        let known = self.members.peer(server.number()).map(|peer| peer.server);
        let stranger = server.number() == self.config.server.number()
            || known.is_some_and(|known| known > server)
            || known.is_none() && self.members.peers.len() + 1 >= self.members.size
            // Nobody would hear of it from this server any more.
            || known != Some(server) && self.has_left();
        if stranger {
            self.rare.mark_if(known.is_some_and(|known| known > server), Mark::PredecessorRefused);
            self.counters.ignored_stranger += 1;
            return false;
        }
        if known != Some(server) {
            self.introduce(server);
            self.member_changed(server, State::Alive);
        }
        self.members.heard_again(server);
        let Some(peer) = self.members.of_mut(server) else { return false };
        if peer.state == State::Left {
            // It serves nothing after it left; coming back is a restart.
            self.rare.mark(Mark::LeftServerRefused);
            self.counters.ignored_stranger += 1;
            return false;
        }
        peer.hear(steady, now);
        if matches!(peer.state, State::Suspect | State::Down) {
            let down = peer.state == State::Down;
            self.rare.mark(if down { Mark::DownServerHeardAgain } else { Mark::SuspectHeardAgain });
            peer.state = State::Alive;
            self.members.states_changed();
            self.member_changed(server, State::Alive);
        }
        true
    }

    /// A new number, or a restart: nothing that the predecessor said holds any more.
    pub(super) fn introduce(&mut self, server: ServerId) {
        let predecessor = self.members.peer(server.number()).map(|peer| peer.server);
        if let Some(predecessor) = predecessor {
            self.rare.mark(Mark::RestartCountedAnew);
            self.forget_run(predecessor);
        }
        let reachable = self.members.links.lead_to(server);
        let peer = Peer { reachable, ..Peer::new(server, self.steady) };
        self.members.put(peer, self.config.farm.max_drift);
    }

    /// Whether this process, of whom another server tells, is of the farm and no older than the
    /// newest of its number that is known here. It is the newest from now on.
    pub(super) fn hear_of(&mut self, server: ServerId) -> bool {
        let known = self.members.peer(server.number()).map(|peer| peer.server);
        let room = known.is_some() || self.members.peers.len() + 1 < self.members.size;
        let newer = known.is_none_or(|known| known < server) && !self.has_left();
        if server.number() == self.config.server.number() || !room || !newer {
            return known == Some(server);
        }
        self.introduce(server);
        true
    }

    /// Counts the processes that another server counts. One that this server can't hear must count
    /// all the same: the other may have fed it, long after its predecessor left and was counted out
    /// (`docs/decisions/0006-processes-count-by-hearsay.md`).
    pub(crate) fn hear_of_members(&mut self, members: &[ServerId]) {
        // Mostly there is nothing new, and lists of one order are compared in one pass.
        if self.members.counts_all(members) {
            return;
        }
        for &server in members {
            let counted = self.members.of(server).is_some();
            if !counted && self.hear_of(server) {
                self.rare.mark(Mark::CountedByHearsay);
                self.member_changed(server, State::Alive);
            }
        }
    }

    pub(crate) fn member_changed(&mut self, server: ServerId, state: State) {
        self.view_changed();
        self.members_moved();
        self.act(Action::Notify(Notice::Member { server, state }));
    }
}
