//! A farm in which messages arrive, in order, and timers come up: how every model starts, and what must
//! become of each of its last states.

use std::collections::{BTreeMap, VecDeque};

use grapevine_core::{
    Acks, Action, Address, Command, Create, Event, Life, Request, RequestError, RequestId,
    Response, ServerId, Session, To, Token,
};

use crate::engines::Running;
use crate::script::{BASE, BEAT, Bounds};

/// Beats within which a farm must be healed.
const BEATS: usize = 60;
/// Beats for which it must then stay so.
const QUIET: usize = 4;
/// More messages at once than this are a storm.
const STORM: usize = 10_000;
/// The request that makes the session from which a script starts.
const FIRST: RequestId = RequestId(99);

/// What became of a farm.
#[derive(Clone, Debug)]
pub(crate) struct Healed {
    /// How its servers differ, or what else is wrong with them.
    pub(crate) wrong: Option<String>,
    /// Which requests of the script the session shows, as bits.
    pub(crate) shows: u16,
    pub(crate) ended: bool,
    /// Requests that were answered at last.
    pub(crate) answered: Vec<u64>,
}

/// Servers that run, and what is under way between them.
struct Farm {
    servers: Vec<Option<Running>>,
    network: VecDeque<(ServerId, usize, Command)>,
    replies: Vec<(RequestId, Result<Response, RequestError>)>,
}

impl Farm {
    fn new(servers: Vec<Option<Running>>) -> Self {
        Self { servers, network: VecDeque::new(), replies: Vec::new() }
    }

    fn running(&self) -> impl Iterator<Item = &Running> {
        self.servers.iter().flatten()
    }

    fn handle(&mut self, server: usize, event: Event) -> Result<(), String> {
        let Some(running) = &mut self.servers[server] else { return Ok(()) };
        let from = running.engine.server();
        for action in running.handle(event)? {
            match action {
                Action::Publish { to, command } => {
                    for (other, there) in self.servers.iter().enumerate() {
                        let Some(there) = there.as_ref().filter(|_| other != server) else {
                            continue;
                        };
                        if to == To::All || to == To::One(there.engine.server()) {
                            self.network.push_back((from, other, command.clone()));
                        }
                    }
                }
                Action::Respond { id, outcome } => self.replies.push((id, outcome)),
                Action::Store { .. } | Action::Notify(_) => {}
                Action::Stop(why) => return Err(format!("a process ends: {why:?}")),
            }
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<(), String> {
        let ids: Vec<_> =
            self.servers.iter().map(|s| s.as_ref().map(|s| s.engine.server())).collect();
        for server in 0..ids.len() {
            for id in ids.iter().enumerate().filter(|&(other, _)| other != server) {
                if let Some(id) = *id.1 {
                    self.handle(server, Event::PeerUp(id))?;
                }
            }
        }
        self.deliver()
    }

    fn deliver(&mut self) -> Result<(), String> {
        let mut delivered = 0;
        while let Some((from, to, command)) = self.network.pop_front() {
            delivered += 1;
            if delivered > STORM {
                return Err("a storm of messages (G8)".to_owned());
            }
            self.handle(to, Event::Command { from, command })?;
        }
        Ok(())
    }

    fn beat(&mut self) -> Result<(), String> {
        for server in 0..self.servers.len() {
            if let Some(running) = &mut self.servers[server] {
                running.now = running.now + BEAT;
            }
            self.handle(server, Event::Timer)?;
        }
        self.deliver()
    }

    fn copies(running: &Running) -> BTreeMap<Address, &Session> {
        running.engine.copies().map(|copy| (copy.id.address, &**copy)).collect()
    }

    /// What is not yet as it must be in the end.
    fn unsettled(&self) -> Option<String> {
        let first = self.running().next().map(Self::copies);
        for running in self.running() {
            let server = running.engine.server();
            if running.engine.joining() {
                return Some(format!("{server} is still joining"));
            }
            if running.engine.waiting() > 0 {
                return Some(format!("{server} has not answered (G7)"));
            }
            if Some(Self::copies(running)) != first {
                return Some(format!(
                    "{server} differs (G1): {:?}\n{first:?}",
                    Self::copies(running)
                ));
            }
        }
        None
    }

    fn settle(&mut self) -> Result<(), String> {
        let mut quiet = 0;
        for _ in 0..BEATS {
            self.beat()?;
            quiet = if self.unsettled().is_none() { quiet + 1 } else { 0 };
            if quiet == QUIET {
                return Ok(());
            }
        }
        Err(self.unsettled().unwrap_or_else(|| "it does not stay healed (G1)".to_owned()))
    }
}

/// A farm that has joined. If the script makes no session, there is one, everywhere.
pub(crate) fn farm_at_rest(bounds: &Bounds) -> Result<(Vec<Running>, Option<Token>), String> {
    let servers = (0..bounds.servers).map(|server| Some(Running::start(bounds, server, 0, BASE)));
    let mut farm = Farm::new(servers.collect());
    farm.connect()?;
    farm.settle()?;
    if !bounds.creates() {
        let create = Create { acks: Acks::Local, ..Create::default() };
        farm.handle(0, Event::Request { id: FIRST, request: Request::Create(create) })?;
        farm.deliver()?;
        farm.settle()?;
    }
    let token = farm.replies.pop().and_then(|(_, outcome)| match outcome {
        Ok(Response::Session(served)) => Some(served.token),
        _ => None,
    });
    Ok((farm.servers.into_iter().flatten().collect(), token))
}

/// Lets messages arrive and timers come up until all is as it must be.
pub(crate) fn heal(bounds: &Bounds, servers: Vec<Option<Running>>) -> Healed {
    let mut farm = Farm::new(servers);
    let result = farm.connect().and_then(|()| farm.settle());
    let mut healed = Healed { wrong: result.err(), shows: 0, ended: false, answered: Vec::new() };
    healed.answered = farm.replies.iter().map(|(id, _)| id.0).collect();
    // There is one session at most; a part of one shows what is left.
    for copy in farm.running().next().into_iter().flat_map(|running| running.engine.copies()) {
        healed.ended |= copy.life == Life::Deleted;
        match bounds.shows(copy) {
            Ok(shows) => healed.shows |= shows,
            Err(why) => healed.wrong = Some(why),
        }
    }
    healed
}
