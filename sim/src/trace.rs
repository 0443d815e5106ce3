//! The trace of a run: a rolling hash over everything that happened (G9), and on demand a record
//! from which a picture is drawn.

use grapevine_core::{Command, RequestError, Response, ServerId, Timestamp};

use crate::network::Link;

/// Something that happened, as a picture shows it.
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
    },
    /// A message was lost.
    Lost {
        /// When.
        at: Timestamp,
        /// From and to, by index.
        link: Link,
        /// What.
        command: &'static str,
        /// Why.
        why: &'static str,
    },
    /// A request was answered.
    Answered {
        /// When.
        at: Timestamp,
        /// Where.
        server: usize,
        /// With what, in a word or two.
        what: String,
    },
    /// A fault, or its end.
    Fault {
        /// When.
        at: Timestamp,
        /// Where.
        server: usize,
        /// What.
        what: &'static str,
    },
}

/// The trace of one world.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
    recording: bool,
    records: Vec<Record>,
    /// After every event: its time, its server, and the hash so far.
    steps: Option<Vec<(Timestamp, usize, u64)>>,
}

impl Trace {
    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }

    pub(crate) const fn record(&mut self) {
        self.recording = true;
    }

    pub(crate) fn keep_steps(&mut self) {
        self.steps = Some(Vec::new());
    }

    pub(crate) fn steps(&self) -> &[(Timestamp, usize, u64)] {
        self.steps.as_deref().unwrap_or_default()
    }

    fn mix(&mut self, word: u64) {
        // A multiply and a rotation per word: enough that any difference changes all that follows.
        self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    pub(crate) fn message(
        &mut self,
        at: Timestamp,
        from: ServerId,
        link: Link,
        command: &Command,
        bytes: &[u8],
    ) {
        self.mix(at.as_micros());
        self.mix(from.to_bits());
        self.mix((link.0 as u64) << 32 | link.1 as u64);
        self.mix(command.name().len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        rest.iter().for_each(|&byte| self.mix(u64::from(byte)));
    }

    pub(crate) fn handled(&mut self, at: Timestamp, server: usize, state: u64) {
        self.mix(at.as_micros());
        self.mix(server as u64);
        self.mix(state);
        if let Some(steps) = &mut self.steps {
            steps.push((at, server, self.hash));
        }
    }

    pub(crate) fn note(&mut self, at: Timestamp, server: usize, what: &'static str) {
        self.handled(at, server, what.len() as u64);
        if self.recording {
            self.records.push(Record::Fault { at, server, what });
        }
    }

    pub(crate) fn sent(
        &mut self,
        at: Timestamp,
        due: Timestamp,
        _from: ServerId,
        link: Link,
        command: &Command,
    ) {
        if self.recording {
            let about = sessions(command);
            self.records.push(Record::Sent { at, due, link, command: command.name(), about });
        }
    }

    pub(crate) fn lost(
        &mut self,
        at: Timestamp,
        _from: ServerId,
        link: Link,
        command: &Command,
        why: &'static str,
    ) {
        self.mix(why.len() as u64);
        if self.recording {
            self.records.push(Record::Lost { at, link, command: command.name(), why });
        }
    }

    pub(crate) fn answered(
        &mut self,
        at: Timestamp,
        server: usize,
        outcome: &Result<Response, RequestError>,
    ) {
        self.mix(u64::from(outcome.is_ok()));
        if self.recording {
            let what = match outcome {
                Ok(Response::Session(served)) if served.stale => "stale".to_owned(),
                Ok(Response::Session(served)) if served.lost => "lost in part".to_owned(),
                Ok(Response::Session(_)) => "session".to_owned(),
                Ok(other) => format!("{other:?}"),
                Err(error) => error.to_string(),
            };
            self.records.push(Record::Answered { at, server, what });
        }
    }
}

/// The sessions that a command is about.
fn sessions(command: &Command) -> Vec<String> {
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
