//! One write to the cart, through refusals and broken connections, until it is certain.
//!
//! A write whose connection dies is *in doubt*. Each write therefore sets, in one and the same
//! change, its lane's marker to its own number; so the marker tells whether the write was done. A
//! customer in doubt looks at all servers until they agree, and only then repeats. The lane of a
//! write that seemed not to have been done is never written again: should it turn up after all,
//! its marker tells it at the end, and the count stays exact.

use std::time::{Duration, Instant};

use super::World;
use super::client::{Answer, Cart};

/// How long a customer goes from server to server with one order.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a customer waits before it tries the next server.
const PAUSE: Duration = Duration::from_millis(60);
/// How often in a row all servers that answer must agree that a write was not done.
const AGREEMENTS: u32 = 4;
/// How long a customer waits between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);

/// A row of writes that follow each other, and how many there were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    name: String,
    count: u64,
}

impl Lane {
    /// A lane that was never written.
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), count: 0 }
    }

    /// The attribute that holds its marker.
    pub(super) fn key(&self) -> String {
        format!("op/{}", self.name)
    }

    /// The number of its last write.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// A fresh lane to go on with when this one's last write is in doubt.
    fn successor(&self) -> Self {
        Self::new(&format!("{}'", self.name))
    }
}

/// A write that seemed not to have been done.
#[derive(Clone, Debug)]
pub(super) struct Doubt {
    /// Its lane, which nobody writes any more; its last number is this write's.
    pub(super) lane: Lane,
    /// What it would have added.
    pub(super) adds: Cart,
}

/// How an order ended.
#[derive(Debug)]
pub(super) struct Done {
    /// What to carry from now on; `None` if it failed.
    pub(super) token: Option<String>,
    /// The cart after it, if it was shown.
    pub(super) shown: Option<Cart>,
    /// Where.
    pub(super) at: usize,
    /// The lane to go on with.
    pub(super) lane: Lane,
    /// Writes that seemed not to have been done on the way.
    pub(super) doubts: Vec<Doubt>,
    /// Why it failed.
    pub(super) failure: Option<String>,
}

enum Settled {
    Done { token: String, shown: Cart },
    NotDone { token: String },
    Unknown,
}

/// Adds to the cart, first at server `at`, then elsewhere, until it is done for certain.
pub(super) async fn place(
    world: &World,
    token: &str,
    lane: &Lane,
    mut at: usize,
    adds: &Cart,
) -> Done {
    let end = Instant::now() + PATIENCE;
    let (mut token, mut lane, mut doubts) = (token.to_string(), lane.clone(), Vec::new());
    let mut failure = None;
    lane.count += 1;
    while failure.is_none() {
        let began = Instant::now();
        match world.client.add(at, &token, &lane, adds).await {
            Answer::Served(reply) => {
                world.board.took(began.elapsed());
                let shown = Some(reply.cart());
                return Done { token: Some(reply.token), shown, at, lane, doubts, failure };
            }
            Answer::Standing { token } => {
                world.board.not_replicated.one();
                return Done { token: Some(token), shown: None, at, lane, doubts, failure };
            }
            Answer::Gone(why) | Answer::Wrong(why) => {
                failure = Some(format!("server {}: {why}", at + 1));
            }
            Answer::Elsewhere => world.board.moved_on.one(),
            Answer::Doubt => {
                world.board.in_doubt.one();
                match settle(world, &token, &lane, end + PATIENCE).await {
                    Settled::Done { token, shown } => {
                        let (token, shown) = (Some(token), Some(shown));
                        return Done { token, shown, at, lane, doubts, failure };
                    }
                    Settled::NotDone { token: newer } => {
                        let next = lane.successor();
                        doubts.push(Doubt { lane, adds: adds.clone() });
                        (token, lane) = (newer, Lane { count: 1, ..next });
                    }
                    Settled::Unknown => {
                        failure = Some("nobody could tell whether a write was done".into());
                    }
                }
            }
        }
        if Instant::now() > end && failure.is_none() {
            failure = Some(format!("no server took a write for {PATIENCE:?}"));
        }
        at = (at + 1) % world.client.servers();
        tokio::time::sleep(PAUSE).await;
    }
    Done { token: None, shown: None, at, lane, doubts, failure }
}

/// Finds out whether the last write of a lane was done.
async fn settle(world: &World, token: &str, lane: &Lane, end: Instant) -> Settled {
    let mut token = token.to_string();
    let mut agreements = 0;
    while Instant::now() < end {
        let mut answers = 0;
        for at in 0..world.client.servers() {
            if let Answer::Served(reply) = world.client.look(at, &token).await {
                if reply.last_of(lane) >= lane.count() {
                    let shown = reply.cart();
                    return Settled::Done { token: reply.token, shown };
                }
                answers += 1;
                // With the newest token the next server must know at least as much as this one.
                token = reply.token;
            }
        }
        agreements = if answers > world.client.servers() / 2 { agreements + 1 } else { 0 };
        if agreements >= AGREEMENTS {
            return Settled::NotDone { token };
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Settled::Unknown
}
