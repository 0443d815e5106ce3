//! Pull and delta: gaps, joining, healing.

use core::time::Duration;

use grapevine_core::command::{Batch, Cursor, Delta, Pull, Write};
use grapevine_core::*;
use grapevine_sim::{Delay, World};

use crate::common::*;

#[test]
fn an_empty_server_gets_everything_back() {
    let mut world = farm(20);
    let mut tokens = Vec::new();
    for n in 0..200 {
        let served = create(&mut world, n % 3);
        tokens.push(add(&mut world, (n + 1) % 3, &served.token, "n", n as i64).token);
    }
    world.crash(2);
    world.run_for(Duration::from_millis(500));
    world.start(2);
    settle(&mut world);
    assert!(!world.status(2).joining);
    assert_eq!(world.differences(), Vec::<String>::new());
    assert_eq!(world.status(2).sessions, 200);
    for (n, token) in tokens.iter().enumerate() {
        assert_eq!(text(&world.read(2, token).expect("found"), "n"), Some(n.to_string()));
    }
}

#[test]
fn lost_batches_are_repaired_even_one_session_at_a_time() {
    let local = Local { pull_budget: 1, ..Local::default() };
    let mut world = World::with_local(21, Farm::default(), local);
    settle(&mut world);
    world.network.links.loss = 0.3;
    world.network.links.repeats = 0.2;
    world.network.links.delay = Delay::Uniform { min_ms: 0.2, max_ms: 30.0 };
    let served: Vec<_> = (0..30).map(|n| create(&mut world, n % 3)).collect();
    for (n, served) in served.iter().enumerate() {
        for server in 0..3 {
            let changes = vec![Change::Add(key("n"), n as i64)];
            let token = served.token.clone();
            let acks = Acks::Local;
            world.request(server, Request::Update { token, changes, acks });
        }
    }
    world.run_for(Duration::from_secs(3));
    world.network.links.loss = 0.0;
    world.run_for(Duration::from_secs(20));
    assert_eq!(world.differences(), Vec::<String>::new());
    let gaps: u64 = (0..3).map(|server| world.status(server).counters.gaps).sum();
    assert!(gaps > 0, "the story needs gaps");
}

#[test]
fn a_healed_partition_leaves_no_difference() {
    let mut world = farm(22);
    let served = create(&mut world, 0);
    settle(&mut world);
    world.network.partition(&[0], &[1, 2]);
    for n in 0..20 {
        set(&mut world, 0, &served.token, &format!("left/{n}"), "x");
        set(&mut world, 1, &served.token, &format!("right/{n}"), "y");
        create(&mut world, n % 3);
    }
    world.run_for(Duration::from_secs(10));
    world.network.heal();
    settle(&mut world);
    assert_eq!(world.differences(), Vec::<String>::new());
    let read = world.read(2, &served.token).expect("found");
    assert_eq!(read.session.iter().count(), 41, "both sides' writes are there");
}

#[test]
fn a_paused_server_is_level_again() {
    let mut world = farm(23);
    world.pause(1);
    for n in 0..50 {
        create(&mut world, if n % 2 == 0 { 0 } else { 2 });
    }
    world.run_for(Duration::from_secs(10));
    world.resume(1);
    settle(&mut world);
    assert_eq!(world.differences(), Vec::<String>::new());
    assert_eq!(world.status(1).sessions, 50);
}

/// A peer's session, created at a stamp, and the batch that says so.
fn batch(publisher: ServerId, prev: Stamp, created: Stamp, slot: u32) -> Command {
    let address = Address { origin: publisher, slot };
    let id = SessionId { address, created, secret: Secret::from_bytes([slot as u8; 16]) };
    let deadline = created.time() + Duration::from_secs(600);
    let fixed = Fixed { deadline, idle_timeout: Duration::from_secs(600), ..Fixed::default() };
    let writes = vec![Write::Create(Session::new(id, fixed).into())];
    Command::Batch(Batch { publisher, prev, writes, last: created, ack: false })
}

/// A holder had a gap in a stream when it began to list it. What filled the gap was sorted in
/// behind the place that the list had come to, and the asker was told that it had it
/// (`docs/decisions/0001-claims-from-the-start-of-a-list.md`).
#[test]
fn a_write_that_reaches_the_holder_behind_its_place_in_the_list_is_not_claimed() {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let [holder, writer, asker] = [1, 2, 3].map(|number| ServerId::new(number, now));
    let mut engine = Engine::new(at_once(holder), [1; 32], now).expect("valid");
    let stamps: Vec<Stamp> =
        (1..=4).map(|n| Stamp::from_bits(Stamp::at(now).to_bits() + n)).collect();
    let publish = |engine: &mut Engine, n: usize| {
        let prev = if n == 0 { Stamp::ZERO } else { stamps[n - 1] };
        let command = batch(writer, prev, stamps[n], n as u32);
        engine.handle(now, Event::Command { from: writer, command });
    };
    let pull = |engine: &mut Engine, cursor: Option<Cursor>| -> Delta {
        let base = Vector::default();
        let pull = Pull { round: 1, base, cursor, budget: 1, partial: false };
        engine.handle(now, Event::Command { from: asker, command: Command::Pull(pull) });
        let deltas =
            std::iter::from_fn(|| engine.poll_action()).filter_map(|action| match action {
                Action::Publish { to: To::One(to), command: Command::Delta(delta) }
                    if to == asker =>
                {
                    Some(delta)
                }
                _ => None,
            });
        deltas.last().expect("a part")
    };
    // The second write is late.
    [0, 2, 3].into_iter().for_each(|n| publish(&mut engine, n));
    let first = pull(&mut engine, None);
    let second = pull(&mut engine, first.next);
    assert_eq!(second.sessions[0].id.created, stamps[2], "the list is past the gap");
    publish(&mut engine, 1);
    assert_eq!(engine.applied().get(writer), stamps[3], "the holder has everything now");
    let third = pull(&mut engine, second.next);
    assert_eq!(third.next, None);
    assert_eq!(third.complete, vec![(writer, stamps[0])], "the asker was never sent the second");
}

/// A process that starts without asking anybody.
fn at_once(server: ServerId) -> Config {
    let mut config = Config::new(server, Farm::default());
    config.local.start_wait = Duration::ZERO;
    config
}

#[test]
fn batches_from_beyond_a_gap_count_once_the_gap_is_closed() {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let [me, writer] = [1, 2].map(|number| ServerId::new(number, now));
    let mut engine = Engine::new(at_once(me), [1; 32], now).expect("valid");
    let stamp = |n: u64| Stamp::from_bits(Stamp::at(now).to_bits() + n);
    for n in [1, 3, 4, 5] {
        let prev = if n == 1 { Stamp::ZERO } else { stamp(n - 1) };
        let command = batch(writer, prev, stamp(n), n as u32);
        engine.handle(now, Event::Command { from: writer, command });
    }
    assert_eq!(engine.applied().get(writer), stamp(1), "nothing from beyond the gap counts");
    let command = batch(writer, stamp(1), stamp(2), 2);
    engine.handle(now, Event::Command { from: writer, command });
    assert_eq!(engine.applied().get(writer), stamp(5));
}
