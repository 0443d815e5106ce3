//! Long lives, in virtual time: servers that restart for ever, a year of little traffic, and slots that
//! are used again and again. Nobody's memory may grow with time, and nobody gets what isn't theirs.

use std::collections::BTreeSet;
use std::time::Duration;

use grapevine_core::{
    Acks, Change, Create, Farm, Key, LimitError, ReadPolicy, Request, RequestError, Shown, Token,
};
use grapevine_sim::World;

const SECOND: Duration = Duration::from_secs(1);
const LIVES_OF_A_DAY: u32 = 24 * 3600 / 5;

/// Beats so slow that a day of them is soon over: what is looked at here takes hours, not beats.
fn slow_farm() -> Farm {
    Farm {
        heartbeat_every: SECOND,
        suspect_after: 2 * SECOND,
        down_after: 4 * SECOND,
        give_up_after: 60 * SECOND,
        ..Farm::default()
    }
}

fn key(name: &str) -> Key {
    Key::new(name).expect("a good key")
}

fn create(user: &str, lifetime: Duration) -> Request {
    let attributes = vec![(key("user"), user.into())];
    let (lifetime, idle_timeout) = (Some(lifetime), Some(lifetime));
    Request::Create(Create { attributes, lifetime, idle_timeout, ..Create::default() })
}

fn count(token: &Token) -> Request {
    let changes = vec![Change::Add(key("n"), 1)];
    Request::Update { token: token.clone(), changes, acks: Acks::Local }
}

/// How much there is of everything that could grow.
#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    /// Entries of the applied vector.
    entries: usize,
    /// Processes that the copies here name.
    writers: usize,
    origins: usize,
    copies: usize,
    bytes: u64,
}

impl Sizes {
    fn of(world: &World, server: usize) -> Self {
        let engine = world.engine(server);
        let writers = engine.copies().flat_map(|copy| copy.seen.iter().map(|entry| entry.0));
        Self {
            entries: engine.applied().len(),
            writers: writers.collect::<BTreeSet<_>>().len(),
            origins: engine.copies().map(|c| c.id.address.origin).collect::<BTreeSet<_>>().len(),
            copies: engine.copies().count(),
            bytes: world.status(server).bytes,
        }
    }

    /// The most of each.
    fn most(self, other: Self) -> Self {
        Self {
            entries: self.entries.max(other.entries),
            writers: self.writers.max(other.writers),
            origins: self.origins.max(other.origins),
            copies: self.copies.max(other.copies),
            bytes: self.bytes.max(other.bytes),
        }
    }

    /// Whether the second half of a life took no more than the first, but for chance.
    fn is_flat_after(self, first: Self) -> bool {
        let flat = |first: usize, second: usize| second <= first + first / 10 + 2;
        flat(first.entries, self.entries)
            && flat(first.writers, self.writers)
            && flat(first.origins, self.origins)
            && flat(first.copies, self.copies)
            && flat(first.bytes as usize, self.bytes as usize)
    }
}

/// What a server that restarts again and again came to.
#[derive(Default)]
struct Restarts {
    /// The most of everything, in the first half of its lives and in the second.
    halves: [Sizes; 2],
    /// Requests of its customers that it refused for want of a place.
    refused: u32,
    done: u32,
}

/// A server of three dies every five seconds, and is started at once. In each of its lives it makes a
/// session and writes to another server's, and the others write to what it made.
fn restart_for_ever(world: &mut World, lives: u32, session: Duration) -> Restarts {
    let mut restarts = Restarts::default();
    for life in 0..lives {
        world.crash(2);
        world.start(2);
        world.run_for(3 * SECOND);
        let made = world.ask(life as usize % 2, create("ann", session)).expect("created elsewhere");
        world.run_for(SECOND / 2);
        for request in [count(&made.token), create("bob", session)] {
            match world.ask(2, request) {
                Ok(made) => {
                    restarts.done += 1;
                    world.run_for(SECOND / 4);
                    world.ask(0, count(&made.token)).expect("what it did is elsewhere");
                }
                Err(RequestError::Limit(LimitError::Servers { .. })) => restarts.refused += 1,
                Err(other) => panic!("life {life}: {other}"),
            }
        }
        world.run_for(SECOND);
        let half = &mut restarts.halves[usize::from(life >= lives / 2)];
        for server in 0..2 {
            *half = half.most(Sizes::of(world, server));
        }
    }
    restarts
}

/// Its sessions live for a minute and a half: what is looked at is what stays behind.
#[test]
fn a_server_that_restarts_every_five_seconds_for_a_day_leaves_nothing_behind() {
    let mut world = World::new(301, slow_farm());
    world.whole_state_every = 64;
    world.run_for(5 * SECOND);
    let restarts = restart_for_ever(&mut world, LIVES_OF_A_DAY, 90 * SECOND);
    let [first, second] = restarts.halves;
    assert_eq!((restarts.refused, restarts.done), (0, 2 * LIVES_OF_A_DAY));
    assert!(first.entries <= 40 && first.origins <= 40, "twenty lives' sessions: {first:?}");
    assert!(second.is_flat_after(first), "{first:?} {second:?}");
    world.run_for(10 * SECOND);
    assert!((0..3).all(|server| !world.status(server).joining));
    assert_eq!(world.differences(), Vec::<String>::new());
}

