//! What goes wrong in a scenario, and when.

use serde::{Deserialize, Serialize};

/// A fault and its time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timed {
    /// Seconds after the start of the safety phase.
    pub at_s: f64,
    /// What goes wrong (or is mended).
    #[serde(flatten)]
    pub fault: Fault,
}

impl<'de> Deserialize<'de> for Timed {
    /// By hand: with `flatten`, fields that nobody knows would be passed over.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let mut table = toml::Table::deserialize(deserializer)?;
        let at = table.remove("at_s").ok_or_else(|| D::Error::missing_field("at_s"))?;
        let at_s = f64::deserialize(at).map_err(D::Error::custom)?;
        let fields = table.len();
        let fault: Fault = Fault::deserialize(table).map_err(D::Error::custom)?;
        if fault == Fault::Mend && fields > 1 {
            return Err(D::Error::custom("`mend` has no field but `at_s`"));
        }
        Ok(Self { at_s, fault })
    }
}

/// Something that goes wrong, or is mended again. Servers are numbered from 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
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
    /// A server and all others can't reach each other.
    Isolate {
        /// Which.
        server: u16,
    },
    /// What these servers send doesn't reach the others; what the others send arrives.
    OneWay {
        /// Who can't be heard.
        side: Vec<u16>,
    },
    /// One server reaches all; these servers and the others reach each other through it only.
    Bridge {
        /// The bridge.
        server: u16,
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
    /// Every connection between these servers and the others swallows all from now on, and tells nobody, not
    /// even of its end. New connections are as ever.
    Swallow {
        /// The one side.
        side: Vec<u16>,
    },
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
    /// A copy in a server's memory is damaged, and nothing tells of it: verification must find it.
    CorruptMemory {
        /// Which.
        server: u16,
        /// What happens to the copy.
        what: Memory,
        /// Chooses the copy, among those that can be damaged so.
        pick: u32,
    },
    /// Nobody's sessions, many at once: what a crawler does that keeps no cookie.
    Flood {
        /// Where they are made.
        server: u16,
        /// How many.
        sessions: u32,
        /// The bytes of the one attribute that each has.
        bytes: u32,
    },
}

/// What happens to a copy in a server's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// It is gone.
    LostCopy,
    /// One of its attributes is gone.
    LostAttribute,
    /// A bit of a value is another one.
    FlippedValue,
    /// What one server added to a counter is gone.
    LostAdd,
}

impl From<Memory> for grapevine_core::rare::Memory {
    fn from(memory: Memory) -> Self {
        match memory {
            Memory::LostCopy => Self::LostCopy,
            Memory::LostAttribute => Self::LostAttribute,
            Memory::FlippedValue => Self::FlippedValue,
            Memory::LostAdd => Self::LostAdd,
        }
    }
}

impl Fault {
    /// All kinds, as a scenario file names them.
    pub const KINDS: [&'static str; 20] = [
        "crash",
        "start",
        "pause",
        "resume",
        "leave",
        "slow",
        "partition",
        "isolate",
        "one_way",
        "bridge",
        "cut",
        "mend",
        "swallow",
        "clog",
        "unclog",
        "weather",
        "step",
        "drift",
        "corrupt_memory",
        "flood",
    ];

    /// Its kind, as a scenario file names it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Crash { .. } => "crash",
            Self::Start { .. } => "start",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::Leave { .. } => "leave",
            Self::Slow { .. } => "slow",
            Self::Partition { .. } => "partition",
            Self::Isolate { .. } => "isolate",
            Self::OneWay { .. } => "one_way",
            Self::Bridge { .. } => "bridge",
            Self::Cut { .. } => "cut",
            Self::Mend => "mend",
            Self::Swallow { .. } => "swallow",
            Self::Clog { .. } => "clog",
            Self::Unclog { .. } => "unclog",
            Self::Weather { .. } => "weather",
            Self::Step { .. } => "step",
            Self::Drift { .. } => "drift",
            Self::CorruptMemory { .. } => "corrupt_memory",
            Self::Flood { .. } => "flood",
        }
    }

    /// The servers that it names.
    pub fn servers(&self) -> Vec<u16> {
        match self {
            Self::Crash { server }
            | Self::Start { server }
            | Self::Pause { server }
            | Self::Resume { server }
            | Self::Leave { server }
            | Self::Isolate { server }
            | Self::Slow { server, .. }
            | Self::Step { server, .. }
            | Self::Drift { server, .. }
            | Self::CorruptMemory { server, .. }
            | Self::Flood { server, .. } => vec![*server],
            Self::Cut { from, to } | Self::Clog { from, to } | Self::Unclog { from, to } => {
                vec![*from, *to]
            }
            Self::Partition { side } | Self::OneWay { side } | Self::Swallow { side } => {
                side.clone()
            }
            Self::Bridge { server, side } => [*server].iter().chain(side).copied().collect(),
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
            | Self::Isolate { server }
            | Self::Slow { server, .. }
            | Self::Step { server, .. }
            | Self::Drift { server, .. }
            | Self::CorruptMemory { server, .. }
            | Self::Flood { server, .. } => change(server),
            Self::Cut { from, to } | Self::Clog { from, to } | Self::Unclog { from, to } => {
                change(from);
                change(to);
            }
            Self::Partition { side } | Self::OneWay { side } | Self::Swallow { side } => {
                side.iter_mut().for_each(change);
            }
            Self::Bridge { server, side } => {
                change(server);
                side.iter_mut().for_each(change);
            }
            Self::Mend | Self::Weather { .. } => {}
        }
    }

    /// The side that it divides the servers by, if it does.
    pub(crate) const fn side_mut(&mut self) -> Option<&mut Vec<u16>> {
        match self {
            Self::Partition { side }
            | Self::OneWay { side }
            | Self::Swallow { side }
            | Self::Bridge { side, .. } => Some(side),
            _ => None,
        }
    }
}
