//! G5: nothing ends early, nothing is served late.

use std::collections::BTreeMap;
use std::time::Duration;

use grapevine_core::command::Write;
use grapevine_core::{Life, NotFound, RequestError, Response, ServerId, SessionId, Timestamp};

use super::ahead::Ahead;
use super::{About, Answered, Check, Judgement, Rule, Scene};

#[derive(Default)]
pub(super) struct Expiry {
    looked: u64,
    ahead: Ahead,
}

static ABOUT: About = About {
    name: "G5",
    promise: "A session in use never expires early (beyond the stated skew and touch margin); none \
              is served past its deadline.",
    source: "Section 9 of the protocol.",
    rule: "Nobody says that a session's idle or absolute limit has passed, and no server ends it \
           for that, before it has by the world's clock, less an eighth of the idle timeout and \
           twice the most that clocks were off. No response shows a session later than its \
           deadline and the most that clocks were off. Not judged for sessions that were ended to make \
           room (G8 judges those), once a clock has been off by more than half of what \
           clocks may be, nor, for the idle limit, by an access at a process that died or left since: \
           it may have died with it. Who ends an idle session knows of every access that a copy at any \
           server shows, whoever wrote it (unless a clock has been so far off). A server whose clock has been ahead of a majority of the others by twice what \
           clocks may be off and a second, while it hears them, for twenty heartbeats, serves nothing and ends nothing. \
           No process tells its application twice that a session expired. In a run without any fault, \
           of every session at most one server of the farm tells so, and of every one whose deadline \
           has passed, and that no customer asked to end, one.",
    file: "sim/src/checks/g5_expiry.rs",
    not_applied: None,
};

impl Expiry {
    fn idle(
        &mut self,
        scene: &Scene<'_>,
        rule: Rule,
        id: &SessionId,
        (server, by): (usize, &str),
    ) -> Judgement {
        let Some(known) = scene.model.get(id) else { return Ok(()) };
        if !knows_time(scene, server) {
            return Ok(());
        }
        // An access by a clock that is far off may be of any time.
        let counts =
            |process: ServerId| is_there(scene, process) && knows_time(scene, index(process));
        let Some(used) = known.used(counts) else { return Ok(()) };
        self.looked += 1;
        scene.tally.looked(rule);
        let limit = known.idle_timeout - known.idle_timeout / 8;
        let earliest = (used + limit).before(slack(scene));
        if scene.world.now() < earliest {
            return Err(format!(
                "{id} was used {:?} ago and is said to be idle by {by}; its idle timeout is {:?}",
                scene.world.now().since(used),
                known.idle_timeout
            ));
        }
        Ok(())
    }

    fn deadline(&mut self, scene: &Scene<'_>, server: usize, deadline: Timestamp) -> Judgement {
        self.looked += 1;
        let judged = knows_time(scene, server);
        scene.tally.add(Rule::DeadlineSaid, u64::from(judged));
        if judged && scene.world.now() < deadline.before(slack(scene)) {
            let left = deadline.since(scene.world.now());
            return Err(format!("a session is said to be over {left:?} before its deadline"));
        }
        Ok(())
    }
}

/// Judges the end of an idle session by what the others have: an access that any of them has written down, or was
/// told of, by whomever, counts. (Who ends it has all that others wrote before.)
fn used_elsewhere(scene: &Scene<'_>, id: &SessionId, by: ServerId) -> Judgement {
    if !knows_time(scene, index(by)) {
        return Ok(());
    }
    scene.tally.looked(Rule::IdleEverywhere);
    let latest = scene.world.now() + slack(scene) + scene.world.farm().max_drift;
    for other in (0..scene.world.size()).filter_map(|server| scene.world.running(server)) {
        let Some(copy) = other.copy(id.address) else { continue };
        let leaves = other.is_leaving();
        if copy.id == *id && copy.life == Life::Live && !leaves && copy.idle_deadline() > latest {
            return Err(format!(
                "{id} was ended by {by} as idle, and {} has an access at {} that lets it live until {:?}",
                other.server(),
                copy.accessed,
                copy.idle_deadline()
            ));
        }
    }
    Ok(())
}

fn index(process: ServerId) -> usize {
    usize::from(process.number()) - 1
}

fn knows_time(scene: &Scene<'_>, server: usize) -> bool {
    scene.damage.knows_time(scene.world.size(), server)
}