/// Its sessions live longer than there are places for its processes. Then it may not write, and says so;
/// nobody else is kept from anything.
#[test]
fn a_server_that_restarts_too_often_may_not_write_until_places_come_free() {
    let hour = 3600 * SECOND;
    let mut world = World::new(302, Farm { known_servers: 48, ..slow_farm() });
    world.whole_state_every = 64;
    world.run_for(5 * SECOND);
    let restarts = restart_for_ever(&mut world, 100, hour);
    assert!(
        restarts.refused > 150 && restarts.done >= 14,
        "{} {}",
        restarts.refused,
        restarts.done
    );
    let [first, second] = restarts.halves;
    assert!(second.entries <= 12 && second.writers <= 12, "{first:?} {second:?}");
    // Another server restarts, and is as good as ever.
    world.crash(0);
    world.start(0);
    world.run_for(10 * SECOND);
    let made = world.ask(0, create("cyd", hour)).expect("another number has its own places");
    // Who may not write serves reads all the same.
    let read = Request::Read { token: made.token.clone(), policy: ReadPolicy::Fresh };
    world.run_for(SECOND);
    assert!(world.ask(2, read).is_ok());
    assert!(world.ask(2, create("bob", hour)).is_err());
    for server in 0..3 {
        let status = world.status(server);
        assert!(!status.joining && status.counters.ignored_over_limit == 0);
    }
    assert_eq!(world.differences(), Vec::<String>::new());
    // An hour later its earlier processes' sessions are over.
    world.run_for(hour + 10 * SECOND);
    world.ask(2, create("bob", hour)).expect("a place came free");
}

/// Quiet hours are leapt over: all clocks are set ahead at once. A heartbeat at least every ten seconds
/// for a year is more than a test should take.
#[test]
fn a_year_of_little_traffic_leaves_nothing_behind() {
    const DAYS: u32 = 365;
    let day = 24 * 3600 * SECOND;
    let mut world = World::new(303, Farm { max_lifetime: day, ..slow_farm() });
    world.whole_state_every = 64;
    world.run_for(5 * SECOND);
    let mut halves = [Sizes::default(); 2];
    for quarter in 0..4 * DAYS {
        for customer in 0..3_usize {
            let server = (customer + quarter as usize) % 3;
            let made = world.ask(server, create("ann", day / 2)).expect("created");
            world.run_for(5 * SECOND);
            world.ask((server + 1) % 3, count(&made.token)).expect("counted");
        }
        if quarter % 120 == 119 {
            // Every month the servers are replaced one after another.
            for server in 0..3 {
                world.crash(server);
                world.start(server);
                world.run_for(10 * SECOND);
            }
        }
        let half = &mut halves[usize::from(quarter >= 2 * DAYS)];
        for server in 0..3 {
            *half = half.most(Sizes::of(&world, server));
            let ahead = day.as_micros() as i64 / 4 * i64::from(quarter + 1);
            world.skew(server, ahead);
        }
        world.run_for(30 * SECOND);
    }
    let [first, second] = halves;
    assert!(first.copies <= 20 && first.entries <= 6, "{first:?}");
    assert!(second.is_flat_after(first), "{first:?} {second:?}");
    assert_eq!(world.differences(), Vec::<String>::new());
    assert!(world.status(0).counters.dropped > 30, "since the last restart");
}

/// Who carries a token of a session that is over gets its own session or none, however often the slot
/// was given to others since (G4, G10).
#[test]
fn old_tokens_never_reach_the_sessions_that_have_their_slots_now() {
    let farm =
        Farm { slots_per_origin: 3, anonymous_percent: 100, known_servers: 48, ..slow_farm() };
    let mut world = World::new(304, farm);
    world.whole_state_every = 64;
    world.run_for(5 * SECOND);
    let mut made: Vec<(String, Token)> = Vec::new();
    let (mut full, mut own, mut over) = (0, 0, 0);
    for round in 0..600_usize {
        let user = format!("user {round}");
        match world.ask(round % 3, create(&user, 20 * SECOND)) {
            Ok(served) => made.push((user, served.token)),
            Err(RequestError::Limit(LimitError::Slots { .. })) => full += 1,
            Err(other) => panic!("{other}"),
        }
        // An old one, a newer one, and the newest, anywhere.
        for back in [round * 7 % made.len() + 1, round % 5 + 1, 1] {
            let Some((user, token)) = made.len().checked_sub(back).map(|at| &made[at]) else {
                continue;
            };
            let read = Request::Read { token: token.clone(), policy: ReadPolicy::BestEffort };
            let request = if round % 2 == 0 { read } else { count(token) };
            match world.ask((round + back) % 3, request) {
                Ok(served) => {
                    assert_eq!(served.session.get("user"), Some(Shown::Bytes(user.as_bytes())));
                    own += 1;
                }
                Err(_) => over += 1,
            }
        }
        world.run_for(2 * SECOND);
    }
    let slots = made.iter().map(|(_, token)| token.id.address).collect::<BTreeSet<_>>();
    assert!(slots.len() <= 9 && made.len() > 20 * slots.len(), "slots are used again and again");
    assert!(full > 0 && own > 100 && over > 100, "{full} {own} {over}");
}
