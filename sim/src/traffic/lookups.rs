//! Queries and fetches: a request begins one look-up at most; it asks one or two first, then all, and
//! all again at its pace; it fetches what was offered (section 5 of the protocol page).

use std::collections::BTreeMap;

use super::{Judged, Terms, When, must};

/// Servers that a look-up asks first, at most.
const ASKED_FIRST: u32 = 2;
/// Look-ups remembered.
const KEPT: usize = 1024;
/// How often all are asked within the time that a request waits.
const QUERIES_PER_TIMEOUT: u32 = 4;

#[derive(Debug, Default)]
struct Lookup {
    /// How many were asked alone.
    first: u32,
    /// When all were asked the last time.
    all: Option<When>,
    /// Offers not fetched yet.
    offers: u32,
}

/// The look-ups of one process.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    by_number: BTreeMap<u64, Lookup>,
    /// Requests that may begin one.
    requests: u32,
}

impl Lookups {
    pub(super) const fn requested(&mut self) {
        self.requests += 1;
    }

    pub(super) const fn drained(&mut self) {
        self.requests = 0;
    }

    /// Somebody offers what this look-up is for.
    pub(super) fn offered(&mut self, number: u64) {
        if let Some(lookup) = self.by_number.get_mut(&number) {
            lookup.offers += 1;
        }
    }

    /// Whether what it fetches was offered.
    pub(super) fn fetches(&mut self, number: u64) -> bool {
        let lookup = self.by_number.get_mut(&number).filter(|lookup| lookup.offers > 0);
        lookup.map(|lookup| lookup.offers -= 1).is_some()
    }

    /// The look-up of this number, which begins now if it is not there.
    fn of(&mut self, number: u64) -> Result<&mut Lookup, &'static str> {
        if !self.by_number.contains_key(&number) {
            must(self.requests > 0, "no request wants to know that")?;
            self.requests -= 1;
            if self.by_number.len() >= KEPT {
                self.by_number.pop_first();
            }
        }
        Ok(self.by_number.entry(number).or_default())
    }

    /// One may have begun by what was taken for something else.
    pub(super) fn may_begin(&mut self, number: u64) {
        self.by_number.entry(number).or_default();
    }

    pub(super) fn asks_one(&mut self, number: u64) -> Judged {
        let lookup = self.of(number)?;
        lookup.first += 1;
        must(lookup.all.is_none(), "all have been asked already")?;
        must(lookup.first <= ASKED_FIRST, "it asks more than two alone")
    }

    pub(super) fn asks_all(&mut self, number: u64, when: When, terms: &Terms<'_>) -> Judged {
        let pace = terms.local.query_timeout / QUERIES_PER_TIMEOUT;
        let before = self.of(number)?.all.replace(when);
        let soon = before.is_some_and(|before| !when.is_after(before, pace));
        must(!soon, "all were asked just now")
    }
}
