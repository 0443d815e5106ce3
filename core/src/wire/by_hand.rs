//! Encoding by hand, of a copy and of the parts that heartbeats have too: the same bytes as `Serialize` gives, in
//! a fraction of the time.
//!
//! Verification hashes every copy at every comparison, and field by field through serde, each of a few bytes,
//! was most of its work. A test holds what is written here against what serde says, which is what the wire
//! format is.

use alloc::vec::Vec;
use core::time::Duration;

use crate::id::{ServerId, SessionId};
use crate::session::{Attribute, Fixed, Life, Replaces, Session};
use crate::stamp::{Stamp, Timestamp, Version};
use crate::vector::Vector;

/// Appends the encoding of a copy.
pub(crate) fn copy(copy: &Session, out: &mut Vec<u8>) {
    id(&copy.id, out);
    fixed(&copy.fixed, out);
    out.push(u8::from(copy.complete));
    match copy.life {
        Life::Live => out.push(0),
        Life::Retired { until } => {
            out.push(1);
            time(until, out);
        }
        Life::Deleted => out.push(2),
    }
    let floor = copy.floor;
    words([floor.stamp.to_bits(), floor.server.to_bits(), copy.accessed.to_bits()], out);
    vector(&copy.seen, out);
    varint(copy.attributes.len() as u64, out);
    for (key, value) in &copy.attributes {
        bytes(key.as_str().as_bytes(), out);
        attribute(value, out);
    }
}

#[inline]
pub(super) fn vector(vector: &Vector, out: &mut Vec<u8>) {
    varint(16 * vector.len() as u64, out);
    for (server, at) in vector.iter() {
        entry(server, at, out);
    }
}

#[inline]
fn id(id: &SessionId, out: &mut Vec<u8>) {
    words([id.address.origin.to_bits()], out);
    varint(u64::from(id.address.slot), out);
    let secret = u128::from_le_bytes(*id.secret.as_bytes());
    words([id.created.to_bits(), secret as u64, (secret >> 64) as u64], out);
}

#[inline]
fn fixed(fixed: &Fixed, out: &mut Vec<u8>) {
    time(fixed.deadline, out);
    duration(fixed.idle_timeout, out);
    option(fixed.principal.as_ref(), out, |name, out| bytes(name.as_str().as_bytes(), out));
    option(fixed.replaces.as_ref(), out, |replaced: &Replaces, out| {
        id(&replaced.id, out);
        time(replaced.deadline, out);
        option(replaced.until, out, time);
    });
    option(fixed.revocation, out, version);
    out.push(u8::from(fixed.revokes));
}

#[inline]
fn attribute(attribute: &Attribute, out: &mut Vec<u8>) {
    match attribute {
        Attribute::Removed { version: by } => {
            out.push(0);
            version(*by, out);
        }
        Attribute::Register { version: by, value } => {
            out.push(1);
            version(*by, out);
            bytes(value.as_bytes(), out);
        }
        Attribute::Counter(counter) => {
            out.push(2);
            version(counter.epoch, out);
            signed(counter.base, out);
            varint(counter.subtotals.len() as u64, out);
            for (server, subtotal) in &counter.subtotals {
                entry(*server, subtotal.stamp, out);
                signed(subtotal.sum, out);
            }
        }
    }
}

/// Eight bytes each, all at once: for every single time the buffer is asked whether there is room.
#[inline]
pub(super) fn words<const N: usize>(words: [u64; N], out: &mut Vec<u8>) {
    out.extend_from_slice(words.map(u64::to_le_bytes).as_flattened());
}

#[inline]
fn time(time: Timestamp, out: &mut Vec<u8>) {
    words([time.as_micros()], out);
}

#[inline]
fn version(version: Version, out: &mut Vec<u8>) {
    words([version.stamp.to_bits(), version.server.to_bits()], out);
}

#[inline]
fn entry(server: ServerId, at: Stamp, out: &mut Vec<u8>) {
    words([server.to_bits(), at.to_bits()], out);
}

#[inline]
fn duration(duration: Duration, out: &mut Vec<u8>) {
    varint(duration.as_secs(), out);
    varint(u64::from(duration.subsec_nanos()), out);
}

#[inline]
fn option<T>(value: Option<T>, out: &mut Vec<u8>, some: impl FnOnce(T, &mut Vec<u8>)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        some(value, out);
    }
}

