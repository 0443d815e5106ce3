//! Pulls: one part at a time of each holder, another round no sooner than the repair delay allows, a
//! part again no sooner than its holder is late (section 6 of the protocol page).

use std::collections::BTreeMap;
use std::time::Duration;

use grapevine_core::ServerId;
use grapevine_core::command::{Delta, Pull, Share};
use grapevine_core::rare::Point;

use super::{Judged, Terms, When, must};

/// Holders that a joining server asks at once, at most.
const HOLDERS: usize = 4;
/// How often a part is asked for again, at most.
const AGAIN: u32 = 3;
/// Talks remembered: those under way, and those that they took over from.
const TALKS: usize = 16;

/// What was asked of one holder.
#[derive(Debug)]
struct Talk {
    holder: ServerId,
    share: Share,
    part: u32,
    /// How often this part was asked for, and when the last time.
    times: u32,
    last: When,
    /// Whether it has come.
    came: bool,
}

/// What one process has pulled.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    talks: BTreeMap<u64, Talk>,
    newest: u64,
    /// When each share (which one, of how many) was begun last.
    begun: BTreeMap<(u8, u8), When>,
}

impl Pulls {
    /// A part came.
    pub(super) fn came(&mut self, from: ServerId, delta: &Delta) {
        if let Some(talk) = self.talks.get_mut(&delta.round)
            && (talk.holder, talk.part) == (from, delta.part)
        {
            talk.came = true;
        }
    }

    pub(super) fn sent(
        &mut self,
        peer: ServerId,
        pull: &Pull,
        when: When,
        terms: &Terms<'_>,
    ) -> Judged {
        let part = pull.cursor.as_ref().map_or(0, |cursor| cursor.part);
        if pull.round > self.newest {
            must(part == 0, "a talk begins in the middle")?;
            return self.begins(peer, pull, when, terms);
        }
        let Some(talk) = self.talks.get_mut(&pull.round) else {
            return Err("that talk was over long ago");
        };
        must(talk.holder == peer, "one part is asked of two")?;
        must(talk.share == pull.share, "it asks for another share than it began with")?;
        if part == talk.part {
            let late = when.is_after(talk.last, round_timeout(terms));
            talk.times += 1;
            talk.last = when;
            must(late, "the same part is asked for twice, and its holder was not late")?;
            return must(talk.times <= 1 + AGAIN, "a part is asked for again and again");
        }
        must(part == talk.part + 1 && talk.came, "the part before has not come")?;
        (talk.part, talk.times, talk.last, talk.came) = (part, 1, when, false);
        Ok(())
    }

    /// A talk begins: a round does, or a share goes to another holder because its own is too slow.
    fn begins(&mut self, peer: ServerId, pull: &Pull, when: When, terms: &Terms<'_>) -> Judged {
        self.newest = pull.round;
        let mut before = self.talks.values().rev();
        let before = before.find(|talk| talk.share == pull.share);
        let waits = before.is_some_and(|talk| !talk.came);
        let slow = before.is_some_and(|talk| when.is_after(talk.last, round_timeout(terms)));
        if self.talks.len() >= TALKS {
            self.talks.pop_first();
        }
        let talk =
            Talk { holder: peer, share: pull.share, part: 0, times: 1, last: when, came: false };
        self.talks.insert(pull.round, talk);
        let (nth, others) = pull.share.into();
        must(usize::from(others) < HOLDERS, "too many are asked at once")?;
        let at_once = terms.may(Point::RepairAtOnce);
        let delay = if at_once { Duration::ZERO } else { terms.local.repair_delay };
        if others > 0 && slow {
            // A share goes to another holder if its own is too slow. That begins no round, and the
            // round may be over, and the next one due, as soon as this one answers. (If the slow one's
            // part came after all, this may be a round, too.)
            if !waits {
                self.begun.insert((nth, others), when);
            }
            return Ok(());
        }
        let last = self.begun.insert((nth, others), when);
        let soon = last.is_some_and(|last| !when.is_after(last, delay));
        must(!soon, "a round begins too soon after another one")
    }
}

/// How long a holder may take for a part, at least.
fn round_timeout(terms: &Terms<'_>) -> Duration {
    let time = terms.local.round_timeout;
    if terms.may(Point::RoundTimeoutTiny) { time / 128 } else { time }
}
