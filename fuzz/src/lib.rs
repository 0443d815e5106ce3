//! The bodies of the fuzz targets: each takes any bytes and panics if something is wrong. libFuzzer
//! and the plain tests call the same ones.

mod script;

use std::borrow::BorrowMut;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use grapevine_core::command::{Command, Found, Heartbeat, Pull, Query};
use grapevine_core::{
    Acks, Action, Address, Config, Create, Engine, Event, Farm, Local, Principal, ReadPolicy,
    Request, RequestId, Response, Rotation, Secret, ServerId, SessionId, Stamp, Timestamp, To,
    Token, TokenKey, Vector, wire,
};

pub use script::{Ask, Step, steps, to_bytes};

/// Bytes give a command or an error. A command that is sent on comes back the same (G10).
pub fn decode(data: &[u8]) {
    let farm = farm();
    let read = wire::decode(data, &farm);
    let mut used = Command::Heartbeat(Heartbeat::default());
    let again = wire::decode_into(data, &farm, &mut used).map(|()| used);
    assert_eq!(again, read, "not the same in used memory");
    let Ok(command) = read else { return };
    let mut bytes = Vec::new();
    wire::encode(&command, &mut bytes);
    assert_eq!(wire::decode(&bytes, &farm).as_ref(), Ok(&command), "not the same when sent on");
    let mut again = command.clone();
    assert_eq!(wire::decode_into(data, &farm, &mut again), Ok(()), "not read in used memory");
    assert_eq!(again, command, "not the same in used memory");
    let _ = command.newest();
}

/// Any text as a token, as an ID with a context beside it, and as damage to texts that the farm made:
/// what is taken is what the farm made, to the letter, and all else a named error (R75, G10).
pub fn token(data: &[u8]) {
    let key = TokenKey::new(&[1; 32]);
    let text = String::from_utf8_lossy(data);
    let (id, context) = text.split_once('.').unwrap_or((&text, ""));
    for taken in [Token::decode(&text, &key), Token::decode(id, &key)].into_iter().flatten() {
        assert!([&*text, id].contains(&&*taken.encode(&key)), "a token in two spellings");
    }
    if let Ok(taken) = Token::join(id, context, &key) {
        assert_eq!(taken.split(&key), (id.to_owned(), context.to_owned()));
    }
    let made = made_token();
    let (id, context) = made.split(&key);
    for good in [&made.encode(&key), &id] {
        let bad = damaged(good, data);
        assert!(Token::decode(&bad, &key).is_err() || bad == *good, "{bad:?} for {good:?}");
    }
    let bad = damaged(&context, data);
    assert!(Token::join(&id, &bad, &key).is_err() || bad == context || bad.is_empty());
}

/// A token with a context of two servers.
fn made_token() -> Token {
    let created = Stamp::from_bits(77 << 20);
    let address = Address { origin: server(), slot: 3 };
    let id = SessionId { address, created, secret: Secret::from_bytes([9; 16]) };
    let other = ServerId::new(2, Timestamp::from_millis(4));
    let context = Vector::from_iter([(server(), created), (other, created)]);
    Token { id, deadline: Timestamp::from_millis(1 << 40), context }
}

/// A text with other characters at the places that the bytes name, two bytes for each, and cut where
/// a last odd one says.
fn damaged(good: &str, data: &[u8]) -> String {
    let mut bad: Vec<char> = good.chars().collect();
    let (pairs, rest) = data.as_chunks::<2>();
    for &[at, with] in pairs {
        let at = usize::from(at) % bad.len();
        bad[at] = char::from(with);
    }
    if let [cut] = rest {
        bad.truncate(usize::from(*cut));
    }
    bad.into_iter().collect()
}

/// The limits under fuzzing: small, so that they are reached.
pub fn farm() -> Farm {
    Farm {
        slots_per_origin: 8,
        bytes_per_origin: 16 << 10,
        session_bytes: 1024,
        attributes_per_session: 8,
        value_bytes: 256,
        frame_bytes: 32 << 10,
        known_servers: 8,
        ..Farm::default()
    }
}

/// The server under fuzzing.
pub fn server() -> ServerId {
    ServerId::new(1, Timestamp::from_millis(2))
}

