//! Copies of a session form a join-semilattice: merging them in any order, any number of times,
//! gives the same copy. All of the farm's convergence (G1) rests on this.

use std::sync::Arc;

use grapevine_core::{Attribute, Life, Session, Stamp, Subtotal, Version};
use proptest::prelude::*;

mod common;
use common::{attribute, held_session, raw_session};

fn merged(a: &Session, b: &Session) -> Session {
    let mut out = a.clone();
    out.merge(b);
    out
}

/// What every held copy looks like: nothing below the floor, and tombstones are empty.
fn is_well_formed(copy: &Session) -> bool {
    let above = copy.attributes.values().all(|attribute| attribute.version() >= copy.floor);
    let empty = copy.attributes.is_empty() && copy.floor == Version::ZERO && copy.complete;
    above && (copy.life != Life::Deleted || empty)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn merge_is_commutative(a in held_session(), b in held_session()) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
    }

    #[test]
    fn merge_is_associative(a in held_session(), b in held_session(), c in held_session()) {
        let left = merged(&merged(&a, &b), &c);
        let right = merged(&a, &merged(&b, &c));
        prop_assert_eq!(left, right);
    }

    #[test]
    fn merge_is_idempotent(a in held_session(), b in held_session()) {
        let mut once = merged(&a, &b);
        let before = once.clone();
        prop_assert!(!once.merge(&a) && !once.merge(&b) && !once.merge(&before));
        prop_assert_eq!(once, before);
    }

    #[test]
    fn merge_tells_whether_it_changed_the_copy(a in held_session(), b in held_session()) {
        let mut copy = a.clone();
        let changed = copy.merge(&b);
        prop_assert_eq!(changed, copy != a);
    }

    #[test]
    fn a_copy_holds_what_changes_nothing_when_merged(a in held_session(), b in held_session(), raw in raw_session()) {
        let both = merged(&a, &b);
        prop_assert!(both.holds(&a) && both.holds(&b) && both.holds(&both));
        for (copy, other) in [(&a, &b), (&b, &a), (&both, &raw), (&a, &raw)] {
            let mut after = copy.clone();
            prop_assert_eq!(copy.holds(other), !after.merge(other));
            prop_assert!(!copy.holds(other) || after == *copy);
        }
    }

    #[test]
    fn whatever_a_peer_sends_the_held_copy_stays_well_formed(a in held_session(), raw in raw_session()) {
        prop_assert!(is_well_formed(&merged(&a, &raw)));
    }

    #[test]
    fn what_a_peer_sends_says_the_same_whether_it_comes_first_or_last(
        a in held_session(), b in held_session(), raw in raw_session(),
    ) {
        let first = merged(&merged(&a, &raw), &b);
        let last = merged(&merged(&a, &b), &raw);
        prop_assert_eq!(first, last);
    }

    #[test]
    fn many_copies_in_any_order_with_repeats_give_one_result(
        copies in prop::collection::vec(held_session(), 1..6),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let in_order = copies.iter().skip(1).fold(copies[0].clone(), |a, b| merged(&a, b));
        let mut drawn = copies[0].clone();
        for index in order {
            drawn.merge(index.get(&copies));
        }
        for copy in copies.iter().rev() {
            drawn.merge(copy);
        }
        prop_assert_eq!(drawn, in_order);
    }

    #[test]
    fn attributes_alone_merge_in_any_order(a in attribute(), b in attribute(), c in attribute()) {
        let join = |x: &Attribute, y: &Attribute| {
            let mut out = x.clone();
            out.merge(y);
            out
        };
        prop_assert_eq!(join(&a, &b), join(&b, &a));
        prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
        prop_assert_eq!(join(&a, &a), a);
    }

    #[test]
    fn a_deleted_session_never_comes_back(a in held_session(), b in held_session()) {
        let mut dead = a;
        dead.life = Life::Deleted;
        for copy in [merged(&dead, &b), merged(&b, &dead)] {
            prop_assert_eq!(copy.life, Life::Deleted);
            prop_assert!(copy.attributes.is_empty());
        }
    }

    #[test]
    fn a_merge_takes_no_newer_stamp_than_it_was_given(a in held_session(), b in held_session()) {
        prop_assert!(merged(&a, &b).newest() <= a.newest().max(b.newest()));
    }
}

