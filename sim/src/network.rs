//! The network between simulated servers: delay, loss, repeats, reordering, corruption, cut and
//! clogged links, bounded queues. Seeded and sans-IO: it says when and whether a message arrives.
//!
//! Each message's coins are made from the seed, its link and its number there: what happens on one
//! link moves nothing on another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use grapevine_core::Timestamp;

use crate::coins::Coins;
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
    /// Links whose connection swallows everything, and until when: then both sides have given it up, and have
    /// another.
    swallowed: BTreeMap<Link, Timestamp>,
    seed: u64,
    flows: Flows,
}

/// What one link has carried.
#[derive(Clone, Debug, Default)]
struct Flow {
    /// The coins about this link, once a message has left.
    coins: Option<Coins>,
    /// How many messages have left.
    left: u64,
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
    /// A network whose coins are made from this seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Cuts all links between the one group and the other, in both directions.
    pub fn partition(&mut self, one: &[usize], other: &[usize]) {
        self.cut_off(one, other);
        self.cut_off(other, one);
    }

    /// Cuts all links from the one group to the other, in this direction only.
    pub fn cut_off(&mut self, from: &[usize], to: &[usize]) {
        for &from in from {
            self.cut.extend(to.iter().map(|&to| (from, to)));
        }
    }

    /// Has all connections between the one group and the other swallow everything until then. Returns
    /// between whom they are.
    pub(crate) fn swallow(
        &mut self,
        one: &[usize],
        other: &[usize],
        until: Timestamp,
    ) -> Vec<Link> {
        let pairs = one.iter().flat_map(|&one| other.iter().map(move |&other| (one, other)));
        let links: Vec<Link> =
            pairs.flat_map(|(one, other)| [(one, other), (other, one)]).collect();
        self.swallowed.extend(links.iter().map(|&link| (link, until)));
        links
    }

    /// For how long there still are connections that swallow everything.
    pub(crate) fn swallows_for(&self, now: Timestamp) -> Duration {
        self.swallowed.values().map(|until| until.since(now)).max().unwrap_or_default()
    }

    /// A server's process is a new one, and so are its connections.
    pub(crate) fn connects_anew(&mut self, server: usize) {
        self.swallowed.retain(|link, _| link.0 != server && link.1 != server);
    }

    /// Mends all cut links. Clogged ones are unclogged by the world, which has what waits.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Decides what becomes of a message sent now.
    pub(crate) fn send(&mut self, link: Link, now: Timestamp, extra: Extra) -> Fate {
        if self.cut.contains(&link) {
            return Fate::Lost("cut");
        }
        if self.swallowed.get(&link).is_some_and(|&until| now < until) {
            return Fate::Lost("swallowed");
        }
        let flow = self.flows.of(link);
        if flow.in_flight >= self.links.queue || extra.queue_of_one {
            return Fate::Lost("overflow");
        }
        let mut coins = flow.coins(self.seed, link);
        if coins.chance(self.links.loss) {
            return Fate::Lost("loss");
        }
        if self.clogged.contains(&link) {
            flow.in_flight += 1;
            return Fate::Waits;
        }
        let twice = coins.chance(self.links.repeats);
        let delay = self.delays.get(&link).unwrap_or(&self.links.delay);
        let mut arrival = || {
            let due = flow.arrival(&mut coins, delay, extra, self.links.in_order, now);
            (due, coins.chance(self.links.corruption))
        };
        let first = arrival();
        Fate::Arrives(first, twice.then(arrival))
    }

    /// When a message that has waited on a clogged link arrives, if it leaves now.
    pub(crate) fn go_on(&mut self, link: Link, now: Timestamp) -> Timestamp {
        self.arrived(link);
        let flow = self.flows.of(link);
        let mut coins = flow.coins(self.seed, link);
        let delay = self.delays.get(&link).unwrap_or(&self.links.delay);
        flow.arrival(&mut coins, delay, Extra::default(), self.links.in_order, now)
    }

    /// Whether a message is under way on this link.
    pub(crate) fn is_busy(&mut self, link: Link) -> bool {
        self.flows.of(link).in_flight > 0
    }

    /// A message of this link is not in flight any more: its receiver has taken it, or nobody will.
    pub(crate) fn arrived(&mut self, link: Link) {
        let flow = self.flows.of(link);
        flow.in_flight = flow.in_flight.saturating_sub(1);
    }
}

impl Flow {
    /// The coins about the next message.
    fn coins(&mut self, seed: u64, link: Link) -> Coins {
        self.left += 1;
        let about = || Coins::about(seed, [link.0 as u64, link.1 as u64]);
        self.coins.get_or_insert_with(about).and(self.left)
    }

