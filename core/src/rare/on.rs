//! With the feature: which points fire when, and which marks were passed how often.

use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::{Mark, Point};
use crate::engine::Engine;
use crate::facts::{Facts, Place};
use crate::session::{Life, Session};
use crate::stamp::Timestamp;

mod damage;
mod meeting;

/// Which points fire, how often, and by which coin flips.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// These points; all others never fire.
    pub points: Vec<Point>,
    /// How probable it is that an enabled point fires when it is passed, 0 to 1.
    pub probability: f64,
    /// Feeds the coin flips, which are no other of the engine's.
    pub seed: u64,
}

/// How often points fired and marks were passed, in an engine's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    fired: Vec<u64>,
    marks: Vec<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { fired: vec![0; Point::ALL.len()], marks: vec![0; Mark::ALL.len()] }
    }
}

impl Tally {
    /// Adds what another engine counted.
    pub fn add(&mut self, other: &Self) {
        let add = |all: &mut [u64], more: &[u64]| {
            all.iter_mut().zip(more).for_each(|(all, more)| *all += more);
        };
        add(&mut self.fired, &other.fired);
        add(&mut self.marks, &other.marks);
    }

    /// Every point, with how often it fired.
    pub fn fired(&self) -> impl Iterator<Item = (Point, u64)> + '_ {
        Point::ALL.iter().copied().zip(self.fired.iter().copied())
    }

    /// Every mark, with how often it was passed.
    pub fn marks(&self) -> impl Iterator<Item = (Mark, u64)> + '_ {
        Mark::ALL.iter().copied().zip(self.marks.iter().copied())
    }
}

#[derive(Clone, Debug, Default)]
struct Inner {
    /// Per point, whether it may fire; empty without a plan.
    enabled: Vec<bool>,
    /// A draw of 64 bits below this fires.
    below: u64,
    flips: Option<ChaCha8Rng>,
    tally: Tally,
}

/// An engine's rare choices and paths.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rare {
    // Readers of the engine's state pass marks too.
    inner: RefCell<Inner>,
}

impl Rare {
    /// Whether anything is counted: what only marks need is not worked out otherwise.
    #[allow(clippy::unused_self, reason = "the other handle has none to look at either")]
    pub(crate) const fn counts(&self) -> bool {
        true
    }

    /// Whether the rare choice is to be taken here and now. Never without a plan.
    pub(crate) fn force(&self, point: Point) -> bool {
        let mut inner = self.inner.borrow_mut();
        if !inner.enabled.get(point as usize).is_some_and(|&enabled| enabled) {
            return false;
        }
        let below = inner.below;
        let fires = inner.flips.as_mut().is_some_and(|flips| flips.next_u64() < below);
        inner.tally.fired[point as usize] += u64::from(fires);
        fires
    }

    /// Counts a path that was taken.
    pub(crate) fn mark(&self, mark: Mark) {
        self.inner.borrow_mut().tally.marks[mark as usize] += 1;
    }

    /// Counts a path if it was taken.
    pub(crate) fn mark_if(&self, taken: bool, mark: Mark) {
        if taken {
            self.mark(mark);
        }
    }

    /// Counts what happens when a session meets the copy that is here, just before the merge.
    pub(crate) fn meets(&self, facts: &Facts, session: &Session, now: Timestamp) {
        meeting::marks(facts, session, now, &mut |mark| self.mark(mark));
    }

    /// Counts a session that completes a partial copy, just before the merge.
    pub(crate) fn completes(&self, facts: &Facts, session: &Session, mark: Mark) {
        let partial = matches!(facts.find(&session.id), Place::Here(copy) if !copy.complete);
        self.mark_if(partial && session.complete && session.life == Life::Live, mark);
    }
}

impl Engine {
    /// Has some rare choices taken from now on, or, without a plan, none any more.
    ///
    /// # Panics
    /// If the probability is not from 0 to 1.
    pub fn set_rare_choices(&mut self, plan: Option<&Plan>) {
        let mut inner = self.rare.inner.borrow_mut();
        let Some(plan) = plan else {
            (inner.enabled, inner.flips) = (Vec::new(), None);
            return;
        };
        assert!((0.0..=1.0).contains(&plan.probability), "a probability from 0 to 1");
        inner.enabled = Point::ALL.iter().map(|point| plan.points.contains(point)).collect();
        inner.below = (plan.probability * u64::MAX as f64) as u64;
        inner.flips = Some(ChaCha8Rng::seed_from_u64(plan.seed));
    }

    /// How often points fired and marks were passed so far.
    pub fn rare_tally(&self) -> Tally {
        self.rare.inner.borrow().tally.clone()
    }
}
