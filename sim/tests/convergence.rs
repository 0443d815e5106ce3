//! Any batches in any order, with losses, repeats, partitions and restarts, and a final repair, give
//! equal servers (G1), with counters exact (G6) and nothing deleted back again (G4).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use grapevine_core::{
    Acks, Change, Create, Farm, Key, Local, Request, RequestId, Response, Shown, Token,
};
use grapevine_sim::{Delay, World};
use proptest::prelude::*;

const KEYS: [&str; 3] = ["name", "cart/1", "cart/2"];

#[derive(Clone, Debug)]
enum Step {
    Create { server: usize },
    Set { server: usize, session: usize, key: usize, value: u8 },
    Add { server: usize, session: usize, amount: i64 },
    Remove { server: usize, session: usize, key: usize },
    Replace { server: usize, session: usize, value: u8 },
    Delete { server: usize, session: usize },
    Isolate { server: usize },
    CutOneWay { from: usize, to: usize },
    Heal,
    Pause { server: usize },
    Resume { server: usize },
    Wait { millis: u64 },
    Crash { server: usize },
    Start { server: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let server = || 0..3_usize;
    let session = || 0..6_usize;
    prop_oneof![
        3 => server().prop_map(|server| Step::Create { server }),
        6 => (server(), session(), 0..3_usize, any::<u8>())
            .prop_map(|(server, session, key, value)| Step::Set { server, session, key, value }),
        6 => (server(), session(), -5..100_i64)
            .prop_map(|(server, session, amount)| Step::Add { server, session, amount }),
        2 => (server(), session(), 0..3_usize)
            .prop_map(|(server, session, key)| Step::Remove { server, session, key }),
        1 => (server(), session(), any::<u8>())
            .prop_map(|(server, session, value)| Step::Replace { server, session, value }),
        1 => (server(), session()).prop_map(|(server, session)| Step::Delete { server, session }),
        1 => server().prop_map(|server| Step::Isolate { server }),
        1 => (server(), server()).prop_map(|(from, to)| Step::CutOneWay { from, to }),
        2 => Just(Step::Heal),
        1 => server().prop_map(|server| Step::Pause { server }),
        1 => server().prop_map(|server| Step::Resume { server }),
        4 => (0..800_u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

/// What the run asked for, to be held against what the farm has at the end.
#[derive(Default)]
struct Asked {
    creates: Vec<RequestId>,
    adds: Vec<(RequestId, usize, i64)>,
    deletes: Vec<(RequestId, usize)>,
    /// Sessions whose counter is not only added to.
    replaced: BTreeSet<usize>,
    tokens: BTreeMap<usize, Token>,
}

impl Asked {
    fn collect_tokens(&mut self, world: &World) {
        for (session, id) in self.creates.iter().enumerate() {
            if let Some(Ok(Response::Session(served))) = world.answer(*id) {
                self.tokens.entry(session).or_insert_with(|| served.token.clone());
            }
        }
    }
}

fn take(world: &mut World, asked: &mut Asked, step: &Step) {
    asked.collect_tokens(world);
    let key = |index: usize| Key::new(KEYS[index]).expect("a good key");
    let token = |session: &usize| asked.tokens.get(session).cloned();
    let change = |world: &mut World, server: usize, token: Token, change: Change| {
        let (changes, acks) = (vec![change], Acks::Local);
        world.request(server, Request::Update { token, changes, acks })
    };
    match step {
        Step::Create { server } => {
            let id = world.request(*server, Request::Create(Create::default()));
            asked.creates.push(id);
        }
        Step::Set { server, session, key: k, value } => {
            if let Some(token) = token(session) {
                change(world, *server, token, Change::Set(key(*k), (&[*value][..]).into()));
            }
        }
        Step::Add { server, session, amount } => {
            if let Some(token) = token(session) {
                let count = Key::new("count").expect("a good key");
                let id = change(world, *server, token, Change::Add(count, *amount));
                asked.adds.push((id, *session, *amount));
            }
        }
        Step::Remove { server, session, key: k } => {
            if let Some(token) = token(session) {
                change(world, *server, token, Change::Remove(key(*k)));
            }
        }
        Step::Replace { server, session, value } => {
            if let Some(token) = token(session) {
                let (attributes, acks) = (vec![(key(0), (&[*value][..]).into())], Acks::Local);
                world.request(*server, Request::Replace { token, attributes, acks });
                asked.replaced.insert(*session);
            }
        }
        Step::Delete { server, session } => {
            if let Some(token) = token(session) {
                let acks = Acks::Local;
                let id = world.request(*server, Request::Delete { token, acks });
                asked.deletes.push((id, *session));
            }
        }
        Step::Isolate { server } => {
            let others: Vec<usize> = (0..3).filter(|other| other != server).collect();
            world.network.partition(&[*server], &others);
        }
        Step::CutOneWay { from, to } => {
            world.network.cut.insert((*from, *to));
        }
        Step::Heal => world.network.heal(),
        Step::Pause { server } => world.pause(*server),
        Step::Resume { server } => world.resume(*server),
        Step::Wait { millis } => world.run_for(Duration::from_millis(*millis)),
        // Never the last one that has joined: what all have lost nobody can have.
        Step::Crash { server } => {
            let mut others = (0..3).filter(|other| other != server && world.is_up(*other));
            if others.any(|other| !world.status(other).joining) {
                world.crash(*server);
            }
        }
        Step::Start { server } => {
            if !world.is_up(*server) {
                world.start(*server);
            }
        }
    }
}

fn check(world: &World, asked: &Asked) -> Result<(), TestCaseError> {
    prop_assert_eq!(world.differences(), Vec::<String>::new());
    let done = |id: &RequestId| matches!(world.answer(*id), Some(Ok(_)));
    for (id, _, _) in &asked.adds {
        prop_assert!(world.answer(*id).is_some(), "a request without a response (G7)");
    }
    for (session, token) in &asked.tokens {
        let copy = world.engine(0).copies().find(|copy| copy.id == token.id);
        let copy = copy.ok_or_else(|| TestCaseError::fail("a session was lost"))?;
        let deleted = asked.deletes.iter().any(|(id, of)| of == session && done(id));
        prop_assert_eq!(copy.life == grapevine_core::Life::Deleted, deleted);
        if !deleted && !asked.replaced.contains(session) {
            let adds = asked.adds.iter().filter(|(id, of, _)| of == session && done(id));
            let sum: i64 = adds.map(|(_, _, amount)| amount).sum();
            let count = match copy.get("count") {
                Some(Shown::Count(count)) => count,
                None => 0,
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            prop_assert_eq!(count, sum, "increments lost or doubled (G6)");
        }
    }
    Ok(())
}

fn run(
    seed: u64,
    loss: u32,
    repeats: u32,
    jitter: u64,
    budget: u32,
    steps: &[Step],
) -> Result<(), TestCaseError> {
    let local = Local { pull_budget: budget, ..Local::default() };
    let mut world = World::with_local(seed, Farm::default(), local);
    world.network.links.delay = Delay::Uniform { min_ms: 0.2, max_ms: jitter as f64 };
    world.strict = true;
    world.run_for(Duration::from_secs(4));
    let links = &mut world.network.links;
    (links.loss, links.repeats) = (f64::from(loss) / 1000.0, f64::from(repeats) / 1000.0);
    let mut asked = Asked::default();
    for step in steps {
        take(&mut world, &mut asked, step);
    }
    world.network.heal();
    (world.network.links.loss, world.network.links.repeats) = (0.0, 0.0);
    (0..3).for_each(|server| world.resume(server));
    world.run_for(Duration::from_secs(30));
    asked.collect_tokens(&world);
    check(&world, &asked)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, ..ProptestConfig::default() })]

    #[test]
    fn servers_are_equal_after_any_losses_repeats_and_a_final_repair(
        seed in any::<u64>(),
        loss in prop_oneof![Just(0_u32), 1..600_u32],
        repeats in prop_oneof![Just(0_u32), 1..400_u32],
        jitter in prop_oneof![Just(1_u64), 1..300_u64],
        budget in prop_oneof![Just(1_u32), 1..4096_u32, Just(262_144_u32)],
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        run(seed, loss, repeats, jitter, budget, &steps)?;
    }
}

fn life() -> impl Strategy<Value = Step> {
    let server = || 0..3_usize;
    prop_oneof![
        8 => step().prop_filter("links stay whole here", |step| {
            !matches!(step, Step::Isolate { .. } | Step::CutOneWay { .. } | Step::Pause { .. })
        }),
        1 => server().prop_map(|server| Step::Crash { server }),
        2 => server().prop_map(|server| Step::Start { server }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, ..ProptestConfig::default() })]

    #[test]
    fn servers_are_equal_after_any_crashes_and_restarts_on_whole_links(
        seed in any::<u64>(),
        jitter in 1..300_u64,
        steps in proptest::collection::vec(life(), 1..80),
    ) {
        let mut world = World::new(seed, Farm::default());
        world.network.links.delay = Delay::Uniform { min_ms: 0.2, max_ms: jitter as f64 };
        world.network.links.in_order = true;
        world.strict = true;
        world.run_for(Duration::from_secs(4));
        let mut asked = Asked::default();
        for step in &steps {
            take(&mut world, &mut asked, step);
        }
        (0..3).filter(|&server| !world.is_up(server)).collect::<Vec<_>>().into_iter()
            .for_each(|server| world.start(server));
        world.run_for(Duration::from_secs(30));
        prop_assert_eq!(world.differences(), Vec::<String>::new());
        prop_assert!((0..3).all(|server| !world.status(server).joining), "still joining");
    }
}
