//! Customers at work, each with a session of its own and a token that it carries from server to server,
//! who complain of whatever they should not have been shown. What they know they know from the answers
//! that they got, through the handle that services use.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use crate::net::adapter::{
    Acks, Change, Create, Error, Grapevine, Key, RequestError, Served, Shown, Value, Vector,
};
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::farm::Simulated;
use crate::net::{elapsed, sleep, timeout};

/// How long a customer waits for an answer before it goes to another server.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a customer knows of its session.
struct Shopper {
    name: u32,
    token: String,
    /// All that it has been shown, and made.
    known: Vector,
    /// What it wrote last under each key, and what it wrote there without ever learning whether it was
    /// written: that may have been later.
    items: BTreeMap<String, (String, BTreeSet<String>)>,
    /// The least and the most that the counter may say.
    clicks: (i64, i64),
    writes: u32,
    rng: ChaCha8Rng,
}

/// What all customers tell.
#[derive(Default)]
pub(crate) struct Log {
    /// A line for each answer: what the run's hash is made of.
    pub(crate) lines: String,
    pub(crate) answers: u32,
    /// Answers that were no use: timeouts, and errors that say try again.
    pub(crate) refused: u32,
    /// Sessions that were said to be lost: nobody's customer may be told so while all servers live.
    pub(crate) lost: u32,
}

/// Customers who shop until they are told to close.
pub(crate) struct Shoppers {
    pub(crate) log: Rc<RefCell<Log>>,
    closed: Rc<RefCell<bool>>,
    at_rest: Vec<Rc<RefCell<Option<Shopper>>>>,
}

impl Shoppers {
    /// So many customers begin to shop.
    pub(crate) fn open(farm: &mut Simulated, count: u32, seed: u64) -> Self {
        let (log, closed) = (Rc::<RefCell<Log>>::default(), Rc::new(RefCell::new(false)));
        let begin = |name| {
            let shopper = Shopper {
                name,
                token: String::new(),
                known: Vector::default(),
                items: BTreeMap::new(),
                clicks: (0, 0),
                writes: 0,
                rng: ChaCha8Rng::seed_from_u64(seed ^ u64::from(name) << 32),
            };
            let (log, closed) = (Rc::clone(&log), Rc::clone(&closed));
            farm.begin(shopper.shop(farm.handles(), log, closed))
        };
        let at_rest = (1..=count).map(begin).collect();
        Self { log, closed, at_rest }
    }

    /// Ends the shopping, and has every customer look at every server once more: all must show what it
    /// knows.
    pub(crate) fn close(&self, farm: &mut Simulated) {
        *self.closed.borrow_mut() = true;
        farm.run_for(PATIENCE * 2);
        farm.level();
        for shopper in &self.at_rest {
            let shopper = shopper.borrow_mut().take().expect("a customer who has gone home");
            for number in farm.running() {
                let served = farm.read(number, &shopper.token);
                let served = served.unwrap_or_else(|error| panic!("{}: {error}", shopper.name));
                shopper.check_seen(number, &served);
                shopper.check(number, &served);
                assert!(!served.lost || self.log.borrow().lost > 0, "lost at rest");
            }
        }
        let log = self.log.borrow();
        assert!(log.answers > 100, "only {} answers", log.answers);
    }
}

impl Shopper {
    async fn shop(
        mut self,
        handles: crate::farm::Handles,
        log: Rc<RefCell<Log>>,
        closed: Rc<RefCell<bool>>,
    ) -> Self {
        while !*closed.borrow() || self.token.is_empty() {
            sleep(Duration::from_millis(self.rng.random_range(5..60))).await;
            let up = handles.all();
            let Some((number, server)) = up.choose(&mut self.rng) else { continue };
            self.click(*number, server, &log).await;
        }
        self
    }

