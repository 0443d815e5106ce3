//! Rare choices that a run forces, by name.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::rare;

/// Which rare choices are forced, and how often. They are listed in `docs/rare.md`. Each is one
/// that the protocol allows, so a harness that can't force them leaves this out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buggify {
    /// The choices, by name.
    #[serde(default)]
    pub points: Vec<String>,
    /// How probable it is that such a choice is forced when it comes up, 0 to 1. It must be given: points that are
    /// never forced would look as if they had been.
    pub probability: f64,
}

impl Buggify {
    /// What this seed's run forces: often nothing, else some points or many, seldom or often.
    pub(crate) fn drawn(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xb0_99f1);
        if rng.random_bool(0.4) {
            return Self::default();
        }
        let density = [0.05, 0.15, 0.4][rng.random_range(0..3)];
        let probability = [0.01, 0.05, 0.2, 0.5][rng.random_range(0..4)];
        let points: Vec<String> =
            rare::point_names().into_iter().filter(|_| rng.random_bool(density)).collect();
        if points.is_empty() { Self::default() } else { Self { points, probability } }
    }

    /// Whether nothing is forced.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The first name that is no point's.
    pub(super) fn unknown(&self) -> Option<&String> {
        let known = rare::point_names();
        self.points.iter().find(|name| !known.contains(*name))
    }
}
