//! G9: the same seed and the same inputs give the same trace.

use super::{About, Check};

/// One run has nothing to compare: the swarm does, from outside.
#[derive(Default)]
pub(super) struct Determinism;

static ABOUT: About = About {
    name: "G9",
    promise: "Same seed and same inputs: the same trace, byte for byte, on any machine, in debug and \
              release.",
    source: "Section 11 of the protocol.",
    rule: "A rolling hash over every event, its time, its server, the bytes of its message, every answer, and the \
           server's state afterwards: each copy that changed, whole but for its secret; what is applied, how much was drawn at \
           random, what is due next and when; and totals. `sim/tests/determinism.rs` compares it between two processes, \
           and `.ci/run` between debug and release; the swarm runs its first and then every 64th \
           run twice, and counts those as looked at.",
    file: "sim/src/checks/g9_determinism.rs",
    not_applied: None,
};

impl Check for Determinism {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn looked(&self) -> u64 {
        0
    }
}
