//! Scenarios: a run as data. A scenario says what farm there is, what customers do and what goes
//! wrong when; it says nothing of how that is simulated, so other harnesses can run it too. The
//! schema is documented in `docs/testing.md`.

use std::time::Duration;

use grapevine_core::{Farm, Local};
use serde::{Deserialize, Serialize};

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Feeds every coin flip of the run.
    pub seed: u64,
    /// How many servers are configured.
    pub servers: u16,
    /// How long customers shop and faults happen, in seconds.
    pub duration_s: f64,
    /// What is healed afterwards.
    #[serde(default)]
    pub heal: Heal,
    /// Limits and times that differ from the defaults.
    #[serde(default)]
    pub limits: Limits,
    /// The network.
    #[serde(default)]
    pub network: Links,
    /// The customers.
    #[serde(default)]
    pub workload: Workload,
    /// What goes wrong, in order of time.
    #[serde(default, rename = "fault", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Timed>,
    /// Requests one by one, in order of time: made besides what the workload's customers do, by
    /// customers numbered after them.
    #[serde(default, rename = "request", skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Scripted>,
}

/// A request and its time, as a script has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scripted {
    /// Seconds after the start of the safety phase.
    pub at_s: f64,
    /// Which scripted customer asks, from 1. Each carries its token from request to request.
    pub customer: u32,
    /// Of which servers, from 1; a double submit names two. One that is down isn't asked.
    pub servers: Vec<u16>,
    /// What it asks. A customer without a session creates one, whatever this says.
    pub kind: Kind,
    /// Draws the rest: which attribute, how much.
    #[serde(default)]
    pub flips: u32,
}

/// What is healed before the farm must converge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heal {
    /// Every server and every link.
    #[default]
    All,
    /// A majority drawn by the seed, and the links among it; the rest stays as broken as it is.
    Majority,
}

/// Limits and times that differ from the defaults. `None` keeps the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Slots per origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots_per_origin: Option<u32>,
    /// Bytes of one session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_bytes: Option<u32>,
    /// Attributes of one session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes_per_session: Option<u32>,
    /// Bytes of sessions per part of a repair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_budget: Option<u32>,
    /// Copies larger than this are offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offer_above: Option<u32>,
    /// Requests that may wait at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_requests: Option<u32>,
    /// Silent for this long: given up, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub give_up_after_ms: Option<u64>,
}

impl Limits {
    /// The farm's settings with these.
    pub fn farm(&self, size: u16) -> Farm {
        let default = Farm::default();
        let session_bytes = self.session_bytes.unwrap_or(default.session_bytes);
        let largest = 2 * (session_bytes * (u32::from(size) + 1) + 4096);
        let give_up = self.give_up_after_ms.map(Duration::from_millis);
        Farm {
            size,
            slots_per_origin: self.slots_per_origin.unwrap_or(default.slots_per_origin),
            session_bytes,
            value_bytes: default.value_bytes.min(session_bytes),
            frame_bytes: default.frame_bytes.max(largest),
            attributes_per_session: self
                .attributes_per_session
                .unwrap_or(default.attributes_per_session),
            give_up_after: give_up.unwrap_or(default.give_up_after),
            ..default
        }
    }

    /// Each server's own settings with these.
    pub fn local(&self) -> Local {
        let default = Local::default();
        Local {
            pull_budget: self.pull_budget.unwrap_or(default.pull_budget),
            offer_above: self.offer_above.unwrap_or(default.offer_above),
            pending_requests: self.pending_requests.unwrap_or(default.pending_requests),
            ..default
        }
    }
}

/// How long messages take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Delay {
    /// Anything in the range alike.
    Uniform {
        /// The shortest.
        min_ms: f64,
        /// The longest.
        max_ms: f64,
    },
    /// Short as a rule, long now and then.
    LongTail {
        /// The longest of the usual ones.
        usual_ms: f64,
        /// The longest of the rare ones.
        rare_ms: f64,
        /// How probable a rare one is, 0 to 1.
        rare: f64,
    },
}

