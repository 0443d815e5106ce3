//! What happens when memory is used up: who is refused, who is ended, and who notices nothing (G8).

use core::time::Duration;

use grapevine_core::command::{Batch, Write};
use grapevine_core::*;
use grapevine_sim::World;

use crate::common::{key, settle, update};

/// A few slots and 64 KiB for each server's sessions, half of it for anonymous ones.
fn small(when_full: WhenFull) -> Farm {
    Farm {
        slots_per_origin: 200,
        session_bytes: 4096,
        value_bytes: 4096,
        bytes_per_origin: 64 << 10,
        anonymous_percent: 50,
        when_full,
        ..Farm::default()
    }
}

fn world(seed: u64, farm: Farm) -> World {
    let mut world = World::new(seed, farm);
    settle(&mut world);
    world
}

fn visitor(bytes: usize) -> Create {
    let value = Value::new(&vec![b'x'; bytes]);
    Create { attributes: vec![(key("cart"), value)], ..Create::default() }
}

fn named(name: &str, bytes: usize) -> Create {
    Create { principal: Some(Principal::new(name)), ..visitor(bytes) }
}

fn make(world: &mut World, server: usize, create: Create) -> Result<Served, RequestError> {
    world.ask(server, Request::Create(create))
}

fn limit(outcome: Result<Served, RequestError>) -> &'static str {
    match outcome {
        Err(RequestError::Limit(limit)) => limit.name(),
        other => panic!("expected a limit, got {other:?}"),
    }
}

/// Creates until one is refused. Returns those that were made, and the limit.
fn flood(world: &mut World, server: usize, bytes: usize) -> (Vec<Served>, &'static str) {
    let mut made = Vec::new();
    for _ in 0..1000 {
        match make(world, server, visitor(bytes)) {
            Ok(served) => made.push(served),
            refused => return (made, limit(refused)),
        }
    }
    panic!("a flood of sessions was never refused");
}

fn rotate(world: &mut World, server: usize, served: &Served) -> Result<Served, RequestError> {
    let principal = Some(Principal::new("ann"));
    let rotation = Rotation { principal, acks: Acks::Local, ..Rotation::default() };
    world.ask(server, Request::Rotate { token: served.token.clone(), rotation })
}

fn evicted(world: &World) -> Vec<SessionId> {
    let evicted = |(_, notice): &(usize, Notice)| match notice {
        Notice::Evicted { session } => Some(session.id),
        _ => None,
    };
    world.notices().iter().filter_map(evicted).collect()
}

fn set(value: usize) -> Vec<Change> {
    vec![Change::Set(key("more"), Value::new(&vec![b'y'; value]))]
}

#[test]
fn a_flood_of_anonymous_sessions_leaves_slots_for_those_who_log_in() {
    let farm = Farm { slots_per_origin: 20, ..small(WhenFull::Refuse) };
    let mut world = world(700, farm);
    let (visitors, why) = flood(&mut world, 0, 10);
    assert_eq!((visitors.len(), why), (10, "anonymous_slots"));
    rotate(&mut world, 0, &visitors[0]).expect("a visitor logs in");
    for n in 0..9 {
        make(&mut world, 0, named(&format!("customer {n}"), 10)).expect("a slot is kept free");
    }
    assert_eq!(limit(make(&mut world, 0, named("one too many", 10))), "slots_per_origin");
    let used = world.status(0).own;
    assert_eq!(
        (used.named_sessions, used.anonymous_sessions),
        (10, 10),
        "the old one keeps its slot"
    );
}

/// Signs a customer out everywhere, at the first server.
fn revoke(world: &mut World, name: &str) -> Result<Response, RequestError> {
    let principal = Principal::new(name);
    let answer = world.ask_any(0, Request::Revoke { principal, acks: Acks::Local });
    settle(world);
    answer
}

