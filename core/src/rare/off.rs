//! Without the feature: nothing, in no bytes.

use super::{Mark, Point};
use crate::facts::Facts;
use crate::session::Session;
use crate::stamp::Timestamp;

/// Nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rare {}

#[allow(clippy::unused_self, reason = "the other handle has a self to use")]
impl Rare {
    #[inline(always)]
    pub(crate) const fn counts(&self) -> bool {
        false
    }

    #[inline(always)]
    pub(crate) const fn force(&self, _: Point) -> bool {
        false
    }

    #[inline(always)]
    pub(crate) const fn mark(&self, _: Mark) {}

    #[inline(always)]
    pub(crate) const fn mark_if(&self, _: bool, _: Mark) {}

    #[inline(always)]
    pub(crate) const fn meets(&self, _: &Facts, _: &Session, _: Timestamp) {}

    #[inline(always)]
    pub(crate) const fn completes(&self, _: &Facts, _: &Session, _: Mark) {}
}

#[cfg(test)]
mod tests {
    use super::Rare;

    #[test]
    fn without_the_feature_the_handle_takes_no_memory_and_forces_nothing() {
        assert_eq!(super::super::HANDLE_BYTES, 0);
        assert!(super::Point::ALL.iter().all(|&point| !Rare {}.force(point)));
    }
}
