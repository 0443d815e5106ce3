//! What sessions are said to take of a server's memory is what they take (G8).

use core::time::Duration;
use std::alloc::System;

use cap::Cap;
use grapevine_core::*;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Sessions of each kind.
const SESSIONS: u64 = 5000;

/// How far what is counted may be from what is taken, in percent.
const OFF: u64 = 3;

struct Server {
    engine: Engine,
    now: Timestamp,
    requests: u64,
}

impl Server {
    fn new() -> Self {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let when_full = WhenFull::EvictAnonymous;
        let farm = Farm { size: 1, when_full, ..Farm::default() };
        let config = Config::new(ServerId::new(1, now), farm);
        let engine = Engine::new(config, [7; 32], now).expect("a valid configuration");
        Self { engine, now, requests: 0 }
    }

    /// Asks, and keeps no more than the token.
    fn ask(&mut self, request: Request) -> Option<Token> {
        self.requests += 1;
        // Not all in one millisecond, and not in the order of their deadlines.
        self.now = self.now + Duration::from_micros(300);
        let id = RequestId(self.requests);
        self.engine.handle(self.now, Event::Request { id, request });
        let mut token = None;
        while let Some(action) = self.engine.poll_action() {
            if let Action::Respond { outcome, .. } = action
                && let Response::Session(served) = outcome.expect("done")
            {
                token = Some(served.token);
            }
        }
        token
    }

    fn create(&mut self, attributes: usize, bytes: usize, principal: Option<String>) -> Token {
        let key = |n| Key::new(&format!("cart/item-{n}")).expect("a good key");
        let value = || Value::new(&vec![b'x'; bytes]);
        let request = Request::Create(Create {
            attributes: (0..attributes).map(|n| (key(n), value())).collect(),
            principal: principal.map(|name| Principal::new(&name)),
            ..Create::default()
        });
        self.ask(request).expect("a session")
    }

    fn update(&mut self, token: &Token, changes: Vec<Change>) {
        let acks = Acks::Local;
        self.ask(Request::Update { token: token.clone(), changes, acks });
    }
}

/// What was taken while this was done, besides what it returns, and what the server counts for it.
fn taken(server: &mut Server, mut work: impl FnMut(&mut Server, u64)) -> (u64, u64) {
    let before = (MEMORY.allocated() as u64, server.engine.status().bytes);
    (0..SESSIONS).for_each(|n| work(server, n));
    (MEMORY.allocated() as u64 - before.0, server.engine.status().bytes - before.1)
}

// One test in this file, for other threads' memory would be counted too.
#[test]
fn sessions_are_counted_as_what_they_take() {
    let key = |name: &str| Key::new(name).expect("a good key");
    type Work<'a> = Box<dyn FnMut(&mut Server, u64) + 'a>;
    let kinds: Vec<(&str, Work<'_>)> = vec![
        ("empty", Box::new(|server, _| drop(server.create(0, 0, None)))),
        ("one small attribute", Box::new(|server, _| drop(server.create(1, 5, None)))),
        ("ten attributes", Box::new(|server, _| drop(server.create(10, 30, None)))),
        ("a large one", Box::new(|server, _| drop(server.create(2, 5000, None)))),
        (
            "with a principal of its own",
            Box::new(|server, n| drop(server.create(1, 30, Some(format!("customer {n}"))))),
        ),
        (
            "written to by adds and removals",
            Box::new(|server, _| {
                let token = server.create(2, 30, None);
                server.update(&token, vec![Change::Add(key("count"), 3)]);
                server.update(&token, vec![Change::Remove(key("cart/item-1"))]);
                server.update(&token, vec![Change::Set(key("cart/item-0"), "other".into())]);
            }),
        ),
        (
            "ended",
            Box::new(|server, _| {
                let token = server.create(3, 30, None);
                server.ask(Request::Delete { token, acks: Acks::Local });
            }),
        ),
    ];
    let mut all = String::new();
    let mut wrong = false;
    for (kind, work) in kinds {
        let mut server = Server::new();
        let (taken, counted) = taken(&mut server, work);
        let each = (taken / SESSIONS, counted / SESSIONS);
        all += &format!("{kind}: {} bytes taken, {} counted\n", each.0, each.1);
        wrong |= taken.abs_diff(counted) * 100 > taken * OFF;
        server.engine.check_invariants();
    }
    println!("{all}");
    assert!(!wrong, "more than {OFF} % off:\n{all}");
}
