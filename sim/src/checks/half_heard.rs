//! Servers that are not healed, and that a part of the healed ones hears. What they write goes on coming
//! there, beyond gaps that nobody can fill who is not heard by them; and as long as they are heard they
//! are not silent, so nobody publishes what they wrote again (section 6 of the protocol). What the healed
//! servers have of it differs until it ends.

use grapevine_core::{Address, Engine, Member, ServerId};

use super::Scene;

/// The processes that are heard by a healed server and are not healed themselves.
pub(super) struct HalfHeard(Vec<ServerId>);

impl HalfHeard {
    pub(super) fn among(scene: &Scene<'_>) -> Self {
        let longest = scene.world.farm().give_up_after;
        let mut heard = Vec::new();
        for &server in scene.healed {
            let peers = scene.world.running(server).map(Engine::peers);
            let now = scene.world.clock(server);
            let half = |member: &Member| {
                let rest = !scene.healed.contains(&(usize::from(member.server.number()) - 1));
                rest && now.since(member.heard) < longest
            };
            let members = peers.into_iter().flatten();
            heard.extend(members.filter(half).map(|member| member.server));
        }
        Self(heard)
    }

    /// Whether a healed server's copy shows a write of one of them beyond a gap.
    pub(super) fn wrote_of(&self, scene: &Scene<'_>, address: Address) -> bool {
        let shows = |engine: &Engine| {
            let seen = engine.copy(address).map(|copy| &copy.seen);
            let mut seen = seen.into_iter().flat_map(|seen| seen.iter());
            seen.any(|(writer, stamp)| {
                self.0.contains(&writer) && !engine.applied().covers_entry(writer, stamp)
            })
        };
        let healed = scene.healed.iter().filter_map(|&server| scene.world.running(server));
        !self.0.is_empty() && { healed }.any(shows)
    }
}