    /// When a message that leaves now arrives. It is in flight until then.
    fn arrival(
        &mut self,
        coins: &mut Coins,
        delay: &Delay,
        extra: Extra,
        in_order: bool,
        now: Timestamp,
    ) -> Timestamp {
        let drawn = draw(coins, delay);
        let mut due = match extra.exact {
            Some(exact) => now + exact,
            None => Timestamp::from_micros(now.as_micros().saturating_add(drawn)),
        };
        if extra.burst {
            due = Timestamp::from_micros(due.as_micros().next_multiple_of(BURST));
        }
        if in_order {
            due = due.max(self.last_arrival);
            self.last_arrival = due;
        }
        self.in_flight += 1;
        due
    }
}

/// How long a message takes, in microseconds.
pub(crate) fn draw(coins: &mut Coins, delay: &Delay) -> u64 {
    let millis = match *delay {
        Delay::Fixed { ms } => ms,
        Delay::Uniform { min_ms, max_ms } => coins.between(min_ms, max_ms),
        Delay::LongTail { usual_ms, rare_ms, rare } => {
            if coins.chance(rare) {
                coins.between(usual_ms, rare_ms)
            } else {
                coins.between(0.0, usual_ms)
            }
        }
        Delay::Hump { min_ms, max_ms } => {
            (coins.between(min_ms, max_ms) + coins.between(min_ms, max_ms)) / 2.0
        }
        Delay::Halving { least_ms, half_ms, most_ms } => {
            // Each further `half_ms` is half as probable. Without a logarithm, which is not the same
            // to the last bit on every machine.
            let halves = f64::from(coins.next().leading_zeros());
            (least_ms + (halves + coins.unit()) * half_ms).min(most_ms)
        }
    };
    (millis.max(0.0) * 1000.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn fates(network: &mut Network, link: Link, count: usize) -> Vec<Fate> {
        (0..count).map(|_| network.send(link, NOW, Extra::default())).collect()
    }

    fn rough(seed: u64) -> Network {
        let mut network = Network::seeded(seed);
        (network.links.loss, network.links.repeats) = (0.3, 0.3);
        network
    }

    #[test]
    fn what_is_sent_on_one_link_moves_no_coin_of_another() {
        let alone = fates(&mut rough(1), (0, 1), 200);
        let mut busy = rough(1);
        let beside: Vec<Fate> = (0..200)
            .map(|_| {
                fates(&mut busy, (1, 0), 3);
                busy.send((0, 1), NOW, Extra::default())
            })
            .collect();
        assert_eq!(alone, beside);
        assert_ne!(alone, fates(&mut rough(2), (0, 1), 200), "another seed, other coins");
    }

    #[test]
    fn a_delay_stays_within_what_its_kind_says() {
        let kinds = [
            (Delay::Fixed { ms: 3.0 }, 3.0, 3.0),
            (Delay::Uniform { min_ms: 1.0, max_ms: 4.0 }, 1.0, 4.0),
            (Delay::Hump { min_ms: 1.0, max_ms: 4.0 }, 1.0, 4.0),
            (Delay::LongTail { usual_ms: 2.0, rare_ms: 90.0, rare: 0.2 }, 0.0, 90.0),
            (Delay::Halving { least_ms: 1.0, half_ms: 2.0, most_ms: 20.0 }, 1.0, 20.0),
        ];
        for (delay, least, most) in kinds {
            let drawn = (0..5_000).map(|n| draw(&mut Coins::about(n, [0; 3]), &delay));
            let millis: Vec<f64> = drawn.map(|micros| micros as f64 / 1000.0).collect();
            let (low, high) = millis
                .iter()
                .fold((f64::MAX, 0.0_f64), |(low, high), &ms| (low.min(ms), high.max(ms)));
            assert!(least <= low + 0.001 && high <= most + 0.001, "{delay:?}: {low} to {high}");
            assert!(high - low >= (most - least) * 0.9, "{delay:?}: {low} to {high}");
        }
    }

    #[test]
    fn a_full_queue_loses_what_comes_and_takes_more_when_something_has_arrived() {
        let mut network = Network::seeded(1);
        network.links.queue = 2;
        assert!(fates(&mut network, (0, 1), 2).iter().all(|f| matches!(f, Fate::Arrives(..))));
        assert_eq!(network.send((0, 1), NOW, Extra::default()), Fate::Lost("overflow"));
        assert!(
            matches!(network.send((1, 0), NOW, Extra::default()), Fate::Arrives(..)),
            "another link has room"
        );
        network.arrived((0, 1));
        assert!(matches!(network.send((0, 1), NOW, Extra::default()), Fate::Arrives(..)));
    }
}
