//! Verification: `Verify`, `Verified`, `Mend`, `Mended` (section 6 of the protocol page).
//!
//! Vectors can't see damaged memory, nor a bug. So servers compare hashes of ranges of their arrays:
//! slowly for ever, and all at once on demand. What they compare must be the same if all is well, so
//! they agree on a *base* first: a vector that both cover, made of the asker's own and of what the
//! other's last heartbeat said. A session that has seen nothing beyond the base is the same on both,
//! whatever else is on its way (`docs/decisions/0005-verification-compares-at-a-common-base.md`). Each
//! side leaves out what it can't speak for, and says so; only what neither leaves out can differ.
//!
//! A range whose hashes differ is listed; the sessions that differ are counted, told to people by
//! hashed IDs, and exchanged whole. Both sides merge: so both are equal afterwards, whatever it was.
//! What merging can't know is which of the two was damaged. What is missing comes back. Of two
//! attributes of one version the larger one wins, damaged or not; the rest of the farm follows, for
//! every pair of servers compares.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

mod range;
mod report;
mod walk;

pub use report::{Compared, Missed, Report};
pub(crate) use walk::Verification;

use range::Digest;

use crate::action::{Action, Notice};
use crate::command::{Command, Held, Mend, Seen, Terms, Verified, Verify};
use crate::engine::Engine;
use crate::id::{Address, HashedId, ServerId};
use crate::rare::{Mark, Point};
use crate::session::Session;
use crate::stamp::Timestamp;
use crate::vector::Vector;

/// What is compared at once: so many sessions, or so many bytes of them.
const RANGE: (usize, usize) = (256, 256 << 10);
/// Bytes that are looked at to list a range that differs.
const LISTED_BYTES: usize = 1 << 20;
/// Sessions exchanged at once.
const EXCHANGED: usize = 64;

/// What was asked, of whom.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    number: u64,
    server: ServerId,
    terms: Terms,
    from: Address,
    to: Address,
    until: Timestamp,
    /// How many copies it is about, and how many of the range it leaves out.
    asked: (u64, u64),
    /// What is being mended.
    differing: Vec<(Address, HashedId)>,
}

// The asker's half.
impl Engine {
    /// Asks a server whether its copies from here on are the same.
    fn ask_about(&mut self, server: ServerId, from: Address) {
        let at = self.now;
        let until = at + self.config.local.round_timeout;
        let terms = Terms {
            at,
            until: until + self.config.farm.margin(),
            base: self.common_base(server),
            closed: self.gone.closed(),
        };
        let most = if self.rare.force(Point::VerifyOne) { (1, 1) } else { RANGE };
        let most = (most.0.min(self.most_listed()), most.1);
        let listing = self.listing(&terms, from, range::LAST, most);
        self.verification.asked += 1;
        let (number, to) = (self.verification.asked, listing.to);
        let verify = Verify { number, terms: terms.clone(), from, to, hash: listing.hash() };
        self.send(server, Command::Verify(verify));
        let (asked, differing) = (listing.count(), Vec::new());
        self.verification.question =
            Some(Question { number, server, terms, from, to, until, asked, differing });
    }

    /// What this server and another have both applied, as far as the other's heartbeats tell.
    fn common_base(&self, server: ServerId) -> Vector {
        let theirs = self.members.sources().find(|source| source.0 == server);
        let least = |(writer, stamp)| {
            let theirs = theirs.as_ref().map_or(crate::Stamp::ZERO, |(_, has, _)| has.get(writer));
            (writer, theirs.min(stamp))
        };
        self.applied.iter().map(least).collect()
    }

    /// Takes what a server says of a range.
    pub(crate) fn on_verified(&mut self, from: ServerId, verified: Verified) {
        let expected = self.verification.question.take_if(|question| {
            let asked = question.server == from && question.number == verified.number;
            asked && question.differing.is_empty()
        });
        let Some(mut question) = expected else {
            self.counters.ignored_late += 1;
            return;
        };
        if self.now >= question.until {
            return self.failed(Missed::NoAnswer);
        }
        match verified.found {
            Seen::NotNow => self.failed(Missed::NotReady),
            Seen::Same => {
                self.rare.mark(Mark::RangeSame);
                self.compared(question.to, question.asked);
            }
            Seen::Other { held, to } => {
                question.to = to.clamp(question.from, question.to);
                self.compare(question, &held);
            }
        }
    }

    /// Compares copy by copy, where the hashes of the range differ, and has what differs exchanged.
    fn compare(&mut self, mut question: Question, theirs: &[Held]) {
        // Writes may have come meanwhile; but what is left out under the same terms is left out still,
        // and of what is not nothing can have changed.
        let most = (self.most_listed() * 2, usize::MAX);
        let mine = self.listing(&question.terms, question.from, question.to, most);
        question.to = mine.to;
        let differing = differing(&mine.digests, theirs, question.to);
        if differing.is_empty() {
            self.rare.mark(Mark::RangeDifferedByWhatIsLeftOut);
            return self.compared(question.to, mine.count());
        }
        let own = |address| self.facts.array().get(address).map(|copy| copy.id.hashed());
        let differing: Vec<(Address, HashedId)> = differing
            .into_iter()
            .take(EXCHANGED)
            .map(|(address, id)| (address, own(address).unwrap_or(id)))
            .collect();
        self.rare.mark(Mark::MismatchFound);
        self.counters.mismatches += differing.len() as u64;
        let server = question.server;
        let sessions = differing.iter().map(|&(_, id)| id).collect();
        self.act(Action::Notify(Notice::Mismatch { server, sessions }));
        self.found_differing(&differing);
        self.exchange(question, differing);
    }

