//! Every kind of command, drawn.

use std::sync::Arc;

use grapevine_core::command::{
    Answer, Batch, Command, Cursor, Delta, Fetch, Found, Heartbeat, Held, Mend, Offer, Pull, Query,
    Seen, Share, Terms, Verified, Verify, Write,
};
use grapevine_core::{Address, Secret, ServerId, Session, SessionId, Stamp, Timestamp};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{held_session, server, stamp, vector};

fn any_id() -> impl Strategy<Value = SessionId> {
    (any::<u64>(), any::<u32>(), any::<u64>(), any::<[u8; 16]>()).prop_map(
        |(origin, slot, created, secret)| SessionId {
            address: Address { origin: ServerId::from_bits(origin), slot },
            created: Stamp::from_bits(created),
            secret: Secret::from_bytes(secret),
        },
    )
}

/// Mostly one of a few, so that commands meet.
fn drawn_id() -> BoxedStrategy<SessionId> {
    let few =
        (server(), 0..3_u32, 1..=3_u64, 1..=2_u8).prop_map(|(origin, slot, stamp, secret)| {
            SessionId {
                address: Address { origin, slot },
                created: Stamp::from_bits(stamp),
                secret: Secret::from_bytes([secret; 16]),
            }
        });
    prop_oneof![9 => few, 1 => any_id()].boxed()
}

/// Numbers of look-ups and rounds: mostly small, as an engine counts them.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..4_u64, 1 => any::<u64>(), 1 => Just(1 << 63), 1 => Just(u64::MAX)]
}

