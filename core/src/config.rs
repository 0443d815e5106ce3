//! Configuration: what the whole farm must agree on, what each server chooses, and the limits.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::event::Acks;
use crate::id::ServerId;

/// What all servers of a farm must agree on, compared at the handshake.
///
/// Every time is given with the reason to change it. [`Farm::validate`] says which values fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Farm {
    /// How many servers are configured: majorities and "everyone" are counted against it. 1 to 64.
    pub size: u16,
    /// How far clocks may differ. Messages with stamps further ahead are refused. Raise it where
    /// clocks are badly kept; sessions then end up to twice this later. 10 ms to 60 s.
    pub max_drift: Duration,
    /// The longest life of a session, and how long a long-gone server is remembered. At most a year.
    pub max_lifetime: Duration,
    /// The life of a session whose creator names none.
    pub default_lifetime: Duration,
    /// The idle timeout of a session whose creator names none.
    pub default_idle_timeout: Duration,
    /// How often every server sends a heartbeat. Lower finds dead servers sooner and costs a
    /// message per pair and beat. 10 ms to 10 s.
    pub heartbeat_every: Duration,
    /// Silent for this long: suspect, and asked for a heartbeat. At least twice `heartbeat_every`.
    pub suspect_after: Duration,
    /// Silent for this long: down. At least `suspect_after`.
    pub down_after: Duration,
    /// Silent for this long: what it alone had counts as lost (it may still come back). At least
    /// `down_after`.
    pub give_up_after: Duration,
    /// Sessions that one server may have created and that are not over, tombstones included.
    /// At most 2^24.
    pub slots_per_origin: u32,
    /// Bytes that the sessions which one server has created may take, at each server, tombstones
    /// included; [`crate::Session::footprint`] says how they are counted. Checked at each write. At least
    /// 16 times `session_bytes`.
    pub bytes_per_origin: u64,
    /// How much of `slots_per_origin` and `bytes_per_origin` sessions without a principal may take, in
    /// percent: so a flood of them leaves room for those who log in. 1 to 100.
    pub anonymous_percent: u8,
    /// The longest life of a session without a principal; it is cut to `max_lifetime`. A session that is
    /// over keeps its slot until its life would have ended: where anonymous sessions come in floods,
    /// shorter lives let more of them in. At least 1 s.
    pub anonymous_lifetime: Duration,
    /// What happens when the bytes are used up.
    pub when_full: WhenFull,
    /// Bytes of one session, checked at each write. Servers that write to one session at once can
    /// make it larger when they meet, so a frame must hold a multiple of it.
    pub session_bytes: u32,
    /// Attributes of one session, removed ones included until the session is replaced.
    pub attributes_per_session: u32,
    /// Bytes of one attribute's value.
    pub value_bytes: u32,
    /// Bytes of one message between servers.
    pub frame_bytes: u32,
    /// Server processes (numbers and their restarts) remembered at once, as long as sessions live that
    /// they wrote to. A server whose earlier processes fill half of its number's share may not write:
    /// raise it where servers restart often and sessions live long.
    pub known_servers: u32,
    /// What a server does that hears from fewer than a majority of the farm.
    pub when_isolated: WhenIsolated,
    /// How many other servers must have a write before it is answered, for requests that leave it to
    /// the farm ([`Acks::Farm`], which can't stand here itself). For requests that end a session it is
    /// at least one other server, so that no single crash can undo a logout.
    pub acks: Acks,
}

/// What a server does while it hears from fewer than a majority of the farm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenIsolated {
    /// It serves what it has, and says in every response that it is isolated. A customer who was
    /// logged out elsewhere can go on using the session there until the farm can talk again.
    #[default]
    Serve,
    /// It serves nothing ([`crate::Unavailable::Isolated`]) once it has not heard from a majority for
    /// `down_after`, by its own clock. So no session is served by a cut-off server for longer than
    /// that after it was ended elsewhere.
    Refuse,
}

