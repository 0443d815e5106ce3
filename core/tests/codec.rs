//! Bytes and commands: encode and decode are inverse, and no bytes do harm (G10).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use grapevine_core::command::{Batch, Command, Delta, Heartbeat, Pull, Query, Share, Write};
use grapevine_core::wire::{WireError, decode, decode_into, encode};
use grapevine_core::{
    Attribute, Counter, Farm, Fixed, Key, Life, MAX_PRINCIPAL_BYTES, Principal, ServerId, Session,
    SortedMap, Stamp, Subtotal, Timestamp, Value, Vector, Version,
};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

mod common;
use common::commands::command;

fn encoded(command: &Command) -> Vec<u8> {
    let mut out = Vec::new();
    encode(command, &mut out);
    out
}

fn carried(session: Session) -> Command {
    Command::Delta(Delta {
        round: 0,
        part: 0,
        sessions: vec![Arc::new(session)],
        next: None,
        complete: Vec::new(),
    })
}

/// Bytes that decode must stand for a command that says the same when it is sent on.
fn decodes_to_itself(bytes: &[u8]) -> Result<(), TestCaseError> {
    let farm = Farm::default();
    if let Ok(command) = decode(bytes, &farm) {
        prop_assert_eq!(decode(&encoded(&command), &farm), Ok(command));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_command_comes_back_as_it_was_sent(command in command()) {
        prop_assert_eq!(decode(&encoded(&command), &Farm::default()), Ok(command));
    }

    #[test]
    fn what_is_appended_to_a_buffer_is_what_postcard_writes(command in command()) {
        prop_assert_eq!(encoded(&command), postcard::to_allocvec(&command).expect("encodes"));
    }

    #[test]
    fn what_is_read_in_the_memory_of_another_command_is_what_is_read_anew(
        command in command(),
        other in command(),
        flip in prop::option::of((any::<Index>(), 0..8_u8)),
    ) {
        let (mut bytes, farm) = (encoded(&command), Farm::default());
        if let Some((at, bit)) = flip {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        for mut into in [other, command] {
            let read = decode_into(&bytes, &farm, &mut into);
            prop_assert_eq!(read.map(|()| into), decode(&bytes, &farm));
        }
    }

    #[test]
    fn encoding_appends_and_leaves_what_is_in_the_buffer(command in command()) {
        let mut out = vec![1, 2, 3];
        encode(&command, &mut out);
        prop_assert_eq!(&out[..3], &[1, 2, 3]);
        prop_assert_eq!(&out[3..], &encoded(&command)[..]);
    }

    #[test]
    fn half_a_command_is_none(command in command(), cut in any::<Index>()) {
        let bytes = encoded(&command);
        let half = &bytes[..cut.index(bytes.len())];
        prop_assert_eq!(decode(half, &Farm::default()), Err(WireError::Malformed));
    }

    #[test]
    fn bytes_after_a_command_are_refused(
        command in command(), more in prop::collection::vec(any::<u8>(), 1..9),
    ) {
        let mut bytes = encoded(&command);
        bytes.extend(&more);
        prop_assert_eq!(decode(&bytes, &Farm::default()), Err(WireError::Trailing(more.len())));
    }

    #[test]
    fn flipped_bits_give_an_error_or_another_command_and_no_panic(
        command in command(), flips in prop::collection::vec((any::<Index>(), 0..8_u8), 1..5),
    ) {
        let mut bytes = encoded(&command);
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        decodes_to_itself(&bytes)?;
    }

    #[test]
    fn any_bytes_give_an_error_or_a_command_and_no_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        decodes_to_itself(&bytes)?;
    }

    #[test]
    fn the_weight_of_a_session_is_at_least_the_size_of_its_encoding(session in wide_session()) {
        let weight = session.weight();
        let size = encoded(&carried(session)).len() - encoded(&carried_nothing()).len();
        prop_assert!(size <= weight, "{size} bytes, weight {weight}");
    }
}

fn carried_nothing() -> Command {
    Command::Delta(Delta {
        round: 0,
        part: 0,
        sessions: Vec::new(),
        next: None,
        complete: Vec::new(),
    })
}

/// Numbers of all sizes, for their encodings differ in length; most often the largest.
fn wide<T: Arbitrary + Copy + std::fmt::Debug>(largest: T) -> impl Strategy<Value = T> {
    prop_oneof![Just(largest), any::<T>()]
}

fn wide_version() -> impl Strategy<Value = Version> {
    (any::<u64>(), any::<u64>()).prop_map(|(stamp, server)| {
        Version::new(Stamp::from_bits(stamp), ServerId::from_bits(server))
    })
}

fn wide_attribute() -> impl Strategy<Value = Attribute> {
    let subtotal = (any::<u64>(), wide(i64::MIN))
        .prop_map(|(stamp, sum)| Subtotal { stamp: Stamp::from_bits(stamp), sum });
    let server = any::<u64>().prop_map(ServerId::from_bits);
    let subtotals = prop::collection::btree_map(server, subtotal, 0..20);
    prop_oneof![
        wide_version().prop_map(|version| Attribute::Removed { version }),
        (wide_version(), prop::collection::vec(any::<u8>(), 0..200)).prop_map(
            |(version, bytes)| { Attribute::Register { version, value: Value::new(&bytes) } }
        ),
        (wide_version(), wide(i64::MIN), subtotals).prop_map(|(epoch, base, subtotals)| {
            Attribute::Counter(Counter { epoch, base, subtotals: subtotals.into() })
        }),
    ]
}

fn wide_session() -> impl Strategy<Value = Session> {
    let key = "[a-zé]{1,30}".prop_map(|text| Key::new(&text).unwrap());
    let principal = prop::option::of("[a-z]{0,80}".prop_map(|name| Principal::new(&name)));
    let fixed = (any::<u64>(), wide(u64::MAX), 0..1_000_000_000_u32, principal).prop_map(
        |(deadline, seconds, nanos, principal)| Fixed {
            deadline: Timestamp::from_micros(deadline),
            idle_timeout: Duration::new(seconds, nanos),
            principal,
            ..Fixed::default()
        },
    );
    let seen = prop::collection::vec((any::<u64>(), any::<u64>()), 0..300).prop_map(|entries| {
        let entry = |(server, stamp)| (ServerId::from_bits(server), Stamp::from_bits(stamp));
        entries.into_iter().map(entry).collect::<Vector>()
    });
    let attributes = prop::collection::btree_map(key, wide_attribute(), 0..12);
    let id = (any::<u64>(), wide(u32::MAX));
    (id, fixed, wide_version(), seen, attributes).prop_map(
        |((origin, slot), fixed, floor, seen, attributes)| {
            let mut id = common::id();
            id.address.origin = ServerId::from_bits(origin);
            id.address.slot = slot;
            let (life, accessed) = (Life::Live, Stamp::MAX);
            let fixed = Arc::new(fixed);
            let attributes = attributes.into();
            Session { id, fixed, complete: true, life, floor, accessed, seen, attributes }
        },
    )
}

fn servers(count: u64) -> Vector {
    (1..=count).map(|n| (ServerId::from_bits(n), Stamp::from_bits(n))).collect()
}

fn plain_session() -> Session {
    let fixed = Fixed {
        deadline: Timestamp::from_millis(90),
        idle_timeout: Duration::from_secs(1),
        ..Fixed::default()
    };
    Session::new(common::id(), fixed)
}

#[test]
fn a_frame_over_the_farms_limit_is_refused_before_it_is_looked_at() {
    let farm = Farm { frame_bytes: 10, ..Farm::default() };
    let wanted = Err(WireError::TooLong { bytes: 11, allowed: 10 });
    assert_eq!(decode(&[0xff; 11], &farm), wanted);
    let mut into = Command::Heartbeat(quiet_heartbeat());
    let bytes = encoded(&into);
    let allowed = bytes.len() as u32 - 1;
    let farm = Farm { frame_bytes: allowed, ..farm };
    let read = decode_into(&bytes, &farm, &mut into);
    assert_eq!(read, Err(WireError::TooLong { bytes: bytes.len(), allowed }));
}

#[test]
fn a_vector_with_more_servers_than_a_farm_remembers_is_refused_wherever_it_stands() {
    let farm = Farm { known_servers: 8, ..Farm::default() };
    let refused = |command: &Command| {
        let bytes = encoded(command);
        let mut into = Command::Heartbeat(quiet_heartbeat());
        let read = decode_into(&bytes, &farm, &mut into).map(|()| into);
        let anew = decode(&bytes, &farm);
        assert_eq!(read, anew, "it is read otherwise in used memory");
        match anew {
            Err(WireError::Vector { servers: 9, allowed: 8 }) => true,
            Ok(_) => false,
            other => panic!("{other:?}"),
        }
    };
    for (count, wanted) in [(8, false), (9, true)] {
        let vector = servers(count);
        let query = plain_query(vector.clone());
        let many: Vec<ServerId> = vector.iter().map(|(server, _)| server).collect();
        let session = Session { seen: vector.clone(), ..plain_session() };
        assert_eq!(refused(&Command::Query(query)), wanted);
        let few = quiet_heartbeat();
        for heartbeat in [
            Heartbeat { applied: vector, ..few.clone() },
            Heartbeat { members: many.clone(), ..few.clone() },
            Heartbeat { left: many.clone(), ..few.clone() },
            Heartbeat { closed: many.clone(), ..few.clone() },
            Heartbeat { linked: many.clone(), ..few.clone() },
        ] {
            assert_eq!(refused(&Command::Heartbeat(heartbeat)), wanted);
        }
        assert_eq!(refused(&carried(session)), wanted);
    }
}

#[test]
fn a_session_that_no_correct_server_has_is_refused() {
    let attribute = Attribute::Removed { version: Version::ZERO };
    let attributes = SortedMap::from([(Key::new("user").unwrap(), attribute)]);
    let floor = Version::new(Stamp::from_bits(1), ServerId::from_bits(1));
    let below = Session { floor, attributes: attributes.clone(), ..plain_session() };
    let dead = Session { life: Life::Deleted, accessed: Stamp::ZERO, ..plain_session() };
    let haunted = Session { attributes, ..dead.clone() };
    for (session, wanted) in [(dead, true), (haunted, false), (below, false)] {
        let decoded = decode(&encoded(&carried(session)), &Farm::default());
        assert_eq!(decoded.is_ok(), wanted, "{decoded:?}");
    }
}

#[test]
fn a_principal_over_the_limit_is_refused() {
    for (bytes, wanted) in [(MAX_PRINCIPAL_BYTES, true), (MAX_PRINCIPAL_BYTES + 1, false)] {
        let mut session = plain_session();
        let principal = Some(Principal::new(&"p".repeat(bytes)));
        session.fixed = Arc::new(Fixed { principal, ..(*session.fixed).clone() });
        let batch = Batch {
            publisher: ServerId::from_bits(1),
            prev: Stamp::ZERO,
            writes: vec![Write::Create(Arc::new(session))],
            last: Stamp::from_bits(1),
            ack: false,
        };
        let decoded = decode(&encoded(&Command::Batch(batch)), &Farm::default());
        assert_eq!(decoded.is_ok(), wanted, "{bytes} bytes");
    }
}

#[test]
fn a_key_that_no_application_can_make_is_refused_from_a_peer_too() {
    let mut session = plain_session();
    session.attributes = SortedMap::from([(
        Key::new("name").unwrap(),
        Attribute::Removed { version: Version::ZERO },
    )]);
    let bytes = encoded(&carried(session));
    assert!(decode(&bytes, &Farm::default()).is_ok());
    let at = bytes.windows(4).position(|window| window == b"name").unwrap();
    for bad in [b"na\x00e", b"na\x7fe", b"na\xffe"] {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(bad);
        assert_eq!(decode(&bytes, &Farm::default()), Err(WireError::Malformed), "{bad:?}");
    }
}

fn plain_query(context: Vector) -> Query {
    Query { lookup: 1, id: common::id(), context, reaches: None }
}

#[test]
fn vectors_that_mean_the_same_are_equal_whatever_a_peer_writes() {
    let mut bytes = encoded(&Command::Query(plain_query(servers(1))));
    // One more byte follows the context.
    let stamp = bytes.len() - 9;
    bytes[stamp..stamp + 8].fill(0);
    let Ok(Command::Query(query)) = decode(&bytes, &Farm::default()) else {
        panic!("an entry at zero says nothing, so it does no harm");
    };
    assert!(query.context.is_empty());
}

#[test]
fn a_share_that_is_not_one_of_so_many_is_refused() {
    let share = Share::new(2, 3).expect("the third of three");
    let pull =
        Pull { round: 1, base: Vector::default(), cursor: None, budget: 1, partial: false, share };
    let mut bytes = encoded(&Command::Pull(pull.clone()));
    assert_eq!(decode(&bytes, &Farm::default()), Ok(Command::Pull(pull)));
    let end = bytes.len();
    assert_eq!(bytes[end - 2..], [2, 2], "which, and how many others there are");
    for bad in [[3, 2], [1, 0], [255, 254], [0, 255]] {
        bytes[end - 2..].copy_from_slice(&bad);
        assert_eq!(decode(&bytes, &Farm::default()), Err(WireError::Malformed), "{bad:?}");
    }
}

/// A new command that the strategy forgets fails here: after each command's number, zeros are a
/// command with bytes after it; after a number that no command has, nothing is.
#[test]
fn the_drawn_commands_are_all_that_there_are() {
    let mut runner = TestRunner::deterministic();
    let strategy = command();
    let draw = |_| strategy.new_tree(&mut runner).unwrap().current().name();
    let drawn = (0..2000).map(draw).collect::<BTreeSet<_>>();
    for number in 0..=drawn.len() {
        let mut bytes = [0; 400];
        bytes[0] = number as u8;
        let unknown = decode(&bytes, &Farm::default()) == Err(WireError::Malformed);
        assert_eq!(unknown, number == drawn.len(), "command number {number}; drawn: {drawn:?}");
    }
}

fn quiet_heartbeat() -> Heartbeat {
    Heartbeat {
        clock: Timestamp::ZERO,
        end: Stamp::ZERO,
        applied: Vector::default(),
        members: Vec::new(),
        joining: false,
        partial: false,
        left: Vec::new(),
        published: false,
        closed: Vec::new(),
        copies: 0,
        linked: Vec::new(),
    }
}

/// `docs/wire.md` shows bytes; they must be what this version writes.
#[test]
fn the_examples_in_the_wire_document_are_what_is_sent() {
    let document = include_str!("../../docs/wire.md");
    let shown = |name: &str| {
        let line = document.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        let hex = line.unwrap_or_else(|| panic!("docs/wire.md has no line `{name}: `"));
        let byte = |pair| u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("{name}: {pair}"));
        hex.split_whitespace().map(byte).collect::<Vec<_>>()
    };
    let server = ServerId::new(1, Timestamp::from_millis(1_700_000_000_000));
    let stamp = Stamp::at(Timestamp::from_millis(1_700_000_000_001)).next();
    assert_eq!(shown("HeartbeatRequest"), encoded(&Command::HeartbeatRequest));
    assert_eq!(shown("Ack"), encoded(&Command::Ack { applied: stamp }));
    let members = vec![server];
    assert_eq!(
        shown("Leave"),
        encoded(&Command::Leave { end: stamp, members, linked: Vec::new() })
    );
    let heartbeat = Heartbeat {
        clock: Timestamp::from_millis(1_700_000_000_002),
        end: stamp,
        applied: Vector::from_iter([(server, stamp)]),
        members: vec![server],
        closed: vec![server],
        published: true,
        ..quiet_heartbeat()
    };
    assert_eq!(shown("Heartbeat"), encoded(&Command::Heartbeat(heartbeat)));
    let mut session = plain_session();
    session.attributes.insert(
        Key::new("user").unwrap(),
        Attribute::Register { version: Version::new(stamp, server), value: "ann".into() },
    );
    let batch = Batch {
        publisher: server,
        prev: Stamp::ZERO,
        writes: vec![Write::Create(Arc::new(session))],
        last: stamp,
        ack: true,
    };
    assert_eq!(shown("Batch"), encoded(&Command::Batch(batch)));
}