    fn exchange(&mut self, mut question: Question, differing: Vec<(Address, HashedId)>) {
        let addresses = differing.iter().map(|&(address, _)| address);
        let sessions = self.whole_copies(addresses.clone());
        let array = self.facts.array();
        let lacking = addresses.filter(|&address| array.get(address).is_none()).collect();
        let mend = Mend { number: question.number, sessions, lacking };
        self.send(question.server, Command::Mend(mend));
        question.differing = differing;
        question.until = self.now + self.config.local.round_timeout;
        self.verification.question = Some(question);
    }

    /// Merges what a server made of the copies that differed.
    pub(crate) fn on_mended(&mut self, from: ServerId, number: u64, sessions: Vec<Arc<Session>>) {
        let expected = self.verification.question.take_if(|question| {
            question.server == from && question.number == number && !question.differing.is_empty()
        });
        let Some(question) = expected else {
            self.counters.ignored_late += 1;
            return;
        };
        let asked = |address| question.differing.iter().any(|&(differs, _)| differs == address);
        let repaired = self.merge_mended(from, &sessions);
        let repaired = repaired.iter().filter(|&&address| asked(address)).count() as u64;
        self.rare.mark_if(repaired > 0, Mark::MismatchRepaired);
        self.counters.mismatches_repaired += repaired;
        self.mended(question.to, repaired);
    }
}

/// Where neither leaves a copy out, and the copies are not the same. The other's list ends at `to`.
fn differing(mine: &[Digest], theirs: &[Held], to: Address) -> Vec<(Address, HashedId)> {
    let mut pairs: BTreeMap<Address, (Option<Digest>, Option<Held>)> = BTreeMap::new();
    for &digest in mine {
        pairs.entry(digest.0).or_default().0 = Some(digest);
    }
    for &held in theirs {
        pairs.entry(held.address).or_default().1 = Some(held);
    }
    let differs = |(&address, (mine, theirs)): (&Address, &(Option<Digest>, Option<Held>))| {
        let id = theirs.map_or(HashedId::default(), |held| held.id);
        let left_out = mine.is_some_and(|(_, hash)| hash.is_none())
            || theirs.is_some_and(|held| held.hash.is_none());
        let same = mine.map(|(_, hash)| hash) == theirs.map(|held| held.hash);
        (!left_out && !same && address <= to).then_some((address, id))
    };
    pairs.iter().filter_map(differs).collect()
}

// The other's half.
impl Engine {
    /// Says whether the copies of a range are the same here.
    pub(crate) fn on_verify(&mut self, from: ServerId, verify: Verify) {
        if self.rare.force(Point::VerifyIgnored) {
            return;
        }
        let Verify { number, terms, from: first, to, hash } = verify;
        let drift = self.config.farm.max_drift;
        let same_time = self.now.since(terms.at).max(terms.at.since(self.now)) <= drift;
        let comparable = same_time
            && self.may_compare()
            && self.covered(&self.applied, &terms.base)
            && self.gone.has_closed(&terms.closed);
        let found = if comparable {
            let most = (self.most_listed(), LISTED_BYTES);
            let listing = self.listing(&terms, first, to, most);
            if listing.hash() == hash && listing.to == to {
                Seen::Same
            } else {
                Seen::Other { held: self.held(&listing.digests), to: listing.to }
            }
        } else {
            self.rare.mark(Mark::VerificationRefused);
            Seen::NotNow
        };
        self.send(from, Command::Verified(Verified { number, found }));
    }

    /// Merges another server's copies of what differs, and sends what they are now.
    pub(crate) fn on_mend(&mut self, from: ServerId, mend: Mend) {
        if !self.may_compare() {
            return;
        }
        self.merge_mended(from, &mend.sessions);
        let merged = mend.sessions.iter().map(|session| session.id.address);
        let addresses: Vec<Address> = merged.chain(mend.lacking).take(EXCHANGED).collect();
        let sessions = self.whole_copies(addresses);
        self.send(from, Command::Mended { number: mend.number, sessions });
    }
}

// Both halves.
impl Engine {
    /// The copies at these addresses, as many as fit into a part of a repair; at least one.
    fn whole_copies(&self, addresses: impl IntoIterator<Item = Address>) -> Vec<Arc<Session>> {
        let budget = self.config.local.pull_budget.clamp(1, self.config.farm.frame_bytes / 4);
        let mut room = budget as usize;
        let copies = addresses.into_iter().filter_map(|address| self.facts.array().get(address));
        let fitting = copies.take_while(|copy| {
            let fits = room > 0;
            room = room.saturating_sub(copy.weight());
            fits
        });
        fitting.cloned().collect()
    }

    /// Merges copies that differed. Returns where that was done.
    fn merge_mended(&mut self, from: ServerId, sessions: &[Arc<Session>]) -> BTreeSet<Address> {
        let mut changed = BTreeSet::new();
        let mut done = BTreeSet::new();
        for session in sessions {
            if self.merge_told(from, session, &mut changed).is_ok() {
                done.insert(session.id.address);
            } else {
                self.misbehaving(from, "it sent a session over the farm's limits to mend one");
            }
        }
        self.merged(changed);
        done
    }
}