fn part() -> impl Strategy<Value = u32> {
    prop_oneof![3 => 0..3_u32, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

fn session() -> BoxedStrategy<Arc<Session>> {
    (held_session(), drawn_id())
        .prop_map(|(session, id)| Arc::new(Session { id, ..session }))
        .boxed()
}

fn write() -> BoxedStrategy<Write> {
    prop_oneof![
        session().prop_map(Write::Create),
        session().prop_map(Write::Update),
        session().prop_map(Write::Delete),
        session().prop_map(Write::Again),
        session().prop_map(Write::Revoke),
    ]
    .boxed()
}

fn found() -> BoxedStrategy<Found> {
    prop_oneof![
        session().prop_map(Found::Whole),
        Just(Found::Partial),
        Just(Found::Lacking),
        Just(Found::Behind),
        option::of(session()).prop_map(Found::Joining),
    ]
    .boxed()
}

fn address() -> impl Strategy<Value = Address> {
    (server(), any::<u32>()).prop_map(|(origin, slot)| Address { origin, slot })
}

fn cursor() -> BoxedStrategy<Cursor> {
    (server(), option::of((stamp(), address())), stamp(), vector(), part())
        .prop_map(|(writer, after, claim, start, part)| Cursor {
            writer,
            after,
            claim,
            start,
            part,
        })
        .boxed()
}

fn batch() -> BoxedStrategy<Command> {
    (server(), stamp(), vec(write(), 0..3), stamp(), any::<bool>())
        .prop_map(|(publisher, prev, writes, last, ack)| {
            Command::Batch(Batch { publisher, prev, writes, last, ack })
        })
        .boxed()
}

fn lookups() -> BoxedStrategy<Command> {
    let head = || (number(), drawn_id());
    let whose = || (server(), vec(server(), 0..3));
    prop_oneof![
        (head(), vector(), option::of(vec(any::<u16>(), 0..4))).prop_map(
            |((lookup, id), context, reaches)| Command::Query(Query {
                lookup,
                id,
                context,
                reaches
            })
        ),
        (head(), vector(), any::<u32>(), whose()).prop_map(
            |((lookup, id), applied, bytes, (by, asks))| Command::Offer(Offer {
                lookup,
                id,
                applied,
                bytes,
                by,
                asks
            })
        ),
        (head(), server()).prop_map(|((lookup, id), of)| Command::Fetch(Fetch { lookup, id, of })),
        (head(), vector(), found(), whose()).prop_map(
            |((lookup, id), applied, found, (by, asks))| Command::Answer(Answer {
                lookup,
                id,
                applied,
                found,
                by,
                asks
            })
        ),
    ]
    .boxed()
}

fn heartbeats() -> BoxedStrategy<Command> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let servers = || vec(server(), 0..4);
    let heartbeat =
        (number(), stamp(), vector(), (servers(), servers(), servers(), servers()), flags);
    prop_oneof![
        8 => heartbeat.prop_map(|(clock, end, applied, (members, left, closed, linked), flags)| {
            let clock = Timestamp::from_micros(clock);
            let (joining, partial, published) = flags;
            Command::Heartbeat(Heartbeat {
                clock, end, applied, members, joining, partial, left, published, closed, copies: clock.as_micros(), linked
            })
        }),
        1 => Just(Command::HeartbeatRequest),
        2 => stamp().prop_map(|applied| Command::Ack { applied }),
        1 => (stamp(), vec(server(), 0..4), vec(server(), 0..4)).prop_map(|(end, members, linked)| Command::Leave { end, members, linked }),
    ]
    .boxed()
}

fn share() -> impl Strategy<Value = Share> {
    (1..=4_u8, 0..4_u8).prop_map(|(of, nth)| Share::new(nth % of, of).expect("one of them"))
}

fn repairs() -> BoxedStrategy<Command> {
    let delta = (
        number(),
        part(),
        vec(session(), 0..3),
        option::of(cursor()),
        vec((server(), stamp()), 0..3),
    );
    let budget = prop_oneof![Just(0), Just(300), any::<u32>()];
    prop_oneof![
        (number(), vector(), option::of(cursor()), budget, any::<bool>(), share()).prop_map(
            |(round, base, cursor, budget, partial, share)| {
                Command::Pull(Pull { round, base, cursor, budget, partial, share })
            },
        ),
        delta.prop_map(|(round, part, sessions, next, complete)| {
            Command::Delta(Delta { round, part, sessions, next, complete })
        }),
    ]
    .boxed()
}

fn verifications() -> BoxedStrategy<Command> {
    let terms = (number(), number(), vector(), vec(server(), 0..4)).prop_map(
        |(at, until, base, closed)| {
            let [at, until] = [at, until].map(Timestamp::from_micros);
            Terms { at, until, base, closed }
        },
    );
    let hash = any::<[u8; 16]>;
    let held = (address(), drawn_id(), option::of(hash())).prop_map(|(address, id, hash)| Held {
        address,
        id: id.hashed(),
        hash,
    });
    let found = prop_oneof![
        Just(Seen::Same),
        Just(Seen::NotNow),
        (vec(held, 0..4), address()).prop_map(|(held, to)| Seen::Other { held, to }),
    ];
    prop_oneof![
        (number(), terms, address(), address(), hash()).prop_map(
            |(number, terms, from, to, hash)| {
                Command::Verify(Verify { number, terms, from, to, hash })
            }
        ),
        (number(), found).prop_map(|(number, found)| Command::Verified(Verified { number, found })),
        (number(), vec(session(), 0..3), vec(address(), 0..3)).prop_map(
            |(number, sessions, lacking)| Command::Mend(Mend { number, sessions, lacking })
        ),
        (number(), vec(session(), 0..3))
            .prop_map(|(number, sessions)| Command::Mended { number, sessions }),
    ]
    .boxed()
}

fn starts() -> BoxedStrategy<Command> {
    let known = (server(), any::<bool>(), any::<u32>());
    let known = known.prop_map(|(newest, alive, places)| Command::Known { newest, alive, places });
    prop_oneof![Just(Command::Starting), known].boxed()
}

pub(crate) fn command() -> BoxedStrategy<Command> {
    prop_oneof![batch(), lookups(), heartbeats(), repairs(), verifications(), starts()].boxed()
}
