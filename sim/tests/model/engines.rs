//! The engines, each state of each kept once. What an event does to an engine in a state is found out
//! once and remembered; the model's states are made of numbers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};

use grapevine_core::command::Write;
use grapevine_core::{
    Action, Command, Engine, Event, Life, RequestError, RequestId, Response, ServerId, Session,
    Timestamp, To, Token, wire,
};
use xxhash_rust::xxh3::xxh3_128;

use crate::script::{BASE, BEAT, Bounds};

/// The number of something that is kept.
pub(crate) type No = u32;

/// An event at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Input {
    Deliver { from: ServerId, command: No },
    Beat,
    Ask { op: u8, token: Option<No> },
    Up(ServerId),
    Down(ServerId),
}

/// What a customer hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reply {
    /// The session; which requests it shows.
    Served {
        token: No,
        shows: u16,
        stale: bool,
        lost: bool,
    },
    Deleted,
    NotReplicated {
        token: Option<No>,
    },
    NotFound,
    Lost,
    Unavailable,
}

/// What an event did.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) engine: No,
    pub(crate) sent: Vec<(To, No)>,
    pub(crate) replies: Vec<(u8, Reply)>,
    pub(crate) wrote: Vec<No>,
    pub(crate) fault: Option<No>,
}

/// An engine and its clock.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) engine: Engine,
    pub(crate) now: Timestamp,
}

impl Running {
    /// A new process.
    pub(crate) fn start(bounds: &Bounds, server: usize, boot: u8, now: Timestamp) -> Self {
        let config =
            bounds.config(server, now.max(BASE) + std::time::Duration::from_millis(boot.into()));
        let seed = [server as u8 * 16 + boot; 32];
        let now = config.server.boot();
        Self { engine: Engine::new(config, seed, now).expect("a valid configuration"), now }
    }

    /// Hands an event over and looks at all of the engine. `Err` says what is wrong with it.
    pub(crate) fn handle(&mut self, event: Event) -> Result<Vec<Action>, String> {
        let ended = self.lives(Life::Deleted);
        let (engine, now) = (&mut self.engine, self.now);
        let actions = catch_unwind(AssertUnwindSafe(|| {
            engine.handle(now, event);
            let actions: Vec<Action> = std::iter::from_fn(|| engine.poll_action()).collect();
            engine.check_invariants();
            actions
        }));
        let actions = actions.map_err(|why| {
            let said = why.downcast_ref::<String>().cloned();
            let said = said.or_else(|| why.downcast_ref::<&str>().map(|&said| said.to_owned()));
            format!("panic: {}", said.unwrap_or_default())
        })?;
        if ended && !self.lives(Life::Deleted) {
            return Err("a tombstone is gone before its time (G4)".to_owned());
        }
        let serves = |action: &Action| {
            matches!(action, Action::Respond { outcome: Ok(Response::Session(_)), .. })
        };
        if ended && actions.iter().any(serves) {
            return Err("a server that has heard of the end serves the session (G4)".to_owned());
        }
        Ok(actions)
    }

    fn lives(&self, life: Life) -> bool {
        self.engine.copies().any(|copy| copy.life == life)
    }
}

/// Things, each once, by their digests.
struct Kept<T> {
    all: Vec<T>,
    by_digest: BTreeMap<u128, No>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { all: Vec::new(), by_digest: BTreeMap::new() }
    }
}

impl<T> Kept<T> {
    fn keep(&mut self, digest: u128, thing: T) -> No {
        *self.by_digest.entry(digest).or_insert_with(|| {
            self.all.push(thing);
            self.all.len() as No - 1
        })
    }
}

/// All that is kept.
#[derive(Default)]
struct Tables {
    engines: Kept<Running>,
    commands: Kept<Box<[u8]>>,
    tokens: Kept<Token>,
    /// Writes as they were published, with their writers.
    writes: Kept<(ServerId, Arc<Session>)>,
    faults: Kept<String>,
    steps: BTreeMap<(No, Input), Arc<Step>>,
    claims: BTreeMap<(No, No), bool>,
    text: String,
}

impl Tables {
    /// Of all that is shown: engines and sessions show everything but secrets.
    fn digest(&mut self, what: &dyn std::fmt::Debug) -> u128 {
        self.text.clear();
        write!(self.text, "{what:?}").expect("a string takes all");
        xxh3_128(self.text.as_bytes())
    }

    fn keep_engine(&mut self, running: Running) -> No {
        let digest =
            self.digest(&(running.engine.server(), running.now, running.engine.behaviour()));
        self.engines.keep(digest, running)
    }

    fn keep_token(&mut self, token: Token) -> No {
        let digest = self.digest(&token);
        self.tokens.keep(digest, token)
    }

    fn reply(
        &mut self,
        bounds: &Bounds,
        outcome: Result<Response, RequestError>,
    ) -> Result<Reply, String> {
        Ok(match outcome {
            Ok(Response::Session(served)) => Reply::Served {
                shows: bounds.shows(&served.session)?,
                token: self.keep_token(served.token),
                stale: served.stale,
                lost: served.lost,
            },
            Ok(_) => Reply::Deleted,
            Err(RequestError::NotReplicated { token, .. }) => {
                Reply::NotReplicated { token: token.map(|token| self.keep_token(token)) }
            }
            Err(RequestError::NotFound(_)) => Reply::NotFound,
            Err(RequestError::Lost) => Reply::Lost,
            Err(RequestError::Unavailable(_)) => Reply::Unavailable,
            Err(other) => return Err(format!("an answer that nothing asked for: {other}")),
        })
    }