fn register(version: Version, text: &str) -> Attribute {
    Attribute::Register { version, value: text.into() }
}

fn counter(epoch: Version, adds: &[(u64, u64, i64)]) -> Attribute {
    let subtotals = adds.iter().map(|&(server, stamp, sum)| {
        let stamp = Stamp::from_bits(stamp);
        (grapevine_core::ServerId::from_bits(server), Subtotal { stamp, sum })
    });
    Attribute::Counter(grapevine_core::Counter { epoch, base: 0, subtotals: subtotals.collect() })
}

fn version(stamp: u64, server: u64) -> Version {
    Version::new(Stamp::from_bits(stamp), grapevine_core::ServerId::from_bits(server))
}

fn holding(attribute: Attribute) -> Session {
    let fixed = grapevine_core::Fixed {
        deadline: grapevine_core::Timestamp::from_millis(90),
        idle_timeout: std::time::Duration::from_secs(1),
        ..grapevine_core::Fixed::default()
    };
    let mut session = Session::new(common::id(), fixed);
    session.attributes.insert(grapevine_core::Key::new("n").unwrap(), attribute);
    session
}

fn count(session: &Session) -> Option<i64> {
    match session.get("n") {
        Some(grapevine_core::Shown::Count(count)) => Some(count),
        _ => None,
    }
}

#[test]
fn an_add_that_arrives_twice_counts_once() {
    let one = holding(counter(Version::ZERO, &[(1, 2, 5)]));
    let two = holding(counter(Version::ZERO, &[(2, 3, 10)]));
    let mut copy = merged(&one, &two);
    assert_eq!(count(&copy), Some(15));
    copy.merge(&two);
    copy.merge(&one);
    assert_eq!(count(&copy), Some(15));
}

#[test]
fn of_one_writers_subtotals_the_later_counts_and_not_both() {
    let early = holding(counter(Version::ZERO, &[(1, 2, 5)]));
    let late = holding(counter(Version::ZERO, &[(1, 4, 3)]));
    assert_eq!(count(&merged(&early, &late)), Some(3));
    assert_eq!(count(&merged(&late, &early)), Some(3));
}

#[test]
fn a_counter_outlives_the_register_that_it_was_made_from_and_no_later_one() {
    let made = holding(counter(version(2, 1), &[(2, 3, 5)]));
    assert_eq!(count(&merged(&made, &holding(register(version(2, 1), "0")))), Some(5));
    assert_eq!(count(&merged(&made, &holding(register(version(4, 1), "0")))), None);
}

#[test]
fn a_replacement_drops_what_is_older_and_keeps_what_is_its_own_or_newer() {
    let mut replaced = holding(register(version(5, 2), "new"));
    replaced.floor = version(5, 2);
    for (old, stays) in [(version(5, 1), false), (version(6, 1), true)] {
        let mut other = holding(register(old, "other"));
        other.attributes = other
            .attributes
            .values()
            .map(|a| (grapevine_core::Key::new("other").unwrap(), a.clone()))
            .collect();
        let copy = merged(&other, &replaced);
        assert_eq!(copy.get("other").is_some(), stays, "{old:?}");
        assert!(copy.get("n").is_some());
    }
}

#[test]
fn of_two_values_at_one_version_every_server_keeps_the_larger_bytes() {
    let a = holding(register(version(2, 1), "ann"));
    let b = holding(register(version(2, 1), "bob"));
    for copy in [merged(&a, &b), merged(&b, &a)] {
        assert_eq!(copy.get("n"), Some(grapevine_core::Shown::Bytes(b"bob")));
    }
}

#[test]
fn merging_shares_values_and_copies_no_contents() {
    let a = holding(register(version(1, 1), "old"));
    let b = holding(register(version(2, 1), "new"));
    let copy = merged(&a, &b);
    assert!(Arc::ptr_eq(&copy.fixed, &a.fixed));
    let bytes = |s: &Session| {
        s.get("n").map(|shown| match shown {
            grapevine_core::Shown::Bytes(bytes) => bytes.as_ptr(),
            grapevine_core::Shown::Count(_) => std::ptr::null(),
        })
    };
    assert_eq!(bytes(&copy), bytes(&b));
}
