//! Where a scenario runs. On the queue, the world is all there is. Elsewhere real adapters run, and the
//! world has a twin of each of their engines, which gets the same events: so the same model and the same
//! checks judge both. What a harness can't do is said with the outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use grapevine_core::{
    Config, Event, Request, RequestError, RequestId, Response, Session, Timestamp, TokenKey,
};

use serde::Serialize;

use crate::network::{Link, Network};
use crate::scenario::{Fault, Scenario};

#[cfg(madsim)]
mod madsim;
#[cfg(all(unix, feature = "sockets"))]
mod sockets;
#[cfg(feature = "turmoil")]
mod turmoil;

#[cfg(all(unix, feature = "sockets"))]
pub use sockets::serve_a_run;

/// What a scenario can be run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum On {
    /// Engines alone, on one event queue.
    #[default]
    Queue,
    /// The adapter that ships, on turmoil's simulated network.
    #[cfg(feature = "turmoil")]
    Turmoil,
    /// The adapter that ships, in processes of its own, on this machine's sockets, in real time.
    #[cfg(all(unix, feature = "sockets"))]
    Sockets,
    /// The adapter that ships, on madsim. Only a build with `--cfg madsim` can.
    #[cfg(madsim)]
    Madsim,
}

impl On {
    /// All that this program was built with.
    pub const ALL: &'static [Self] = &[
        Self::Queue,
        #[cfg(feature = "turmoil")]
        Self::Turmoil,
        #[cfg(all(unix, feature = "sockets"))]
        Self::Sockets,
        #[cfg(madsim)]
        Self::Madsim,
    ];

    /// Whether all of a run comes from its seed.
    pub fn has_one_trace(self) -> bool {
        self.name() != "sockets"
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            #[cfg(feature = "turmoil")]
            Self::Turmoil => "turmoil",
            #[cfg(all(unix, feature = "sockets"))]
            Self::Sockets => "sockets",
            #[cfg(madsim)]
            Self::Madsim => "madsim",
        }
    }
}

/// The key of every scenario's farm.
pub(crate) const KEY: [u8; 32] = [42; 32];

/// The key that customers' tokens are made with.
pub(crate) fn token_key() -> TokenKey {
    TokenKey::new(&KEY)
}

/// An answer.
pub(crate) type Outcome = Result<Response, RequestError>;

/// What happened at a server that runs elsewhere.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) server: usize,
    /// When, by the harness's time.
    pub(crate) at: Timestamp,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// A process has a new engine.
    Starts { config: Box<Config>, seed: [u8; 32], now: Timestamp },
    /// Its customers can ask it.
    Serves,
    /// Its engine got an event.
    Handles { now: Timestamp, event: Box<Event> },
    /// All that its engine wanted was done.
    CarriesOut,
    /// A customer got an answer; none, if the server stopped meanwhile.
    Answers { id: RequestId, outcome: Option<Outcome> },
    /// It shows these sessions, at rest; so many frames found no room in its queues.
    Shows { sessions: Vec<Arc<Session>>, overflow: u64 },
    /// It stopped by itself, and why.
    Stops(String),
}

/// Servers that run elsewhere than in the world.
pub(crate) trait Harness {
    /// Lets a little time go by, and tells what happened.
    fn step(&mut self) -> Vec<Told>;

    /// Its time.
    fn now(&self) -> Timestamp;

    /// Has a customer ask a server. `false` if nobody is there to take it.
    fn submit(&mut self, server: usize, id: RequestId, request: Request) -> bool;

    /// Kills a process: nothing of it is left. Returns what happened before and was not told yet, of all
    /// servers: others may have seen what came of it.
    fn crash(&mut self, server: usize) -> Vec<Told>;

    /// Starts a server that is down.
    fn start(&mut self, server: usize);

    /// Stops a process where it is.
    fn pause(&mut self, _server: usize) {}

    /// Has a paused process go on; if it is not paused, nothing changes.
    fn resume(&mut self, _server: usize) {}

    /// Cuts, mends, clogs and unclogs links as the world's network says.
    fn links(&mut self, network: &Network);

    /// Has every connection between the servers of these links swallow everything from now on.
    fn swallow(&mut self, _links: &[Link]) {}

    /// Whether a connection that has lost something stays dead when its link is mended, and nobody is told.
    fn streams_stay_dead(&self) -> bool {
        false
    }

    /// Has links be as they are after healing.
    fn calm(&mut self, longest_ms: f64);

    /// Has every server tell what it shows. Returns how many will.
    fn look(&mut self) -> usize;

