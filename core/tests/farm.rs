//! Three engines that hear each other at once: what servers send, to whom, and what it makes of the
//! others. Losses and delays are the simulator's business.

use std::sync::Arc;
use std::time::Duration;

use grapevine_core::command::{Batch, Command, Found, Write};
use grapevine_core::{
    Acks, Action, Change, Config, Create, Engine, Event, Farm, Key, NotFound, ReadPolicy, Request,
    RequestError, RequestId, Response, Served, ServerId, Session, Shown, Timestamp, To, Token,
};

/// Engines 0, 1 and 2, and everything that they sent.
struct Trio {
    engines: Vec<Engine>,
    now: Timestamp,
    sent: Vec<(usize, To, Command)>,
    requests: u64,
}

type Outcome = Result<Response, RequestError>;

fn server(index: usize) -> ServerId {
    ServerId::new(index as u16 + 1, Timestamp::from_millis(1_700_000_000_000 + index as u64))
}

impl Trio {
    /// A farm whose servers have all joined.
    fn new() -> Self {
        let now = Timestamp::from_millis(1_700_000_000_100);
        let engine = |index| {
            let mut config = Config::new(server(index), Farm::default());
            config.local.start_wait = Duration::ZERO;
            Engine::new(config, [index as u8; 32], now).unwrap()
        };
        let engines = (0..3).map(engine).collect();
        let mut trio = Self { engines, now, sent: Vec::new(), requests: 0 };
        for (at, of) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            trio.handle(at, Event::PeerUp(server(of)));
        }
        trio.pass(Duration::from_secs(1));
        assert!(trio.engines.iter().all(|engine| !engine.status().joining));
        trio.sent.clear();
        trio
    }

    fn pass(&mut self, time: Duration) {
        for _ in 0..20 {
            self.now = self.now + time / 20;
            for index in 0..3 {
                self.handle(index, Event::Timer);
            }
        }
    }

    /// Hands an event in and delivers what comes of it, until all is quiet.
    fn handle(&mut self, index: usize, event: Event) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut events = vec![(index, event)];
        while let Some((index, event)) = events.pop() {
            self.engines[index].handle(self.now, event);
            self.engines[index].check_invariants();
            while let Some(action) = self.engines[index].poll_action() {
                match action {
                    Action::Publish { to, command } => {
                        for other in self.receivers(index, to) {
                            let (from, command) = (server(index), command.clone());
                            events.insert(0, (other, Event::Command { from, command }));
                        }
                        self.sent.push((index, to, command));
                    }
                    Action::Respond { outcome, .. } => outcomes.push(outcome),
                    Action::Store { .. } | Action::Notify(_) => {}
                    Action::Stop(why) => panic!("{why:?}"),
                }
            }
        }
        outcomes
    }

    fn receivers(&self, from: usize, to: To) -> Vec<usize> {
        let meant = |other: &usize| match to {
            To::All => *other != from,
            To::One(one) => server(*other) == one,
        };
        (0..self.engines.len()).filter(meant).collect()
    }

    fn request(&mut self, index: usize, request: Request) -> Outcome {
        self.requests += 1;
        let id = RequestId(self.requests);
        let mut outcomes = self.handle(index, Event::Request { id, request });
        assert_eq!(outcomes.len(), 1, "each request gets one response");
        outcomes.remove(0)
    }

    fn session(&mut self, index: usize, request: Request) -> Served {
        match self.request(index, request) {
            Ok(Response::Session(served)) => served,
            other => panic!("{other:?}"),
        }
    }

    fn create(&mut self, index: usize, user: &str) -> Served {
        let attributes = vec![(key("user"), user.into())];
        self.session(index, Request::Create(Create { attributes, ..Create::default() }))
    }

    fn update(&mut self, index: usize, token: &Token, changes: Vec<Change>) -> Served {
        let acks = Acks::Local;
        self.session(index, Request::Update { token: token.clone(), changes, acks })
    }

    fn read(&mut self, index: usize, token: &Token) -> Served {
        self.session(index, read(token))
    }

    /// What was sent since the last call, without heartbeats and acknowledgements.
    fn messages(&mut self) -> Vec<(usize, To, Command)> {
        let quiet = |command: &Command| {
            matches!(
                command,
                Command::Heartbeat(_) | Command::HeartbeatRequest | Command::Ack { .. }
            )
        };
        std::mem::take(&mut self.sent).into_iter().filter(|(.., c)| !quiet(c)).collect()
    }

    fn copy(&self, index: usize, token: &Token) -> Option<Arc<Session>> {
        self.engines[index].copies().find(|copy| copy.id == token.id).cloned()
    }
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn add(item: &str, amount: i64) -> Vec<Change> {
    vec![Change::Add(key(item), amount)]
}