#[inline]
fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Seven bits to a byte, the lowest first.
#[inline]
pub(super) fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The sign is the lowest bit, so that numbers close to zero are short on both sides.
#[inline]
fn signed(number: i64, out: &mut Vec<u8>) {
    varint((number << 1 ^ number >> 63) as u64, out);
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::id::{Address, Secret};
    use crate::session::{Counter, Key, Principal, Subtotal, Value};

    fn any_version() -> impl Strategy<Value = Version> {
        let bits = (any::<u64>(), any::<u64>());
        bits.prop_map(|(at, by)| Version::new(Stamp::from_bits(at), ServerId::from_bits(by)))
    }

    fn any_id() -> impl Strategy<Value = SessionId> {
        let parts = (any::<u64>(), any::<u32>(), any::<u64>(), any::<[u8; 16]>());
        parts.prop_map(|(origin, slot, created, secret)| SessionId {
            address: Address { origin: ServerId::from_bits(origin), slot },
            created: Stamp::from_bits(created),
            secret: Secret::from_bytes(secret),
        })
    }

    fn any_time() -> impl Strategy<Value = Timestamp> {
        any::<u64>().prop_map(Timestamp::from_micros)
    }

    fn any_fixed() -> impl Strategy<Value = Fixed> {
        let until = prop::option::of(any_time());
        let replaces = (any_id(), any_time(), until).prop_map(|(id, deadline, until)| Replaces {
            id,
            deadline,
            until,
        });
        let times = (any_time(), any::<u64>(), 0..1_000_000_000_u32);
        let principal = prop::option::of("[a-zé]{0,200}");
        let rest = (principal, prop::option::of(replaces), prop::option::of(any_version()));
        (times, rest, any::<bool>()).prop_map(
            |((deadline, seconds, nanos), (name, replaces, revocation), revokes)| Fixed {
                deadline,
                idle_timeout: Duration::new(seconds, nanos),
                principal: name.map(|name| Principal::new(&name)),
                replaces,
                revocation,
                revokes,
            },
        )
    }

    fn any_attribute() -> impl Strategy<Value = Attribute> {
        let subtotal = (any::<u64>(), any::<u64>(), any::<i64>()).prop_map(|(by, stamp, sum)| {
            (ServerId::from_bits(by), Subtotal { stamp: Stamp::from_bits(stamp), sum })
        });
        let subtotals = prop::collection::vec(subtotal, 0..4);
        let base = prop_oneof![-70..70_i64, any::<i64>()];
        prop_oneof![
            any_version().prop_map(|version| Attribute::Removed { version }),
            (any_version(), prop::collection::vec(any::<u8>(), 0..300)).prop_map(
                |(version, bytes)| Attribute::Register { version, value: Value::new(&bytes) }
            ),
            (any_version(), base, subtotals).prop_map(|(epoch, base, subtotals)| {
                let subtotals = subtotals.into_iter().collect();
                Attribute::Counter(Counter { epoch, base, subtotals })
            }),
        ]
    }

    fn any_copy() -> impl Strategy<Value = Session> {
        let life = prop_oneof![
            Just(Life::Live),
            any_time().prop_map(|until| Life::Retired { until }),
            Just(Life::Deleted),
        ];
        let seen = prop::collection::vec(any_version(), 0..200);
        let attributes = prop::collection::vec(("[a-zé]{1,100}", any_attribute()), 0..200);
        let whole = (any_id(), any_fixed(), any::<bool>(), life);
        (whole, any_version(), any::<u64>(), seen, attributes).prop_map(
            |((id, fixed, complete, life), floor, accessed, seen, attributes)| Session {
                id,
                fixed: Arc::new(fixed),
                complete,
                life,
                floor,
                accessed: Stamp::from_bits(accessed),
                seen: seen.into_iter().map(|at| (at.server, at.stamp)).collect(),
                attributes: attributes
                    .into_iter()
                    .map(|(key, value)| (Key::new(&key).expect("a good key"), value))
                    .collect(),
            },
        )
    }

    proptest! {
        // Long ones take long.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_hashed_of_a_copy_is_what_is_sent_of_it(copy in any_copy()) {
            let (mut sent, mut hashed) = (Vec::new(), Vec::new());
            super::super::append(&copy, &mut sent);
            super::copy(&copy, &mut hashed);
            prop_assert_eq!(sent, hashed);
        }

        #[test]
        fn the_newest_stamp_of_a_copy_is_that_of_its_newest_version(copy in any_copy()) {
            prop_assert_eq!(copy.newest_stamp(), copy.newest().stamp);
        }
    }
}