    /// One request, and what comes of it.
    async fn click(&mut self, number: u16, server: &Grapevine, log: &RefCell<Log>) {
        let token = self.token.clone();
        if token.is_empty() {
            let created = timeout(PATIENCE, server.create(Create::default())).await;
            self.answered(number, "create", created, log);
            return;
        }
        match self.rng.random_range(0..3) {
            0 => {
                let read = timeout(PATIENCE, server.read(&token)).await;
                self.answered(number, "read", read, log);
            }
            1 => {
                self.writes += 1;
                let key = format!("cart/{}", self.rng.random_range(0..4));
                let value = format!("{}.{}", self.name, self.writes);
                let set = Change::Set(good(&key), Value::new(value.as_bytes()));
                self.items.entry(key.clone()).or_default().1.insert(value.clone());
                let set = timeout(PATIENCE, server.change(&token, vec![set], Acks::Local)).await;
                if self.answered(number, "set", set, log) {
                    let (last, unknown) = self.items.entry(key).or_default();
                    unknown.remove(&value);
                    *last = value;
                }
            }
            _ => {
                self.clicks.1 += 1;
                let add = Change::Add(good("clicks"), 1);
                let add = timeout(PATIENCE, server.change(&token, vec![add], Acks::Local)).await;
                if self.answered(number, "add", add, log) {
                    self.clicks.0 += 1;
                }
            }
        }
    }

    /// Notes an answer, and looks at what it shows. Returns whether it is a session.
    fn answered<E>(
        &mut self,
        number: u16,
        what: &str,
        answer: Result<Result<Served, Error>, E>,
        log: &RefCell<Log>,
    ) -> bool {
        let mut log = log.borrow_mut();
        let Shopper { name, .. } = self;
        let word = match &answer {
            Ok(Ok(served)) => format!("{} attributes", served.session.iter().count()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        let at = elapsed().as_micros();
        let _infallible = writeln!(log.lines, "{at} customer {name} {what} at {number}: {word}");
        log.answers += 1;
        let served = match answer {
            Ok(Ok(served)) => served,
            Ok(Err(Error::Request(RequestError::Lost))) => {
                log.lost += 1;
                (self.token, self.items, self.clicks) = (String::new(), BTreeMap::new(), (0, 0));
                self.known = Vector::default();
                return false;
            }
            Ok(Err(Error::Request(RequestError::Unavailable(_)) | Error::Stopped)) | Err(_) => {
                log.refused += 1;
                return false;
            }
            Ok(Err(error)) => panic!("customer {name}, {what} at server {number}: {error}"),
        };
        if served.lost {
            // What is left is shown; what the customer knew of the rest is no more.
            log.lost += 1;
            self.forget(&served);
        } else {
            self.check_seen(number, &served);
            if what == "read" {
                self.check(number, &served);
            }
            self.known.join(&served.session.seen);
        }
        self.token = served.token;
        true
    }

    /// Takes what is shown for what there is.
    fn forget(&mut self, served: &Served) {
        self.known = served.session.seen.clone();
        self.items.clear();
        for (key, shown) in served.session.iter() {
            match shown {
                Shown::Bytes(bytes) => {
                    let value = String::from_utf8_lossy(bytes).into_owned();
                    self.items.insert(key.to_string(), (value, BTreeSet::new()));
                }
                Shown::Count(count) => self.clicks = (count, count.max(self.clicks.1)),
            }
        }
    }

    /// The session guarantees (G3), by what the copy says that it has seen.
    fn check_seen(&self, number: u16, served: &Served) {
        let seen = &served.session.seen;
        assert!(
            seen.covers(&self.known),
            "server {number} shows customer {} a copy that has seen {seen:?}, not all of {:?}",
            self.name,
            self.known
        );
    }

    /// The same by what it shows: what this customer wrote last, or what it wrote without an answer.
    fn check(&self, number: u16, served: &Served) {
        let Self { name, clicks: (least, most), .. } = self;
        for (key, (last, unknown)) in &self.items {
            let shown = match served.session.get(key) {
                Some(Shown::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
                Some(Shown::Count(count)) => panic!("{key} of customer {name} counts: {count}"),
                None => String::new(),
            };
            assert!(
                shown == *last || unknown.contains(&shown),
                "server {number} shows customer {name} `{shown}` under {key}, not `{last}` or one of \
                 {unknown:?}"
            );
        }
        let shown = match served.session.get("clicks") {
            Some(Shown::Count(count)) => count,
            None => 0,
            Some(other) => panic!("the clicks of customer {name}: {other:?}"),
        };
        assert!(
            (*least..=*most).contains(&shown),
            "server {number} shows customer {name} {shown} clicks, not {least} to {most}"
        );
    }
}

fn good(key: &str) -> Key {
    Key::new(key).expect("a good key")
}
