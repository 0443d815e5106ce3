//! Coin flips that don't depend on each other: each is made from the seed and from what it is about
//! (a link and a message's place in it, a server and its start). So leaving something out of a
//! schedule moves no coin of the rest, and a failure can be shrunk.

/// A short stream of coins about one thing.
#[derive(Clone, Debug)]
pub(crate) struct Coins(u64);

impl Coins {
    /// The coins about something: a seed, and what names the thing.
    pub(crate) fn about<const N: usize>(seed: u64, what: [u64; N]) -> Self {
        what.into_iter().fold(Self(mix(seed)), |coins, word| coins.and(word))
    }

    /// The coins about a part of it.
    pub(crate) const fn and(&self, word: u64) -> Self {
        Self(mix(self.0 ^ mix(word)))
    }

    /// 64 fair coins (the SplitMix64 of Steele, Lea and Flood, 2014).
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        finish(self.0)
    }

    /// From 0 up to, not including, 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Between two numbers.
    pub(crate) fn between(&mut self, least: f64, most: f64) -> f64 {
        least + self.unit() * (most - least).max(0.0)
    }

    /// Whether something with this probability happens.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    /// A number below this one, which is not zero.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        // The bias of a remainder is below 2^-40 for all that is drawn here.
        self.next() % end
    }
}

const fn mix(word: u64) -> u64 {
    finish(word.wrapping_add(0x9e37_79b9_7f4a_7c15))
}

const fn finish(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins_about_different_things_differ_and_are_fair() {
        let first = |what| Coins::about(7, what).unit();
        assert_ne!(first([1, 2, 3]), first([2, 1, 3]));
        assert_ne!(first([1, 2, 3]), first([1, 2, 4]));
        assert_eq!(first([1, 2, 3]), first([1, 2, 3]));
        let heads = (0..10_000).filter(|&n| Coins::about(7, [0, 1, n]).chance(0.3)).count();
        assert!((2_700..3_300).contains(&heads), "{heads} of 10000 with a chance of 0.3");
        let sum: f64 = (0..10_000).map(|n| Coins::about(n, [0, 1, 2]).between(2.0, 4.0)).sum();
        assert!((29_500.0..30_500.0).contains(&sum), "{sum}");
    }
}
