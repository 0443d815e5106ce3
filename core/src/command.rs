//! Commands: what servers say to each other. The table of all of them, with sender, receiver and
//! the file of the conversation, is in `docs/protocol.md`; a test holds it against this file.

use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::id::{Address, HashedId, ServerId, SessionId};
use crate::session::Session;
use crate::stamp::{Stamp, Timestamp, Version};
use crate::vector::Vector;
use crate::wire::shared;

/// One message from one server to another, or to all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Part of the publisher's stream of writes.
    Batch(Batch),
    /// Who has this session? (R66, R93)
    Query(Query),
    /// I have it, but it is large: fetch it if you want it from me. (R69, R96)
    Offer(Offer),
    /// Send it to me. (R69, R96)
    Fetch(Fetch),
    /// The session, or why not. (R63, R67, R95)
    Answer(Answer),
    /// My clock, my stream's end, my applied vector, the members as I know them. (R71, R97)
    Heartbeat(Heartbeat),
    /// Send me a heartbeat now. (R73, R99)
    HeartbeatRequest,
    /// Send me what I lack. (R78)
    Pull(Pull),
    /// A part of what you lack. (R78, R94)
    Delta(Delta),
    /// My applied entry for your stream.
    Ack {
        /// How far the sender has applied the receiver's stream.
        applied: Stamp,
    },
    /// I am going, in order: I take no more requests.
    Leave {
        /// The end of the sender's stream.
        end: Stamp,
        /// Whom it counted last, in order, itself included: whoever it fed, and may have fed alone.
        #[serde(with = "crate::wire::fixed::servers")]
        members: Vec<ServerId>,
        /// As in [`Heartbeat::linked`].
        #[serde(with = "crate::wire::fixed::servers")]
        linked: Vec<ServerId>,
    },
    /// Here is a hash of a range of my copies: what is yours?
    Verify(Verify),
    /// The same, or what I have there.
    Verified(Verified),
    /// My copies of what differs, and what I lack.
    Mend(Mend),
    /// The same sessions as I have them after merging yours.
    Mended {
        /// The number of the [`Verify`] that showed the difference.
        number: u64,
        /// The sender's copies, whole, after the merge: as many as fit.
        #[serde(deserialize_with = "shared::list")]
        sessions: Vec<Arc<Session>>,
    },
    /// I am about to be this process of my number: what do you know of it?
    Starting,
    /// What I know of your number.
    Known {
        /// Its newest process, as far as the sender knows; zero if it knows of none.
        newest: ServerId,
        /// Whether the sender hears a process of that number.
        alive: bool,
        /// How many processes of that number the sender remembers: so many places are taken.
        places: u32,
    },
}

/// Part of a publisher's stream, in stamp order. If `prev` is covered, so is `last` after it;
/// otherwise there is a gap, which the subscriber merges over and repairs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Whose stream it is; always the sender.
    pub publisher: ServerId,
    /// The stamp of the publisher's write before this batch.
    pub prev: Stamp,
    /// The writes.
    pub writes: Vec<Write>,
    /// The stamp of the last of them.
    pub last: Stamp,
    /// Whether a request waits for the subscriber's [`Command::Ack`].
    pub ack: bool,
}

