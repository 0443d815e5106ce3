//! The network between simulated servers: delay, loss, repeats, reordering, corruption, cut and
//! clogged links, bounded queues. Seeded and sans-IO: it says when and whether a message arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use grapevine_core::Timestamp;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::scenario::{Delay, Links};

/// A link: from one server to another, by index.
pub type Link = (usize, usize);

/// What became of a message that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives then, as often as there are times; flipped bits are the caller's to flip.
    Arrives(Vec<(Timestamp, bool)>),
    /// The link is clogged: it waits.
    Waits,
    /// Lost, because of this.
    Lost(&'static str),
}

/// What rare choices do to one message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extra {
    /// It takes exactly so long.
    pub(crate) exact: Option<Duration>,
    /// It arrives with all others of its tenth of a second.
    pub(crate) burst: bool,
    /// It is lost, because another is under way.
    pub(crate) queue_of_one: bool,
}

/// The tenth of a second.
const BURST: u64 = 100_000;

/// What the network does to messages. Everything may be changed while a world runs.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Delay, loss, repeats, corruption, order and queues of all links.
    pub links: Links,
    /// Links whose delay differs.
    pub delays: BTreeMap<Link, Delay>,
    /// Links that lose everything.
    pub cut: BTreeSet<Link>,
    /// Links on which everything waits.
    pub clogged: BTreeSet<Link>,
    last_arrival: BTreeMap<Link, Timestamp>,
    in_flight: BTreeMap<Link, usize>,
}

impl Network {
    /// Cuts all links between the one group and the other, in both directions.
    pub fn partition(&mut self, one: &[usize], other: &[usize]) {
        for &a in one {
            for &b in other {
                self.cut.extend([(a, b), (b, a)]);
            }
        }
    }

    /// Mends all cut links. Clogged ones are unclogged by the world, which has what waits.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Decides what becomes of a message sent now.
    pub(crate) fn send(
        &mut self,
        rng: &mut ChaCha8Rng,
        link: Link,
        now: Timestamp,
        extra: Extra,
    ) -> Fate {
        if self.cut.contains(&link) {
            return Fate::Lost("cut");
        }
        let waiting = self.in_flight.get(&link).copied().unwrap_or(0);
        if waiting >= self.links.queue || extra.queue_of_one {
            return Fate::Lost("overflow");
        }
        if chance(rng, self.links.loss) {
            return Fate::Lost("loss");
        }
        if self.clogged.contains(&link) {
            *self.in_flight.entry(link).or_default() += 1;
            return Fate::Waits;
        }
        let copies = if chance(rng, self.links.repeats) { 2 } else { 1 };
        let arrivals = (0..copies)
            .map(|_| (self.arrival(rng, link, now, extra), chance(rng, self.links.corruption)));
        Fate::Arrives(arrivals.collect())
    }

    /// When a message that leaves now arrives. It counts as in flight until [`Network::arrived`].
    pub(crate) fn arrival(
        &mut self,
        rng: &mut ChaCha8Rng,
        link: Link,
        now: Timestamp,
        extra: Extra,
    ) -> Timestamp {
        let delay = self.delays.get(&link).unwrap_or(&self.links.delay);
        let drawn = draw(rng, delay);
        let mut due = now + extra.exact.unwrap_or(drawn);
        if extra.burst {
            due = Timestamp::from_micros(due.as_micros().next_multiple_of(BURST));
        }
        if self.links.in_order {
            let last = self.last_arrival.entry(link).or_insert(due);
            due = due.max(*last);
            *last = due;
        }
        *self.in_flight.entry(link).or_default() += 1;
        due
    }

    /// Whether a message is under way on this link.
    pub(crate) fn is_busy(&self, link: Link) -> bool {
        self.in_flight.get(&link).is_some_and(|&waiting| waiting > 0)
    }

    /// A message of this link is not in flight any more.
    pub(crate) fn arrived(&mut self, link: Link) {
        if let Some(waiting) = self.in_flight.get_mut(&link) {
            *waiting = waiting.saturating_sub(1);
        }
    }
}

fn draw(rng: &mut ChaCha8Rng, delay: &Delay) -> Duration {
    let millis = match *delay {
        Delay::Uniform { min_ms, max_ms } if min_ms < max_ms => rng.random_range(min_ms..max_ms),
        Delay::Uniform { min_ms, .. } => min_ms,
        Delay::LongTail { usual_ms, rare_ms, rare } => {
            if chance(rng, rare) {
                rng.random_range(usual_ms..=rare_ms.max(usual_ms))
            } else {
                rng.random_range(0.0..=usual_ms)
            }
        }
    };
    Duration::from_micros((millis.max(0.0) * 1000.0) as u64)
}

/// Whether something with this probability happens. Draws nothing when it can't.
pub(crate) fn chance(rng: &mut ChaCha8Rng, probability: f64) -> bool {
    probability > 0.0 && rng.random_range(0.0..1.0) < probability
}
