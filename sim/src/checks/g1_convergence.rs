//! G1: convergence.

use std::collections::BTreeSet;

use grapevine_core::{Address, Notice, Response, Session};

use super::caught_up::CaughtUp;
use super::half_heard::HalfHeard;
use super::{About, Answered, Check, Judgement, Rule, Scene};
use crate::model::{Known, name, shown};

#[derive(Default)]
pub(super) struct Convergence {
    looked: u64,
    caught_up: CaughtUp,
}

static ABOUT: About = About {
    name: "G1",
    promise: "Once servers can talk and writes stop, all live servers hold identical sessions, \
              within a bounded number of heartbeats.",
    source: "Section 11 of the protocol; strong eventual consistency (Shapiro et al., 2011).",
    rule: "100 heartbeats after healing, the healed servers' copies are equal, to the last stamp; if they are not \
           by then and a server is not healed, `give_up_after` and 50 heartbeats later, for what that one wrote last may \
           have reached some only, beyond a gap (and if it runs, and is heard, as long as that lasts). \
           What one healed server had of a running one that is not, 50 heartbeats after healing, all healed ones have after 100. \
           A session is not compared that a revocation would have ended whose record is dropped by then: who made \
           it had not heard of that for longer than any session lives (G4); nor is it an alarm if servers find it. \
           Without a death they are also what the reference model makes of all writes. Every 256 events \
           (in a large farm as often in its own time) what each applied vector claims is there. Servers compare their copies in every run: \
           no server ever finds that its copies and another's differ, unless memory was damaged, or a process ran \
           whose boot is older than its predecessor's (who has closed the one takes nothing of the other by repair); if memory \
           was damaged, the rule for the end holds all the same, but for the model. Asked after healing, \
           every server says that it was compared with all healed ones, unless one of the two still joins, for \
           a server that is not healed can be heard and does not count its process.",
    file: "sim/src/checks/g1_convergence.rs",
    not_applied: None,
};

impl Check for Convergence {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn looked(&self) -> u64 {
        self.looked
    }

    fn now_and_then(&mut self, scene: &Scene<'_>) -> Judgement {
        no_false_alarm(scene)?;
        let compared = scene.world.no_false_claim()?;
        self.looked += compared;
        scene.tally.add(Rule::Claims, compared);
        Ok(())
    }

    fn answered(&mut self, scene: &Scene<'_>, answered: &Answered<'_>) -> Judgement {
        let Ok(Response::Verified(report)) = answered.outcome else { return Ok(()) };
        for peer in &report.peers {
            self.looked += peer.sessions;
            scene.tally.add(Rule::Compared, peer.sessions);
            let healed = scene.healed.iter().any(|&server| server + 1 == usize::from(peer.number));
            let servers = [answered.server, usize::from(peer.number) - 1];
            let joins = servers.into_iter().any(|server| waits_for_the_rest(scene, server));
            if healed
                && !joins
                && let Some(why) = peer.missed
            {
                let number = answered.server + 1;
                return Err(format!(
                    "server {number} could not compare with {}: {why}",
                    peer.number
                ));
            }
        }
        Ok(())
    }

    fn served_again(&mut self, scene: &Scene<'_>) -> Judgement {
        self.caught_up.note(scene);
        Ok(())
    }

    fn converged(&mut self, scene: &Scene<'_>) -> Judgement {
        self.caught_up.judge(scene)
    }