/// What happens to a write for which there are no bytes left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// It is refused ([`crate::LimitError`]).
    #[default]
    Refuse,
    /// The server that made the sessions ends anonymous ones to make room, as many as it takes and no
    /// more: first those that look idle-expired, then those that are nearest to it, which are those with
    /// the oldest access where idle timeouts are alike. Never one with a principal. A write at another
    /// server is refused; so is an anonymous one when so many anonymous sessions were made within a lifetime
    /// that their places alone ([`crate::Session::PLACE_BYTES`] each) take more than half of their bytes.
    EvictAnonymous,
}

impl Default for Farm {
    fn default() -> Self {
        Self {
            size: 3,
            max_drift: Duration::from_millis(500),
            max_lifetime: Duration::from_secs(30 * 24 * 3600),
            default_lifetime: Duration::from_secs(24 * 3600),
            default_idle_timeout: Duration::from_secs(1800),
            heartbeat_every: Duration::from_millis(200),
            suspect_after: Duration::from_millis(600),
            down_after: Duration::from_secs(2),
            give_up_after: Duration::from_secs(60),
            slots_per_origin: 1 << 20,
            bytes_per_origin: 4 << 30,
            anonymous_percent: 75,
            anonymous_lifetime: Duration::from_secs(30 * 24 * 3600),
            when_full: WhenFull::Refuse,
            session_bytes: 64 << 10,
            attributes_per_session: 512,
            value_bytes: 16 << 10,
            frame_bytes: 1 << 20,
            known_servers: 1024,
            when_isolated: WhenIsolated::Serve,
            acks: Acks::Local,
        }
    }
}

/// A field of a configuration that doesn't fit. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {field} = {value} is not allowed; {allowed}")]
pub struct ConfigError {
    /// The field's name.
    pub field: &'static str,
    /// Its value.
    pub value: alloc::string::String,
    /// What is allowed.
    pub allowed: &'static str,
}

impl Farm {
    /// The allowance for skewed clocks: a copy is kept this much past its deadline. Twice
    /// `max_drift`.
    pub fn margin(&self) -> Duration {
        self.max_drift * 2
    }

    /// The longest life that a session may be given.
    pub fn longest_life(&self, anonymous: bool) -> Duration {
        if anonymous { self.max_lifetime.min(self.anonymous_lifetime) } else { self.max_lifetime }
    }

    /// How many sessions without a principal one server may have created: its part of
    /// `slots_per_origin`, and at least one.
    pub fn anonymous_slots(&self) -> u64 {
        (u64::from(self.slots_per_origin) * u64::from(self.anonymous_percent) / 100).max(1)
    }

    /// The bytes that sessions without a principal may take of `bytes_per_origin`.
    pub fn anonymous_bytes(&self) -> u64 {
        // `validate` sees to it that this does not overflow.
        self.bytes_per_origin * u64::from(self.anonymous_percent) / 100
    }

    /// How many of `slots_per_origin` are kept for revocations, a 64th: so that everybody can be signed out
    /// everywhere by a server whose other slots are full. None, where there are fewer than 64.
    pub const fn revocation_slots(&self) -> u32 {
        self.slots_per_origin / 64
    }

    /// How many of `bytes_per_origin` are kept for revocations, a 64th.
    pub const fn revocation_bytes(&self) -> u64 {
        self.bytes_per_origin / 64
    }

    /// The most bytes that the sessions of one origin ever take at a server. Each write is held against
    /// `bytes_per_origin` where it is made, so servers that can't hear each other may come to as many
    /// times that as there are servers; a peer that sends more is refused.
    pub fn most_bytes_per_origin(&self) -> u64 {
        self.bytes_per_origin * u64::from(self.size) + u64::from(self.frame_bytes) / 2
    }

    /// More than half of the configured farm.
    pub const fn majority(&self) -> u16 {
        self.size / 2 + 1
    }

    /// A hash of everything here, for the handshake: servers whose fingerprints differ refuse each
    /// other.
    pub fn fingerprint(&self) -> [u8; 16] {
        let encoded = postcard::to_allocvec(self).unwrap_or_default();
        let mut short = [0; 16];
        short.copy_from_slice(&Sha256::digest(&encoded)[..16]);
        short
    }

