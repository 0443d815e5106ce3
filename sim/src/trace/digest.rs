//! What of a message, a copy or an answer goes into the hash (G9): all that two runs may differ in.

use std::fmt::{self, Write as _};

use grapevine_core::{
    Attribute, Life, RequestError, Response, ServerId, Session, Stamp, Vector, Version,
};

/// A multiply and a rotation per word: enough that any difference changes all that follows.
pub(crate) const fn mixed(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A digest of bytes.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let start = bytes.len() as u64;
    let hash = words.iter().fold(start, |hash, word| mixed(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, &byte| mixed(hash, u64::from(byte)))
}

/// A copy, all of it but its secret and what never changes, which go with its ID.
pub(super) fn copy(mut hash: u64, copy: &Session) -> u64 {
    let life = match copy.life {
        Life::Live => 0,
        Life::Deleted => 1,
        Life::Retired { until } => until.as_micros() | 1 << 63,
    };
    let words =
        [copy.id.created.to_bits(), life, copy.accessed.to_bits(), u64::from(copy.complete)];
    hash = words.into_iter().fold(hash, mixed);
    hash = version(hash, copy.floor);
    hash = vector(hash, &copy.seen);
    for (key, attribute) in &copy.attributes {
        hash = mixed(hash, digest(key.as_str().as_bytes()));
        hash = self::attribute(hash, attribute);
    }
    hash
}

fn attribute(hash: u64, attribute: &Attribute) -> u64 {
    match attribute {
        Attribute::Removed { version: by } => version(mixed(hash, 1), *by),
        Attribute::Register { version: by, value } => {
            mixed(version(mixed(hash, 2), *by), digest(value.as_bytes()))
        }
        Attribute::Counter(counter) => {
            let hash = mixed(version(mixed(hash, 3), counter.epoch), counter.base.cast_unsigned());
            counter.subtotals.iter().fold(hash, |hash, (&server, add)| {
                mixed(entry(hash, server, add.stamp), add.sum.cast_unsigned())
            })
        }
    }
}

fn version(hash: u64, version: Version) -> u64 {
    entry(hash, version.server, version.stamp)
}

fn vector(hash: u64, vector: &Vector) -> u64 {
    vector.iter().fold(hash, |hash, (server, stamp)| entry(hash, server, stamp))
}

const fn entry(hash: u64, server: ServerId, stamp: Stamp) -> u64 {
    mixed(mixed(hash, server.to_bits()), stamp.to_bits())
}

/// An answer: which kind it is and all that it says.
pub(super) fn outcome(hash: u64, outcome: &Result<Response, RequestError>) -> u64 {
    match outcome {
        // By far the most.
        Ok(Response::Session(served)) => {
            let flags = [served.stale, served.lost, served.isolated];
            let flags = flags.into_iter().fold(1, |all, flag| all << 1 | u64::from(flag));
            let hash = vector(copy(mixed(hash, flags), &served.session), &served.token.context);
            mixed(hash, served.token.deadline.as_micros())
        }
        other => {
            let mut text = Digested(hash);
            // It never fails.
            let _ = write!(text, "{other:?}");
            text.0
        }
    }
}

/// The digest of a text as it is written.
struct Digested(u64);

impl fmt::Write for Digested {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = mixed(self.0, digest(text.as_bytes()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use grapevine_core::{
        Address, Fixed, Key, NotFound, Secret, Served, SessionId, Timestamp, Token, Unavailable,
    };

    use super::*;

    fn session() -> Session {
        let origin = ServerId::new(1, Timestamp::from_millis(5));
        let id = SessionId {
            address: Address { origin, slot: 3 },
            created: Stamp::from_bits(7 << 16),
            secret: Secret::from_bytes([9; 16]),
        };
        let mut session = Session::new(id, Fixed::default());
        let register =
            Attribute::Register { version: Version::new(id.created, origin), value: "a".into() };
        session.attributes.insert(Key::new("k").expect("a good key"), register);
        session
    }

    fn other() -> ServerId {
        ServerId::new(2, Timestamp::from_millis(5))
    }

    #[test]
    fn whatever_two_copies_differ_in_their_digests_do() {
        let changes: [fn(&mut Session); 9] = [
            |copy| copy.life = Life::Deleted,
            |copy| copy.life = Life::Retired { until: Timestamp::from_millis(9) },
            |copy| copy.accessed = Stamp::from_bits(8 << 16),
            |copy| copy.complete = false,
            |copy| copy.floor = Version::new(Stamp::from_bits(1), other()),
            |copy| copy.seen = Vector::from_iter([(other(), copy.id.created)]),
            |copy| {
                let by = Version::new(Stamp::from_bits(9 << 16), other());
                let key = Key::new("k").expect("a good key");
                copy.attributes.insert(key, Attribute::Removed { version: by });
            },
            |copy| {
                let by = Version::new(copy.id.created, copy.id.address.origin);
                let key = Key::new("k").expect("a good key");
                copy.attributes.insert(key, Attribute::Register { version: by, value: "b".into() });
            },
            |copy| {
                let by = Version::new(copy.id.created, copy.id.address.origin);
                let key = Key::new("j").expect("a good key");
                copy.attributes.insert(key, Attribute::Removed { version: by });
            },
        ];
        let plain = copy(0, &session());
        assert_eq!(plain, copy(0, &session()));
        for (n, change) in changes.iter().enumerate() {
            let mut changed = session();
            change(&mut changed);
            assert_ne!(copy(0, &changed), plain, "the change {n} is not seen");
        }
    }

    #[test]
    fn whatever_two_answers_differ_in_their_digests_do() {
        let served = |context, stale, lost, isolated| {
            let session = Arc::new(session());
            let deadline = session.fixed.deadline;
            let token = Token { id: session.id, context, deadline };
            Ok(Response::Session(Served { token, session, stale, lost, isolated }))
        };
        let context = || Vector::from_iter([(other(), Stamp::from_bits(1))]);
        let answers = [
            served(Vector::default(), false, false, false),
            served(context(), false, false, false),
            served(context(), true, false, false),
            served(context(), false, true, false),
            served(context(), false, false, true),
            Ok(Response::Deleted),
            Ok(Response::Left { complete: true }),
            Ok(Response::Left { complete: false }),
            Err(RequestError::Lost),
            Err(RequestError::NotFound(NotFound::Idle)),
            Err(RequestError::NotFound(NotFound::Deadline)),
            Err(RequestError::Unavailable(Unavailable::FromTheFuture)),
        ];
        let digests: Vec<u64> = answers.iter().map(|answer| outcome(0, answer)).collect();
        for (n, digest) in digests.iter().enumerate() {
            assert!(!digests[..n].contains(digest), "{:?} is like one before", answers[n]);
        }
    }
}
