//! A customer: logs in, fills a cart, and never asks the same server twice in a row.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::client::{Answer, Cart, Reply};
use super::order::{Done, Doubt, Lane, place};
use super::{SERVERS, World};

/// How long a customer goes from server to server for one answer.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(60);
const SHELF: [&str; 8] = ["tea", "honey", "bread", "cheese", "grapes", "pot", "jam", "oats"];

/// A customer who is in the shop.
pub(super) struct Customer {
    world: Arc<World>,
    random: StdRng,
    /// Whether it sometimes uses its session at two servers at once.
    doubles: bool,
    last: usize,
    token: String,
    /// What was last shown with the token that is carried: nothing older may be shown any more.
    shown: Cart,
    lanes: [Lane; 2],
    visit: Visit,
}

/// What is known of a customer in the end.
pub(super) struct Visit {
    /// Which customer.
    pub(super) number: u32,
    /// The newest token; `None` if it never got in.
    pub(super) token: Option<String>,
    /// What must be in the cart.
    pub(super) expected: Cart,
    /// Writes that seemed not to have been done.
    pub(super) doubts: Vec<Doubt>,
    /// What must not have happened.
    pub(super) complaints: Vec<String>,
}

impl Customer {
    /// A customer before the door.
    pub(super) fn new(number: u32, world: Arc<World>) -> Self {
        Self {
            world,
            random: StdRng::seed_from_u64(u64::from(number)),
            doubles: number.is_multiple_of(3),
            last: number as usize % SERVERS,
            token: String::new(),
            shown: Cart::new(),
            lanes: [Lane::new("a"), Lane::new("b")],
            visit: Visit {
                number,
                token: None,
                expected: Cart::new(),
                doubts: Vec::new(),
                complaints: Vec::new(),
            },
        }
    }

    /// Shops until `end`.
    pub(super) async fn shop(mut self, end: Instant) -> Visit {
        self.log_in().await;
        while Instant::now() < end && !self.token.is_empty() {
            let think = self.random.random_range(30..150);
            tokio::time::sleep(Duration::from_millis(think)).await;
            match self.random.random_range(0..10) {
                0..3 if self.doubles => self.add_twice_at_once().await,
                0..7 => self.add().await,
                _ => self.look().await,
            }
        }
        self.visit.token = Some(self.token).filter(|token| !token.is_empty());
        self.visit
    }

    /// A server that is not the last one.
    fn another(&mut self) -> usize {
        (self.last + self.random.random_range(1..SERVERS)) % SERVERS
    }

    fn complain(&mut self, what: &str) {
        let number = self.visit.number;
        self.visit.complaints.push(format!("customer {number}: {what}"));
    }

    async fn log_in(&mut self) {
        self.world.board.interactions.one();
        let user = format!("customer {}", self.visit.number);
        let (end, mut at) = (Instant::now() + PATIENCE, self.last);
        while Instant::now() < end {
            match self.world.client.log_in(at, &user).await {
                Answer::Served(reply) => {
                    self.world.board.served(at);
                    return self.carry(at, reply.token, Cart::new());
                }
                Answer::Standing { token } => {
                    self.world.board.not_replicated.one();
                    self.world.board.served(at);
                    return self.carry(at, token, Cart::new());
                }
                Answer::Gone(why) | Answer::Wrong(why) => {
                    return self.complain(&format!("logging in at server {}: {why}", at + 1));
                }
                Answer::Elsewhere => self.world.board.moved_on.one(),
                Answer::Doubt => self.world.board.login_in_doubt.one(),
            }
            at = (at + 1) % SERVERS;
            tokio::time::sleep(PAUSE).await;
        }
        self.complain("no server let it log in");
    }

    fn carry(&mut self, at: usize, token: String, shown: Cart) {
        self.last = at;
        self.token = token;
        self.shown = shown;
    }

    /// Looks at the cart.
    async fn look(&mut self) {
        let at = self.another();
        let (token, shown) = (self.token.clone(), self.shown.clone());
        self.look_with(at, &token, shown).await;
    }