    /// Checks every field and how they fit together.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that doesn't fit, its value, and what is allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_sizes()?;
        self.validate_times()
    }

    fn validate_sizes(&self) -> Result<(), ConfigError> {
        let largest = 2 * (u64::from(self.session_bytes) * (u64::from(self.size) + 1) + 4096);
        fits((1..=64).contains(&self.size), "size", &self.size, "it must be from 1 to 64")?;
        fits(
            (1..=1 << 24).contains(&self.slots_per_origin),
            "slots_per_origin",
            &self.slots_per_origin,
            "it must be from 1 to 16777216",
        )?;
        fits(
            (1024..=16 << 20).contains(&self.session_bytes),
            "session_bytes",
            &self.session_bytes,
            "it must be from 1024 to 16777216",
        )?;
        fits(
            (16 * u64::from(self.session_bytes)..=1 << 50).contains(&self.bytes_per_origin),
            "bytes_per_origin",
            &self.bytes_per_origin,
            "it must be from 16 times session_bytes to 2^50",
        )?;
        fits(
            (1..=100).contains(&self.anonymous_percent),
            "anonymous_percent",
            &self.anonymous_percent,
            "it must be from 1 to 100",
        )?;
        fits(
            (1..=self.session_bytes).contains(&self.value_bytes),
            "value_bytes",
            &self.value_bytes,
            "it must be from 1 to session_bytes",
        )?;
        fits(
            (largest..=256 << 20).contains(&u64::from(self.frame_bytes)),
            "frame_bytes",
            &self.frame_bytes,
            "it must be at least 2 * (session_bytes * (size + 1) + 4096), so that any merged \
                 session fits, and at most 268435456",
        )?;
        fits(
            (u32::from(self.size)..=1 << 16).contains(&self.known_servers),
            "known_servers",
            &self.known_servers,
            "it must be from size to 65536",
        )?;
        let others = self.size - 1;
        fits(
            self.acks != Acks::Farm && !matches!(self.acks, Acks::Peers(count) if count > others),
            "acks",
            &self.acks,
            "it must be local, majority, all, or a number of other servers below size",
        )?;
        Ok(())
    }

    fn validate_times(&self) -> Result<(), ConfigError> {
        const MS: fn(u64) -> Duration = Duration::from_millis;
        const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);
        fits(
            (MS(10)..=MS(60_000)).contains(&self.max_drift),
            "max_drift",
            &self.max_drift,
            "it must be from 10 ms to 60 s",
        )?;
        fits(
            (MS(1000)..=YEAR).contains(&self.max_lifetime),
            "max_lifetime",
            &self.max_lifetime,
            "it must be from 1 s to 366 days",
        )?;
        fits(
            self.anonymous_lifetime >= MS(1000),
            "anonymous_lifetime",
            &self.anonymous_lifetime,
            "it must be at least 1 s",
        )?;
        fits(
            (MS(1000)..=self.max_lifetime).contains(&self.default_lifetime),
            "default_lifetime",
            &self.default_lifetime,
            "it must be from 1 s to max_lifetime",
        )?;
        fits(
            (MS(1000)..=self.max_lifetime).contains(&self.default_idle_timeout),
            "default_idle_timeout",
            &self.default_idle_timeout,
            "it must be from 1 s to max_lifetime",
        )?;
        fits(
            (MS(10)..=MS(10_000)).contains(&self.heartbeat_every),
            "heartbeat_every",
            &self.heartbeat_every,
            "it must be from 10 ms to 10 s",
        )?;
        fits(
            self.suspect_after >= self.heartbeat_every * 2,
            "suspect_after",
            &self.suspect_after,
            "it must be at least twice heartbeat_every",
        )?;
        fits(
            self.down_after >= self.suspect_after,
            "down_after",
            &self.down_after,
            "it must be at least suspect_after",
        )?;
        fits(
            self.give_up_after >= self.down_after,
            "give_up_after",
            &self.give_up_after,
            "it must be at least down_after",
        )?;
        Ok(())
    }
}

fn fits(
    holds: bool,
    field: &'static str,
    value: &dyn core::fmt::Debug,
    allowed: &'static str,
) -> Result<(), ConfigError> {
    if holds {
        return Ok(());
    }
    Err(ConfigError { field, value: alloc::format!("{value:?}"), allowed })
}

