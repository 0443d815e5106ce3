//! A local read with a copy of the payload, at one and at two threads: the whole of it, as a
//! request thread does it with a customer's token, and its parts. Beside a slot behind its own
//! lock.

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use grapevine_benches::floor::{Locked, threads};
use grapevine_benches::lab::Lab;
use grapevine_benches::work::{PAYLOAD, Spread, Writer, key, payload};
use grapevine_core::{Locally, Session, Shown, Token, TokenKey, serve_locally};
use grapevine_tokio::{Create, Grapevine, Value};
use parking_lot::RwLock;

pub(crate) fn run(lab: &mut Lab) {
    let many = lab.size(1 << 17, 1 << 8);
    for (what, sessions, aim) in [("hot", 1, 1.4), ("uniform", many, 1.2)] {
        let slots = Locked::new(sessions);
        let floor = lab.time("read", &format!("{what}_floor"), |times| {
            threads(1, |_| slots.read(times, &mut Spread::new(4, sessions)))
        });
        let floor_two = lab.time("read", &format!("{what}_floor_two_threads"), |times| {
            threads(2, |thread| slots.read(times, &mut Spread::new(4 + thread, sessions)))
        });
        drop(slots);
        let parts = Parts::new(sessions);
        let rule = lab.time("read", &format!("{what}_rule"), |times| {
            threads(1, |_| parts.read(times, &mut Spread::new(4, sessions)))
        });
        lab.row(&format!("local read, {what}: slot and rule alone"), rule, floor, Some(aim));
        drop(parts);
        let server = Server::new(sessions);
        if what == "hot" {
            let key = TokenKey::new(&grapevine_tokio::LOOPBACK_KEY);
            let token = lab.time("read", "token", |times| {
                threads(1, |_| decode(times, &server.tokens[0], &key))
            });
            lab.row("local read: token alone (base64, MAC)", token, floor, None);
        }
        let whole = lab.time("read", &format!("{what}_whole"), |times| {
            threads(1, |_| server.read(times, &mut Spread::new(4, sessions)))
        });
        lab.row(&format!("local read, {what}: whole, one thread"), whole, floor, Some(aim));
        let whole_two = lab.time("read", &format!("{what}_whole_two_threads"), |times| {
            threads(2, |thread| server.read(times, &mut Spread::new(4 + thread, sessions)))
        });
        let name = format!("local read, {what}: whole, each of two threads");
        lab.row(&name, whole_two, floor_two, Some(aim));
    }
}

fn copy_out(session: &Session, out: &mut [u8; PAYLOAD]) {
    match session.get("data") {
        Some(Shown::Bytes(bytes)) => out.copy_from_slice(bytes),
        other => panic!("not the payload: {other:?}"),
    }
    black_box(out);
}

fn decode(times: u64, token: &str, key: &TokenKey) {
    for _ in 0..times {
        black_box(Token::decode(black_box(token), key)).expect("an own token");
    }
}

/// What is left of a read when the token is parsed: a slot behind its lock, and the engine's rule.
struct Parts {
    writer: Writer,
    slots: Vec<RwLock<(Arc<Session>, bool)>>,
}

impl Parts {
    fn new(sessions: usize) -> Self {
        let (writer, _) = Writer::new(sessions);
        let slot = |copy: &Arc<Session>| RwLock::new((Arc::clone(copy), true));
        let slots = writer.copies().iter().map(slot).collect();
        Self { writer, slots }
    }

    fn read(&self, times: u64, spread: &mut Spread) {
        let (view, now) = (self.writer.view(), self.writer.now());
        let mut out = [0; PAYLOAD];
        for _ in 0..times {
            let token = &self.writer.tokens()[spread.next()];
            let slot = &self.slots[token.id.address.slot as usize];
            let (copy, settled) = slot.read().clone();
            match serve_locally(&copy, settled, &view, token, now) {
                Locally::Serve(served) => copy_out(&served.session, &mut out),
                Locally::Ask => panic!("a settled copy must be served"),
            }
        }
    }
}

/// A whole server, the only one of its farm.
struct Server {
    // Dropped before the runtime that its tasks run in.
    server: Grapevine,
    tokens: Vec<String>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    fn new(sessions: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (server, tokens) = runtime.block_on(async {
            let server = Grapevine::builder(1).start().await.expect("a server alone");
            let value = Value::new(&payload());
            let mut tokens = Vec::with_capacity(sessions);
            for _ in 0..sessions {
                let attributes = vec![(key(), value.clone())];
                // A touch would be a write, and is another matter.
                let idle_timeout = Some(Duration::from_secs(24 * 3600));
                let create = Create { attributes, idle_timeout, ..Create::default() };
                tokens.push(server.create(create).await.expect("a session").token);
            }
            (server, tokens)
        });
        Self { server, tokens, _runtime: runtime }
    }

    fn read(&self, times: u64, spread: &mut Spread) {
        let mut out = [0; PAYLOAD];
        for _ in 0..times {
            let reading = pin!(self.server.read(&self.tokens[spread.next()]));
            match reading.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(served)) => copy_out(&served.session, &mut out),
                Poll::Ready(Err(error)) => panic!("a read failed: {error}"),
                Poll::Pending => panic!("a read of a local copy must not ask another task"),
            }
        }
    }
}
