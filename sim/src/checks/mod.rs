//! The guarantees, one file each: what it means, where it comes from, and the exact rule by which
//! a run is judged. Each check counts what it looked at: one that never had anything to look at
//! has shown nothing.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use grapevine_core::command::Write;
use grapevine_core::{Engine, Member, RequestError, Response, ServerId, Session, Timestamp};

use crate::model::{Model, Name};
use crate::shop::Flight;
use crate::world::World;

mod ahead;
mod asked;
mod caught_up;
mod counted;
mod fixed;
mod g10_input;
mod g1_convergence;
mod g2_durability;
mod g3_sessions;
mod g4_ended;
mod g5_expiry;
mod g6_counters;
mod g7_answers;
mod g8_limits;
mod g9_determinism;
mod half_heard;
mod left;
mod listed;
mod lost;
mod needless;
mod rotated;
mod tally;

pub(crate) use tally::{Rule, Tally};

/// What a guarantee means, and how it is checked.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// `G1` to `G10`.
    pub name: &'static str,
    /// The promise, in a sentence.
    pub promise: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// The rule by which a run is judged.
    pub rule: &'static str,
    /// The file of the check.
    pub file: &'static str,
    /// What of it is not applied yet, and why.
    pub not_applied: Option<&'static str>,
}

/// What has gone wrong on purpose so far: some promises hold only without.
#[derive(Clone, Debug, Default)]
pub(crate) struct Damage {
    /// Servers that died, by time. Stopping after a leave is a death too: a server that leaves waits
    /// until its own stream is applied elsewhere (section 8), not what it alone has of others' streams.
    pub(crate) deaths: Vec<Timestamp>,
    /// Whether anything at all was done on purpose, and be it the loss of a message.
    pub(crate) disturbed: bool,
    /// How many faults there were. A run whose network or rare choices are faulty has one from the start.
    pub(crate) faults: u64,
    /// Whether a server has left: what it alone had is given up.
    pub(crate) left: bool,
    /// The most that any clock was off, in microseconds, but for those that were far off.
    pub(crate) skew: u64,
    /// The most that any clock was off, in microseconds.
    pub(crate) worst: u64,
    /// The servers whose clocks were once off by more than half of what clocks may be.
    pub(crate) far: BTreeSet<usize>,
}

impl Damage {
    /// A server's clock is off by so many microseconds.
    pub(crate) fn clock_off(&mut self, server: usize, by: u64, allowed: Duration) {
        self.worst = self.worst.max(by);
        if u128::from(by) * 2 > allowed.as_micros() {
            self.far.insert(server);
        } else {
            self.skew = self.skew.max(by);
        }
    }

    /// Whether a server's clock, and those of a majority, were never far off: by such a server the times of
    /// sessions are judged, whatever the other clocks show.
    pub(crate) fn knows_time(&self, size: usize, server: usize) -> bool {
        !self.far.contains(&server) && self.far.len() * 2 < size
    }
}

/// What a check may look at.
pub(crate) struct Scene<'a> {
    pub(crate) world: &'a World,
    pub(crate) model: &'a Model,
    pub(crate) damage: &'a Damage,
    /// The servers that are healed at the end.
    pub(crate) healed: &'a [usize],
    /// Forged tokens that were refused, and those that were not.
    pub(crate) forged: (u64, u64),
    /// Sessions of which some server's memory was damaged. What is served of them, and what becomes of
    /// them, nobody can promise; only that all servers hold the same in the end.
    pub(crate) damaged: &'a BTreeSet<Name>,
    /// Requests without an answer yet.
    pub(crate) flights: &'a BTreeMap<grapevine_core::RequestId, Box<Flight>>,
    /// What each rule has looked at.
    pub(crate) tally: &'a Tally,
}

/// A request's answer, with what was asked.
pub(crate) struct Answered<'a> {
    pub(crate) server: usize,
    pub(crate) flight: &'a Flight,
    pub(crate) outcome: &'a Result<Response, RequestError>,
    peers: OnceCell<Option<Vec<Member>>>,
}

impl<'a> Answered<'a> {
    pub(crate) const fn new(
        server: usize,
        flight: &'a Flight,
        outcome: &'a Result<Response, RequestError>,
    ) -> Self {
        Self { server, flight, outcome, peers: OnceCell::new() }
    }

    /// The others as the server that answers sees them; `None` if it does not run. Many rules ask for them,
    /// and no event comes between.
    fn peers(&self, scene: &Scene<'_>) -> Option<&[Member]> {
        let peers = || scene.world.running(self.server).map(Engine::peers);
        self.peers.get_or_init(peers).as_deref()
    }
}

/// What a check says: nothing, or how the promise was broken.
pub(crate) type Judgement = Result<(), String>;

/// One guarantee's check.
pub(crate) trait Check {
    fn about(&self) -> &'static About;

    /// How much it has looked at.
    fn looked(&self) -> u64;

    /// Whether it judges what a session shows or whether it is there, which nobody can promise of one
    /// that was damaged in a server's memory.
    fn is_about_contents(&self) -> bool {
        matches!(self.about().name, "G2" | "G3" | "G4" | "G5" | "G6")
    }

    fn wrote(
        &mut self,
        _: &Scene<'_>,
        _by: ServerId,
        _write: &Write,
        _first_end: bool,
    ) -> Judgement {
        Ok(())
    }

    fn stored(&mut self, _: &Scene<'_>, _by: ServerId, _copy: &Arc<Session>) -> Judgement {
        Ok(())
    }

    fn answered(&mut self, _: &Scene<'_>, _: &Answered<'_>) -> Judgement {
        Ok(())
    }

    fn crashed(&mut self, _: &Scene<'_>) -> Judgement {
        Ok(())
    }

    /// Now and then, between events.
    fn now_and_then(&mut self, _: &Scene<'_>) -> Judgement {
        Ok(())
    }

    /// Customers are served again, so long after healing.
    fn served_again(&mut self, _: &Scene<'_>) -> Judgement {
        Ok(())
    }

    /// So long after healing all healed servers have come to hold the same.
    fn converged(&mut self, _: &Scene<'_>) -> Judgement {
        Ok(())
    }

    /// The last seconds begin: all is healed, and nobody asks any more.
    fn rest_begins(&mut self, _: &Scene<'_>) -> Judgement {
        Ok(())
    }

    fn end(&mut self, _: &Scene<'_>) -> Judgement {
        Ok(())
    }
}

/// All checks of one run.
pub(crate) fn all() -> Vec<Box<dyn Check>> {
    vec![
        Box::<g1_convergence::Convergence>::default(),
        Box::<g2_durability::Durability>::default(),
        Box::<g3_sessions::Sessions>::default(),
        Box::<g4_ended::Ended>::default(),
        Box::<g5_expiry::Expiry>::default(),
        Box::<g6_counters::Counters>::default(),
        Box::<g7_answers::Answers>::default(),
        Box::<g8_limits::Limits>::default(),
        Box::<g9_determinism::Determinism>::default(),
        Box::<g10_input::Input>::default(),
    ]
}

/// What is checked, in order.
pub fn guarantees() -> Vec<&'static About> {
    all().iter().map(|check| check.about()).collect()
}
