//! Limits: a named error to the caller, a counted drop of what a peer sends.

use core::time::Duration;

use grapevine_core::command::{Batch, Write};
use grapevine_core::*;
use grapevine_sim::World;

use crate::common::{key, settle};

fn small() -> Farm {
    Farm {
        slots_per_origin: 3,
        attributes_per_session: 4,
        value_bytes: 64,
        session_bytes: 1024,
        bytes_per_origin: 16 << 10,
        anonymous_percent: 100,
        ..Farm::default()
    }
}

fn world(seed: u64) -> World {
    let mut world = World::new(seed, small());
    settle(&mut world);
    world
}

fn limit(outcome: Result<Served, RequestError>) -> &'static str {
    match outcome {
        Err(RequestError::Limit(limit)) => limit.name(),
        other => panic!("expected a limit, got {other:?}"),
    }
}

#[test]
fn every_limit_is_a_named_error_and_changes_nothing() {
    let mut world = world(70);
    let served = world.ask(0, Request::Create(Create::default())).expect("created");
    let token = &served.token;
    let set = |world: &mut World, changes| {
        let (token, acks) = (token.clone(), Acks::Local);
        world.ask(0, Request::Update { token, changes, acks })
    };
    let many = (0..5).map(|n| Change::Set(key(&format!("k{n}")), "v".into())).collect();
    assert_eq!(limit(set(&mut world, many)), "attributes_per_session");
    let large = Value::new(&[0; 65]);
    assert_eq!(limit(set(&mut world, vec![Change::Set(key("k"), large)])), "value_bytes");
    let long = (0..4).map(|n| Change::Set(key(&format!("{n}{}", "k".repeat(250))), "v".into()));
    assert_eq!(limit(set(&mut world, long.collect())), "session_bytes");
    let lifetime = Some(Duration::from_secs(1 << 40));
    let create = Create { lifetime, ..Create::default() };
    assert_eq!(limit(world.ask(0, Request::Create(create))), "lifetime");
    let create = Create { idle_timeout: Some(Duration::ZERO), ..Create::default() };
    assert_eq!(limit(world.ask(0, Request::Create(create))), "idle_timeout");
    let create = Create { principal: Some(Principal::new(&"p".repeat(257))), ..Create::default() };
    assert_eq!(limit(world.ask(0, Request::Create(create))), "principal_bytes");
    let read = world.read(0, token).expect("still there");
    assert_eq!(read.session, served.session, "nothing changed");
    assert_eq!(world.status(0).sessions, 1);
}

#[test]
fn an_origin_creates_no_more_sessions_than_it_has_slots() {
    let mut world = world(71);
    for _ in 0..3 {
        world.ask(0, Request::Create(Create::default())).expect("a slot is free");
    }
    assert_eq!(limit(world.ask(0, Request::Create(Create::default()))), "slots_per_origin");
    world.ask(1, Request::Create(Create::default())).expect("another origin has its own slots");
}

#[test]
fn an_origin_creates_no_more_bytes_than_it_may() {
    let mut world = World::new(72, Farm { slots_per_origin: 100, ..small() });
    settle(&mut world);
    let large = || Create {
        attributes: (0..3).map(|n| (key(&format!("{n}{}", "k".repeat(240))), "v".into())).collect(),
        principal: Some(Principal::new("ann")),
        ..Create::default()
    };
    let each = world.ask(0, Request::Create(large())).expect("the first fits").session.footprint();
    for _ in 1..(16 << 10) / each {
        world.ask(0, Request::Create(large())).expect("so many fit");
    }
    assert_eq!(limit(world.ask(0, Request::Create(large()))), "bytes_per_origin");
}

/// An engine of its own, and a peer that it has heard of.
fn engine() -> (Engine, Timestamp, ServerId) {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut config = Config::new(ServerId::new(1, now), small());
    config.local.start_wait = Duration::ZERO;
    let engine = Engine::new(config, [1; 32], now).expect("a valid configuration");
    (engine, now, ServerId::new(2, now))
}

fn session(origin: ServerId, slot: u32, now: Timestamp, lifetime: Duration) -> Session {
    let address = Address { origin, slot };
    let created = Stamp::at(now);
    let id = SessionId { address, created, secret: Secret::from_bytes([1; 16]) };
    let idle_timeout = Duration::from_secs(60);
    Session::new(id, Fixed { deadline: now + lifetime, idle_timeout, ..Fixed::default() })
}

fn create(publisher: ServerId, session: Session) -> Command {
    let last = session.id.created;
    let writes = vec![Write::Create(session.into())];
    Command::Batch(Batch { publisher, prev: Stamp::ZERO, writes, last, ack: false })
}

fn misbehaved(engine: &mut Engine) -> bool {
    std::iter::from_fn(|| engine.poll_action())
        .any(|action| matches!(action, Action::Notify(Notice::Misbehaving { .. })))
}