    /// Looks with this token, which must show at least what it showed before.
    async fn look_with(&mut self, mut at: usize, token: &str, before: Cart) {
        self.world.board.interactions.one();
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let began = Instant::now();
            match self.world.client.look(at, token).await {
                Answer::Served(Reply { token, attributes }) => {
                    self.world.board.took(began.elapsed());
                    self.world.board.served(at);
                    let cart = Reply { token: String::new(), attributes }.cart();
                    self.compare(at, &before, &cart);
                    return self.carry(at, token, cart);
                }
                Answer::Gone(why) | Answer::Wrong(why) => {
                    return self.complain(&format!("reading at server {}: {why}", at + 1));
                }
                Answer::Elsewhere | Answer::Doubt | Answer::Standing { .. } => {
                    self.world.board.moved_on.one();
                }
            }
            at = (at + 1) % SERVERS;
            tokio::time::sleep(PAUSE).await;
        }
        self.complain("no server showed it its session");
    }

    fn compare(&mut self, at: usize, before: &Cart, now: &Cart) {
        if let Some((sku, was)) = missing(before, now) {
            let is = now.get(sku).copied().unwrap_or(0);
            let what = format!("server {} shows {is} of {sku} where {was} were before", at + 1);
            self.complain(&what);
        }
    }

    fn choose(&mut self) -> Cart {
        let lines = self.random.random_range(1..3);
        let mut line = || {
            let sku = SHELF[self.random.random_range(0..SHELF.len())];
            (sku.to_string(), self.random.random_range(1..4))
        };
        (0..lines).map(|_| line()).collect()
    }

    /// Puts something into the cart.
    async fn add(&mut self) {
        let (at, adds) = (self.another(), self.choose());
        self.world.board.interactions.one();
        let done = place(&self.world, &self.token, &self.lanes[0], at, &adds).await;
        let before = self.shown.clone();
        if let Some((token, shown)) = self.take(0, &before, &adds, &done) {
            self.carry(done.at, token, shown);
        }
    }

    /// Puts things into the cart at two servers at once, as two tabs of a browser do. Goes on with
    /// one of the two tokens, and then looks with the other: each must show its own write.
    async fn add_twice_at_once(&mut self) {
        let sites = [(self.last + 1) % SERVERS, (self.last + 2) % SERVERS];
        let adds = [self.choose(), self.choose()];
        let before = self.shown.clone();
        self.world.board.interactions.one();
        self.world.board.interactions.one();
        let (one, two) = tokio::join!(
            place(&self.world, &self.token, &self.lanes[0], sites[0], &adds[0]),
            place(&self.world, &self.token, &self.lanes[1], sites[1], &adds[1]),
        );
        let one_took = self.take(0, &before, &adds[0], &one);
        let two_took = self.take(1, &before, &adds[1], &two);
        let mut took = [(one.at, one_took), (two.at, two_took)];
        if self.random.random_bool(0.5) {
            took.reverse();
        }
        for (at, carried) in took {
            if let Some((token, shown)) = carried {
                self.last = at;
                let elsewhere = self.another();
                self.look_with(elsewhere, &token, shown).await;
            }
        }
    }

    /// Notes what came of an order. Gives the token and the least that it must show.
    fn take(
        &mut self,
        lane: usize,
        before: &Cart,
        adds: &Cart,
        done: &Done,
    ) -> Option<(String, Cart)> {
        self.lanes[lane] = done.lane.clone();
        self.visit.doubts.extend(done.doubts.iter().cloned());
        let Some(token) = &done.token else {
            let why = done.failure.as_deref().unwrap_or("it is not known why");
            self.complain(&format!("an order failed: {why}"));
            return None;
        };
        self.world.board.served(done.at);
        put(&mut self.visit.expected, adds);
        let mut least = before.clone();
        put(&mut least, adds);
        if let Some(shown) = &done.shown {
            self.compare(done.at, &least, shown);
            least.clone_from(shown);
        }
        Some((token.clone(), least))
    }
}

/// Adds to a cart.
pub(super) fn put(cart: &mut Cart, adds: &Cart) {
    for (sku, count) in adds {
        *cart.entry(sku.clone()).or_default() += count;
    }
}

/// A line that is not there, or has less than it had.
fn missing<'a>(before: &'a Cart, now: &Cart) -> Option<(&'a str, i64)> {
    let less = |(sku, was): &(&String, &i64)| now.get(*sku).copied().unwrap_or(0) < **was;
    before.iter().find(less).map(|(sku, was)| (sku.as_str(), *was))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cart_that_lost_something_is_noticed() {
        let before = Cart::from([("tea".into(), 2), ("pot".into(), 1)]);
        let mut now = before.clone();
        assert_eq!(missing(&before, &now), None);
        put(&mut now, &Cart::from([("tea".into(), 1), ("jam".into(), 1)]));
        assert_eq!(missing(&before, &now), None, "more is no loss");
        now.remove("pot");
        assert_eq!(missing(&before, &now), Some(("pot", 1)));
    }
}
