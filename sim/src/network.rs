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
    /// It arrives then, and perhaps a second time; flipped bits are the caller's to flip.
    Arrives((Timestamp, bool), Option<(Timestamp, bool)>),
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
    flows: Flows,
}

/// What is under way on one link.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    last_arrival: Timestamp,
    in_flight: usize,
}

/// The flow of every link that was ever used: found without a search, for each message looks here
/// twice.
#[derive(Clone, Debug, Default)]
struct Flows(Vec<Flow>);

impl Flows {
    fn of(&mut self, (from, to): Link) -> &mut Flow {
        // In squares, each around the one before: so the number of servers need not be known.
        let at = if from < to { to * to + from } else { from * (from + 1) + to };
        if at >= self.0.len() {
            self.0.resize(at + 1, Flow::default());
        }
        &mut self.0[at]
    }
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
        if self.flows.of(link).in_flight >= self.links.queue || extra.queue_of_one {
            return Fate::Lost("overflow");
        }
        if chance(rng, self.links.loss) {
            return Fate::Lost("loss");
        }
        if self.clogged.contains(&link) {
            self.flows.of(link).in_flight += 1;
            return Fate::Waits;
        }
        let twice = chance(rng, self.links.repeats);
        let mut arrival =
            || (self.arrival(rng, link, now, extra), chance(rng, self.links.corruption));
        let first = arrival();
        Fate::Arrives(first, twice.then(arrival))
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
        let flow = self.flows.of(link);
        if self.links.in_order {
            due = due.max(flow.last_arrival);
            flow.last_arrival = due;
        }
        flow.in_flight += 1;
        due
    }

    /// Whether a message is under way on this link.
    pub(crate) fn is_busy(&mut self, link: Link) -> bool {
        self.flows.of(link).in_flight > 0
    }

    /// A message of this link is not in flight any more.
    pub(crate) fn arrived(&mut self, link: Link) {
        let flow = self.flows.of(link);
        flow.in_flight = flow.in_flight.saturating_sub(1);
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
