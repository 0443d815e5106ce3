//! The network between simulated servers: delay, loss, repeats, reordering, cut links.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// What the network does to messages. Everything may be changed while a world runs.
#[derive(Clone, Debug)]
pub struct Network {
    /// The shortest delay.
    pub delay_min: Duration,
    /// The longest delay; messages overtake each other within the range.
    pub delay_max: Duration,
    /// Of a thousand messages, so many are lost.
    pub loss: u32,
    /// Of a thousand messages, so many arrive twice.
    pub repeats: u32,
    /// Whether messages of one link keep their order, as on a TCP connection.
    pub in_order: bool,
    /// Links that lose everything: (from, to), by index of the server.
    pub cut: BTreeSet<(usize, usize)>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            delay_min: Duration::from_micros(200),
            delay_max: Duration::from_millis(2),
            loss: 0,
            repeats: 0,
            in_order: false,
            cut: BTreeSet::new(),
        }
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

    /// Mends all links.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// When copies of a message arrive, after now.
    pub(crate) fn deliveries(&self, rng: &mut ChaCha8Rng, from: usize, to: usize) -> Vec<Duration> {
        if self.cut.contains(&(from, to)) || rng.random_range(0..1000) < self.loss {
            return Vec::new();
        }
        let copies = if rng.random_range(0..1000) < self.repeats { 2 } else { 1 };
        let (min, max) = (self.delay_min.as_micros() as u64, self.delay_max.as_micros() as u64);
        let delays = (0..copies).map(|_| Duration::from_micros(rng.random_range(min..=max)));
        delays.collect()
    }
}
