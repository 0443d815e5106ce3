//! A part of G5: a server whose clock is far ahead of a majority that it hears finds out, and then serves nothing
//! and ends nothing (section 4 of the protocol). One that is behind refuses what the others say, so it may not
//! find out; it ends nothing early.

use std::collections::BTreeMap;
use std::time::Duration;

use grapevine_core::{Acks, Engine, Response, ServerId, SessionId, Timestamp};

use super::{Answered, Judgement, Rule, Scene};

/// So many heartbeats it may take to find out: a server looks at the last eight of each, and some get lost.
const BEATS: u32 = 20;
/// Who was not heard for so many is not heard.
const SILENT_BEATS: u32 = 4;

/// The processes whose clocks are far ahead, and since when, as far as was looked.
#[derive(Default)]
pub(super) struct Ahead {
    since: BTreeMap<usize, (ServerId, Timestamp)>,
    looked: Timestamp,
}

impl Ahead {
    /// Looks at all clocks.
    pub(super) fn look(&mut self, scene: &Scene<'_>) {
        if scene.damage.far.is_empty() {
            return;
        }
        let seldom = scene.world.farm().heartbeat_every * SILENT_BEATS;
        if scene.world.now() > self.looked + seldom {
            // Nobody looked for so long that a server may have heard nobody meanwhile.
            self.since.clear();
        }
        self.looked = scene.world.now();
        for server in 0..scene.world.size() {
            let process = scene.world.running(server).map(Engine::server);
            match process.filter(|_| is_ahead(scene, server)) {
                Some(process) => {
                    let now = (process, scene.world.now());
                    let since = self.since.entry(server).or_insert(now);
                    if since.0 != process {
                        *since = now;
                    }
                }
                None => drop(self.since.remove(&server)),
            }
        }
    }

    /// Since when a process must have known of itself that its clock is off; `None` if it need not.
    fn must_know_since(&self, scene: &Scene<'_>, server: usize) -> Option<Timestamp> {
        let &(process, since) = self.since.get(&server)?;
        let runs = scene.world.running(server)?.server() == process;
        let known = since + scene.world.farm().heartbeat_every * BEATS;
        let paused = scene.world.is_paused(server) || scene.world.is_slow(server);
        (runs && !paused && is_ahead(scene, server)).then_some(known)
    }

    /// Judges an answer to a request that came long after.
    pub(super) fn serves(&self, scene: &Scene<'_>, answered: &Answered<'_>) -> Judgement {
        let (server, flight) = (answered.server, answered.flight);
        let Some(since) = self.must_know_since(scene, server) else { return Ok(()) };
        if scene.world.late() || !flight.prompt || flight.sent < since || flight.acks != Acks::Local
        {
            return Ok(());
        }
        scene.tally.looked(Rule::Skewed);
        match answered.outcome {
            Ok(Response::Session(served)) => Err(format!(
                "{} was served by server {}, whose clock is far ahead of a majority that it hears",
                served.session.id,
                server + 1
            )),
            _ => Ok(()),
        }
    }

    /// Judges the end of a session that nobody asked for.
    pub(super) fn ends(&self, scene: &Scene<'_>, by: ServerId, id: &SessionId) -> Judgement {
        let server = usize::from(by.number()) - 1;
        match self.must_know_since(scene, server) {
            Some(since) if since < scene.world.now() && !scene.world.late() => Err(format!(
                "{id} was ended by {by}, whose clock is far ahead of a majority that it hears"
            )),
            _ => Ok(()),
        }
    }
}

/// Whether a server's clock is far ahead of a majority of others, all of which it has heard lately. Who left is
/// not asked for the time any more, also while it still sends.
fn is_ahead(scene: &Scene<'_>, server: usize) -> bool {
    let farm = scene.world.farm();
    let far = farm.max_drift * 2 + Duration::from_secs(1);
    let lately = farm.heartbeat_every * SILENT_BEATS;
    let behind = |&other: &usize| {
        other != server
            && scene.world.running(other).is_some_and(|engine| !engine.is_leaving())
            && scene.world.clock(other) + far < scene.world.clock(server)
            && scene.world.heard_within(server, other, lately)
    };
    let behind = (0..scene.world.size()).filter(behind).count();
    scene.world.size() > 1 && behind >= usize::from(farm.majority())
}