    fn end(&mut self, scene: &Scene<'_>) -> Judgement {
        let died = !scene.damage.deaths.is_empty();
        let several = u64::from(scene.healed.len() > 1);
        self.looked += several;
        scene.tally.add(Rule::Converged, several);
        no_false_alarm(scene)?;
        let mut differences = scene.world.differences_among(scene.healed);
        let half_heard = HalfHeard::among(scene);
        differences.retain(|&(address, _)| {
            !half_heard.wrote_of(scene, address)
                && !is_being_dropped(scene, address)
                && !came_after_its_revocation(scene, address)
        });
        if let Some((_, difference)) = differences.first() {
            let count = differences.len();
            return Err(format!("{count} differences after healing; the first: {difference}"));
        }
        if died || scene.healed.len() < scene.world.size() {
            return Ok(());
        }
        let copies = scene.world.copies(scene.healed[0]);
        for known in scene.model.iter() {
            let Some(copy) = copies.get(&known.id.address) else { continue };
            let damaged = scene.damaged.contains(&name(&known.id));
            if copy.id != known.id || copy.life != grapevine_core::Life::Live || damaged {
                continue;
            }
            self.looked += 1;
            scene.tally.looked(Rule::AllWrites);
            let all = known.everything();
            let expected = known.contents(&all);
            if Some(shown(copy)) != expected {
                return Err(format!(
                    "{} shows {:?}, but all writes amount to {expected:?}",
                    copy.id,
                    shown(copy)
                ));
            }
        }
        Ok(())
    }
}

/// Whether a copy's time has come within the last heartbeat: servers drop it by clocks that differ.
fn is_being_dropped(scene: &Scene<'_>, address: Address) -> bool {
    let beat = scene.world.farm().heartbeat_every;
    let copies = scene.healed.iter().filter_map(|&s| scene.world.running(s)?.copy(address));
    let due = |copy: &Session| {
        let due = copy.fixed.end() + scene.world.farm().margin();
        due.before(beat) <= scene.world.now() && scene.world.now() <= due + beat
    };
    { copies }.any(|copy| due(copy))
}

/// Whether all sessions that were found to differ are such as a revocation would have ended whose record is
/// dropped: that two servers differ in those is so, until a comparison finds it.
fn all_came_after_their_revocations(scene: &Scene<'_>) -> bool {
    let missed = |known: &&Known| scene.model.missed_revocation(&known.id, scene.world.now());
    let missed: BTreeSet<_> =
        scene.model.iter().filter(missed).map(|known| known.id.hashed()).collect();
    scene.world.notices().iter().all(|(_, notice)| match notice {
        Notice::Mismatch { sessions, .. } => sessions.iter().all(|id| missed.contains(id)),
        _ => true,
    })
}

/// Whether a session lies here that a revocation would have ended whose record is dropped, somewhere at least:
/// its server had not heard of that for longer than any session lives (G4).
fn came_after_its_revocation(scene: &Scene<'_>, address: Address) -> bool {
    let copies = scene.healed.iter().filter_map(|&s| scene.world.running(s)?.copy(address));
    { copies }.any(|copy| scene.model.missed_revocation(&copy.id, scene.world.now()))
}

/// Whether a healed server can't have joined: one that is not healed can be heard, and does not count its
/// process, for it hears nobody (section 5: until it falls silent, it may act on what it has of the
/// predecessor).
fn waits_for_the_rest(scene: &Scene<'_>, server: usize) -> bool {
    let progress = scene.world.running(server).and_then(|engine| engine.status().progress);
    let rest = |number: &u16| !scene.healed.contains(&(usize::from(*number) - 1));
    progress.is_some_and(|progress| progress.waits_for.iter().any(rest))
}

/// Two servers' copies differ only if something was damaged.
fn no_false_alarm(scene: &Scene<'_>) -> Judgement {
    if scene.world.mismatches() > 0 && scene.damaged.is_empty() && !scene.world.older_boot() {
        let count = scene.world.mismatches();
        if all_came_after_their_revocations(scene) {
            return Ok(());
        }
        let first = scene.world.notices().iter().find_map(|(server, notice)| match notice {
            Notice::Mismatch { server: other, sessions } => Some((server + 1, other, sessions)),
            _ => None,
        });
        let first = first.map(|(server, other, sessions)| {
            let is_it = |known: &&Known| sessions.contains(&known.id.hashed());
            let ids = scene.model.iter().filter(is_it).map(|known| known.id.to_string());
            format!("server {server} and {other} differ in {}", ids.collect::<Vec<_>>().join(", "))
        });
        return Err(format!(
            "{count} times copies were found to differ, and nothing was damaged; the first: {}",
            first.unwrap_or_default()
        ));
    }
    Ok(())
}