#[test]
fn a_server_that_is_full_of_logged_in_customers_still_signs_them_out() {
    for bytes_per_origin in [1 << 20, 64 << 10] {
        let farm = Farm { bytes_per_origin, ..small(WhenFull::Refuse) };
        let mut world = world(712, farm);
        let mut customers = Vec::new();
        let why = loop {
            let create = named(&format!("customer {}", customers.len()), 10);
            match make(&mut world, 0, create) {
                Ok(served) => customers.push(served),
                refused => break limit(refused),
            }
        };
        let slots = bytes_per_origin == 1 << 20;
        assert_eq!(why, if slots { "slots_per_origin" } else { "bytes_per_origin" });
        assert_eq!(customers.len() == 197, slots, "three of 200 slots are kept");
        let kept = if slots { 3 } else { 1 };
        for (n, customer) in customers[..kept].iter().enumerate() {
            revoke(&mut world, &format!("customer {n}")).expect("a part is kept for this");
            assert!(world.read(1, &customer.token).is_err(), "customer {n} is out everywhere");
        }
        world.read(2, &customers[kept].token).expect("others stay in");
    }
}

#[test]
fn a_flood_of_anonymous_sessions_leaves_bytes_for_those_who_log_in() {
    let mut world = world(701, small(WhenFull::Refuse));
    let shopper = make(&mut world, 0, visitor(10)).expect("made");
    let customer = make(&mut world, 0, named("bob", 10)).expect("made");
    let (visitors, why) = flood(&mut world, 0, 900);
    assert!(visitors.len() > 10, "{}", visitors.len());
    assert_eq!(why, "anonymous_bytes");
    let used = world.status(0).own;
    assert!(used.anonymous_bytes <= 32 << 10, "half of all: {used:?}");
    rotate(&mut world, 0, &visitors[0]).expect("a visitor logs in");
    for n in 0..10 {
        make(&mut world, 0, named(&format!("customer {n}"), 900)).expect("bytes are kept free");
        update(&mut world, 1, &customer.token, set(900 + n));
    }
    // New ones leave something for who is there already, on every server.
    update(&mut world, 1, &shopper.token, set(900));
    settle(&mut world);
    update(&mut world, 0, &shopper.token, vec![Change::Set(key("cart"), "one more".into())]);
}

/// Two servers that can't hear each other let visitors' carts grow, each as far as it may alone.
#[test]
fn what_anonymous_sessions_have_beyond_their_part_is_not_taken_from_those_who_log_in() {
    let mut world = world(713, small(WhenFull::Refuse));
    let visitors: Vec<Served> =
        (0..10).map(|_| make(&mut world, 0, visitor(100)).expect("made")).collect();
    settle(&mut world);
    world.network.partition(&[0], &[1, 2]);
    for (server, name) in [(0, "left"), (1, "right")] {
        for visitor in &visitors {
            let changes = vec![Change::Set(key(name), Value::new(&[b'y'; 2300]))];
            update(&mut world, server, &visitor.token, changes);
        }
    }
    world.network.heal();
    settle(&mut world);
    let used = world.status(0).own;
    assert!(used.anonymous_bytes > 40 << 10, "more than their half: {used:?}");
    for n in 0..16 {
        make(&mut world, 0, named(&format!("customer {n}"), 900)).expect("the other half is kept");
    }
    let used = world.status(0).own;
    assert!(used.bytes() > 63 << 10, "more than all together: {used:?}");
}

#[test]
fn the_oldest_anonymous_sessions_end_to_make_room_and_never_one_with_a_principal() {
    let mut world = world(702, small(WhenFull::EvictAnonymous));
    let customer = make(&mut world, 0, named("bob", 900)).expect("made");
    let (mut made, mut ended) = (Vec::new(), Vec::new());
    // As many as have their places in half of the room.
    for n in 0..37 {
        world.run_for(Duration::from_millis(50));
        let before = world.status(0).own.anonymous_bytes;
        let served = make(&mut world, 0, visitor(900)).expect("room is made");
        let now = evicted(&world);
        let news = now[ended.len()..].to_vec();
        if !news.is_empty() {
            assert!(before + 1000 > 30 << 10, "session {n} ended others though there was room");
        }
        assert!(news.len() <= 2, "session {n} ended {} others", news.len());
        ended = now;
        made.push(served.session.id);
    }
    assert!(ended.len() > 10, "{} were ended", ended.len());
    assert_eq!(ended, made[..ended.len()], "in the order of their last access");
    assert_eq!(world.status(0).counters.evicted, ended.len() as u64);
    settle(&mut world);
    for server in 0..3 {
        world.read(server, &customer.token).expect("whoever logged in notices nothing");
        let copy = world.engine(server).copy(ended[0].address).expect("a tombstone");
        assert_eq!(copy.life, Life::Deleted, "told like any other end");
    }
    make(&mut world, 0, named("ann", 900)).expect("still room for who logs in");
    assert!(evicted(&world).iter().all(|id| *id != customer.session.id));
}