/// All links of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Links {
    /// How long messages take.
    pub delay: Delay,
    /// How probable it is that a message is lost, 0 to 1.
    pub loss: f64,
    /// How probable it is that a message arrives twice.
    pub repeats: f64,
    /// How probable it is that a message arrives with flipped bits.
    pub corruption: f64,
    /// Whether messages of one link keep their order, as on a TCP connection.
    pub in_order: bool,
    /// Messages in flight per link; what comes beyond is lost.
    pub queue: usize,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            delay: Delay::Uniform { min_ms: 0.2, max_ms: 2.0 },
            loss: 0.0,
            repeats: 0.0,
            corruption: 0.0,
            in_order: false,
            queue: 10_000,
        }
    }
}

/// What customers do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workload {
    /// How many there are.
    pub customers: u32,
    /// How long one thinks between requests, in ms: from, to.
    pub think_ms: (u64, u64),
    /// How long one waits for a response before it goes elsewhere, in ms.
    pub patience_ms: u64,
    /// The idle timeout of sessions, in seconds.
    pub idle_timeout_s: u64,
    /// The lifetime of sessions, in seconds.
    pub lifetime_s: u64,
    /// Which kinds of request customers make; creating and reading are always among them.
    pub kinds: Vec<Kind>,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            customers: 6,
            think_ms: (10, 400),
            patience_ms: 3000,
            idle_timeout_s: 600,
            lifetime_s: 3600,
            kinds: Kind::ALL.to_vec(),
        }
    }
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Make a new session. Never drawn: a customer does so when it has none.
    Create,
    /// Read the session. Never drawn: it is what is left.
    Read,
    /// Write a register.
    Set,
    /// Add to a counter.
    Add,
    /// Remove an attribute.
    Remove,
    /// Replace all attributes.
    Replace,
    /// Write an attribute larger than the limit of direct answers.
    Large,
    /// End the session; the customer then makes a new one.
    Delete,
    /// The same write at two servers at once.
    DoubleSubmit,
    /// A token with flipped bits, which must be refused.
    Forge,
    /// A token from earlier.
    StaleToken,
    /// A read that would rather be stale than fail.
    BestEffort,
    /// Writes that wait for other servers.
    Acks,
    /// Nothing for longer than the idle timeout.
    Idle,
}

impl Kind {
    /// All that are drawn.
    pub const ALL: [Self; 12] = [
        Self::Set,
        Self::Add,
        Self::Remove,
        Self::Replace,
        Self::Large,
        Self::Delete,
        Self::DoubleSubmit,
        Self::Forge,
        Self::StaleToken,
        Self::BestEffort,
        Self::Acks,
        Self::Idle,
    ];
}

/// A fault and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// Seconds after the start of the safety phase.
    pub at_s: f64,
    /// What goes wrong (or is mended).
    #[serde(flatten)]
    pub fault: Fault,
}

/// Something that goes wrong, or is mended again. Servers are numbered from 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// A server dies; its memory is gone.
    Crash {
        /// Which.
        server: u16,
    },
    /// A server that is down starts again, empty.
    Start {
        /// Which.
        server: u16,
    },
    /// A server stops running; what comes for it waits.
    Pause {
        /// Which.
        server: u16,
    },
    /// It runs again: everything at once.
    Resume {
        /// Which.
        server: u16,
    },
    /// A server leaves in order, and then stops.
    Leave {
        /// Which.
        server: u16,
    },
    /// A server takes longer for everything.
    Slow {
        /// Which.
        server: u16,
        /// What each event costs, in ms; zero mends it.
        ms: f64,
    },
    /// These servers, and the others, can't reach each other.
    Partition {
        /// The one side.
        side: Vec<u16>,
    },
    /// One server's messages don't reach another.
    Cut {
        /// The sender.
        from: u16,
        /// The receiver.
        to: u16,
    },
    /// All cut links are mended.
    Mend,
    /// What is sent on this link waits.
    Clog {
        /// The sender.
        from: u16,
        /// The receiver.
        to: u16,
    },
    /// What waits on this link goes on.
    Unclog {
        /// The sender.
        from: u16,
        /// The receiver.
        to: u16,
    },
    /// The network gets worse (or better) by loss, repeats, corruption.
    Weather {
        /// Probability of loss.
        loss: f64,
        /// Probability of a repeat.
        repeats: f64,
        /// Probability of corruption.
        corruption: f64,
    },
    /// A server's clock is stepped.
    Step {
        /// Which.
        server: u16,
        /// By how much, in ms; negative is back.
        ms: i64,
    },
    /// A server's clock runs fast or slow.
    Drift {
        /// Which.
        server: u16,
        /// By how much, in parts per million.
        ppm: i64,
    },
}