fn read(token: &Token) -> Request {
    Request::Read { token: token.clone(), policy: ReadPolicy::Fresh }
}

/// The one write of the one batch that was sent to all.
fn only_write(messages: &[(usize, To, Command)]) -> &Write {
    match messages {
        [(_, To::All, Command::Batch(Batch { writes, .. }))] if writes.len() == 1 => &writes[0],
        other => panic!("not one batch of one write to all: {other:?}"),
    }
}

#[test]
fn a_create_is_one_message_to_all_that_carries_the_session() {
    let mut trio = Trio::new();
    let served = trio.create(0, "ann");
    let messages = trio.messages();
    let Write::Create(session) = only_write(&messages) else { panic!("not a create") };
    assert_eq!(session.get("user"), Some(Shown::Bytes(b"ann")));
    assert_eq!(**session, *served.session);
}

#[test]
fn a_create_command_is_all_that_a_server_needs_to_make_and_store_the_copy() {
    let mut trio = Trio::new();
    let served = trio.create(0, "ann");
    for index in 0..3 {
        assert_eq!(trio.copy(index, &served.token), Some(Arc::clone(&served.session)));
    }
}

#[test]
fn an_update_is_one_message_to_all_that_carries_what_changed_and_no_more() {
    let mut trio = Trio::new();
    let token = trio.create(0, "ann").token;
    trio.messages();
    trio.update(1, &token, add("cart/sku-1", 2));
    let messages = trio.messages();
    assert_eq!(messages[0].0, 1, "the second server sends it");
    let Write::Update(delta) = only_write(&messages) else { panic!("not an update") };
    assert_eq!(delta.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["cart/sku-1"]);
}

#[test]
fn every_server_makes_the_updated_session_from_its_own_copy_and_the_update() {
    let mut trio = Trio::new();
    let token = trio.create(0, "ann").token;
    let updated = trio.update(1, &token, add("cart/sku-1", 2));
    for index in 0..3 {
        let copy = trio.copy(index, &token).unwrap();
        assert_eq!(copy, updated.session);
        assert_eq!(copy.get("user"), Some(Shown::Bytes(b"ann")), "what it had stays");
    }
}

#[test]
fn a_replacement_deletes_what_was_there_and_adds_what_is_new_in_one_command() {
    let mut trio = Trio::new();
    let token = trio.create(0, "ann").token;
    trio.messages();
    let (attributes, acks) = (vec![(key("lang"), "de".into())], Acks::Local);
    trio.session(1, Request::Replace { token: token.clone(), attributes, acks });
    assert!(matches!(only_write(&trio.messages()), Write::Update(_)));
    for index in 0..3 {
        let copy = trio.copy(index, &token).unwrap();
        assert_eq!(copy.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["lang"]);
    }
}

#[test]
fn an_id_names_its_creator_and_slot_and_leads_to_the_copy_on_every_server() {
    let mut trio = Trio::new();
    trio.create(1, "bob");
    let token = trio.create(1, "ann").token;
    assert_eq!(token.id.address.origin, server(1));
    assert_eq!(token.id.address.slot, 1, "the second slot of that server's array");
    for index in 0..3 {
        assert_eq!(trio.read(index, &token).session.id, token.id);
    }
}

#[test]
fn an_id_belongs_to_one_customer_and_another_ones_secret_does_not_open_it() {
    let mut trio = Trio::new();
    let mut token = trio.create(0, "ann").token;
    token.id.secret = grapevine_core::Secret::from_bytes([1; 16]);
    let refused = trio.request(1, read(&token));
    assert_eq!(refused, Err(RequestError::NotFound(NotFound::Unknown)));
}