#[test]
fn a_flood_of_any_length_leaves_the_visitors_who_shop_on_and_those_who_log_in() {
    for bytes in [0, 30, 900] {
        let mut world = world(714, small(WhenFull::EvictAnonymous));
        let shoppers: Vec<Served> =
            (0..8).map(|_| make(&mut world, 0, visitor(900)).expect("made")).collect();
        let (mut made, mut refused) = (0, 0);
        while refused < 20 {
            for _ in 0..4 {
                world.run_for(Duration::from_millis(5));
                match make(&mut world, 0, visitor(bytes)) {
                    Ok(_) => made += 1,
                    why => {
                        assert_eq!(limit(why), "anonymous_bytes");
                        refused += 1;
                    }
                }
            }
            for shopper in &shoppers {
                update(&mut world, 0, &shopper.token, set(10));
            }
        }
        assert!(made >= 28, "{made} of {bytes} bytes");
        rotate(&mut world, 0, &shoppers[0]).expect("a visitor logs in");
        let before = evicted(&world).len();
        for n in 0..20 {
            make(&mut world, 0, named(&format!("customer {n}"), 900)).expect("room is made");
        }
        assert!(evicted(&world).len() > before, "visitors end for those who log in, as ever");
    }
}

#[test]
fn a_session_that_looks_idle_ends_before_an_older_one_that_is_in_use() {
    let mut world = world(703, small(WhenFull::EvictAnonymous));
    let older = make(&mut world, 0, visitor(900)).expect("made").session.id;
    world.run_for(Duration::from_secs(1));
    let idle_timeout = Some(Duration::from_secs(1));
    let left = make(&mut world, 0, Create { idle_timeout, ..visitor(900) }).expect("made");
    // Nobody can be certain that it was not used elsewhere.
    world.network.partition(&[0], &[1, 2]);
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.engine(0).copy(left.session.id.address).map(|c| c.life), Some(Life::Live));
    while evicted(&world).is_empty() {
        make(&mut world, 0, visitor(900)).expect("made");
    }
    assert_eq!(evicted(&world), [left.session.id]);
    assert_eq!(world.engine(0).copy(older.address).map(|copy| copy.life), Some(Life::Live));
}

#[test]
fn nobody_ends_for_a_write_that_does_not_fit_all_the_same() {
    let farm = Farm { session_bytes: 4096, ..small(WhenFull::EvictAnonymous) };
    let farm = Farm { anonymous_percent: 5, ..farm };
    let mut world = world(704, farm);
    let one = make(&mut world, 0, visitor(100)).expect("made");
    let two = make(&mut world, 0, visitor(100)).expect("made");
    let token = one.token.clone();
    let request = Request::Update { token, changes: set(3500), acks: Acks::Local };
    assert_eq!(limit(world.ask(0, request)), "anonymous_bytes");
    assert!(evicted(&world).is_empty());
    world.read(0, &two.token).expect("still there");
}