/// Why a text is no scenario. Nothing was run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// Not the TOML of a scenario.
    #[error("the scenario can't be read: {0}")]
    Toml(#[from] toml::de::Error),
    /// A value that doesn't fit.
    #[error("the scenario has {field} = {value}; {allowed}")]
    Value {
        /// Where.
        field: &'static str,
        /// What it is.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
}

impl Scenario {
    /// A scenario from its TOML.
    ///
    /// # Errors
    /// [`ScenarioError`], if it can't be read or a value doesn't fit.
    pub fn from_toml(text: &str) -> Result<Self, ScenarioError> {
        let mut scenario: Self = toml::from_str(text)?;
        scenario.validate()?;
        scenario.faults.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        scenario.requests.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        Ok(scenario)
    }

    /// The TOML of this scenario.
    ///
    /// # Panics
    /// Never: every scenario has a TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every scenario has a TOML")
    }

    fn times(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let faults = self.faults.iter().map(|timed| ("fault.at_s", timed.at_s));
        faults.chain(self.requests.iter().map(|request| ("request.at_s", request.at_s)))
    }

    fn validate(&self) -> Result<(), ScenarioError> {
        let refuse =
            |field, value: String, allowed| Err(ScenarioError::Value { field, value, allowed });
        if !(1..=64).contains(&self.servers) {
            return refuse("servers", self.servers.to_string(), "it must be from 1 to 64");
        }
        if !(0.0..=1e8).contains(&self.duration_s) {
            return refuse("duration_s", self.duration_s.to_string(), "it must be from 0 to 1e8");
        }
        if self.workload.think_ms.0 > self.workload.think_ms.1 {
            let value = format!("{:?}", self.workload.think_ms);
            return refuse("think_ms", value, "it must go from the shorter to the longer time");
        }
        let links = &self.network;
        for (field, value) in [
            ("network.loss", links.loss),
            ("network.repeats", links.repeats),
            ("network.corruption", links.corruption),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return refuse(field, value.to_string(), "it must be from 0 to 1");
            }
        }
        let known = |server: u16| (1..=self.servers).contains(&server);
        for timed in &self.faults {
            if !timed.fault.servers().into_iter().all(known) {
                let value = format!("{:?}", timed.fault);
                return refuse("fault", value, "servers are numbered from 1 to `servers`");
            }
        }
        for (field, at_s) in self.times() {
            if !(0.0..=1e8).contains(&at_s) {
                return refuse(field, at_s.to_string(), "it must be from 0 to 1e8");
            }
        }
        for request in &self.requests {
            if !request.servers.iter().copied().all(known) {
                let value = format!("{:?}", request.servers);
                return refuse("request", value, "servers are numbered from 1 to `servers`");
            }
            if !(1..=10_000).contains(&request.customer) {
                let value = request.customer.to_string();
                return refuse("request.customer", value, "it must be from 1 to 10000");
            }
        }
        Ok(())
    }
}

impl Fault {
    /// The servers that it names.
    pub fn servers(&self) -> Vec<u16> {
        match self {
            Self::Crash { server }
            | Self::Start { server }
            | Self::Pause { server }
            | Self::Resume { server }
            | Self::Leave { server }
            | Self::Slow { server, .. }
            | Self::Step { server, .. }
            | Self::Drift { server, .. } => vec![*server],
            Self::Cut { from, to } | Self::Clog { from, to } | Self::Unclog { from, to } => {
                vec![*from, *to]
            }
            Self::Partition { side } => side.clone(),
            Self::Mend | Self::Weather { .. } => Vec::new(),
        }
    }

    /// Changes the numbers of the servers that it names.
    pub(crate) fn each_server(&mut self, mut change: impl FnMut(&mut u16)) {
        match self {
            Self::Crash { server }
            | Self::Start { server }
            | Self::Pause { server }
            | Self::Resume { server }
            | Self::Leave { server }
            | Self::Slow { server, .. }
            | Self::Step { server, .. }
            | Self::Drift { server, .. } => change(server),
            Self::Cut { from, to } | Self::Clog { from, to } | Self::Unclog { from, to } => {
                change(from);
                change(to);
            }
            Self::Partition { side } => side.iter_mut().for_each(change),
            Self::Mend | Self::Weather { .. } => {}
        }
    }
}