/// One write, with its data, in one message (R60, R65). All of them go through one merge; the kind
/// says why it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// Here is a new session (R57, R64, R86 to R88).
    Create(#[serde(deserialize_with = "shared::one")] Arc<Session>),
    /// Merge this delta (R57 to R62, R86, R89 to R92).
    Update(#[serde(deserialize_with = "shared::one")] Arc<Session>),
    /// This session is over.
    Delete(#[serde(deserialize_with = "shared::one")] Arc<Session>),
    /// Here is a session that a writer who is gone wrote to, once more and as I have it: a new stamp
    /// in my stream, old versions. It changes nothing; it is in a stream that lives.
    Again(#[serde(deserialize_with = "shared::one")] Arc<Session>),
    /// All sessions of this principal are over that name no revocation as new.
    Revoke(#[serde(deserialize_with = "shared::one")] Arc<Session>),
}

impl Write {
    /// The session or delta that it carries.
    pub const fn session(&self) -> &Arc<Session> {
        let (Self::Create(session)
        | Self::Update(session)
        | Self::Delete(session)
        | Self::Again(session)
        | Self::Revoke(session)) = self;
        session
    }
}

/// Asks who has a session (R66, R93).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// The asker's number for this look-up, repeated in the answers.
    pub lookup: u64,
    /// The session.
    pub id: SessionId,
    /// What the copy must cover for the asker's customer.
    pub context: Vector,
    /// Numbers of the servers that the asker reaches by itself: who can't help asks the others that it
    /// hears from, for the asker (R70). `None`: nobody is to be asked on; so in such a query.
    pub reaches: Option<Vec<u16>>,
}

/// Says that the sender has the session, which is too large to send unasked (R69, R96).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The look-up that it answers.
    pub lookup: u64,
    /// The session.
    pub id: SessionId,
    /// The holder's applied vector: what its copy covers.
    pub applied: Vector,
    /// The size of the copy in bytes.
    pub bytes: u32,
    /// Whose offer it is: the sender's, or that of a server that the sender asked on for the asker.
    pub by: ServerId,
    /// Servers that the sender asks on for the asker, because its own copy won't do.
    #[serde(with = "crate::wire::fixed::servers")]
    pub asks: Vec<ServerId>,
}

/// Asks one holder for the session that it offered (R69, R96).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// The look-up that it belongs to.
    pub lookup: u64,
    /// The session.
    pub id: SessionId,
    /// Whose copy: the receiver's, or that of a server whose offer the receiver passed on.
    pub of: ServerId,
}

/// Answers a [`Query`] or a [`Fetch`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The look-up that it answers; 0 if the receiver did not ask.
    pub lookup: u64,
    /// The session.
    pub id: SessionId,
    /// The applied vector of the server that answers.
    pub applied: Vector,
    /// What it has.
    pub found: Found,
    /// Who answers: the sender, or a server that the sender asked on for the asker.
    pub by: ServerId,
    /// Servers that the sender asks on for the asker, because its own answer won't do.
    #[serde(with = "crate::wire::fixed::servers")]
    pub asks: Vec<ServerId>,
}

/// What an asked server has of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Found {
    /// Its whole copy (or tombstone).
    Whole(#[serde(deserialize_with = "shared::one")] Arc<Session>),
    /// An update, but not the create.
    Partial,
    /// Nothing, and it covers the context.
    Lacking,
    /// Nothing, but it doesn't cover the context.
    Behind,
    /// What it has (or nothing); but it is joining, or has left, so that says little.
    Joining(Option<Arc<Session>>),
}

/// Sent to all, periodically and on request (R71 to R73, R97 to R99).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The sender's clock.
    pub clock: Timestamp,
    /// The stamp of the sender's last write.
    pub end: Stamp,
    /// The sender's applied vector.
    pub applied: Vector,
    /// For each number, the newest server that the sender counts, itself included.
    #[serde(with = "crate::wire::fixed::servers")]
    pub members: Vec<ServerId>,
    /// Whether the sender is still joining.
    pub joining: bool,
    /// Whether the sender holds sessions only in part; then its applied vector acknowledges nothing.
    pub partial: bool,
    /// Those of `members` that left: nothing more is taken from them.
    #[serde(with = "crate::wire::fixed::servers")]
    pub left: Vec<ServerId>,
    /// Whether the sender has published again whatever it holds, beyond its applied entries, of
    /// processes that are gone by `members` and `left`. All of it is then in the streams up to
    /// `applied` and `end`.
    pub published: bool,
    /// Per number, the first process that may still have written something that not every server
    /// has: the entries of all before it are closed.
    #[serde(with = "crate::wire::fixed::servers")]
    pub closed: Vec<ServerId>,
    /// How many copies the sender holds, of any kind: so that one that joins can say how far it is.
    pub copies: u64,
    /// Processes newer than those of `members` that the sender, or one who told it, has a link to and
    /// has not heard: what is written reaches them all the same.
    #[serde(with = "crate::wire::fixed::servers")]
    pub linked: Vec<ServerId>,
}

impl Heartbeat {
    /// Whether the sender has closed a writer's entry and then forgotten it: no copy of its shows
    /// anything of that writer any more. Whoever was to catch up with the sender need not have it.
    pub(crate) fn has_forgotten(&self, writer: ServerId) -> bool {
        let passed = |first: &ServerId| first.number() == writer.number() && writer < *first;
        self.applied.get(writer) == Stamp::ZERO && self.closed.iter().any(passed)
    }
}