#[test]
fn only_the_server_that_made_a_session_ends_it_to_make_room() {
    let mut world = world(705, small(WhenFull::EvictAnonymous));
    let mut visitors = Vec::new();
    while evicted(&world).is_empty() {
        visitors.push(make(&mut world, 0, visitor(900)).expect("made"));
    }
    settle(&mut world);
    let ended = evicted(&world).len();
    let last = &visitors.last().expect("one").token;
    update(&mut world, 1, last, set(900));
    let again = Request::Update { token: last.clone(), changes: set(2900), acks: Acks::Local };
    assert_eq!(limit(world.ask(1, again.clone())), "anonymous_bytes");
    assert_eq!(evicted(&world).len(), ended, "server 2 ended none of server 1's");
    settle(&mut world);
    world.ask(0, again).expect("the server that made them makes room");
    assert!(evicted(&world).len() > ended);
}

#[test]
fn servers_that_are_cut_off_pass_the_limit_together_and_then_nothing_is_added() {
    let farm = Farm { anonymous_percent: 100, ..small(WhenFull::Refuse) };
    let most = farm.bytes_per_origin * 3;
    let mut world = world(706, farm);
    let made: Vec<Served> =
        (0..50).map(|_| make(&mut world, 0, visitor(10)).expect("made")).collect();
    settle(&mut world);
    let apart = |world: &mut World| {
        world.network.partition(&[0], &[1, 2]);
        world.network.cut_off(&[1], &[2]);
        world.network.cut_off(&[2], &[1]);
    };
    apart(&mut world);
    let mut full = 0;
    for server in 0..3 {
        for served in &made {
            let value = Value::new(&[b'z'; 1200]);
            let changes = vec![Change::Set(key(&format!("of {server}")), value)];
            let token = served.token.clone();
            let request = Request::Update { token, changes, acks: Acks::Local };
            match world.ask(server, request) {
                Ok(_) => {}
                refused => {
                    assert_eq!(limit(refused), "bytes_per_origin");
                    full += 1;
                }
            }
        }
        let own = world.engine(server).usage(made[0].session.id.address.origin);
        assert!(own.bytes() <= 64 << 10, "server {server} keeps to the limit: {own:?}");
    }
    assert!(full > 20, "{full}");
    world.network.heal();
    settle(&mut world);
    let together = world.status(0).own.bytes();
    assert!((64 << 10..=most).contains(&together), "{together}");
    for server in 0..3 {
        assert_eq!(world.status(server).bytes, together, "all have all (G1)");
    }
    // The old contents at the old size would be no more; but what is over takes nothing at all.
    let holds = made.iter().find(|served| {
        let copy = world.engine(1).copy(served.session.id.address).expect("there");
        copy.get("of 1").is_some()
    });
    let token = &holds.expect("one that server 2 wrote to").token;
    let again = vec![Change::Set(key("of 1"), Value::new(&[b'a'; 1200]))];
    let request = Request::Update { token: token.clone(), changes: again, acks: Acks::Local };
    assert_eq!(limit(world.ask(1, request)), "bytes_per_origin");
    update(&mut world, 1, token, vec![Change::Remove(key("of 1"))]);
    world.read(2, token).expect("served as ever");
    for served in &made {
        let delete = Request::Delete { token: served.token.clone(), acks: Acks::Local };
        world.ask_any(1, delete).expect("an end is never refused");
    }
    settle(&mut world);
    make(&mut world, 0, visitor(900)).expect("there is room again");
}

#[test]
fn a_session_that_two_servers_made_too_large_takes_only_removals() {
    let mut world = world(707, small(WhenFull::Refuse));
    let served = make(&mut world, 0, named("ann", 10)).expect("made");
    settle(&mut world);
    world.network.partition(&[1], &[0, 2]);
    for server in 0..2 {
        let changes = vec![Change::Set(key(&format!("of {server}")), Value::new(&[1; 3000]))];
        update(&mut world, server, &served.token, changes);
    }
    world.network.heal();
    settle(&mut world);
    let both = world.read(2, &served.token).expect("served").session;
    assert!(both.weight() > 4096, "more than any write may make it");
    let change = |change| {
        let (token, acks) = (served.token.clone(), Acks::Local);
        Request::Update { token, changes: vec![change], acks }
    };
    let same = Change::Set(key("of 0"), Value::new(&[2; 3000]));
    assert_eq!(limit(world.ask(2, change(same.clone()))), "session_bytes");
    world.ask(2, change(Change::Remove(key("of 1")))).expect("a removal");
    world.ask(2, change(same)).expect("there is room again");
}

