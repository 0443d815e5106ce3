//! Properties of deltas: a delta merged equals the change made, and deltas in any order, with
//! losses mended by repair, give the same copies as merging whole copies.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::id::{Address, Secret};

const SERVERS: usize = 3;
const KEYS: [&str; 3] = ["cart/sku-1", "cart/sku-2", "user"];

fn server(index: usize) -> ServerId {
    ServerId::from_bits(index as u64 + 1)
}

fn key(index: usize) -> Key {
    Key::new(KEYS[index]).unwrap()
}

fn created() -> Session {
    let stamp = Stamp::from_bits(1);
    let address = Address { origin: server(0), slot: 0 };
    let id = SessionId { address, created: stamp, secret: Secret::from_bytes([5; 16]) };
    let fixed = Fixed {
        deadline: Timestamp::from_millis(1_000_000),
        idle_timeout: Duration::from_secs(60),
        ..Fixed::default()
    };
    Session::new(id, fixed)
}

/// What a write of the application does.
#[derive(Clone, Debug)]
enum Edit {
    Modify(Vec<Change>),
    Replace(Vec<(Key, Value)>),
    Delete,
}

fn change() -> impl Strategy<Value = Change> {
    let key = || (0..KEYS.len()).prop_map(key);
    let text = prop_oneof![Just("5"), Just("-2"), Just("ann"), Just("")];
    prop_oneof![
        2 => (key(), text).prop_map(|(key, text)| Change::Set(key, text.into())),
        1 => key().prop_map(Change::Remove),
        3 => (key(), -3..=3_i64).prop_map(|(key, amount)| Change::Add(key, amount)),
    ]
}

/// One write in `deletes` is a delete.
fn edit(deletes: bool) -> impl Strategy<Value = Edit> {
    let first = (0..KEYS.len(), prop_oneof![Just("1"), Just("bob")])
        .prop_map(|(index, text)| (key(index), Value::from(text)));
    prop_oneof![
        12 => vec_of(change(), 0..4).prop_map(Edit::Modify),
        2 => vec_of(first, 0..3).prop_map(Edit::Replace),
        u32::from(deletes) => Just(Edit::Delete),
    ]
}

/// The delta of an edit, or `None` if it changes nothing or can't be made.
fn delta_of(copy: &Session, edit: &Edit, version: Version) -> Option<Session> {
    match edit {
        Edit::Modify(changes) => copy.modify(changes, version).ok().flatten(),
        Edit::Replace(attributes) => Some(copy.replace(attributes.iter().cloned(), version)),
        Edit::Delete => Some(copy.tombstone(version)),
    }
}

/// What a customer sees: texts and numbers as text, so that a counter and a register that hold the
/// same number look the same.
fn seen_by_customer(copy: &Session) -> BTreeMap<String, String> {
    let text = |shown: Shown<'_>| match shown {
        Shown::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Shown::Count(count) => count.to_string(),
    };
    copy.iter().map(|(key, shown)| (key.to_string(), text(shown))).collect()
}

/// The same edit on a plain map; `None` where it can't be made.
fn on_a_map(map: &BTreeMap<String, String>, edit: &Edit) -> Option<BTreeMap<String, String>> {
    let mut map = map.clone();
    match edit {
        Edit::Delete => map.clear(),
        Edit::Replace(attributes) => {
            let text = |value: &Value| String::from_utf8_lossy(value.as_bytes()).into_owned();
            map = attributes.iter().map(|(k, v)| (k.to_string(), text(v))).collect();
        }
        Edit::Modify(changes) => {
            for change in changes {
                match change {
                    Change::Set(key, value) => {
                        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
                        map.insert(key.to_string(), text);
                    }
                    Change::Remove(key) => {
                        map.remove(key.as_str());
                    }
                    Change::Add(key, amount) => {
                        let old = map.get(key.as_str()).map_or(Ok(0), |text| text.parse::<i64>());
                        map.insert(key.to_string(), (old.ok()? + amount).to_string());
                    }
                }
            }
        }
    }
    Some(map)
}

/// Some servers write to one session, each on its own copy, and merge each other's copies now and
/// then. Keeps every delta, in each writer's order.
struct Farm {
    copies: Vec<Session>,
    deltas: Vec<(usize, Session)>,
}

/// A write by one server, after it merged another's copy.
type Step = (usize, usize, Edit);

fn steps(deletes: bool) -> impl Strategy<Value = Vec<Step>> {
    vec_of((0..SERVERS, 0..SERVERS, edit(deletes)), 1..14)
}

impl Farm {
    fn run(steps: &[Step]) -> Self {
        let create = created();
        let mut farm = Self { copies: vec![create.clone(); SERVERS], deltas: vec![(0, create)] };
        for (number, (writer, heard, edit)) in steps.iter().enumerate() {
            let other = farm.copies[*heard].clone();
            let copy = &mut farm.copies[*writer];
            copy.merge(&other);
            if copy.life == Life::Deleted {
                continue;
            }
            let version = Version::new(Stamp::from_bits(number as u64 + 2), server(*writer));
            if let Some(delta) = delta_of(copy, edit, version) {
                copy.merge(&delta);
                farm.deltas.push((*writer, delta));
            }
        }
        farm
    }

    fn joined(&self) -> Session {
        let mut all = self.copies[0].clone();
        self.copies.iter().for_each(|copy| {
            all.merge(copy);
        });
        all
    }