/// Asks for everything beyond a base (R78). The base stays the same through a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// The asker's number for this round.
    pub round: u64,
    /// The asker's applied vector when the round started.
    pub base: Vector,
    /// Where to go on; `None` starts the round.
    pub cursor: Option<Cursor>,
    /// How many bytes of sessions the asker takes at once.
    pub budget: u32,
    /// Whether the asker holds sessions only in part; then the base acknowledges nothing.
    pub partial: bool,
    /// Which sessions it asks for, if it asks several servers at once.
    pub share: Share,
}

/// One of several equal shares of all sessions, by the remainder of their slots: what a server that
/// joins asks of one of several holders.
///
/// ```
/// use grapevine_core::command::Share;
/// assert_eq!(Share::new(0, 1), Some(Share::WHOLE));
/// assert_eq!(Share::new(2, 2), None, "the shares of two are 0 and 1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u8, u8)", into = "(u8, u8)")]
pub struct Share {
    nth: u8,
    of: u8,
}

impl Share {
    /// All sessions.
    pub const WHOLE: Self = Self { nth: 0, of: 1 };

    /// The share with this number, from zero, of so many. `None` if there is no such share.
    pub const fn new(nth: u8, of: u8) -> Option<Self> {
        if nth < of { Some(Self { nth, of }) } else { None }
    }

    /// All shares of so many, at most 255.
    pub(crate) fn all(of: usize) -> impl Iterator<Item = Self> {
        let of = u8::try_from(of).unwrap_or(u8::MAX);
        (0..of).map(move |nth| Self { nth, of })
    }

    /// Whether the session at this address belongs to it.
    pub fn has(self, address: Address) -> bool {
        address.slot % u32::from(self.of) == u32::from(self.nth)
    }
}

impl TryFrom<(u8, u8)> for Share {
    type Error = &'static str;

    /// From which share it is, and how many others there are.
    fn try_from((nth, others): (u8, u8)) -> Result<Self, Self::Error> {
        let share = others.checked_add(1).and_then(|of| Self::new(nth, of));
        share.ok_or("a share that is not one of so many")
    }
}

impl From<Share> for (u8, u8) {
    fn from(share: Share) -> Self {
        (share.nth, share.of - 1)
    }
}

/// A place in the holder's change lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Whose list.
    pub writer: ServerId,
    /// The last entry sent of it.
    pub after: Option<(Stamp, Address)>,
    /// What the holder had applied of this writer when it began the list: all that it may claim at
    /// the list's end, for later arrivals may have been sorted in behind this place.
    pub claim: Stamp,
    /// The holder's applied vector when the round started.
    pub start: Vector,
    /// The number of parts sent before; the asker takes them in order only.
    pub part: u32,
}

/// A part of a round (R78, R94).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The round that it belongs to.
    pub round: u64,
    /// Which part of the round this is, from zero.
    pub part: u32,
    /// Sessions, each with everything that the base doesn't cover.
    #[serde(deserialize_with = "shared::list")]
    pub sessions: Vec<Arc<Session>>,
    /// Where to go on; `None` ends the round.
    pub next: Option<Cursor>,
    /// Writers whose list has come to its end, and the stamp that the asker then covers.
    pub complete: Vec<(ServerId, Stamp)>,
}

/// Under which terms two servers compare copies, so that both leave out the same ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The asker's clock.
    pub at: Timestamp,
    /// A time by which the answer must have come, and a margin for skewed clocks: sessions that end by
    /// themselves before it are left out.
    pub until: Timestamp,
    /// What both servers have applied: sessions that show a write beyond it are left out.
    pub base: Vector,
    /// Per number, the first process that the asker has not closed: what those before it wrote beyond
    /// the base both have alike, if both have closed them.
    #[serde(with = "crate::wire::fixed::servers")]
    pub closed: Vec<ServerId>,
}

/// Asks whether the receiver's copies in a range are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verify {
    /// The asker's number for this question.
    pub number: u64,
    /// What is left out.
    pub terms: Terms,
    /// The first address of the range.
    pub from: Address,
    /// The last address of the range.
    pub to: Address,
    /// The hash of all copies of the range that are not left out.
    pub hash: [u8; 16],
}

/// Answers a [`Verify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The number of the question.
    pub number: u64,
    /// What was found.
    pub found: Seen,
}