    /// Why it leaves a fault out, in a sentence; `None` if it does not.
    fn cannot(&self, fault: &Fault) -> Option<&'static str> {
        no_adapter_can(fault)
    }

    /// What of a fault it does in another way, in a sentence.
    fn otherwise(&self, fault: &Fault) -> Option<&'static str>;

    /// For how long, at most, the machine kept something waiting; `None` where time is simulated.
    fn late(&self) -> Option<Duration> {
        None
    }
}

/// What can't be done to a real server, wherever it runs.
fn no_adapter_can(fault: &Fault) -> Option<&'static str> {
    match fault {
        Fault::Slow { .. } => Some("slow: a real server takes the time that it takes; left out"),
        Fault::Step { .. } | Fault::Drift { .. } => {
            Some("step, drift: all servers there have one clock, which nobody can set; left out")
        }
        Fault::CorruptMemory { .. } => {
            Some("corrupt_memory: a real server's memory can't be damaged; left out")
        }
        Fault::Crash { .. }
        | Fault::Start { .. }
        | Fault::Pause { .. }
        | Fault::Resume { .. }
        | Fault::Leave { .. }
        | Fault::Partition { .. }
        | Fault::Isolate { .. }
        | Fault::OneWay { .. }
        | Fault::Bridge { .. }
        | Fault::Cut { .. }
        | Fault::Mend
        | Fault::Swallow { .. }
        | Fault::Clog { .. }
        | Fault::Unclog { .. }
        | Fault::Weather { .. }
        | Fault::Flood { .. } => None,
    }
}

/// Servers that run elsewhere, and what is under way there.
pub(crate) struct Elsewhere {
    pub(crate) servers: Box<dyn Harness>,
    /// Requests that no engine has got yet, and perhaps none will: some are answered without.
    asked: Vec<(usize, RequestId, Request)>,
    /// Answers that engines decided, and by which server, until their customers have them.
    pub(crate) decided: BTreeMap<RequestId, (usize, Outcome)>,
    /// How many servers are still to tell what they show.
    pub(crate) to_show: usize,
    /// Processes that stand still: nobody there gets or tells anything.
    pub(crate) paused: BTreeSet<usize>,
}

impl Elsewhere {
    pub(crate) fn new(servers: Box<dyn Harness>) -> Self {
        Self {
            servers,
            asked: Vec::new(),
            decided: BTreeMap::new(),
            to_show: 0,
            paused: BTreeSet::new(),
        }
    }

    /// Has a customer ask a server. `false` if nobody is there to take it.
    pub(crate) fn ask(&mut self, server: usize, id: RequestId, request: Request) -> bool {
        self.asked.push((server, id, request.clone()));
        self.servers.submit(server, id, request)
    }

    /// A server's engine got a request: whose it is. Of two that are the same it is the first.
    pub(crate) fn came(&mut self, server: usize, request: &Request) -> Option<RequestId> {
        let is_it = |(at, _, asked): &(usize, _, Request)| *at == server && asked == request;
        let place = self.asked.iter().position(is_it)?;
        Some(self.asked.remove(place).1)
    }

    /// A request needs no engine any more.
    pub(crate) fn forget(&mut self, id: RequestId) {
        self.asked.retain(|(_, asked, _)| *asked != id);
    }

    /// The first answer that was decided and did not come, though nobody stands still.
    pub(crate) fn overdue(&self) -> Option<&(usize, Outcome)> {
        self.decided.values().find(|(server, _)| !self.paused.contains(server))
    }

    /// A process died, and who waited there.
    pub(crate) fn died(&mut self, server: usize) {
        self.paused.remove(&server);
        self.asked.retain(|(at, ..)| *at != server);
        self.decided.retain(|_, (at, _)| *at != server);
    }
}

/// A harness of this kind for a scenario, and what of the scenario (but for its faults) it leaves out.
/// `None` for the queue.
pub(crate) fn harness(
    on: On,
    scenario: &Scenario,
) -> Option<(Box<dyn Harness>, Vec<&'static str>)> {
    match on {
        On::Queue => None,
        #[cfg(feature = "turmoil")]
        On::Turmoil => {
            let (harness, left_out) = turmoil::Turmoil::new(scenario);
            Some((Box::new(harness), left_out))
        }
        #[cfg(all(unix, feature = "sockets"))]
        On::Sockets => {
            let (harness, left_out) = sockets::Sockets::new(scenario);
            Some((Box::new(harness), left_out))
        }
        #[cfg(madsim)]
        On::Madsim => {
            let (harness, left_out) = madsim::Madsim::new(scenario);
            Some((Box::new(harness), left_out))
        }
    }
}