/// Any commands from any senders, between requests and at any times: an engine keeps its
/// invariants, and answers every request exactly once (G7, G10).
pub fn engine(data: &[u8]) {
    let mut world = World::new();
    for step in steps(data) {
        world.take(step);
    }
    world.finish();
}

/// One engine, and what its runtime would have to know of it.
struct World {
    engine: Engine,
    farm: Farm,
    now: Timestamp,
    requests: u64,
    /// Request → whether it was answered.
    answered: BTreeMap<RequestId, bool>,
    tokens: Vec<Token>,
    /// The last pull that was sent, and to whom.
    pull: Option<(ServerId, Pull)>,
    /// The last query that was sent.
    query: Option<Query>,
    /// The memory in which commands are read.
    used: Event,
}

impl World {
    fn new() -> Self {
        let (farm, now) = (farm(), Timestamp::from_millis(5));
        let local = Local {
            pull_budget: 4 << 10,
            offer_above: 512,
            pending_requests: 16,
            start_wait: Duration::ZERO,
            ..Local::default()
        };
        let config = Config { server: server(), farm: farm.clone(), local };
        let engine = Engine::new(config, [3; 32], now).expect("the configuration fits");
        let (answered, tokens) = (BTreeMap::new(), Vec::new());
        let (pull, query, used) = (None, None, Event::Timer);
        Self { engine, farm, now, requests: 0, answered, tokens, pull, query, used }
    }

    fn take(&mut self, step: Step<'_>) {
        match step {
            Step::Wait(millis) => {
                self.wait(Duration::from_millis(millis.into()));
            }
            Step::Command(from, bytes) => self.take_bytes(from, bytes),
            Step::Fitting(from, bytes) => {
                if let Ok(mut command) = wire::decode(bytes, &self.farm) {
                    let from = self.fit(&mut command).unwrap_or(from);
                    self.handle(Event::Command { from, command });
                }
            }
            Step::Up(server) => self.handle(Event::PeerUp(server)),
            Step::Down(server) => self.handle(Event::PeerDown(server)),
            Step::Ask(ask) => self.ask(ask),
        }
    }

    /// Reads a command in the memory of the last one, whatever became of that, and lends it to the engine.
    fn take_bytes(&mut self, from: ServerId, bytes: &[u8]) {
        let mut event = std::mem::replace(&mut self.used, Event::Timer);
        if !matches!(event, Event::Command { .. }) {
            event = Event::Command { from, command: Command::Heartbeat(Heartbeat::default()) };
        }
        if let Event::Command { from: sender, command } = &mut event {
            *sender = from;
            if wire::decode_into(bytes, &self.farm, command).is_ok() {
                self.handle(&mut event);
            }
        }
        self.used = event;
    }

