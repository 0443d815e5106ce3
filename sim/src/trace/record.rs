//! What is recorded of a run, on demand, so that a picture can be drawn from it.

use std::collections::BTreeSet;

use grapevine_core::{
    Attribute, Command, Compared, Report, Request, RequestError, Response, ServerId, Session,
    Stamp, Timestamp, Vector, Version,
};

use crate::network::Link;
use crate::world::START;

/// Something that happened, as a picture shows it. Servers are indices, from zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A message was sent and will arrive.
    Sent {
        /// When.
        at: Timestamp,
        /// When it arrives.
        due: Timestamp,
        /// From and to, by index.
        link: Link,
        /// What.
        command: &'static str,
        /// The sessions involved.
        about: Vec<String>,
        /// Whether bits were flipped on the way.
        damaged: bool,
    },
    /// A message was lost, or waits on a clogged link.
    Lost {
        /// When.
        at: Timestamp,
        /// From and to, by index.
        link: Link,
        /// What.
        command: &'static str,
        /// The sessions involved.
        about: Vec<String>,
        /// Why.
        why: &'static str,
    },
    /// A server was asked by a customer.
    Asked {
        /// When.
        at: Timestamp,
        /// Where.
        server: usize,
        /// What, in a word.
        what: &'static str,
        /// The session, unless it is yet to be made.
        about: Vec<String>,
    },
    /// A request was answered.
    Answered {
        /// When.
        at: Timestamp,
        /// Where.
        server: usize,
        /// With what, in a word or two.
        what: String,
        /// Whether it was done.
        good: bool,
        /// The session, if there is one in the answer.
        about: Vec<String>,
    },
    /// What became of a server: a fault, or its end.
    Fault {
        /// When.
        at: Timestamp,
        /// Where.
        server: usize,
        /// What.
        what: &'static str,
    },
    /// Other links are cut or clogged than before.
    Links {
        /// When.
        at: Timestamp,
        /// Those that are cut from now on, by index.
        cut: BTreeSet<Link>,
        /// Those that are clogged.
        clogged: BTreeSet<Link>,
    },
    /// A fault of the schedule, as the schedule has it.
    Scheduled {
        /// When.
        at: Timestamp,
        /// What.
        what: String,
    },
    /// A server's copy of a session has changed.
    Copy {
        /// When.
        at: Timestamp,
        /// Where.
        server: usize,
        /// The session.
        session: String,
        /// What the copy says now; `None` if it is gone.
        shows: Option<String>,
    },
    /// A server's applied vector has moved.
    Applied {
        /// When.
        at: Timestamp,
        /// Where.
        server: usize,
        /// To where.
        applied: String,
    },
}

/// The sessions that a command is about.
pub(super) fn sessions(command: &Command) -> Vec<String> {
    use grapevine_core::command::Found;
    match command {
        Command::Batch(batch) => {
            batch.writes.iter().map(|write| write.session().id.to_string()).collect()
        }
        Command::Query(query) => vec![query.id.to_string()],
        Command::Offer(offer) => vec![offer.id.to_string()],
        Command::Fetch(fetch) => vec![fetch.id.to_string()],
        Command::Answer(answer) => match &answer.found {
            Found::Whole(session) => vec![session.id.to_string()],
            _ => vec![answer.id.to_string()],
        },
        Command::Delta(delta) => delta.sessions.iter().map(|s| s.id.to_string()).collect(),
        _ => Vec::new(),
    }
}

/// What a request asks, and of which session.
pub(super) fn request(request: &Request) -> (&'static str, Vec<String>) {
    let (what, token) = match request {
        Request::Create(_) => ("create", None),
        Request::Read { token, .. } => ("read", Some(token)),
        Request::Update { token, .. } => ("update", Some(token)),
        Request::Replace { token, .. } => ("replace", Some(token)),
        Request::Delete { token, .. } => ("delete", Some(token)),
        Request::Rotate { token, .. } => ("rotate", Some(token)),
        Request::Revoke { .. } => ("revoke", None),
        Request::Sessions { .. } => ("list", None),
        Request::Leave => ("leave", None),
        Request::Verify { .. } => ("compare", None),
    };
    (what, token.map(|token| token.id.to_string()).into_iter().collect())
}

