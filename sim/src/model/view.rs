//! What a reader must find, kept up to date instead of worked out anew for every answer: a view has
//! seen some of a session's writes, and takes in only those that a later reader has seen beyond.
//!
//! It says the same as [`Known::contents`], whatever the order in which writes come, because what
//! loses once loses for ever: floors and last words only rise, and what a floor has removed is below
//! every later floor. So an add counts exactly if its counter has the last word when it comes.

use std::collections::BTreeMap;

use grapevine_core::{Key, Session, Shown, Vector, Version};

use super::{Content, Effect, Known, Wrote};

/// Views kept per session: copies at several servers have seen different things.
const KEPT: usize = 8;

/// What those see who have seen this much of one session.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) seen: Vector,
    ended: bool,
    floor: Version,
    items: BTreeMap<Key, Item>,
}

/// What stands under one key: the last word on it (a version, and whether a counter has it), and
/// what it says; nothing, after a removal.
#[derive(Clone, Debug)]
struct Item {
    word: (Version, bool),
    content: Option<Content>,
}

impl Known {
    /// Whether this copy shows exactly what the writes that it has seen amount to.
    pub(crate) fn is_shown_by(&self, copy: &Session) -> bool {
        let mut views = self.views.borrow_mut();
        let behind = views.iter_mut().filter(|view| copy.seen.covers(&view.seen));
        let nearest = behind.max_by_key(|view| view.seen.newest());
        let view = match nearest {
            Some(view) => view,
            None => {
                if views.len() == KEPT {
                    views.remove(0);
                }
                views.push(View::default());
                views.last_mut().expect("one was just added")
            }
        };
        view.advance(self, &copy.seen);
        view.is_shown_by(copy)
    }
}

impl View {
    /// Takes in what a reader has seen who has seen this much.
    pub(super) fn advance(&mut self, known: &Known, seen: &Vector) {
        for (writer, stamp) in seen.iter() {
            let before = self.seen.get(writer);
            if stamp == before {
                continue;
            }
            let all = known.by_writer.get(&writer).map_or(&[][..], Vec::as_slice);
            let first = all.partition_point(|wrote| wrote.version.stamp <= before);
            let fresh = all[first..].iter().take_while(|wrote| wrote.version.stamp <= stamp);
            fresh.for_each(|wrote| self.take(wrote));
        }
        self.seen.clone_from(seen);
    }

    fn take(&mut self, wrote: &Wrote) {
        self.ended |= wrote.ends;
        if wrote.replaces && wrote.version > self.floor {
            self.floor = wrote.version;
            self.items.retain(|_, item| item.word.0 >= wrote.version);
        }
        for effect in &wrote.effects {
            let (key, word, says) = match effect {
                Effect::Set(key, value) => {
                    (key, (wrote.version, false), Some(Content::Bytes(value.clone())))
                }
                Effect::Remove(key) => (key, (wrote.version, false), None),
                Effect::Add { key, epoch, base, .. } => {
                    (key, (*epoch, true), Some(Content::Count(*base)))
                }
            };
            if word.0 < self.floor {
                continue;
            }
            if self.items.get(key).is_none_or(|item| item.word < word) {
                self.items.insert(key.clone(), Item { word, content: says });
            }
            if let Effect::Add { amount, .. } = effect
                && let Some(Item { word: last, content: Some(Content::Count(sum)) }) =
                    self.items.get_mut(key)
                && *last == word
            {
                *sum += amount;
            }
        }
    }

    fn is_shown_by(&self, copy: &Session) -> bool {
        let expected =
            self.items.iter().filter_map(|(key, item)| Some((key, item.content.as_ref()?)));
        let same = |expected: &Content, shown: Shown<'_>| match (expected, shown) {
            (Content::Bytes(value), Shown::Bytes(bytes)) => value.as_bytes() == bytes,
            (Content::Count(sum), Shown::Count(count)) => *sum == count,
            _ => false,
        };
        let mut shown = copy.iter();
        let all = expected.into_iter().all(|(key, content)| {
            shown.next().is_some_and(|(k, shown)| k == key && same(content, shown))
        });
        !self.ended && all && shown.next().is_none()
    }

    /// The same as [`Known::contents`] of what it has seen.
    #[cfg(test)]
    fn contents(&self) -> Option<super::Contents> {
        let items = self.items.iter();
        let shown = items.filter_map(|(key, item)| Some((key.clone(), item.content.clone()?)));
        (!self.ended).then(|| shown.collect())
    }
}

#[cfg(test)]
mod tests {
    use grapevine_core::{ServerId, Stamp, Value};
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// An effect. A counter's epoch is any version, its base a function of it, as it really is.
    fn effect(rng: &mut ChaCha8Rng, key: &str, stamp: u64) -> Effect {
        let key = Key::new(key).expect("a good key");
        match rng.random_range(0..4) {
            0 => Effect::Set(key, Value::new(&stamp.to_le_bytes())),
            1 => Effect::Remove(key),
            _ => {
                let before = rng.random_range(0..3_u64.min(stamp));
                let server = ServerId::from_bits(rng.random_range(1..=3));
                let epoch = Version::new(Stamp::from_bits(before), server);
                let base = before as i64 * 100;
                Effect::Add { key, epoch, base, amount: rng.random_range(-3..10) }
            }
        }
    }

    #[test]
    fn a_view_says_what_all_writes_amount_to_whatever_is_seen_in_which_order() {
        let (mut shown, mut over) = (0, 0);
        for seed in 0..400 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut known = Known::unwritten();
            for stamp in 1..=12 {
                let server = ServerId::from_bits(rng.random_range(1..=3));
                // A write does one thing to a key.
                let mut keys = vec!["a", "b", "c"];
                keys.retain(|_| rng.random_bool(0.4));
                known.add(Wrote {
                    version: Version::new(Stamp::from_bits(stamp), server),
                    replaces: rng.random_bool(0.1),
                    ends: rng.random_bool(0.01),
                    effects: keys.iter().map(|key| effect(&mut rng, key, stamp)).collect(),
                });
            }
            let mut view = View::default();
            let mut seen = Vector::default();
            for _ in 0..8 {
                let server = ServerId::from_bits(rng.random_range(1..=3));
                seen.raise(server, Stamp::from_bits(rng.random_range(1..=12)));
                view.advance(&known, &seen);
                let contents = known.contents(&seen);
                assert_eq!(view.contents(), contents, "seed {seed}, seen {seen:?}");
                shown += contents.as_ref().map_or(0, super::super::Contents::len);
                over += usize::from(contents.is_none());
            }
        }
        assert!(shown > 1000 && over > 10, "{shown} shown, {over} over");
    }

    #[test]
    fn a_write_that_becomes_known_late_is_not_missed() {
        let mut known = Known::unwritten();
        let server = ServerId::from_bits(1);
        let seen = Vector::from_iter([(server, Stamp::from_bits(9))]);
        let mut view = View::default();
        view.advance(&known, &seen);
        known.views.borrow_mut().push(view);
        known.add(Wrote {
            version: Version::new(Stamp::from_bits(5), server),
            replaces: false,
            ends: true,
            effects: Vec::new(),
        });
        assert!(
            known.views.borrow().is_empty(),
            "a view that should have had it is worked out anew"
        );
    }
}