    /// What a server has that got this many writes of each stream, and its applied vector.
    fn prefix(&self, lengths: [usize; SERVERS]) -> (Option<Session>, Vector) {
        let mut got: Option<Session> = None;
        let mut applied = Vector::default();
        for (writer, length) in lengths.into_iter().enumerate() {
            let own = self.deltas.iter().filter(|(by, _)| *by == writer);
            for (_, delta) in own.take(length) {
                match &mut got {
                    Some(copy) => {
                        copy.merge(delta);
                    }
                    None => got = Some(delta.clone()),
                }
                applied.raise(server(writer), delta.seen.get(server(writer)));
            }
        }
        (got, applied)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_delta_merged_shows_the_change_that_was_made(
        steps in steps(false), edit in edit(true), by in 0..SERVERS,
    ) {
        let before = Farm::run(&steps).joined();
        let version = Version::new(Stamp::from_bits(100), server(by));
        let wanted = on_a_map(&seen_by_customer(&before), &edit);
        let Some(delta) = delta_of(&before, &edit, version) else {
            let unchanged = wanted.is_none_or(|wanted| wanted == seen_by_customer(&before));
            prop_assert!(unchanged, "a change was lost");
            return Ok(());
        };
        let mut after = before;
        prop_assert!(after.merge(&delta));
        prop_assert_eq!(Some(seen_by_customer(&after)), wanted);
        prop_assert_eq!(after.newest_write(), Some((version.server, version.stamp)));
    }

    #[test]
    fn deltas_in_any_order_with_repeats_give_what_whole_copies_give(
        steps in steps(true), order in vec_of(any::<Index>(), 0..20),
    ) {
        let farm = Farm::run(&steps);
        let mut got: Option<Session> = None;
        let drawn = order.iter().map(|index| index.get(&farm.deltas));
        for (_, delta) in drawn.chain(farm.deltas.iter().rev()) {
            match &mut got {
                Some(copy) => { copy.merge(delta); }
                None => got = Some(delta.clone()),
            }
        }
        prop_assert_eq!(got, Some(farm.joined()));
    }

    #[test]
    fn what_lies_beyond_a_base_is_all_that_a_server_at_that_base_lacks(
        steps in steps(true), lengths in [0..15_usize, 0..15_usize, 0..15_usize], from in 0..SERVERS,
    ) {
        let farm = Farm::run(&steps);
        let (behind, base) = farm.prefix(lengths);
        let ahead = &farm.copies[from];
        let sent = ahead.beyond(&base);
        match behind {
            None => prop_assert_eq!(&sent, ahead),
            Some(behind) => {
                let (mut mended, mut whole) = (behind.clone(), behind);
                mended.merge(&sent);
                whole.merge(ahead);
                prop_assert_eq!(mended, whole);
            }
        }
    }

    #[test]
    fn counters_are_the_exact_sum_of_all_adds_whoever_made_them_and_whenever_they_met(
        adds in vec_of((0..SERVERS, 0..SERVERS, -9..=9_i64), 1..20),
    ) {
        let add = |(by, heard, amount): &(usize, usize, i64)| {
            (*by, *heard, Edit::Modify(vec![Change::Add(key(0), *amount)]))
        };
        let steps = adds.iter().map(add).collect::<Vec<_>>();
        let total = adds.iter().map(|(.., amount)| amount).sum::<i64>();
        let all = Farm::run(&steps).joined();
        prop_assert_eq!(all.get(KEYS[0]), Some(Shown::Count(total)));
    }
}

#[test]
fn two_items_added_at_two_servers_at_once_are_both_in_the_cart() {
    let base = created();
    let first = [Change::Add(key(0), 1)];
    let second = [Change::Add(key(1), 2)];
    let a = base.modify(&first, Version::new(Stamp::from_bits(5), server(0))).unwrap().unwrap();
    let b = base.modify(&second, Version::new(Stamp::from_bits(5), server(1))).unwrap().unwrap();
    let mut copy = base;
    copy.merge(&b);
    copy.merge(&a);
    assert_eq!(
        (copy.get(KEYS[0]), copy.get(KEYS[1])),
        (Some(Shown::Count(1)), Some(Shown::Count(2)))
    );
}

#[test]
fn an_add_to_a_text_is_refused_and_nothing_of_the_write_is_made() {
    let session = created().with_attributes([(key(2), "ann".into())], Version::ZERO);
    let changes = [Change::Set(key(0), "x".into()), Change::Add(key(2), 1)];
    let refused = session.modify(&changes, Version::new(Stamp::from_bits(5), server(0)));
    assert_eq!(refused, Err(ChangeError::NotANumber(key(2))));
}

#[test]
fn an_add_past_the_largest_number_is_refused() {
    let session =
        created().with_attributes([(key(0), i64::MAX.to_string().as_str().into())], Version::ZERO);
    let refused =
        session.modify(&[Change::Add(key(0), 1)], Version::new(Stamp::from_bits(5), server(0)));
    assert_eq!(refused, Err(ChangeError::CounterOverflow(key(0))));
}

#[test]
fn removing_what_is_not_there_is_no_write() {
    let version = Version::new(Stamp::from_bits(5), server(0));
    assert_eq!(created().modify(&[Change::Remove(key(0))], version), Ok(None));
}
