//! What is bounded: the farm's size, what customers ask for, and how much may go wrong.

use std::time::Duration;

use grapevine_core::{
    Acks, Change, Config, Create, Farm, Key, Life, ReadPolicy, Request, ServerId, Session, Shown,
    Timestamp, Token, Value,
};

/// When the first processes start.
pub(crate) const BASE: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// How far a beat moves a server's clock: so far that heartbeats and repairs are due.
pub(crate) const BEAT: Duration = Duration::from_millis(100);

/// What a customer asks a server for. There is one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Makes the session. Without one in the script it is there from the start, everywhere.
    Create,
    /// Sets an attribute that only this request sets.
    Set,
    /// Sets an attribute that other requests set too.
    SetSame,
    /// Adds to the counter, so much that the sum tells which adds are in it and how often.
    Add,
    Delete,
    Read,
}

/// A request of the script.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    /// Whose: a customer's requests come one after another, those of several in any order.
    pub(crate) customer: usize,
    pub(crate) server: usize,
    pub(crate) ask: Ask,
    pub(crate) acks: Acks,
}

/// Whether a server dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    Never,
    /// One dies, any one and at any time, and may come back, empty, at any time after.
    One,
    /// One dies and stays away.
    OneForGood,
}

/// What a model consists of.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) servers: usize,
    pub(crate) script: Vec<Op>,
    /// Messages that may be lost, and that may come twice.
    pub(crate) drops: u8,
    pub(crate) repeats: u8,
    pub(crate) crash: Crash,
    /// How often a server's timers may come up, all servers together, before everything is healed.
    pub(crate) beats: u8,
    /// Whether a property is to hold that doesn't.
    pub(crate) planted: bool,
}

impl Bounds {
    pub(crate) fn config(&self, server: usize, boot: Timestamp) -> Config {
        let ms = Duration::from_millis;
        let farm = Farm {
            size: self.servers as u16,
            // Beats are no skew.
            max_drift: Duration::from_secs(10),
            heartbeat_every: BEAT,
            suspect_after: ms(500),
            down_after: ms(700),
            give_up_after: ms(1000),
            ..Farm::default()
        };
        let mut config = Config::new(ServerId::new(server as u16 + 1, boot), farm);
        let local = &mut config.local;
        (local.query_timeout, local.ack_timeout, local.round_timeout) = (ms(50), ms(150), ms(150));
        // No clock goes back here, and no number is used twice.
        local.start_wait = Duration::ZERO;
        // Comparing copies changes none, and has its own check in the simulator.
        local.verify_every = Duration::ZERO;
        config
    }

    pub(crate) fn customers(&self) -> usize {
        self.script.iter().map(|op| op.customer + 1).max().unwrap_or(0)
    }

    pub(crate) fn creates(&self) -> bool {
        self.script.iter().any(|op| op.ask == Ask::Create)
    }

    pub(crate) fn request(&self, op: usize, token: Option<&Token>) -> Request {
        let Op { ask, acks, .. } = self.script[op];
        let token = || token.expect("a customer with a session").clone();
        let update = |change| Request::Update { token: token(), changes: vec![change], acks };
        match ask {
            Ask::Create => Request::Create(Create { acks, ..Create::default() }),
            Ask::Set => update(Change::Set(own_key(op), Value::from("v"))),
            // The lengths differ, for lengths are all that is shown of a value.
            Ask::SetSame => update(Change::Set(key("same"), Value::from(&*"v".repeat(op + 1)))),
            Ask::Add => update(Change::Add(key("n"), amount(op))),
            Ask::Delete => Request::Delete { token: token(), acks },
            Ask::Read => Request::Read { token: token(), policy: ReadPolicy::Fresh },
        }
    }

    /// Which requests of the script a session shows, as bits. `Err` if it shows one twice.
    pub(crate) fn shows(&self, session: &Session) -> Result<u16, String> {
        let mut shown = 0;
        let sum = match session.get("n") {
            Some(Shown::Count(sum)) => sum,
            _ => 0,
        };
        for (op, Op { ask, .. }) in self.script.iter().enumerate() {
            let shows = match ask {
                Ask::Create => session.complete || session.life == Life::Deleted,
                Ask::Set => session.get(own_key(op).as_str()).is_some(),
                Ask::Add => match sum / amount(op) % 10 {
                    0 => false,
                    1 => true,
                    times => return Err(format!("an add is counted {times} times (G6)")),
                },
                Ask::Delete => session.life == Life::Deleted,
                Ask::SetSame | Ask::Read => false,
            };
            shown |= u16::from(shows) << op;
        }
        let counted = self.script.iter().enumerate().filter(|(op, _)| shown >> op & 1 == 1);
        let counted = counted.filter(|(_, op)| op.ask == Ask::Add);
        let expected: i64 = counted.map(|(op, _)| amount(op)).sum();
        if sum != expected {
            return Err(format!("a counter of {sum} is no sum of adds (G6)"));
        }
        Ok(shown)
    }
}

fn key(name: &str) -> Key {
    Key::new(name).expect("a good key")
}

fn own_key(op: usize) -> Key {
    key(&format!("k{op}"))
}

fn amount(op: usize) -> i64 {
    10_i64.pow(op as u32)
}

impl Ask {
    /// Whether a session shows that this was done.
    pub(crate) const fn shown(self) -> bool {
        matches!(self, Self::Create | Self::Set | Self::Add | Self::Delete)
    }
}