#[test]
fn an_anonymous_session_lives_no_longer_than_anonymous_ones_may() {
    let hour = Duration::from_secs(3600);
    let farm = Farm { anonymous_lifetime: hour, ..Farm::default() };
    let mut world = world(708, farm);
    let now = world.now();
    let made = make(&mut world, 0, visitor(1)).expect("made").token.deadline;
    assert!(made <= now + hour + Duration::from_secs(1), "the default is cut");
    let day = Some(Duration::from_secs(24 * 3600));
    assert_eq!(limit(make(&mut world, 0, Create { lifetime: day, ..visitor(1) })), "lifetime");
    make(&mut world, 0, Create { lifetime: day, ..named("ann", 1) }).expect("with a principal");
}

/// An engine of its own, and a peer that it has heard of.
fn engine(farm: Farm) -> (Engine, Timestamp, ServerId) {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut config = Config::new(ServerId::new(1, now), farm);
    config.local.start_wait = Duration::ZERO;
    let engine = Engine::new(config, [1; 32], now).expect("a valid configuration");
    (engine, now, ServerId::new(2, now))
}

/// What a peer says of one of its sessions, as its `n`-th write.
fn says(peer: ServerId, now: Timestamp, slot: u32, n: u64, bytes: usize, over: bool) -> Command {
    let stamp = |n: u64| Stamp::from_bits(Stamp::at(now).to_bits() + n);
    let address = Address { origin: peer, slot };
    let id = SessionId {
        address,
        created: stamp(1 + u64::from(slot)),
        secret: Secret::from_bytes([1; 16]),
    };
    let (deadline, idle_timeout) = (now + Duration::from_secs(60), Duration::from_secs(60));
    let mut session = Session::new(id, Fixed { deadline, idle_timeout, ..Fixed::default() });
    let last = stamp(n);
    session.seen.raise(peer, last);
    if over {
        session.life = Life::Deleted;
        session.accessed = Stamp::ZERO;
    } else {
        let value = Value::new(&vec![b'x'; bytes]);
        let register = Attribute::Register { version: Version::new(id.created, peer), value };
        session.attributes = SortedMap::from_iter([(key("k"), register)]);
    }
    let prev = if n == 1 { Stamp::ZERO } else { stamp(n - 1) };
    let write = if over { Write::Delete(session.into()) } else { Write::Create(session.into()) };
    Command::Batch(Batch { publisher: peer, prev, writes: vec![write], last, ack: false })
}

#[test]
fn a_peer_that_makes_more_bytes_than_all_servers_may_is_refused_and_its_ends_are_taken() {
    let farm = Farm { slots_per_origin: 1 << 20, ..small(WhenFull::Refuse) };
    let most = farm.most_bytes_per_origin();
    let (mut engine, now, peer) = engine(farm);
    let mut refused = None;
    for n in 1..2000_u32 {
        let command = says(peer, now, n - 1, n.into(), 4000, false);
        engine.handle(now, Event::Command { from: peer, command });
        let cut = std::iter::from_fn(|| engine.poll_action())
            .any(|action| matches!(action, Action::Notify(Notice::Misbehaving { .. })));
        assert!(engine.usage(peer).bytes() <= most);
        if cut {
            refused = Some(n);
            break;
        }
    }
    engine.check_invariants();
    let refused = refused.expect("a peer that never stops is cut off");
    let status = engine.status();
    assert_eq!(status.counters.ignored_over_limit, 1);
    assert_eq!(
        status.applied.get(peer).to_bits(),
        Stamp::at(now).to_bits() + u64::from(refused) - 1,
        "the refused batch doesn't count"
    );
    let before = engine.usage(peer);
    let command = says(peer, now, 0, refused.into(), 0, true);
    engine.handle(now, Event::Command { from: peer, command });
    let after = engine.usage(peer);
    assert!(after.bytes() < before.bytes(), "what takes less is merged");
    assert_eq!(engine.status().counters.ignored_over_limit, 1);
}
