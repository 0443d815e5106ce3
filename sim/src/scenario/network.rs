//! A scenario's network.

use serde::{Deserialize, Serialize};

/// How long messages take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Delay {
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
        }
    }
}
