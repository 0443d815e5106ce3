//! The work that is measured: sessions with one attribute of 1 KiB, and a stream of updates that
//! set it again.

use std::sync::Arc;
use std::time::Duration;

use grapevine_core::{
    Acks, Action, Change, Command, Config, Create, Engine, Event, Farm, Key, Request, RequestId,
    Response, ServerId, Session, Timestamp, Token, Value, View, wire,
};

/// Bytes of the attribute.
pub const PAYLOAD: usize = 1024;

/// The attribute's name.
pub fn key() -> Key {
    Key::new("data").expect("a short name is a key")
}

/// The attribute's bytes, no two alike in a row.
pub fn payload() -> [u8; PAYLOAD] {
    std::array::from_fn(|n| (n % 251) as u8)
}

/// Numbers below `bound`, evenly spread and the same in every run. `bound` must not be zero.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    state: u64,
    bound: u64,
}

impl Spread {
    /// A sequence of its own for each `seed`.
    pub const fn new(seed: u64, bound: usize) -> Self {
        Self { state: seed.wrapping_mul(0xd134_2543_de82_ef95), bound: bound as u64 }
    }

    /// The next number (SplitMix64, and the high half of a product instead of a remainder).
    pub const fn next(&mut self) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((z as u128 * self.bound as u128) >> 64) as usize
    }
}

/// An engine that publishes updates: the only one of its farm, so that it asks nobody.
pub struct Writer {
    engine: Engine,
    now: Timestamp,
    tokens: Vec<Token>,
    copies: Vec<Arc<Session>>,
    requests: u64,
    value: Value,
}

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

impl Writer {
    /// A writer with this many sessions, and the frames of their creates.
    pub fn new(sessions: usize) -> (Self, Vec<Vec<u8>>) {
        let mut writer = Self {
            engine: engine(1, 1),
            now: START,
            tokens: Vec::with_capacity(sessions),
            copies: Vec::with_capacity(sessions),
            requests: 0,
            value: Value::new(&payload()),
        };
        let mut frames = Vec::new();
        for n in 1..=sessions {
            // A value of its own for each: shared ones would all lie in the cache.
            let attributes = vec![(key(), Value::new(&payload()))];
            let day = Some(Duration::from_secs(24 * 3600));
            let create = Create { attributes, idle_timeout: day, ..Create::default() };
            writer.ask(Request::Create(create));
            if n % 64 == 0 || n == sessions {
                writer.drain(&mut frames);
            }
        }
        (writer, frames)
    }

    /// Updates sessions that `spread` names. Every `together` of them go out as one batch, as far
    /// as the limits of a batch allow. Returns the encoded batches.
    pub fn updates(&mut self, count: u64, together: u64, spread: &mut Spread) -> Vec<Vec<u8>> {
        self.now = self.now + Duration::from_millis(1);
        let mut frames = Vec::new();
        for n in 1..=count {
            let token = self.tokens[spread.next()].clone();
            let changes = vec![Change::Set(key(), self.value.clone())];
            self.ask(Request::Update { token, changes, acks: Acks::Local });
            if n % together == 0 || n == count {
                self.drain(&mut frames);
            }
        }
        frames
    }

    /// The time of the newest updates.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The tokens of all sessions, by slot.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The copies of all sessions, by slot.
    pub fn copies(&self) -> &[Arc<Session>] {
        &self.copies
    }

    /// What request threads need to read.
    pub fn view(&self) -> View {
        self.engine.view()
    }

    fn ask(&mut self, request: Request) {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.engine.handle(self.now, Event::Request { id, request });
    }

    fn drain(&mut self, frames: &mut Vec<Vec<u8>>) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Publish { command: command @ Command::Batch(_), .. } => {
                    let mut frame = Vec::new();
                    wire::encode(&command, &mut frame);
                    frames.push(frame);
                }
                Action::Respond { outcome, .. } => {
                    let Ok(Response::Session(served)) = outcome else {
                        panic!("a write failed: {outcome:?}");
                    };
                    let slot = served.token.id.address.slot as usize;
                    if slot == self.tokens.len() {
                        self.tokens.push(served.token);
                        self.copies.push(served.session);
                    } else {
                        self.copies[slot] = served.session;
                    }
                }
                _ => {}
            }
        }
    }
}

/// An engine that takes what a [`Writer`] publishes, and shows its copies as a runtime would.
pub struct Reader {
    engine: Engine,
    shown: Vec<Option<Arc<Session>>>,
    stored: u64,
}

impl Reader {
    /// A reader that has taken these frames.
    pub fn new(sessions: usize, frames: &[Vec<u8>]) -> Self {
        let shown = vec![None; sessions];
        let mut reader = Self { engine: engine(2, 3), shown, stored: 0 };
        frames.iter().for_each(|frame| reader.take(START, frame));
        assert_eq!(reader.stored, sessions as u64, "every create must arrive");
        reader
    }

    /// Decodes a frame, has the engine check and merge it, and stores what comes of it.
    pub fn take(&mut self, now: Timestamp, frame: &[u8]) {
        let command = wire::decode(frame, &self.engine.config().farm).expect("an own frame");
        let from = writer_id();
        self.engine.handle(now, Event::Command { from, command });
        while let Some(action) = self.engine.poll_action() {
            if let Action::Store { address, copy, .. } = action {
                self.shown[address.slot as usize] = copy;
                self.stored += 1;
            }
        }
    }

    /// How many copies were stored. Fewer than updates were taken when a batch has several of one
    /// session.
    pub const fn stored(&self) -> u64 {
        self.stored
    }

    /// How many updates and creates were merged.
    pub fn merged(&self) -> u64 {
        self.engine.status().counters.merged
    }
}

fn writer_id() -> ServerId {
    ServerId::new(1, START)
}

fn engine(number: u16, size: u16) -> Engine {
    let farm = Farm { size, ..Farm::default() };
    let mut config = Config::new(ServerId::new(number, START), farm);
    config.local.start_wait = Duration::ZERO;
    Engine::new(config, [number as u8; 32], START).expect("the default configuration fits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_takes_every_update_that_a_writer_makes() {
        let (mut writer, creates) = Writer::new(100);
        let mut reader = Reader::new(100, &creates);
        let frames = writer.updates(200, 64, &mut Spread::new(1, 100));
        frames.iter().for_each(|frame| reader.take(writer.now(), frame));
        assert_eq!(reader.merged(), 300);
        assert!(frames.len() < 10, "updates go out in batches");
        let copies = reader.shown.iter().flatten();
        assert!(copies.eq(writer.copies()), "both have the same copies");
    }

    #[test]
    fn numbers_are_spread_over_the_whole_range() {
        let mut spread = Spread::new(7, 10);
        let mut counts = [0; 10];
        (0..10_000).for_each(|_| counts[spread.next()] += 1);
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }
}
