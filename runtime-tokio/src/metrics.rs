//! What the links of a server count: traffic, and every way a peer can be wrong, by name.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use grapevine_core::ServerId;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)*) => {
        /// Why a connection was refused or closed, or a message not taken. Each is counted under
        /// its [`Reason::name`]; each concerns that one connection only.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable name, for programs.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

reasons! {
    /// The connection did not begin as a Grapevine server begins: another program, or a scanner.
    Garbage = "garbage",
    /// The peer speaks another version of the protocol.
    WrongVersion = "wrong_version",
    /// The peer was configured with other farm settings.
    WrongSettings = "wrong_settings",
    /// The peer does not know the farm key.
    WrongKey = "wrong_key",
    /// A peer that connected did not do its half of the handshake in time: nothing, or only a part
    /// of it, came.
    HandshakeTimeout = "handshake_timeout",
    /// The connection closed during the handshake.
    HandshakeClosed = "handshake_closed",
    /// More connections at once than may be in their handshakes.
    TooManyHandshakes = "too_many_handshakes",
    /// The peer has this server's own number.
    OwnNumber = "own_number",
    /// The peer's number is in use by another live server.
    NumberInUse = "number_in_use",
    /// A newer process of the peer's number is known.
    OlderBoot = "older_boot",
    /// The peer's number would be one more than the farm has servers.
    TooManyNumbers = "too_many_numbers",
    /// The peer was cut off for misbehaving, lately.
    CutOff = "cut_off",
    /// A length of more than the farm's `frame_bytes`.
    OversizedFrame = "oversized_frame",
    /// A length of zero.
    EmptyFrame = "empty_frame",
    /// The connection closed inside a frame.
    HalfFrame = "half_frame",
    /// Nothing came for longer than a live server is silent.
    Silent = "silent",
    /// A frame that is no command, or one over the farm's limits.
    Undecodable = "undecodable",
    /// The engine found what no correct server sends.
    Misbehaving = "misbehaving",
    /// A newer connection or process of the same number took the place of this connection.
    Replaced = "replaced",
    /// The peer took nothing for longer than the stall limit.
    WriteStalled = "write_stalled",
    /// The peer closed the connection.
    ClosedByPeer = "closed_by_peer",
    /// The peer refused this server.
    RefusedByPeer = "refused_by_peer",
    /// The connection broke.
    Broken = "broken",
    /// Nobody answered at the peer's address.
    DialFailed = "dial_failed",
    /// A dialled peer did not answer, or not do its half of the handshake, in time.
    DialTimeout = "dial_timeout",
    /// The peer's name could not be resolved.
    NameFailed = "name_failed",
    /// The peer's address is not a loopback address; farm links are not encrypted yet.
    NotLoopback = "not_loopback",
    /// A peer's address led to this server itself.
    Itself = "itself",
    /// A peer's address led to a server that is linked under another address.
    Duplicate = "duplicate",
    /// A command of this server's own engine was larger than a frame may be.
    OwnOversized = "own_oversized",
}

/// The counters behind [`LinkStatus`].
#[derive(Debug)]
pub(crate) struct Metrics {
    reasons: Vec<AtomicU64>,
    pub(crate) traffic: Traffic,
}

/// Plain counters of traffic.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) frames_sent: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) frames_received: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
    pub(crate) queue_overflow: AtomicU64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let reasons = Reason::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        Self { reasons, traffic: Traffic::default() }
    }

    pub(crate) fn count(&self, reason: Reason) {
        add(&self.reasons[reason as usize], 1);
    }

    /// A copy of all counters, without the links.
    pub(crate) fn snapshot(&self) -> LinkStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let reasons = Reason::ALL.iter().map(|&r| (r.name(), read(&self.reasons[r as usize])));
        LinkStatus {
            outgoing: Vec::new(),
            incoming: Vec::new(),
            frames_sent: read(&self.traffic.frames_sent),
            bytes_sent: read(&self.traffic.bytes_sent),
            writes: read(&self.traffic.writes),
            frames_received: read(&self.traffic.frames_received),
            bytes_received: read(&self.traffic.bytes_received),
            queue_overflow: read(&self.traffic.queue_overflow),
            reasons: reasons.collect(),
        }
    }
}

/// Adds to a counter that nothing else depends on.
pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// The links of a server as they are now, and what they counted since the start.
#[derive(Clone, Debug)]
pub struct LinkStatus {
    /// One for each address that this server dials.
    pub outgoing: Vec<Outgoing>,
    /// One for each number that has connected to this server.
    pub incoming: Vec<Incoming>,
    /// Commands written to peers.
    pub frames_sent: u64,
    /// Bytes written to peers.
    pub bytes_sent: u64,
    /// Writes to sockets; many commands go in one.
    pub writes: u64,
    /// Commands that came from peers.
    pub frames_received: u64,
    /// Bytes that came from peers.
    pub bytes_received: u64,
    /// Commands dropped because a peer's queue was full. Repair mends what they said.
    pub queue_overflow: u64,
    /// [`Reason::name`] → how often. All reasons are in it, also those that never happened.
    pub reasons: BTreeMap<&'static str, u64>,
}

impl LinkStatus {
    /// How often this happened.
    pub fn count(&self, reason: Reason) -> u64 {
        self.reasons.get(reason.name()).copied().unwrap_or(0)
    }

    /// The servers to which commands can be sent now.
    pub fn reachable(&self) -> impl Iterator<Item = ServerId> + '_ {
        let up = |out: &Outgoing| out.server.filter(|_| out.state == LinkState::Up);
        self.outgoing.iter().filter_map(up)
    }
}

/// The sending half of a link, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The address as it was configured or resolved.
    pub address: String,
    /// The server that answered there last.
    pub server: Option<ServerId>,
    /// How it goes.
    pub state: LinkState,
    /// The last thing that went wrong, as a sentence.
    pub problem: Option<String>,
    /// Commands that wait to be written.
    pub queued_frames: usize,
    /// Bytes that wait to be written.
    pub queued_bytes: usize,
}

/// How the sending half of a link goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkState {
    /// Being dialled, or waiting for the next try.
    Dialling,
    /// Commands go through.
    Up,
    /// The address is this server's own; nothing is wrong.
    Itself,
    /// The server is linked under another address; nothing is wrong.
    Duplicate,
}

/// The receiving half of a link, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The newest process known of this number.
    pub server: ServerId,
    /// Where its connection comes from; `None` if it has none now.
    pub address: Option<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own_and_its_own_counter() {
        let metrics = Metrics::new();
        for (n, &reason) in Reason::ALL.iter().enumerate() {
            (0..=n).for_each(|_| metrics.count(reason));
        }
        let status = metrics.snapshot();
        assert_eq!(status.reasons.len(), Reason::ALL.len(), "names repeat");
        for (n, &reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(status.count(reason), n as u64 + 1, "{}", reason.name());
        }
    }
}
