//! Rare choices and rare paths of a whole run: those of the engines
//! ([`grapevine_core::rare`]), and those of the network and the clocks around them.
//!
//! To add a mark of the harness: a variant with its sentence in [`HarnessMark`], and
//! `self.rare.mark(..)` where the path is taken.

use std::collections::{BTreeMap, BTreeSet};

use grapevine_core::rare::{Mark, Plan, Point, Tally};
use grapevine_core::{Engine, ServerId, Stamp, rare_names};
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::scenario::Buggify;

rare_names! {
    /// A choice that the network or a server's machine may be made to take.
    pub(crate) enum HarnessPoint {
        /// A server is woken up though nothing is due.
        TimerEarly,
        /// A server is woken up a tenth of a second late.
        TimerLate,
        /// What a server wants done is done only after the next event.
        DrainLate,
        /// A message arrives together with all others of its tenth of a second.
        Burst,
        /// A message takes exactly as long as one of the time-outs.
        DelayAsTimeout,
        /// A link takes one message at a time; what comes while one is under way is lost.
        QueueOfOne,
        /// A server is told that a connection broke and came up again.
        Reconnect,
    }
}

rare_names! {
    /// A path that is seldom taken, seen from outside of the servers.
    pub(crate) enum HarnessMark {
        /// A batch that a full queue dropped was covered by its receiver later.
        QueueOverflowMended,
        /// A batch that was lost on its way was covered by its receiver later.
        LossMended,
        /// A batch for a link that was cut was covered by its receiver later.
        CutMended,
        /// A message came for a process that had died meanwhile.
        MessageForPredecessor,
        /// A customer asked a server that was down.
        AskedDown,
        /// A read was answered without the engine.
        ReadHere,
        /// A server sent something to a process that was no more.
        SentToDead,
        /// A clock that was set back stood still.
        ClockStoodStill,
        /// A server that was paused got all at once what had waited for it.
        PausedServerCaughtUp,
        /// What had waited on a clogged link went on.
        CloggedLinkFlushed,
        /// A message with flipped bits was refused.
        DamageRefused,
        /// A server died with requests that waited for others.
        DiedWithWaitingRequests,
        /// A server died while it was leaving.
        DiedLeaving,
        /// A copy in a server's memory was damaged.
        MemoryDamaged,
        /// A server died with writes that were not sent yet.
        DiedUndrained,
    }
}

/// The names of all points, of engines and harness.
pub(crate) fn point_names() -> BTreeSet<String> {
    let engines = Point::ALL.iter().map(|point| point.name());
    engines.chain(HarnessPoint::ALL.iter().map(|point| point.name())).collect()
}