/// Whether a process runs and is not leaving: what it alone knows is not lost.
fn is_there(scene: &Scene<'_>, process: ServerId) -> bool {
    let runs = scene.world.running(index(process));
    runs.is_some_and(|runs| runs.server() == process && !runs.is_leaving())
}

fn slack(scene: &Scene<'_>) -> Duration {
    // Where actions come out late, so do answers.
    let late = Duration::from_millis(if scene.world.late() { 20 } else { 2 });
    Duration::from_micros(2 * scene.damage.skew) + late
}

impl Check for Expiry {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn looked(&self) -> u64 {
        self.looked
    }

    fn wrote(&mut self, scene: &Scene<'_>, by: ServerId, write: &Write, first: bool) -> Judgement {
        let id = write.session().id;
        let asked = scene.model.get(&id).is_some_and(|known| known.end_asked);
        let evicted = scene.world.was_evicted(&id);
        if first && !asked && !evicted {
            self.ahead.ends(scene, by, &id)?;
            used_elsewhere(scene, &id, by)?;
            scene.tally.looked(Rule::IdleTold);
            if !scene.world.expired().iter().rev().any(|&told| told == (by, id)) {
                return Err(format!("{by} ended {id} as idle, and told nobody"));
            }
            let by = (index(by), &*format!("{by}, which ended it"));
            self.idle(scene, Rule::IdleEnded, &id, by)
        } else {
            Ok(())
        }
    }

    fn answered(&mut self, scene: &Scene<'_>, answered: &Answered<'_>) -> Judgement {
        self.ahead.look(scene);
        self.ahead.serves(scene, answered)?;
        let Some(token) = &answered.flight.token else { return Ok(()) };
        match answered.outcome {
            Err(RequestError::NotFound(NotFound::Idle)) => {
                let by = format!("server {}", answered.server + 1);
                self.idle(scene, Rule::IdleSaid, &token.id, (answered.server, &by))
            }
            Err(RequestError::NotFound(NotFound::Deadline)) => {
                self.deadline(scene, answered.server, token.deadline)
            }
            Err(RequestError::NotFound(NotFound::Ended)) => {
                let known = scene.model.get(&token.id);
                let Some(known) = known.filter(|_| scene.world.now() < token.deadline) else {
                    return Ok(());
                };
                self.looked += 1;
                scene.tally.looked(Rule::EndedSaid);
                if !known.ended {
                    return Err(format!("{} is said to be ended, and nobody ended it", token.id));
                }
                Ok(())
            }
            Ok(Response::Session(served))
                if answered.flight.acks == grapevine_core::Acks::Local =>
            {
                self.looked += 1;
                let latest = served.token.deadline + slack(scene);
                let judged = knows_time(scene, answered.server) && answered.flight.prompt;
                scene.tally.add(Rule::ServedInTime, u64::from(judged));
                if judged && scene.world.now() > latest {
                    let late = scene.world.now().since(served.token.deadline);
                    return Err(format!("{} was served {late:?} after its deadline", token.id));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn now_and_then(&mut self, scene: &Scene<'_>) -> Judgement {
        self.ahead.look(scene);
        Ok(())
    }

    fn end(&mut self, scene: &Scene<'_>) -> Judgement {
        let mut told: BTreeMap<SessionId, BTreeMap<ServerId, u64>> = BTreeMap::new();
        for &(by, id) in scene.world.expired() {
            *told.entry(id).or_default().entry(by).or_default() += 1;
        }
        for (id, by) in &told {
            self.looked += 1;
            scene.tally.looked(Rule::ToldOnce);
            if let Some((by, times)) = by.iter().find(|&(_, &times)| times > 1) {
                return Err(format!("{by} told {times} times that {id} expired"));
            }
        }
        if scene.damage.disturbed {
            return Ok(());
        }
        // Heartbeats after its end, every server has dropped it.
        let dropped = scene.world.farm().margin() + scene.world.farm().heartbeat_every * 10;
        for known in scene.model.iter() {
            let told = told.get(&known.id).map_or(0, BTreeMap::len);
            let over = known.deadline + dropped < scene.world.now() && !known.end_asked;
            self.looked += 1;
            scene.tally.add(Rule::ToldByOne, u64::from(over));
            if told > 1 || over && told == 0 {
                return Err(format!("{told} servers told that {} expired", known.id));
            }
        }
        Ok(())
    }
}
