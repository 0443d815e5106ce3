//! A local read with a copy of the payload, at one and at two threads: the whole of it, as a
//! request thread does it with a customer's token, and its parts. Beside a slot behind its own
//! lock.

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use grapevine_benches::cpu;
use grapevine_benches::floor::{Locked, threads};
use grapevine_benches::lab::Lab;
use grapevine_benches::work::{PAYLOAD, Spread, Writer, key, payload};
use grapevine_core::{Locally, Session, Shown, Token, TokenKey, serve_locally};
use grapevine_tokio::{Create, Grapevine, LOOPBACK_KEY, Value};
use parking_lot::RwLock;

pub(crate) fn run(lab: &mut Lab) {
    let many = lab.size(1 << 17, 1 << 8);
    for (what, sessions, aim) in [("hot", 1, 1.4), ("uniform", many, 1.2)] {
        let mut slots = None;
        let make = || Locked::new(sessions);
        let [floor, floor_two] = [1, 2].map(|count| {
            let id = format!("{what}_floor_{count}");
            lab.time_with("read", &id, &mut slots, make, |slots, times| {
                threads(count, |thread| slots.read(times, &mut Spread::new(4 + thread, sessions)))
            })
        });
        drop(slots);
        let (make, id) = (|| Parts::new(sessions), format!("{what}_rule"));
        let rule = lab.time_with("read", &id, &mut None, make, |parts, times| {
            parts.read(times, &mut Spread::new(4, sessions))
        });
        lab.row(&format!("local read, {what}: slot and rule alone"), rule, floor, Some(aim));
        let mut server = None;
        let make = || Server::new(sessions);
        if what == "hot" {
            let key = TokenKey::new(&LOOPBACK_KEY);
            let token = lab.time_with("read", "token", &mut server, make, |server, times| {
                cpu::time(|| decode(times, &server.tokens[0], &key))
            });
            lab.row("local read: token alone (base64, MAC)", token, floor, None);
        }
        for (count, least, who) in [(1, floor, "one thread"), (2, floor_two, "each of two threads")]
        {
            let id = format!("{what}_whole_{count}");
            let whole = lab.time_with("read", &id, &mut server, make, |server, times| {
                threads(count, |thread| server.read(times, &mut Spread::new(4 + thread, sessions)))
            });
            lab.row(&format!("local read, {what}: whole, {who}"), whole, least, Some(aim));
        }
    }
}

/// Reads with tokens that `spread` names, so often. As those of requests, they were just copied from
/// somewhere and are in the cache, which is not measured.
fn with_tokens<T: Clone>(
    tokens: &[T],
    times: u64,
    spread: &mut Spread,
    mut read: impl FnMut(&T),
) -> Duration {
    const TOGETHER: u64 = 64;
    let mut total = Duration::ZERO;
    let mut left = times;
    while left > 0 {
        let count = left.min(TOGETHER);
        let brought: Vec<_> = (0..count).map(|_| tokens[spread.next()].clone()).collect();
        total += cpu::time(|| brought.iter().for_each(&mut read));
        left -= count;
    }
    total
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

    fn read(&self, times: u64, spread: &mut Spread) -> Duration {
        let (view, now) = (self.writer.view(), self.writer.now());
        let mut out = [0; PAYLOAD];
        with_tokens(self.writer.tokens(), times, spread, |token| {
            let slot = &self.slots[token.id.address.slot as usize];
            let (copy, settled) = slot.read().clone();
            match serve_locally(&copy, settled, &view, token, now) {
                Locally::Serve(served) => copy_out(&served.session, &mut out),
                Locally::Ask => panic!("a settled copy must be served"),
            }
        })
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
            let mut tokens = Vec::with_capacity(sessions);
            for _ in 0..sessions {
                // A value of its own for each: shared ones would all lie in the cache.
                let attributes = vec![(key(), Value::new(&payload()))];
                // A touch would be a write, and is another matter.
                let idle_timeout = Some(Duration::from_secs(24 * 3600));
                let create = Create { attributes, idle_timeout, ..Create::default() };
                tokens.push(server.create(create).await.expect("a session").token);
            }
            (server, tokens)
        });
        Self { server, tokens, _runtime: runtime }
    }

    fn read(&self, times: u64, spread: &mut Spread) -> Duration {
        let mut out = [0; PAYLOAD];
        with_tokens(&self.tokens, times, spread, |token| {
            let reading = pin!(self.server.read(token));
            match reading.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(served)) => copy_out(&served.session, &mut out),
                Poll::Ready(Err(error)) => panic!("a read failed: {error}"),
                Poll::Pending => panic!("a read of a local copy must not ask another task"),
            }
        })
    }
}