#[test]
fn a_peer_that_breaks_the_farms_limits_is_refused_and_named() {
    let day = Duration::from_secs(24 * 3600);
    let cases: [(u32, Duration); 2] = [(3, day), (0, day * 400)];
    for (slot, lifetime) in cases {
        let (mut engine, now, peer) = engine();
        let command = create(peer, session(peer, slot, now, lifetime));
        engine.handle(now, Event::Command { from: peer, command });
        let status = engine.status();
        assert_eq!(status.counters.ignored_over_limit, 1, "slot {slot}, {lifetime:?}");
        assert_eq!(status.applied.get(peer), Stamp::ZERO, "a refused batch doesn't count");
        assert_eq!(status.sessions, 0);
        assert!(misbehaved(&mut engine));
        engine.check_invariants();
    }
}

#[test]
fn a_peer_can_not_create_sessions_in_this_servers_own_array() {
    let (mut engine, now, peer) = engine();
    let me = engine.server();
    let mut forged = session(me, 0, now, Duration::from_secs(60));
    forged.complete = false;
    forged.seen = Vector::from_iter([(peer, Stamp::at(now))]);
    let writes = vec![Write::Update(forged.into())];
    let (prev, last) = (Stamp::ZERO, Stamp::at(now));
    let command = Command::Batch(Batch { publisher: peer, prev, writes, last, ack: false });
    engine.handle(now, Event::Command { from: peer, command });
    assert_eq!(engine.status().counters.ignored_superseded, 1);
    assert_eq!(engine.copies().count(), 0);
    engine.check_invariants();
    let request = Request::Create(Create::default());
    engine.handle(now, Event::Request { id: RequestId(1), request });
    engine.check_invariants();
}

#[test]
fn a_batch_that_is_not_the_senders_own_stream_is_refused() {
    let (mut engine, now, peer) = engine();
    let third = ServerId::new(3, now);
    let command = create(third, session(third, 0, now, Duration::from_secs(60)));
    engine.handle(now, Event::Command { from: peer, command });
    assert_eq!(engine.status().counters.ignored_malformed, 1);
    assert!(misbehaved(&mut engine));
}

#[test]
fn more_servers_than_configured_and_older_processes_are_strangers() {
    let (mut engine, now, peer) = engine();
    let beat = || Command::HeartbeatRequest;
    let third = ServerId::new(3, now);
    for from in [peer, third] {
        engine.handle(now, Event::Command { from, command: beat() });
    }
    let older = ServerId::new(2, now.before(Duration::from_secs(1)));
    let fourth = ServerId::new(4, now);
    let own = ServerId::new(1, now + Duration::from_secs(1));
    for from in [older, fourth, own] {
        engine.handle(now, Event::Command { from, command: beat() });
    }
    let status = engine.status();
    assert_eq!(status.counters.ignored_stranger, 3);
    assert_eq!(status.members.len(), 2);
}

#[test]
fn no_more_requests_wait_than_allowed() {
    let local = Local { pending_requests: 5, ..Local::default() };
    let mut world = World::with_local(73, Farm::default(), local);
    settle(&mut world);
    world.network.partition(&[0], &[1, 2]);
    let served: Vec<_> = (0..10)
        .map(|_| world.ask(1, Request::Create(Create::default())).expect("created"))
        .collect();
    let policy = ReadPolicy::Fresh;
    let read = |token: &Token| Request::Read { token: token.clone(), policy };
    let ids: Vec<_> = served.iter().map(|s| world.request(0, read(&s.token))).collect();
    settle(&mut world);
    let refused = ids.iter().filter(|id| {
        let why = Unavailable::TooManyWaiting(5);
        world.answer(**id) == Some(&Err(RequestError::Unavailable(why)))
    });
    assert_eq!(refused.count(), 5);
    assert!(ids.iter().all(|id| world.answer(*id).is_some()), "every request is answered (G7)");
}

#[test]
fn a_peer_can_not_make_a_copy_larger_than_any_frame() {
    let (mut engine, now, peer) = engine();
    let session = session(peer, 0, now, Duration::from_secs(60));
    let heavy = |count: usize, key: &str| {
        let mut session = session.clone();
        let version = Version::new(session.id.created, peer);
        let value = Value::new(&vec![b'x'; 16 << 10]);
        let attributes = (0..count).map(|n| {
            let key = Key::new(&format!("{key}{n}")).expect("a good key");
            (key, Attribute::Register { version, value: value.clone() })
        });
        session.attributes = attributes.collect();
        session
    };
    let frame = Farm::default().frame_bytes as usize;
    for (count, key, refused) in [(20, "a", false), (20, "b", true), (40, "c", true)] {
        engine.handle(now, Event::Command { from: peer, command: create(peer, heavy(count, key)) });
        assert_eq!(misbehaved(&mut engine), refused, "{count} values of {key}");
        engine.check_invariants();
        assert!(engine.status().bytes <= frame as u64 / 2);
    }
}