/// One server's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Config {
    /// This process: its number, and the time it started.
    pub server: ServerId,
    /// What the farm agrees on.
    pub farm: Farm,
    /// What this server chooses for itself.
    pub local: Local,
}

/// What each server chooses for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Local {
    /// How long a request waits for other servers' answers about a session.
    pub query_timeout: Duration,
    /// How long a write waits for acknowledgements, unless the request says.
    pub ack_timeout: Duration,
    /// How long after noticing a gap a repair starts: about one round trip, for the missing batch
    /// may be on its way.
    pub repair_delay: Duration,
    /// How long a part of a repair may take before the round starts again elsewhere.
    pub round_timeout: Duration,
    /// Bytes of sessions per part of a repair. At most half of the farm's `frame_bytes`.
    pub pull_budget: u32,
    /// Copies larger than this are offered, not sent, in answer to a query.
    pub offer_above: u32,
    /// Whether this server's answers with a whole session go to all servers that lack what the copy
    /// shows, as far as their heartbeats tell, not to the asker alone (R68, R94). They get it without
    /// a repair; it costs a message for each of them. Large copies are offered to the asker alone.
    pub answer_all: bool,
    /// Queries that this server asks on for others, at once (R70). One more is answered from what is
    /// here.
    pub pending_forwards: u32,
    /// Requests that may wait at once; one more is refused.
    pub pending_requests: u32,
    /// How long a cold-starting farm waits for silent servers once a majority answers.
    pub cold_start_after: Duration,
    /// How long a starting server waits for the others' word on its number before it goes on without
    /// those that don't answer; requests wait meanwhile. It goes on at once when all have answered.
    /// Longer finds out about a clock that was set back where links are slow; 0 asks nobody. At most
    /// 10 s.
    pub start_wait: Duration,
    /// How long leaving waits for the others to have everything.
    pub leave_timeout: Duration,
    /// How often a range of this server's array is compared with another server's: 256 sessions, or
    /// 256 KiB. At every 2 s a million sessions are compared with two other servers in some 5 hours.
    /// Shorter finds damage sooner and costs a hash of the range at both; 0 never compares. At least
    /// 10 ms otherwise.
    pub verify_every: Duration,
}

impl Default for Local {
    fn default() -> Self {
        Self {
            query_timeout: Duration::from_millis(500),
            ack_timeout: Duration::from_secs(2),
            repair_delay: Duration::from_millis(20),
            round_timeout: Duration::from_secs(1),
            pull_budget: 256 << 10,
            offer_above: 16 << 10,
            answer_all: false,
            pending_forwards: 1024,
            pending_requests: 16 << 10,
            cold_start_after: Duration::from_secs(3),
            start_wait: Duration::from_millis(500),
            leave_timeout: Duration::from_secs(3),
            verify_every: Duration::from_secs(2),
        }
    }
}

impl Config {
    /// A configuration with the default choices.
    pub fn new(server: ServerId, farm: Farm) -> Self {
        Self { server, farm, local: Local::default() }
    }

    /// Checks every field and how they fit together.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that doesn't fit.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.farm.validate()?;
        let budget = self.local.pull_budget;
        if budget == 0 || budget > self.farm.frame_bytes / 2 {
            return Err(ConfigError {
                field: "pull_budget",
                value: alloc::format!("{budget}"),
                allowed: "it must be from 1 to half of frame_bytes",
            });
        }
        let every = self.local.verify_every;
        fits(
            every.is_zero() || every >= Duration::from_millis(10),
            "verify_every",
            &every,
            "it must be 0, for never, or at least 10 ms",
        )?;
        fits(
            self.local.start_wait <= Duration::from_secs(10),
            "start_wait",
            &self.local.start_wait,
            "it must be at most 10 s",
        )?;
        if self.server == ServerId::ZERO {
            return Err(ConfigError {
                field: "server",
                value: alloc::format!("{}", self.server),
                allowed: "number and boot time must not both be zero",
            });
        }
        Ok(())
    }
}