    /// Lets time pass, and calls the engine until nothing is due any more.
    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        for _ in 0..1000 {
            self.handle(Event::Timer);
            if self.engine.poll_timeout().is_none_or(|(due, _)| due > self.now) {
                return;
            }
        }
        panic!("the engine never comes to rest: {:?}", self.engine.poll_timeout());
    }

    fn ask(&mut self, ask: Ask) {
        let token = self.tokens.get(usize::from(ask.token)).cloned();
        let acks = [Acks::Local, Acks::Peers(1), Acks::Majority, Acks::All][ask.acks as usize % 4];
        let small = u64::from(ask.amount);
        let principal = || Principal::new(["ann", "bob", ""][ask.key as usize % 3]);
        let request = match (ask.kind % 14, token) {
            (6, _) => Request::Revoke { principal: principal(), acks },
            (7, token) => {
                let after = token.map(|token| token.id.address);
                Request::Sessions { principal: principal(), after, most: small as u16 }
            }
            (8, _) => Request::Verify { within: Duration::from_millis(small * 10) },
            (9, _) if ask.amount > 250 => Request::Leave,
            (0 | 9, _) | (_, None) => {
                let lifetime = Some(Duration::from_secs(small + 1));
                let principal = (ask.kind % 14 == 9).then(principal);
                let attributes = ask.pairs();
                let create = Create { attributes, lifetime, principal, acks, ..Create::default() };
                Request::Create(create)
            }
            (10 | 11, Some(token)) => {
                let grace = Duration::from_secs(small % 4 * 5);
                let principal = (ask.kind % 14 == 10).then(principal);
                let changes = ask.changes();
                let rotation = Rotation { principal, changes, grace, acks, ..Rotation::default() };
                Request::Rotate { token, rotation }
            }
            (1, Some(token)) => Request::Read { token, policy: ReadPolicy::BestEffort },
            (2, Some(token)) => Request::Update { token, changes: ask.changes(), acks },
            (3, Some(token)) => Request::Replace { token, attributes: ask.pairs(), acks },
            (4, Some(token)) => Request::Read { token, policy: ReadPolicy::Fresh },
            (_, Some(token)) => Request::Delete { token, acks },
        };
        self.requests += 1;
        let id = RequestId(self.requests);
        self.answered.insert(id, false);
        self.handle(Event::Request { id, request });
    }

    fn handle(&mut self, event: impl BorrowMut<Event>) {
        self.engine.handle(self.now, event);
        self.engine.check_invariants();
        self.check_memory();
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Publish { to, command } => self.published(to, command),
                Action::Respond { id, outcome } => self.check_response(id, outcome.ok()),
                Action::Store { .. } | Action::Notify(_) => {}
                // Whoever is told so by a peer ends; the rest of the script finds it ended.
                Action::Stop(_) => {}
            }
        }
        self.engine.check_invariants();
    }

    /// What peers can make a server keep is bounded by the farm's limits (G8).
    fn check_memory(&self) {
        // Accesses, and ends that follow from others, are taken all the same.
        let most = self.farm.most_bytes_per_origin() + u64::from(self.farm.frame_bytes) / 2;
        for (origin, used) in self.engine.usages() {
            assert!(used.bytes() <= most, "of {origin} {used:?}; limits allow {most}");
        }
    }

    fn published(&mut self, to: To, command: Command) {
        let mut bytes = Vec::new();
        wire::encode(&command, &mut bytes);
        let decoded = wire::decode(&bytes, &self.farm);
        assert_eq!(decoded.as_ref(), Ok(&command), "peers must be able to read what is sent");
        match (to, command) {
            (To::One(holder), Command::Pull(pull)) => self.pull = Some((holder, pull)),
            (_, Command::Query(query)) => self.query = Some(query),
            _ => {}
        }
    }

    /// Makes an answer fit what was asked last, or none would ever be taken. Returns who must send
    /// it.
    fn fit(&self, command: &mut Command) -> Option<ServerId> {
        match command {
            Command::Delta(delta) => {
                let (holder, pull) = self.pull.as_ref()?;
                delta.round = pull.round;
                delta.part = pull.cursor.as_ref().map_or(0, |cursor| cursor.part);
                Some(*holder)
            }
            Command::Answer(answer) => {
                let query = self.query.as_ref()?;
                (answer.lookup, answer.id) = (query.lookup, query.id);
                if let Found::Whole(session) | Found::Joining(Some(session)) = &mut answer.found {
                    Arc::make_mut(session).id = query.id;
                }
                None
            }
            Command::Offer(offer) => {
                let query = self.query.as_ref()?;
                (offer.lookup, offer.id) = (query.lookup, query.id);
                None
            }
            _ => None,
        }
    }

    fn check_response(&mut self, id: RequestId, response: Option<Response>) {
        let before = self.answered.insert(id, true);
        assert_eq!(before, Some(false), "{id:?} was answered twice or never asked");
        if let Some(Response::Session(served)) = response {
            let key = TokenKey::new(&[1; 32]);
            let text = served.token.encode(&key);
            assert!(Token::decode(&text, &key).is_ok());
            if self.tokens.len() < 200 {
                self.tokens.push(served.token);
            }
        }
    }

    /// After the longest wait that a request may have, all are answered. Then everything else
    /// comes to its end too.
    fn finish(&mut self) {
        let local = Local::default();
        let verify = Duration::from_millis(2_600);
        for wait in [local.query_timeout, local.ack_timeout, local.round_timeout, verify] {
            self.wait(wait);
        }
        let waiting = self.answered.iter().find(|(_, answered)| !**answered);
        assert_eq!(waiting, None, "a request was not answered in bounded time");
        for _ in 0..50 {
            let Some((due, _)) = self.engine.poll_timeout() else { break };
            self.now = self.now.max(due);
            self.handle(Event::Timer);
        }
    }
}
