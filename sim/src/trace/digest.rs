//! What of a message, a copy or an answer goes into the hash (G9): all that two runs may differ in.

use std::fmt::{self, Write as _};

use grapevine_core::{
    Attribute, Fixed, Life, Listed, Replaces, RequestError, Response, ServerId, Session, SessionId,
    Stamp, Timestamp, Vector, Version,
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

/// A copy, all of it but its secret, which goes with the rest of its ID.
pub(super) fn copy(hash: u64, copy: &Session) -> u64 {
    let life = match copy.life {
        Life::Live => 0,
        Life::Deleted => 1,
        Life::Retired { until } => until.as_micros() | 1 << 63,
    };
    let words = [life, copy.accessed.to_bits(), u64::from(copy.complete)];
    let hash = words.into_iter().fold(fixed(id(hash, &copy.id), &copy.fixed), mixed);
    let hash = vector(version(hash, copy.floor), &copy.seen);
    let hash = mixed(hash, copy.attributes.len() as u64);
    copy.attributes.iter().fold(hash, |hash, (key, attribute)| {
        self::attribute(mixed(hash, digest(key.as_str().as_bytes())), attribute)
    })
}

/// The part of a copy that never changes.
fn fixed(hash: u64, fixed: &Fixed) -> u64 {
    let principal = fixed.principal.as_ref().map_or(0, |whose| digest(whose.as_str().as_bytes()));
    let idle = fixed.idle_timeout.as_micros() as u64;
    let words = [fixed.deadline.as_micros(), idle, principal, u64::from(fixed.revokes)];
    let hash = words.into_iter().fold(hash, mixed);
    let hash = version(hash, fixed.revocation.unwrap_or(Version::ZERO));
    let Some(Replaces { id: old, deadline, until }) = fixed.replaces else {
        return mixed(hash, 0);
    };
    let until = until.map_or(0, Timestamp::as_micros);
    [deadline.as_micros(), until].into_iter().fold(id(hash, &old), mixed)
}

fn id(hash: u64, id: &SessionId) -> u64 {
    mixed(entry(hash, id.address.origin, id.created), u64::from(id.address.slot))
}

fn attribute(hash: u64, attribute: &Attribute) -> u64 {
    match attribute {
        Attribute::Removed { version: by } => version(mixed(hash, 1), *by),
        Attribute::Register { version: by, value } => {
            mixed(version(mixed(hash, 2), *by), digest(value.as_bytes()))
        }
        Attribute::Counter(counter) => {
            let hash = mixed(version(mixed(hash, 3), counter.epoch), counter.base.cast_unsigned());
            let hash = mixed(hash, counter.subtotals.len() as u64);
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
    let hash = mixed(hash, vector.len() as u64);
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
            mixed(id(hash, &served.token.id), served.token.deadline.as_micros())
        }
        // What formats their sessions shows no values.
        Ok(Response::Sessions(Listed { sessions, next })) => {
            let hash = mixed(mixed(hash, 2), sessions.len() as u64);
            let hash = sessions.iter().fold(hash, |hash, session| copy(hash, session));
            let next = next.as_ref();
            let hash = mixed(hash, next.map_or(0, |next| next.origin.to_bits()));
            mixed(hash, next.map_or(0, |next| u64::from(next.slot) + 1))
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
    use std::time::Duration;

    use grapevine_core::{
        Address, Counter, Key, NotFound, Principal, Secret, Served, Subtotal, Token, Unavailable,
    };

    use super::*;

    fn server(number: u16) -> ServerId {
        ServerId::new(number, Timestamp::from_millis(5))
    }

    fn by(number: u16, bits: u64) -> Version {
        Version::new(Stamp::from_bits(bits), server(number))
    }

    fn key(name: &str) -> Key {
        Key::new(name).expect("a good key")
    }

    fn register(value: &str) -> Attribute {
        Attribute::Register { version: by(1, 7), value: value.into() }
    }

    fn counter(epoch: Version, base: i64, stamp: u64, sum: i64) -> Attribute {
        let add = Subtotal { stamp: Stamp::from_bits(stamp), sum };
        let subtotals = [(server(2), add)].into_iter().collect();
        Attribute::Counter(Counter { epoch, base, subtotals })
    }

    fn session() -> Session {
        let id = SessionId {
            address: Address { origin: server(1), slot: 3 },
            created: Stamp::from_bits(7),
            secret: Secret::from_bytes([9; 16]),
        };
        let mut session = Session::new(id, Fixed::default());
        session.attributes.insert(key("k"), register("a"));
        session.attributes.insert(key("n"), counter(by(1, 7), 1, 8, 2));
        session
    }

    fn fixed(change: impl FnOnce(&mut Fixed)) -> Session {
        let mut copy = session();
        change(Arc::make_mut(&mut copy.fixed));
        copy
    }

    fn with(change: impl FnOnce(&mut Session)) -> Session {
        let mut copy = session();
        change(&mut copy);
        copy
    }

    fn all_differ(digests: &[u64]) {
        for (n, digest) in digests.iter().enumerate() {
            let before = digests[..n].iter().position(|other| other == digest);
            assert_eq!(before, None, "{n} is like one before");
        }
    }

    #[test]
    fn whatever_two_copies_differ_in_their_digests_do() {
        let at = Timestamp::from_millis;
        let replaces = |deadline, until| Replaces { id: session().id, deadline, until };
        let copies = [
            session(),
            with(|copy| copy.id.created = Stamp::from_bits(8)),
            with(|copy| copy.id.address.slot = 2),
            with(|copy| copy.id.address.origin = server(2)),
            fixed(|fixed| fixed.deadline = at(9)),
            fixed(|fixed| fixed.idle_timeout = Duration::from_secs(9)),
            fixed(|fixed| fixed.principal = Some(Principal::new("ann"))),
            fixed(|fixed| fixed.principal = Some(Principal::new("bob"))),
            fixed(|fixed| fixed.replaces = Some(replaces(at(9), None))),
            fixed(|fixed| fixed.replaces = Some(replaces(at(8), None))),
            fixed(|fixed| fixed.replaces = Some(replaces(at(9), Some(at(8))))),
            fixed(|fixed| fixed.revocation = Some(by(2, 1))),
            fixed(|fixed| fixed.revokes = true),
            with(|copy| copy.life = Life::Deleted),
            with(|copy| copy.life = Life::Retired { until: at(9) }),
            with(|copy| copy.accessed = Stamp::from_bits(8)),
            with(|copy| copy.complete = false),
            with(|copy| copy.floor = by(2, 1)),
            with(|copy| copy.seen = Vector::from_iter([(server(2), copy.id.created)])),
            with(|copy| drop(copy.attributes.insert(key("k"), register("b")))),
            with(|copy| drop(copy.attributes.insert(key("j"), register("a")))),
            with(|copy| {
                copy.attributes.insert(key("k"), Attribute::Removed { version: by(1, 7) });
            }),
            with(|copy| {
                copy.attributes.insert(key("k"), Attribute::Removed { version: by(2, 7) });
            }),
            with(|copy| drop(copy.attributes.insert(key("n"), counter(by(2, 7), 1, 8, 2)))),
            with(|copy| drop(copy.attributes.insert(key("n"), counter(by(1, 7), 3, 8, 2)))),
            with(|copy| drop(copy.attributes.insert(key("n"), counter(by(1, 7), 1, 9, 2)))),
            with(|copy| drop(copy.attributes.insert(key("n"), counter(by(1, 7), 1, 8, 4)))),
        ];
        let digests: Vec<u64> = copies.iter().map(|session| copy(0, session)).collect();
        assert_eq!(digests[0], copy(0, &session()));
        all_differ(&digests);
    }

    #[test]
    fn whatever_two_answers_differ_in_their_digests_do() {
        let entry = |number| (server(number), Stamp::from_bits(1));
        let served = |seen: &[u16], context: &[u16], flags: [bool; 3]| {
            let [stale, lost, isolated] = flags;
            let mut session = session();
            session.seen = seen.iter().map(|&number| entry(number)).collect();
            let context = context.iter().map(|&number| entry(number)).collect();
            let token = Token { id: session.id, context, deadline: session.fixed.deadline };
            Served { token, session: Arc::new(session), stale, lost, isolated }
        };
        let plain = || served(&[1], &[], [false; 3]);
        let later = Token { deadline: Timestamp::from_millis(9), ..plain().token };
        let mut other = plain().token;
        other.id.address.slot = 9;
        let listed = |value: &str, next| {
            let session = with(|copy| drop(copy.attributes.insert(key("k"), register(value))));
            Ok(Response::Sessions(Listed { sessions: vec![Arc::new(session)], next }))
        };
        let next = Address { origin: server(1), slot: 0 };
        let session = |served| Ok(Response::Session(served));
        let answers = [
            session(plain()),
            session(Served { token: later, ..plain() }),
            session(Served { token: other, ..plain() }),
            session(served(&[1, 2], &[3], [false; 3])),
            session(served(&[1], &[2, 3], [false; 3])),
            session(served(&[1], &[], [true, false, false])),
            session(served(&[1], &[], [false, true, false])),
            session(served(&[1], &[], [false, false, true])),
            listed("a", None),
            listed("b", None),
            listed("a", Some(next)),
            listed("a", Some(Address { slot: 1, ..next })),
            Ok(Response::Sessions(Listed { sessions: Vec::new(), next: None })),
            Ok(Response::Deleted),
            Ok(Response::Revoked { sessions: 1, version: by(1, 1) }),
            Ok(Response::Revoked { sessions: 2, version: by(1, 1) }),
            Ok(Response::Revoked { sessions: 1, version: by(2, 1) }),
            Ok(Response::Left { complete: true }),
            Ok(Response::Left { complete: false }),
            Err(RequestError::Lost),
            Err(RequestError::NotFound(NotFound::Idle)),
            Err(RequestError::NotFound(NotFound::Deadline)),
            Err(RequestError::Unavailable(Unavailable::FromTheFuture)),
        ];
        all_differ(&answers.iter().map(|answer| outcome(0, answer)).collect::<Vec<_>>());
    }
}
