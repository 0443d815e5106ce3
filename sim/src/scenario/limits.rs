//! Limits and times of a scenario's farm that differ from the defaults.

use std::time::Duration;

use grapevine_core::{Acks, Farm, Local, WhenFull, WhenIsolated};
use serde::{Deserialize, Serialize};

/// What a write waits for that leaves it to the farm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FarmAcks {
    /// Nobody.
    Local,
    /// One other server.
    One,
    /// Two others.
    Two,
    /// A majority of the configured servers.
    Majority,
    /// All that are alive.
    All,
}

/// Limits and times that differ from the defaults. `None` keeps the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Slots per origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots_per_origin: Option<u32>,
    /// Bytes that the sessions of one origin may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_origin: Option<u64>,
    /// How much of both anonymous sessions may take, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous_percent: Option<u8>,
    /// Processes that are remembered at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_servers: Option<u32>,
    /// Whether anonymous sessions end to make room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evict_anonymous: Option<bool>,
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
    /// Whether answers go to all servers that lack the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_all: Option<bool>,
    /// Queries asked on for others at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_forwards: Option<u32>,
    /// Requests that may wait at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_requests: Option<u32>,
    /// The longest life of a session, in seconds. What the farm gives those that ask for none is cut to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lifetime_s: Option<u64>,
    /// The longest life of a session without a principal, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous_lifetime_s: Option<u64>,
    /// Silent for this long: given up, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub give_up_after_ms: Option<u64>,
    /// How often a range of copies is compared with another server's, in ms; 0 is never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_every_ms: Option<u64>,
    /// What a write waits for that leaves it to the farm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acks: Option<FarmAcks>,
    /// Whether a server that hears from no majority serves nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refuse_when_isolated: Option<bool>,
}

impl Limits {
    /// The farm's settings with these.
    pub fn farm(&self, size: u16) -> Farm {
        let default = Farm::default();
        let bytes_per_origin = self.bytes_per_origin.unwrap_or(default.bytes_per_origin);
        // Where there is little room, no session may take much of it.
        let most = u32::try_from(bytes_per_origin / 16).unwrap_or(u32::MAX);
        let session_bytes = self.session_bytes.unwrap_or(default.session_bytes.min(most));
        let largest = 2 * (u64::from(session_bytes) * (u64::from(size) + 1) + 4096);
        let largest = u32::try_from(largest).unwrap_or(u32::MAX);
        let give_up = self.give_up_after_ms.map(Duration::from_millis);
        let max_lifetime = self.max_lifetime_s.map_or(default.max_lifetime, Duration::from_secs);
        let anonymous_lifetime = self.anonymous_lifetime_s.map(Duration::from_secs);
        Farm {
            size,
            max_lifetime,
            default_lifetime: default.default_lifetime.min(max_lifetime),
            default_idle_timeout: default.default_idle_timeout.min(max_lifetime),
            anonymous_lifetime: anonymous_lifetime.unwrap_or(default.anonymous_lifetime),
            slots_per_origin: self.slots_per_origin.unwrap_or(default.slots_per_origin),
            bytes_per_origin,
            anonymous_percent: self.anonymous_percent.unwrap_or(default.anonymous_percent),
            when_full: match self.evict_anonymous {
                Some(true) => WhenFull::EvictAnonymous,
                Some(false) | None => WhenFull::Refuse,
            },
            known_servers: self.known_servers.unwrap_or(default.known_servers),
            session_bytes,
            value_bytes: default.value_bytes.min(session_bytes),
            frame_bytes: default.frame_bytes.max(largest),
            attributes_per_session: self
                .attributes_per_session
                .unwrap_or(default.attributes_per_session),
            acks: match self.acks {
                None => default.acks,
                Some(FarmAcks::Local) => Acks::Local,
                Some(FarmAcks::One) => Acks::Peers(1),
                Some(FarmAcks::Two) => Acks::Peers(2),
                Some(FarmAcks::Majority) => Acks::Majority,
                Some(FarmAcks::All) => Acks::All,
            },
            give_up_after: give_up.unwrap_or(default.give_up_after),
            when_isolated: match self.refuse_when_isolated {
                Some(true) => WhenIsolated::Refuse,
                Some(false) | None => WhenIsolated::Serve,
            },
            ..default
        }
    }

    /// Each server's own settings with these.
    pub fn local(&self) -> Local {
        let default = Local::default();
        Local {
            pull_budget: self.pull_budget.unwrap_or(default.pull_budget),
            offer_above: self.offer_above.unwrap_or(default.offer_above),
            answer_all: self.answer_all.unwrap_or(default.answer_all),
            pending_forwards: self.pending_forwards.unwrap_or(default.pending_forwards),
            pending_requests: self.pending_requests.unwrap_or(default.pending_requests),
            verify_every: self.verify_every_ms.map_or(default.verify_every, Duration::from_millis),
            ..default
        }
    }
}
