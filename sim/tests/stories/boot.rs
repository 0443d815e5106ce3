//! Which process a number is: clocks that went back between two starts, and numbers used twice.

use core::time::Duration;

use grapevine_core::{
    Acks, Action, Command, Config, Create, Engine, Event, Farm, Request, RequestError, RequestId,
    ServerId, Stop, Timestamp, To, Unavailable,
};
use grapevine_sim::World;

use crate::common::*;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// What is known of the third server, at the others.
fn known(world: &World) -> Vec<ServerId> {
    let of = |server: usize| world.status(server).members[1].server;
    (0..2).map(of).collect()
}

#[test]
fn a_server_is_not_counted_before_it_knows_that_its_number_is_its_own() {
    let mut world = farm(300);
    let before = known(&world);
    world.crash(2);
    world.start(2);
    assert!(world.engine(2).starting());
    world.run_for(Duration::from_micros(10));
    assert_eq!(known(&world), before, "nobody counts it");
    started(&mut world, 2);
    settle(&mut world);
    assert_eq!(known(&world), [world.engine(2).server(); 2]);
    assert!(!world.status(2).joining);
}

#[test]
fn a_server_whose_clock_went_back_takes_the_boot_after_its_predecessors() {
    let mut world = farm(301);
    let served = create(&mut world, 2);
    settle(&mut world);
    let before = world.engine(2).server();
    world.crash(2);
    // Within what clocks may differ by.
    world.start_as(2, before.boot().before(MS(300)));
    settle(&mut world);
    assert_eq!(world.engine(2).server(), before.next_boot());
    assert!(!world.status(2).joining);
    let token = set(&mut world, 2, &served.token, "a", "1").token;
    settle(&mut world);
    for server in 0..3 {
        let read = world.read(server, &token).expect("its writes count");
        assert_eq!(text(&read, "a").as_deref(), Some("1"));
    }
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[test]
fn a_server_with_the_very_boot_of_its_predecessor_does_not_take_that_ones_stream_for_its_own() {
    let mut world = farm(302);
    let served = create(&mut world, 2);
    settle(&mut world);
    let before = world.engine(2).server();
    world.crash(2);
    world.start_as(2, before.boot());
    settle(&mut world);
    assert_eq!(world.engine(2).server(), before.next_boot());
    for server in 0..3 {
        assert!(world.read(server, &served.token).is_ok());
        assert_eq!(world.engine(server).counters().ignored_over_limit, 0);
    }
}

#[test]
fn a_predecessor_that_never_wrote_is_known_by_its_boot_all_the_same() {
    let mut world = farm(303);
    let before = world.engine(2).server();
    world.crash(2);
    world.start_as(2, before.boot());
    settle(&mut world);
    assert_eq!(world.engine(2).server(), before.next_boot());
}

#[test]
fn what_is_known_of_a_number_survives_in_what_its_processes_wrote() {
    let mut world = farm(304);
    create(&mut world, 2);
    settle(&mut world);
    let before = world.engine(2).server();
    world.crash(2);
    // Neither of the two has heard the third server itself after this.
    for server in [0, 1] {
        world.crash(server);
        world.start(server);
        settle(&mut world);
    }
    world.start_as(2, before.boot().before(MS(1)));
    settle(&mut world);
    assert_eq!(world.engine(2).server(), before.next_boot());
}

#[test]
fn the_first_server_of_a_farm_starts_after_a_while_though_nobody_answers() {
    let mut world = World::without(305, Farm::default(), Default::default(), &[1, 2]);
    let asked = world.now();
    let create = Request::Create(Create::default());
    let outcome = world.ask(0, create.clone()).expect_err("not as long as others may know better");
    assert!(matches!(outcome, RequestError::Unavailable(Unavailable::NoAnswer(_))));
    world.run_for(MS(50));
    assert!(world.ask(0, create).is_ok());
    assert!(world.now().since(asked) < Duration::from_secs(1));
}

#[test]
fn requests_wait_for_a_start_that_takes_no_longer_than_they_may() {
    let mut world = farm(306);
    let served = create(&mut world, 0);
    settle(&mut world);
    world.crash(2);
    world.start(2);
    assert!(world.engine(2).starting());
    assert!(
        world.read(2, &served.token).is_ok(),
        "it waited for the start, and then for an answer"
    );
}

#[test]
fn a_server_that_learns_too_late_of_a_later_boot_ends_and_what_it_wrote_stays() {
    let mut world = farm(307);
    let before = world.engine(2).server();
    // The first server alone will know the later process.
    world.crash(2);
    world.crash(1);
    let later = Timestamp::from_millis(before.boot().as_millis() + 3_600_000);
    world.start_as(2, later);
    settle(&mut world);
    world.crash(2);
    world.network.partition(&[0], &[1, 2]);
    world.start(1);
    world.start(2);
    settle(&mut world);
    let second = world.engine(2).server();
    assert!(second.boot() < later, "nobody that it reaches knows better");
    let acks = Acks::Peers(1);
    let created = world.ask(2, Request::Create(Create { acks, ..Create::default() }));
    let served = created.expect("one other has it");
    world.network.heal();
    settle(&mut world);
    settle(&mut world);
    let third = world.engine(2).server();
    assert_eq!(third.boot().as_millis(), later.as_millis() + 1, "it was started again");
    for server in 0..3 {
        assert!(world.read(server, &served.token).is_ok(), "at server {server}");
    }
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[test]
fn a_starting_process_hears_of_a_later_boot_from_one_that_its_question_does_not_reach() {
    let mut world = farm(310);
    world.crash(2);
    // The clock was far ahead, and only the first server remembers it.
    let later = Timestamp::from_millis(world.now().as_millis() + 3_600_000);
    world.start_as(2, later);
    settle(&mut world);
    world.crash(2);
    world.crash(1);
    world.network.clogged.extend([(0, 1), (2, 0)]);
    world.start(1);
    world.start(2);
    started(&mut world, 2);
    let process = world.engine(2).server();
    assert_eq!(process.boot().as_millis(), later.as_millis() + 1, "before it said anything");
    settle(&mut world);
    assert_eq!(world.engine(2).server(), process, "it was not superseded");
    let acks = Acks::Peers(1);
    let created = world.ask(1, Request::Create(Create { acks, ..Create::default() }));
    assert!(created.is_ok(), "it has what the second server writes: {created:?}");
}

/// Engines that hear each other at once; two of them may have one number.
struct Room {
    engines: Vec<Engine>,
    now: Timestamp,
    stopped: Vec<(ServerId, Stop)>,
}

impl Room {
    fn new(servers: &[ServerId]) -> Self {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let mut room = Self { engines: Vec::new(), now, stopped: Vec::new() };
        servers.iter().for_each(|&server| room.enter(server));
        room
    }

    /// One more process starts, and is linked with all that live.
    fn enter(&mut self, server: ServerId) {
        let config = Config::new(server, Farm::default());
        let seed = [self.engines.len() as u8; 32];
        let engine = Engine::new(config, seed, self.now).expect("a valid configuration");
        let others: Vec<usize> = (0..self.engines.len())
            .filter(|&other| self.engines[other].server().number() != server.number())
            .collect();
        self.engines.push(engine);
        let new = self.engines.len() - 1;
        for other in others {
            let peer = self.engines[other].server();
            self.handle(new, Event::PeerUp(peer));
            self.handle(other, Event::PeerUp(server));
        }
    }

    fn handle(&mut self, at: usize, event: Event) {
        let mut events = std::collections::VecDeque::from([(at, event)]);
        while let Some((at, event)) = events.pop_front() {
            let from = self.engines[at].server();
            if self.stopped.iter().any(|&(server, _)| server == from) {
                continue;
            }
            self.engines[at].handle(self.now, event);
            self.engines[at].check_invariants();
            while let Some(action) = self.engines[at].poll_action() {
                match action {
                    Action::Publish { to, command } => {
                        for (other, engine) in self.engines.iter().enumerate() {
                            let server = engine.server();
                            let meant = to == To::All || to == To::One(server);
                            if meant && server.number() != from.number() {
                                let command = command.clone();
                                events.push_back((other, Event::Command { from, command }));
                            }
                        }
                    }
                    Action::Stop(stop) => self.stopped.push((from, stop)),
                    _ => {}
                }
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / 50 {
            self.now = self.now + MS(50);
            for at in 0..self.engines.len() {
                self.handle(at, Event::Timer);
            }
        }
    }

    fn process(number: u16, after: u64) -> ServerId {
        ServerId::new(number, Timestamp::from_millis(1_700_000_000_000 + after))
    }
}

#[test]
fn a_process_whose_number_lives_gives_up_and_the_living_one_goes_on() {
    let [one, two, old] = [1, 2, 3].map(|number| Room::process(number, 0));
    let mut room = Room::new(&[one, two, old]);
    room.pass(Duration::from_secs(3));
    assert!(room.engines.iter().all(|engine| !engine.joining()));
    let new = Room::process(3, 5_000);
    room.enter(new);
    let request = Request::Create(Create::default());
    room.handle(3, Event::Request { id: RequestId(1), request });
    room.pass(Farm::default().in_use_for());
    assert_eq!(room.stopped, [], "a dead process would be found dead by then");
    room.pass(Duration::from_secs(1));
    assert_eq!(room.stopped, [(new, Stop::NumberInUse { holder: old })]);
    for at in 0..2 {
        assert_eq!(room.engines[at].status().members[1].server, old);
    }
    assert_eq!(room.engines[3].copies().count(), 0, "it wrote nothing");
}

#[test]
fn a_process_gets_the_number_of_one_that_fell_silent_while_it_was_starting() {
    let [one, two, old] = [1, 2, 3].map(|number| Room::process(number, 0));
    let mut room = Room::new(&[one, two, old]);
    room.pass(Duration::from_secs(3));
    let new = Room::process(3, 5_000);
    room.enter(new);
    // No connection broke: it was pulled out of the wall.
    room.engines.remove(2);
    room.pass(Duration::from_secs(5));
    assert_eq!(room.stopped, []);
    assert!(!room.engines[2].starting() && !room.engines[2].joining());
    assert_eq!(room.engines[0].status().members[1].server, new);
}

#[test]
fn of_two_processes_that_start_at_once_with_one_number_the_later_one_stays() {
    let one = Room::process(1, 0);
    let mut room = Room::new(&[one]);
    room.pass(Duration::from_secs(2));
    let (first, second) = (Room::process(3, 2_000), Room::process(3, 2_001));
    // The second server is down: both wait for its word, and neither is known to the first one.
    room.enter(first);
    room.enter(second);
    assert!(room.engines[1].starting() && room.engines[2].starting());
    room.pass(Duration::from_secs(3));
    assert_eq!(room.stopped, [(first, Stop::Superseded { newer: second })]);
    assert_eq!(room.engines[0].status().members[0].server, second);
}

#[test]
fn a_process_that_ended_answers_every_request_and_says_nothing() {
    let [one, two, three] = [1, 2, 3].map(|number| Room::process(number, 0));
    let mut room = Room::new(&[one, two, three]);
    room.pass(Duration::from_secs(3));
    let engine = &mut room.engines[0];
    let newer = one.next_boot();
    // Another server hears of a newer process of its number, and tells.
    let heartbeat = {
        let other = &mut Engine::new(
            {
                let mut config = Config::new(two, Farm::default());
                config.local.start_wait = Duration::ZERO;
                config
            },
            [9; 32],
            room.now,
        )
        .expect("a valid configuration");
        let beat = Command::Ack { applied: grapevine_core::Stamp::ZERO };
        other.handle(room.now, Event::Command { from: newer, command: beat });
        other.handle(room.now, Event::Command { from: newer, command: Command::HeartbeatRequest });
        let said = std::iter::from_fn(|| other.poll_action());
        let beats = said.filter_map(|action| match action {
            Action::Publish { command: command @ Command::Heartbeat(_), .. } => Some(command),
            _ => None,
        });
        beats.last().expect("a heartbeat")
    };
    engine.handle(room.now, Event::Request { id: RequestId(1), request: Request::Leave });
    engine.handle(room.now, Event::Command { from: two, command: heartbeat });
    let request = Request::Create(Create::default());
    engine.handle(room.now, Event::Request { id: RequestId(2), request });
    engine.handle(room.now + Duration::from_secs(1), Event::Timer);
    let (mut answered, mut stop, mut said_after) = (0, None, 0);
    while let Some(action) = engine.poll_action() {
        match action {
            Action::Respond { .. } => answered += 1,
            Action::Stop(why) => stop = Some(why),
            Action::Publish { .. } if stop.is_some() => said_after += 1,
            _ => {}
        }
    }
    assert_eq!(stop, Some(Stop::Superseded { newer }));
    assert_eq!((answered, said_after), (2, 0));
    assert_eq!(engine.poll_timeout(), None);
}

#[test]
fn a_process_that_died_before_anybody_heard_it_does_not_keep_contexts_for_ever() {
    // Found by seed 500000000034003: its clock was far ahead, and its successor's was right.
    let mut world = farm(309);
    world.crash(2);
    settle(&mut world);
    world.skew(2, 62_000_000);
    world.pause(0);
    world.start(2);
    world.run_for(MS(100));
    let unheard = world.engine(2).server();
    world.crash(2);
    world.skew(2, 0);
    world.resume(0);
    world.start(2);
    settle(&mut world);
    assert!(world.engine(2).server() < unheard, "nobody tells it of that one");
    settle(&mut world);
    let served = create(&mut world, 0);
    settle(&mut world);
    let token = set(&mut world, 1, &served.token, "a", "1").token;
    settle(&mut world);
    let read = world.read(0, &token).expect("all have it");
    assert_eq!(read.token.context.len(), 0, "nothing is carried that all have");
}