    fn take(
        &mut self,
        bounds: &Bounds,
        me: ServerId,
        actions: Vec<Action>,
        step: &mut Step,
    ) -> Result<(), String> {
        for action in actions {
            match action {
                Action::Publish { to, command } => {
                    if let Command::Batch(batch) = &command {
                        for write in &batch.writes {
                            let write = Write::session(write);
                            let digest = self.digest(&(me, write));
                            step.wrote.push(self.writes.keep(digest, (me, Arc::clone(write))));
                        }
                    }
                    let mut bytes = Vec::new();
                    wire::encode(&command, &mut bytes);
                    let number = self.commands.keep(xxh3_128(&bytes), bytes.into());
                    step.sent.push((to, number));
                }
                Action::Respond { id: RequestId(op), outcome } => {
                    let reply = self.reply(bounds, outcome)?;
                    step.replies.push((op as u8, reply));
                }
                Action::Store { .. } | Action::Notify(_) => {}
                Action::Stop(why) => return Err(format!("a process ends: {why:?}")),
            }
        }
        Ok(())
    }
}

/// The tables, for all threads.
#[derive(Default)]
pub(crate) struct Engines(Mutex<Tables>);

impl Engines {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().expect("no panic under the lock")
    }

    pub(crate) fn keep(&self, running: Running) -> No {
        self.tables().keep_engine(running)
    }

    pub(crate) fn keep_token(&self, token: Token) -> No {
        self.tables().keep_token(token)
    }

    pub(crate) fn get(&self, engine: No) -> Running {
        self.tables().engines.all[engine as usize].clone()
    }

    /// How many states of single engines were met.
    pub(crate) fn len(&self) -> usize {
        self.tables().engines.all.len()
    }

    pub(crate) fn server(&self, engine: No) -> ServerId {
        self.tables().engines.all[engine as usize].engine.server()
    }

    pub(crate) fn fault(&self, fault: No) -> String {
        self.tables().faults.all[fault as usize].clone()
    }

    pub(crate) fn keep_fault(&self, fault: String) -> No {
        self.tables().faults.keep(xxh3_128(fault.as_bytes()), fault)
    }

    /// A command's name, for people.
    pub(crate) fn name(&self, bounds: &Bounds, command: No) -> String {
        let tables = self.tables();
        let farm = bounds.config(0, BASE).farm;
        let command =
            wire::decode(&tables.commands.all[command as usize], &farm).expect("own bytes");
        match &command {
            Command::Batch(batch) => format!("Batch to {}", batch.last),
            Command::Delta(delta) => format!("Delta of {}", delta.sessions.len()),
            other => other.name().to_owned(),
        }
    }

    /// What an event does to an engine.
    pub(crate) fn step(&self, bounds: &Bounds, engine: No, input: Input) -> Arc<Step> {
        let mut guard = self.tables();
        let tables = &mut *guard;
        if let Some(known) = tables.steps.get(&(engine, input)) {
            return Arc::clone(known);
        }
        let mut running = tables.engines.all[engine as usize].clone();
        let event = match input {
            Input::Beat => {
                running.now = running.now + BEAT;
                Event::Timer
            }
            Input::Deliver { from, command } => {
                let bytes = &tables.commands.all[command as usize];
                let farm = &running.engine.config().farm;
                Event::Command {
                    from,
                    command: wire::decode(bytes, farm).expect("own bytes decode"),
                }
            }
            Input::Ask { op, token } => {
                let token = token.map(|token| &tables.tokens.all[token as usize]);
                let request = bounds.request(op.into(), token);
                Event::Request { id: RequestId(op.into()), request }
            }
            Input::Up(server) => Event::PeerUp(server),
            Input::Down(server) => Event::PeerDown(server),
        };
        let (me, result) = (running.engine.server(), running.handle(event));
        let (sent, replies, wrote) = (Vec::new(), Vec::new(), Vec::new());
        let mut step = Step { engine, sent, replies, wrote, fault: None };
        let result = result.and_then(|actions| tables.take(bounds, me, actions, &mut step));
        let result = result.and_then(|()| {
            running.engine.copies().try_for_each(|copy| bounds.shows(copy).map(drop))
        });
        match result {
            Ok(()) => step.engine = tables.keep_engine(running),
            Err(fault) => step.fault = Some(tables.faults.keep(xxh3_128(fault.as_bytes()), fault)),
        }
        let step = Arc::new(step);
        tables.steps.insert((engine, input), Arc::clone(&step));
        step
    }

    /// Whether an engine's applied vector says of a write that it is here, and it isn't: the copy
    /// would change if the write came once more.
    pub(crate) fn lies(&self, engine: No, write: No) -> bool {
        let mut tables = self.tables();
        if let Some(&lies) = tables.claims.get(&(engine, write)) {
            return lies;
        }
        let (writer, session) = &tables.writes.all[write as usize];
        let lies = lies(&tables.engines.all[engine as usize].engine, *writer, session);
        tables.claims.insert((engine, write), lies);
        lies
    }

    /// Whether a write has not come to an engine.
    pub(crate) fn lacks(&self, engine: No, write: No) -> bool {
        let tables = self.tables();
        let (writer, session) = &tables.writes.all[write as usize];
        let copy = tables.engines.all[engine as usize].engine.copy(session.id.address);
        copy.is_none_or(|copy| copy.seen.get(*writer) < session.seen.get(*writer))
    }
}

fn lies(engine: &Engine, writer: ServerId, write: &Session) -> bool {
    if !engine.applied().covers_entry(writer, write.seen.get(writer)) {
        return false;
    }
    engine.copy(write.id.address).is_none_or(|copy| Session::clone(copy).merge(write))
}