/// What an answer says, and of which sessions.
pub(super) fn answer(outcome: &Result<Response, RequestError>) -> (String, Vec<String>) {
    let what = match outcome {
        Ok(Response::Session(served)) if served.stale => "stale".to_owned(),
        Ok(Response::Session(served)) if served.lost => "lost in part".to_owned(),
        Ok(Response::Session(_)) => "session".to_owned(),
        Ok(Response::Deleted) => "ended".to_owned(),
        Ok(Response::Revoked { sessions, .. }) => format!("{sessions} sessions of the user ended"),
        Ok(Response::Sessions(page)) => format!("{} sessions of the user", page.sessions.len()),
        Ok(Response::Left { complete: true }) => "left; the others have all it wrote".to_owned(),
        Ok(Response::Left { complete: false }) => "left; others may lack what it wrote".to_owned(),
        Ok(Response::Verified(report)) => compared(report),
        Err(error) => error.to_string(),
    };
    let about = match outcome {
        Ok(Response::Session(served)) => vec![served.session.id.to_string()],
        Ok(Response::Sessions(page)) => page.sessions.iter().map(|s| s.id.to_string()).collect(),
        _ => Vec::new(),
    };
    (what, about)
}

/// What came of comparing copies with all others.
fn compared(report: &Report) -> String {
    let with = |peer: &Compared| match peer.missed {
        Some(why) => format!("not with server {}: {why}", peer.number),
        None if peer.differing > 0 => {
            format!("server {}: {} of {} differ", peer.number, peer.differing, peer.sessions)
        }
        None => format!("server {}: {} alike", peer.number, peer.sessions),
    };
    let with: Vec<String> = report.peers.iter().map(with).collect();
    format!(
        "compared: {}",
        if with.is_empty() { "with nobody".to_owned() } else { with.join("; ") }
    )
}

/// A copy, in words for people.
pub(super) fn copy(session: &Session) -> String {
    let partial = if session.complete { "" } else { ", in part" };
    let mut text = format!("{:?}{partial}; seen {}", session.life, vector(&session.seen));
    for (key, attribute) in &session.attributes {
        let by = |by: Version| format!("({} {})", server(by.server), stamp(by.stamp));
        let said = match attribute {
            Attribute::Register { version, value } => {
                format!("= {}  {}", bytes(value.as_bytes()), by(*version))
            }
            Attribute::Removed { version } => format!("removed  {}", by(*version)),
            Attribute::Counter(counter) => {
                let subtotals = counter.subtotals.iter();
                let subtotals = subtotals.map(|(&id, subtotal)| {
                    format!("{} {} at {}", server(id), subtotal.sum, stamp(subtotal.stamp))
                });
                let subtotals = subtotals.collect::<Vec<_>>().join(", ");
                format!("counts {}  ({subtotals})", counter.value())
            }
        };
        text += &format!("\n{} {said}", key.as_str());
    }
    text
}

/// Text as text, all else by its length.
fn bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= 40 && !text.chars().any(char::is_control) => format!("{text:?}"),
        _ => format!("{} bytes", bytes.len()),
    }
}

/// A vector, in seconds since the start.
pub(super) fn vector(vector: &Vector) -> String {
    let entries = vector.iter().map(|(id, at)| format!("{} {}", server(id), stamp(at)));
    entries.collect::<Vec<_>>().join(", ")
}

fn server(id: ServerId) -> String {
    match id.boot().since(START).as_millis() {
        0 => format!("s{}", id.number()),
        later => format!("s{}(since {}.{:03})", id.number(), later / 1000, later % 1000),
    }
}

fn stamp(stamp: Stamp) -> String {
    let at = stamp.time().since(START).as_millis();
    let counter = stamp.counter();
    let more = if counter == 0 { String::new() } else { format!("+{counter}") };
    format!("{}.{:03}{more}", at / 1000, at % 1000)
}