/// What a server finds in a range that it was asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen {
    /// The same hash.
    Same,
    /// Another one. These are the copies, in order of their addresses.
    Other {
        /// One entry per copy.
        held: Vec<Held>,
        /// How far the list goes: to the end of the range, if it fits.
        to: Address,
    },
    /// It can't compare now: it is joining or leaving, its clock is off the asker's, or it doesn't
    /// cover the base.
    NotNow,
}

/// A copy, as it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Where it lies.
    pub address: Address,
    /// Its session, for people.
    pub id: HashedId,
    /// A hash of all of it; `None` if it is left out.
    pub hash: Option<[u8; 16]>,
}

/// Exchanges copies that differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mend {
    /// The number of the [`Verify`] that showed the difference.
    pub number: u64,
    /// The sender's copies, whole: as many as fit.
    #[serde(deserialize_with = "shared::list")]
    pub sessions: Vec<Arc<Session>>,
    /// Where it lacks a copy that the receiver has.
    pub lacking: Vec<Address>,
}

impl Command {
    /// The command's name as the tables and counters have it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Batch(_) => "Batch",
            Self::Query(_) => "Query",
            Self::Offer(_) => "Offer",
            Self::Fetch(_) => "Fetch",
            Self::Answer(_) => "Answer",
            Self::Heartbeat(_) => "Heartbeat",
            Self::HeartbeatRequest => "HeartbeatRequest",
            Self::Pull(_) => "Pull",
            Self::Delta(_) => "Delta",
            Self::Ack { .. } => "Ack",
            Self::Leave { .. } => "Leave",
            Self::Verify(_) => "Verify",
            Self::Verified(_) => "Verified",
            Self::Mend(_) => "Mend",
            Self::Mended { .. } => "Mended",
            Self::Starting => "Starting",
            Self::Known { .. } => "Known",
        }
    }

    /// The newest stamp that it holds, of any kind, with the server whose stamp it is (zero where
    /// the command doesn't say): what the clock rule looks at.
    pub fn newest(&self) -> Version {
        let of = |stamp| Version::new(stamp, ServerId::ZERO);
        let created = |id: &SessionId| Version::new(id.created, id.address.origin);
        match self {
            Self::Batch(batch) => {
                let writes = batch.writes.iter().map(|w| w.session().newest());
                let end = Version::new(batch.prev.max(batch.last), batch.publisher);
                writes.fold(end, Version::max)
            }
            Self::Query(query) => query.context.newest().max(created(&query.id)),
            Self::Offer(offer) => offer.applied.newest().max(created(&offer.id)),
            Self::Fetch(fetch) => created(&fetch.id),
            Self::Answer(answer) => {
                let found = match &answer.found {
                    Found::Whole(session) | Found::Joining(Some(session)) => session.newest(),
                    _ => Version::ZERO,
                };
                found.max(answer.applied.newest()).max(created(&answer.id))
            }
            Self::Heartbeat(heartbeat) => heartbeat.applied.newest().max(of(heartbeat.end)),
            Self::HeartbeatRequest | Self::Starting | Self::Known { .. } => Version::ZERO,
            Self::Pull(pull) => {
                let cursor = pull.cursor.as_ref().map_or(Version::ZERO, Cursor::newest);
                cursor.max(pull.base.newest())
            }
            Self::Delta(delta) => {
                let next = delta.next.as_ref().map_or(Version::ZERO, Cursor::newest);
                let sessions = delta.sessions.iter().map(|session| session.newest());
                let complete = delta.complete.iter().map(|&(server, s)| Version::new(s, server));
                sessions.chain(complete).fold(next, Version::max)
            }
            Self::Ack { applied } => of(*applied),
            Self::Leave { end, .. } => of(*end),
            Self::Verify(verify) => verify.terms.base.newest(),
            Self::Verified(_) => Version::ZERO,
            Self::Mend(Mend { sessions, .. }) | Self::Mended { sessions, .. } => {
                sessions.iter().map(|session| session.newest()).fold(Version::ZERO, Version::max)
            }
        }
    }
}

impl Cursor {
    fn newest(&self) -> Version {
        let after = self.after.map_or(Stamp::ZERO, |(stamp, _)| stamp);
        self.start.newest().max(Version::new(after.max(self.claim), self.writer))
    }
}