#[test]
fn every_version_of_a_session_tells_which_server_wrote_it_last() {
    let mut trio = Trio::new();
    let token = trio.create(0, "ann").token;
    for writer in [1, 2, 0] {
        let token = trio.update(writer, &token, add("cart/sku-1", 1)).token;
        for index in 0..3 {
            let (server_, stamp) = trio.copy(index, &token).unwrap().newest_write().unwrap();
            assert_eq!(server_, server(writer));
            assert_eq!(stamp, trio.engines[writer].status().end);
        }
    }
}

#[test]
fn a_server_that_lacks_a_session_asks_all_and_a_holder_answers_the_asker() {
    let mut trio = Trio::new();
    let token = trio.create(0, "ann").token;
    let mut config = Config::new(ServerId::new(3, trio.now), Farm::default());
    config.local.start_wait = Duration::ZERO;
    let late = ServerId::new(3, trio.now);
    let mut empty = Engine::new(config, [9; 32], trio.now).unwrap();
    for of in [0, 1] {
        empty.handle(trio.now, Event::PeerUp(server(of)));
    }
    empty.handle(trio.now, Event::Request { id: RequestId(1), request: read(&token) });
    let actions: Vec<Action> = std::iter::from_fn(|| empty.poll_action()).collect();
    let query = actions.iter().find_map(|action| match action {
        Action::Publish { to: To::All, command: Command::Query(query) } => Some(query.clone()),
        _ => None,
    });
    let query = query.expect("it asks all");
    let command = Command::Query(query);
    trio.engines.truncate(2);
    trio.messages();
    trio.handle(1, Event::Command { from: late, command });
    let answers: Vec<_> = trio.messages().into_iter().collect();
    let [(1, To::One(to), Command::Answer(answer))] = &answers[..] else {
        panic!("not one answer: {answers:?}");
    };
    assert_eq!(*to, late);
    assert!(matches!(&answer.found, Found::Whole(session) if session.id == token.id));
    // The answer alone lets the asker serve.
    let command = Command::Answer(answer.clone());
    empty.handle(trio.now, Event::Command { from: server(1), command });
    let served = std::iter::from_fn(|| empty.poll_action())
        .any(|action| matches!(action, Action::Respond { outcome: Ok(Response::Session(_)), .. }));
    assert!(served, "served from the answer");
}

#[test]
fn one_session_spans_a_purchase_over_three_servers_and_the_next_one() {
    let mut trio = Trio::new();
    let mut token = trio.create(0, "ann").token;
    for purchase in 1..=2 {
        token = trio.update(1, &token, add("cart/sku-1", 1)).token;
        token = trio.update(2, &token, add("cart/sku-2", 3)).token;
        let cart = trio.read(0, &token);
        assert_eq!(cart.session.get("cart/sku-1"), Some(Shown::Count(1)));
        assert_eq!(cart.session.get("cart/sku-2"), Some(Shown::Count(3)));
        let paid = vec![
            Change::Remove(key("cart/sku-1")),
            Change::Remove(key("cart/sku-2")),
            Change::Add(key("orders"), 1),
        ];
        token = trio.update(0, &cart.token, paid).token;
        let after = trio.read(1, &token);
        assert_eq!(after.session.get("orders"), Some(Shown::Count(purchase)));
        assert_eq!(after.session.get("cart/sku-1"), None);
    }
}

#[test]
fn many_sessions_are_kept_on_every_server_each_with_an_id_of_its_own() {
    let mut trio = Trio::new();
    let tokens: Vec<Token> = (0..300).map(|n| trio.create(n % 3, &n.to_string()).token).collect();
    for (n, token) in tokens.iter().enumerate() {
        for index in 0..3 {
            let served = trio.read(index, token);
            let user = n.to_string();
            assert_eq!(served.session.get("user"), Some(Shown::Bytes(user.as_bytes())));
        }
    }
    for engine in &trio.engines {
        assert_eq!(engine.status().sessions, 300);
    }
}

#[test]
fn reads_at_any_server_of_a_farm_at_rest_need_no_message() {
    let mut trio = Trio::new();
    let token = trio.create(0, "ann").token;
    trio.messages();
    for index in [0, 1, 2, 1, 0] {
        trio.read(index, &token);
    }
    assert_eq!(trio.messages(), []);
}
