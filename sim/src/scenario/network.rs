//! A scenario's network.

use serde::{Deserialize, Serialize};

/// How long messages take. Without `in_order`, what takes longer is overtaken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Delay {
    /// Always the same.
    Fixed {
        /// How long.
        ms: f64,
    },
    /// Anything in the range alike.
    Uniform {
        /// The shortest.
        min_ms: f64,
        /// The longest.
        max_ms: f64,
    },
    /// Short as a rule, long now and then.
    LongTail {
        /// The longest of the usual ones.
        usual_ms: f64,
        /// The longest of the rare ones.
        rare_ms: f64,
        /// How probable a rare one is, 0 to 1.
        rare: f64,
    },
    /// In the middle of the range as a rule.
    Hump {
        /// The shortest.
        min_ms: f64,
        /// The longest.
        max_ms: f64,
    },
    /// The longer, the rarer: half of all take up to `half_ms` more than the least, half of the
    /// others up to twice that, and so on.
    Halving {
        /// The shortest.
        least_ms: f64,
        /// What half of them stay below, beyond the least.
        half_ms: f64,
        /// The longest.
        most_ms: f64,
    },
}

impl Delay {
    /// All kinds, as a scenario file names them.
    pub const KINDS: [&'static str; 5] = ["fixed", "uniform", "long_tail", "hump", "halving"];

    /// Its kind, as a scenario file names it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Fixed { .. } => "fixed",
            Self::Uniform { .. } => "uniform",
            Self::LongTail { .. } => "long_tail",
            Self::Hump { .. } => "hump",
            Self::Halving { .. } => "halving",
        }
    }

    /// The shortest and the longest, in ms.
    pub(crate) const fn range_ms(&self) -> (f64, f64) {
        match *self {
            Self::Fixed { ms } => (ms, ms),
            Self::Uniform { min_ms, max_ms } | Self::Hump { min_ms, max_ms } => (min_ms, max_ms),
            Self::LongTail { rare_ms, .. } => (0.0, rare_ms),
            Self::Halving { least_ms, most_ms, .. } => (least_ms, most_ms),
        }
    }
}

/// All links of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Links {
    /// How long messages take.
    pub delay: Delay,
    /// How probable it is that a message is lost, 0 to 1.
    pub loss: f64,
    /// How probable it is that a message arrives twice.
    pub repeats: f64,
    /// How probable it is that a message arrives with flipped bits.
    pub corruption: f64,
    /// Whether messages of one link keep their order, as on a TCP connection.
    pub in_order: bool,
    /// Messages in flight per link; what comes beyond is lost.
    pub queue: usize,
    /// Links with a delay of their own.
    #[serde(rename = "link", skip_serializing_if = "Vec::is_empty")]
    pub own: Vec<OwnDelay>,
}

/// One link's own delay. Servers are numbered from 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnDelay {
    /// The sender.
    pub from: u16,
    /// The receiver.
    pub to: u16,
    /// How long messages take from the one to the other.
    pub delay: Delay,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            delay: Delay::Uniform { min_ms: 0.2, max_ms: 2.0 },
            loss: 0.0,
            repeats: 0.0,
            corruption: 0.0,
            in_order: false,
            queue: 10_000,
            own: Vec::new(),
        }
    }
}
