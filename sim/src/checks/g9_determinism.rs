//! G9: the same seed and the same inputs give the same trace.

use super::{About, Check, Judgement, Scene};

#[derive(Default)]
pub(super) struct Determinism {
    looked: u64,
}

static ABOUT: About = About {
    name: "G9",
    promise: "Same seed and same inputs: the same trace, byte for byte, on any machine, in debug and \
              release.",
    source: "Section 11 of the protocol.",
    rule: "A rolling hash over every event, its time, its server, the bytes of its message and the \
           server's state afterwards. `sim/tests/determinism.rs` compares it between two processes, \
           and between debug and release; the swarm runs every 64th seed twice.",
    file: "sim/src/checks/g9_determinism.rs",
    not_applied: None,
};

impl Check for Determinism {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn looked(&self) -> u64 {
        self.looked
    }

    fn end(&mut self, scene: &Scene<'_>) -> Judgement {
        // The comparison is made from outside; here is only that there is something to compare.
        self.looked += u64::from(scene.world.trace_hash() != 0);
        Ok(())
    }
}
