//! Sessions drawn from a small universe of servers, keys and stamps, so that they collide,
//! and commands that carry them.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod commands;

use std::sync::Arc;
use std::time::Duration;

use grapevine_core::{
    Address, Attribute, Counter, Fixed, Key, Life, Principal, Secret, ServerId, Session, SessionId,
    SortedMap, Stamp, Subtotal, Timestamp, Value, Vector, Version,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

pub(crate) fn server() -> impl Strategy<Value = ServerId> {
    (1..=3_u16, 1..=2_u64)
        .prop_map(|(number, boot)| ServerId::new(number, Timestamp::from_millis(boot)))
}

pub(crate) fn stamp() -> impl Strategy<Value = Stamp> {
    prop_oneof![8 => (1..=6_u64).prop_map(Stamp::from_bits), 1 => Just(Stamp::ZERO)]
}

/// Versions, the one before every write included.
pub(crate) fn version() -> impl Strategy<Value = Version> {
    let written = (stamp(), server()).prop_map(|(stamp, server)| Version::new(stamp, server));
    prop_oneof![8 => written, 1 => Just(Version::ZERO)]
}

pub(crate) fn vector() -> BoxedStrategy<Vector> {
    vec((server(), stamp()), 0..5).prop_map(Vector::from_iter).boxed()
}

pub(crate) fn key() -> impl Strategy<Value = Key> {
    prop_oneof![Just("cart/sku-1"), Just("cart/sku-2"), Just("user")]
        .prop_map(|text| Key::new(text).unwrap())
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    prop_oneof![Just(""), Just("7"), Just("ann"), Just("anna")].prop_map(Value::from)
}

fn subtotal() -> impl Strategy<Value = Subtotal> {
    let sum = prop_oneof![6 => -3..=3_i64, 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    (stamp(), sum).prop_map(|(stamp, sum)| Subtotal { stamp, sum })
}

pub(crate) fn attribute() -> BoxedStrategy<Attribute> {
    let counter = (version(), -1..=1_i64, btree_map(server(), subtotal(), 0..4))
        .prop_map(|(epoch, base, subtotals)| Counter { epoch, base, subtotals: subtotals.into() });
    prop_oneof![
        1 => version().prop_map(|version| Attribute::Removed { version }),
        2 => (version(), value()).prop_map(|(version, value)| Attribute::Register { version, value }),
        3 => counter.prop_map(Attribute::Counter),
    ]
    .boxed()
}

pub(crate) fn id() -> SessionId {
    SessionId {
        address: Address { origin: ServerId::new(2, Timestamp::from_millis(1)), slot: 2 },
        created: Stamp::from_bits(1),
        secret: Secret::from_bytes([9; 16]),
    }
}

pub(crate) fn fixed() -> BoxedStrategy<Fixed> {
    let principal = prop_oneof![Just(None), Just(Some(Principal::new("ann")))];
    let deadline = prop_oneof![9 => 90..=91_u64, 1 => Just(u64::MAX), 2 => Just(60_000)];
    let idle = prop_oneof![9 => 1..=2_u64, 1 => Just(0), 1 => Just(u64::MAX)];
    (deadline, idle, principal)
        .prop_map(|(deadline, idle, principal)| Fixed {
            deadline: Timestamp::from_millis(deadline),
            idle_timeout: Duration::from_secs(idle),
            principal,
            ..Fixed::default()
        })
        .boxed()
}

/// Anything that the type can hold, well-formed or not: what a peer could send.
pub(crate) fn raw_session() -> BoxedStrategy<Session> {
    let retired = (0..3_u64).prop_map(|ms| Life::Retired { until: Timestamp::from_millis(ms) });
    let life = prop_oneof![6 => Just(Life::Live), 1 => retired, 1 => Just(Life::Deleted)];
    let floor = prop_oneof![2 => Just(Version::ZERO), 1 => version()];
    let attributes = btree_map(key(), attribute(), 0..4);
    let rest = (life, floor, stamp(), vector(), attributes);
    (fixed(), any::<bool>(), rest)
        .prop_map(|(fixed, complete, rest)| {
            let (life, floor, accessed, seen, attributes) = rest;
            let fixed = Arc::new(fixed);
            let attributes = attributes.into();
            Session { id: id(), fixed, complete, life, floor, accessed, seen, attributes }
        })
        .boxed()
}

/// A session as servers hold it: merged into an empty copy, so nothing below its floor is left, and
/// a tombstone has no contents.
pub(crate) fn held_session() -> BoxedStrategy<Session> {
    raw_session()
        .prop_map(|raw| {
            let mut held = Session {
                fixed: Arc::clone(&raw.fixed),
                complete: false,
                life: Life::Live,
                floor: Version::ZERO,
                accessed: Stamp::ZERO,
                seen: Vector::default(),
                attributes: SortedMap::new(),
                ..raw
            };
            held.merge(&raw);
            held
        })
        .boxed()
}
