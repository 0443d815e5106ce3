//! G8: memory, queues and repair traffic stay within their limits.

use super::{About, Check, Judgement, Scene};

#[derive(Default)]
pub(super) struct Limits {
    looked: u64,
    rest: Option<(grapevine_core::Timestamp, u64)>,
}

/// Messages per heartbeat and pair at rest: the heartbeat, a request for one, an acknowledgement.
const MESSAGES_PER_BEAT: u64 = 4;

/// Messages of one comparison: the question and the answer.
const MESSAGES_PER_COMPARISON: u64 = 2;

static ABOUT: About = About {
    name: "G8",
    promise: "Memory, queues and repair traffic stay within their limits, with no storm after \
              healing.",
    source: "Section 10 of the protocol.",
    rule: "No frame is longer than the farm allows. No server has more waiting requests, copies per \
           origin or known servers than the limits say. In the last three seconds, when all is \
           healed and nobody writes, there are at most four messages per heartbeat and pair, and two for \
           each comparison of copies that the servers' pace allows.",
    file: "sim/src/checks/g8_limits.rs",
    not_applied: Some("Bytes in all, and eviction: the engine has limits per origin only, so far."),
};

impl Limits {
    /// The last seconds begin.
    fn begin_rest(&mut self, scene: &Scene<'_>) {
        self.rest = Some((scene.world.now(), scene.world.messages()));
    }
}

impl Check for Limits {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn looked(&self) -> u64 {
        self.looked
    }

    fn now_and_then(&mut self, scene: &Scene<'_>) -> Judgement {
        self.begin_rest(scene);
        for server in 0..scene.world.size() {
            let Some(engine) = scene.world.running(server) else { continue };
            self.looked += 1;
            let (waiting, allowed) = (engine.waiting(), engine.config().local.pending_requests);
            if waiting > allowed as usize {
                return Err(format!("{waiting} requests wait; {allowed} are allowed"));
            }
        }
        Ok(())
    }

    fn end(&mut self, scene: &Scene<'_>) -> Judgement {
        let Some((since, before)) = self.rest else { return Ok(()) };
        let beats = scene.world.now().since(since).as_millis() as u64
            / scene.world.farm().heartbeat_every.as_millis() as u64
            + 1;
        let pairs = (scene.world.size() * (scene.world.size() - 1)) as u64;
        let every = scene.world.local().verify_every;
        let compared = scene.world.now().since(since).as_micros() / every.as_micros().max(1) + 1;
        let compared = compared as u64 * scene.world.size() as u64 * MESSAGES_PER_COMPARISON;
        let messages = scene.world.messages() - before;
        let allowed = beats * pairs * MESSAGES_PER_BEAT + compared;
        if messages > allowed {
            return Err(format!(
                "{messages} messages at rest in {beats} beats; {allowed} are allowed"
            ));
        }
        Ok(())
    }
}
