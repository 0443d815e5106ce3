//! What each check looks at, rule by rule: a guarantee's check is made of several, and one of them that has
//! died is not seen in the number of all. A rule counts where it really compares something, after all that it
//! leaves out.

use std::cell::Cell;
use std::collections::BTreeMap;

/// Declares the rules, in order, with what they are called where they are counted.
macro_rules! rules {
    ($($rule:ident $name:literal),* $(,)?) => {
        /// One rule of a check.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Rule { $($rule),* }

        impl Rule {
            const ALL: &[(Self, &'static str)] = &[$((Self::$rule, $name)),*];
        }
    };
}

rules! {
    Converged "G1: copies of healed servers are equal",
    CaughtUp "G1: what one healed server has of the others all have",
    AllWrites "G1: copies are what all writes amount to",
    Claims "G1: what an applied vector claims is there",
    Compared "G1: servers say that they were compared",
    Applied "G2: who is said to have applied a write has it",
    Survives "G2: an acknowledged write is somewhere",
    NotReplicated "G2: how many are said to have and to want a write",
    Left "G2: who says that all have its stream is right",
    LeftCalm "G2: in a calm farm who leaves waits for all",
    LeftWaits "G2: who leaves waits, if not all have its stream",
    OwnView "G3: a customer sees what it knew of",
    InOrder "G3: a write is shown with what it follows",
    Model "G3: a copy shows what its writes amount to",
    Created "G3: a create sets what was asked for",
    Updated "G3: an update does what was asked for",
    Replaced "G3: a replacement sets what was asked for",
    NewIdAsked "G3: a new ID changes what was asked for",
    Fixed "G3: a session's principal, times and grace are as asked",
    TimesRefused "G3: who is refused for its times asked for others than the farm allows",
    Records "G3: a revocation is kept for long enough",
    Counted "G3: a revocation counts what is here",
    Listed "G3: a list has all that is here",
    Pages "G3: a page goes on where the last one ended",
    NewId "G3: a new ID starts with what the old one showed",
    OldId "G3: an old ID shows what it showed",
    Stale "G3: a stale response keeps the context",
    Carried "G3: a token carries what others lack",
    AtRest "G3: a token at rest carries little",
    LostInPart "G3: a part is said to be lost",
    LostAsAWhole "G3: a session is said to be lost",
    LostByMajority "G3: who says lost hears a majority, or knows who is gone",
    LostNowhere "G3: what is said to be lost is nowhere",
    Heard "G4: what is known to be over does not live",
    NotWritten "G4: nothing is written to what is known to be over",
    Beside "G4: nothing lives beside what ended it",
    Grace "G4: a rotated-away session is served in its grace",
    CutOff "G4: a cut-off server refuses, or says that it is one",
    ListedOver "G4: no list has what is over",
    OverAtTheEnd "G4: what is over lives nowhere in the end",
    IdleSaid "G5: who says idle may",
    IdleEnded "G5: who ends an idle session may",
    DeadlineSaid "G5: who says that the deadline has passed may",
    EndedSaid "G5: what is said to have been ended was ended",
    ServedInTime "G5: nothing is served after its deadline",
    IdleEverywhere "G5: who ends an idle session knows of every access that any server has",
    Skewed "G5: whose clock is far ahead serves and ends nothing",
    IdleTold "G5: who ends an idle session tells the application",
    ToldOnce "G5: that a session expired is told once",
    ToldByOne "G5: of each session one tells that it expired",
    Sums "G6: a counter is the sum of the adds",
    Last "G7: who asks after healing is served",
    LastWrite "G7: who writes after healing is served",
    Responded "G7: every request gets a response",
    Waits "G7: nobody waits for too long",
    Written "G8: a write fits into its origin's bytes",
    Evicted "G8: who is ended to make room may be",
    MadeRoom "G8: room was needed, and made by the next to end",
    KeptOut "G8: who logs in is refused only by those who did",
    Within "G8: servers stay within their limits",
    Needless "G8: who is refused has reached the limit that is named",
    Rest "G8: few messages at rest",
    PublishedAgain "G8: nothing is published again at rest",
    Flipped "G10: damaged messages are refused",
    Forged "G10: forged tokens are refused",
    SameSession "G10: an answer is about the session that was asked for",
}

/// How much each rule has looked at.
#[derive(Debug)]
pub(crate) struct Tally([Cell<u64>; Rule::ALL.len()]);

impl Default for Tally {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Cell::new(0)))
    }
}

impl Tally {
    /// Notes that a rule has compared something.
    pub(crate) fn looked(&self, rule: Rule) {
        self.add(rule, 1);
    }

    /// The same, so many times.
    pub(crate) fn add(&self, rule: Rule, times: u64) {
        let count = &self.0[rule as usize];
        count.set(count.get() + times);
    }

    /// All counts, by what the rules are called.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let count = |&(rule, name): &(Rule, &str)| (name.to_owned(), self.0[rule as usize].get());
        Rule::ALL.iter().map(count).collect()
    }
}
