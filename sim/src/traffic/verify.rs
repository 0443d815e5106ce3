//! Comparisons of copies: one range with one other server at a time (section 6 of the protocol page).

use grapevine_core::ServerId;

use super::{Judged, Terms, When, must};

/// What one process compares.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// The question that is not answered yet.
    asked: Option<(u64, When)>,
    /// An application wants all to be compared, or has just been told: what was asked is not waited for.
    demanded: bool,
}

impl Comparison {
    pub(super) const fn demanded(&mut self) {
        self.demanded = true;
    }

    pub(super) const fn drained(&mut self) {
        self.demanded = false;
    }

    /// A comparison on demand is over.
    pub(super) const fn ended(&mut self) {
        self.asked = None;
    }

    pub(super) fn answered(&mut self, number: u64) {
        self.asked.take_if(|&mut (asked, _)| asked == number);
    }

    pub(super) const fn asked(&mut self, number: u64, when: When) {
        self.asked = Some((number, when));
    }

    pub(super) fn asks(
        &mut self,
        _: ServerId,
        number: u64,
        when: When,
        terms: &Terms<'_>,
    ) -> Judged {
        let waits = self.asked.is_some_and(|(_, asked)| {
            !self.demanded && !when.is_after(asked, terms.local.round_timeout)
        });
        self.asked(number, when);
        must(!waits, "another comparison is not answered yet")
    }
}