/// All points with their sentences, and all marks: name, whether it is the harness's, sentence.
fn rare_tables() -> [Vec<(String, bool, &'static str)>; 2] {
    let points = Point::ALL.iter().map(|p| (p.name(), false, p.about()));
    let around = HarnessPoint::ALL.iter().map(|p| (p.name(), true, p.about()));
    let marks = Mark::ALL.iter().map(|m| (m.name(), false, m.about()));
    let outside = HarnessMark::ALL.iter().map(|m| (m.name(), true, m.about()));
    [points.chain(around).collect(), marks.chain(outside).collect()]
}

/// A batch that did not arrive, and the mark of its being mended.
type Dropped = (ServerId, Stamp, HarnessMark);

/// What did not arrive at one server.
#[derive(Clone, Debug, Default)]
struct Missed {
    /// By publisher.
    dropped: Vec<Dropped>,
    /// At which of its engine's states it was last seen what it has by now.
    seen: Option<u64>,
}

/// Dropped batches remembered per receiver.
const REMEMBERED: usize = 64;

/// The rare choices and paths of a world.
#[derive(Debug)]
pub(crate) struct Rare {
    engines: Vec<Point>,
    /// Per point around the engines, whether it may fire; empty if none may.
    around: Vec<bool>,
    probability: f64,
    flips: ChaCha8Rng,
    fired: Vec<u64>,
    marks: Vec<u64>,
    /// Of engines that are no more.
    tally: Tally,
    /// Per server.
    missed: Vec<Missed>,
}

impl Rare {
    /// Nothing is forced.
    pub(crate) fn none() -> Self {
        Self::new(&Buggify::default(), 0)
    }

    /// These choices are forced, by this seed's coin flips.
    pub(crate) fn new(buggify: &Buggify, seed: u64) -> Self {
        let wanted = |name: String| buggify.points.contains(&name);
        let around: Vec<bool> = HarnessPoint::ALL.iter().map(|p| wanted(p.name())).collect();
        Self {
            engines: Point::ALL.iter().copied().filter(|p| wanted(p.name())).collect(),
            around: if around.contains(&true) { around } else { Vec::new() },
            probability: buggify.probability,
            flips: ChaCha8Rng::seed_from_u64(seed ^ 0xb0_9917),
            fired: vec![0; HarnessPoint::ALL.len()],
            marks: vec![0; HarnessMark::ALL.len()],
            tally: Tally::default(),
            missed: Vec::new(),
        }
    }

    /// What engines may be made to choose.
    pub(crate) fn of_engines(&self) -> Vec<Point> {
        self.engines.clone()
    }

    /// Nothing is forced any more; what was counted stays.
    pub(crate) fn stop(&mut self) {
        (self.engines, self.around) = (Vec::new(), Vec::new());
    }

    /// Tells a new engine what it is to choose.
    pub(crate) fn instruct(&mut self, engine: &mut Engine) {
        if self.engines.is_empty() {
            return engine.set_rare_choices(None);
        }
        let (points, probability) = (self.engines.clone(), self.probability);
        let plan = Plan { points, probability, seed: self.flips.next_u64() };
        engine.set_rare_choices(Some(&plan));
    }

    /// Whether any choice around the engines may be forced.
    pub(crate) const fn forces_around(&self) -> bool {
        !self.around.is_empty()
    }

    /// Whether the rare choice is to be taken here and now.
    pub(crate) fn force(&mut self, point: HarnessPoint) -> bool {
        let fires = self.around.get(point as usize).is_some_and(|&wanted| wanted)
            && chance(&mut self.flips, self.probability);
        self.fired[point as usize] += u64::from(fires);
        fires
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.flips.random_range(0..from.len())]
    }

    /// Counts a path that was taken.
    pub(crate) fn mark(&mut self, mark: HarnessMark) {
        self.marks[mark as usize] += 1;
    }

    /// A batch does not arrive at a server.
    pub(crate) fn dropped(&mut self, server: usize, publisher: ServerId, last: Stamp, why: &str) {
        let mark = match why {
            "overflow" => HarnessMark::QueueOverflowMended,
            "cut" => HarnessMark::CutMended,
            _ => HarnessMark::LossMended,
        };
        if self.missed.len() <= server {
            self.missed.resize(server + 1, Missed::default());
        }
        let missed = &mut self.missed[server];
        if missed.dropped.len() < REMEMBERED {
            let at = missed.dropped.partition_point(|&(of, ..)| of <= publisher);
            missed.dropped.insert(at, (publisher, last, mark));
            missed.seen = None;
        }
    }

    /// Sees whether a server has by now what did not arrive.
    pub(crate) fn see(&mut self, server: usize, engine: &Engine) {
        let Some(missed) = self.missed.get_mut(server) else { return };
        // What it has changes with its view.
        let state = Some(engine.view_generation());
        if missed.dropped.is_empty() || missed.seen == state {
            return;
        }
        missed.seen = state;
        // Those of one publisher lie together.
        let mut has = (ServerId::ZERO, Stamp::ZERO);
        let mended = |&mut (publisher, last, _): &mut Dropped| {
            if has.0 != publisher {
                has = (publisher, engine.applied().get(publisher));
            }
            last <= has.1
        };
        for (_, _, mark) in missed.dropped.extract_if(.., mended) {
            self.marks[mark as usize] += 1;
        }
    }

    /// A server dies.
    pub(crate) fn died(&mut self, server: usize, engine: &Engine) {
        if let Some(missed) = self.missed.get_mut(server) {
            *missed = Missed::default();
        }
        self.tally.add(&engine.rare_tally());
        if engine.waiting() > 0 {
            self.mark(HarnessMark::DiedWithWaitingRequests);
        }
    }

    /// Point → how often it was forced, and mark → how often its path was taken, with these engines
    /// that still run.
    pub(crate) fn counts<'a>(&self, running: impl Iterator<Item = &'a Engine>) -> [Counts; 2] {
        let mut tally = self.tally.clone();
        running.for_each(|engine| tally.add(&engine.rare_tally()));
        let around =
            HarnessPoint::ALL.iter().map(|&point| (point.name(), self.fired[point as usize]));
        let outside = HarnessMark::ALL.iter().map(|&mark| (mark.name(), self.marks[mark as usize]));
        let engines = tally.fired().map(|(point, count)| (point.name(), count));
        let inside = tally.marks().map(|(mark, count)| (mark.name(), count));
        [engines.chain(around).collect(), inside.chain(outside).collect()]
    }
}

/// Name → how often.
pub(crate) type Counts = BTreeMap<String, u64>;

/// The tables of `docs/rare.md`.
pub fn rare_page() -> String {
    let mut page = String::new();
    for (head, rows) in ["Rare choices", "Rare paths"].iter().zip(rare_tables()) {
        page += &format!("## {head}\n\n| name | where | what |\n| --- | --- | --- |\n");
        for (name, outside, about) in rows {
            let place = if outside { "around" } else { "engine" };
            page += &format!("| `{name}` | {place} | {about} |\n");
        }
        page.push('\n');
    }
    page
}

/// Whether something with this probability happens. Draws nothing when it can't.
fn chance(rng: &mut ChaCha8Rng, probability: f64) -> bool {
    probability > 0.0 && rng.random_range(0.0..1.0) < probability
}
