//! The shape of the configuration file. `node/grapevine.example.toml` documents every field; a test
//! holds the two together.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use grapevine_tokio::{Acks, Farm, Local, WhenFull, WhenIsolated};
use serde::{Deserialize, Deserializer, de};

use super::HttpLimits;

/// The file as a whole. All fields are optional here: the command line may have them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub(super) id: Option<u16>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) http: Option<SocketAddr>,
    pub(super) peers: Vec<String>,
    pub(super) peers_from_dns: Option<DnsPeers>,
    pub(super) farm_key_file: Option<PathBuf>,
    pub(super) application_key_file: Option<PathBuf>,
    pub(super) sites: Vec<String>,
    pub(super) cookie: Option<String>,
    pub(super) context_cookie: Option<String>,
    pub(super) log: Option<String>,
    pub(super) farm: FarmSection,
    pub(super) local: LocalSection,
    pub(super) http_limits: HttpSection,
}

/// `peers_from_dns`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DnsPeers {
    pub(super) name: String,
    pub(super) size: u16,
}

/// A length of time as people write it: `"500ms"`, `"30m"`, `"1day 6h"`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time in quotes, such as \"500ms\", \"30m\" or \"7days\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                humantime::parse_duration(text)
                    .map(Span)
                    .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

/// How many other servers a write waits for: `"local"`, `"majority"`, `"all"`, or a number.
#[derive(Clone, Copy, Debug)]
pub(super) struct AcksText(Acks);

impl<'de> Deserialize<'de> for AcksText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = AcksText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"local\", \"majority\", \"all\" or a number of other servers")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<AcksText, E> {
                match text {
                    "local" => Ok(AcksText(Acks::Local)),
                    "majority" => Ok(AcksText(Acks::Majority)),
                    "all" => Ok(AcksText(Acks::All)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<AcksText, E> {
                match u16::try_from(number) {
                    Ok(0) => Ok(AcksText(Acks::Local)),
                    Ok(count) => Ok(AcksText(Acks::Peers(count))),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
                }
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl From<AcksText> for Acks {
    fn from(text: AcksText) -> Self {
        text.0
    }
}

/// A table whose fields, where they are given, replace those of a struct with defaults.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident over $target:ty { $($field:ident: $kind:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct $name { $($field: Option<$kind>),* }

        impl $name {
            /// Replaces what is given here.
            pub(super) fn lay_over(self, target: &mut $target) {
                $(if let Some(given) = self.$field { target.$field = given.into(); })*
            }
        }
    };
}

section! {
    /// `[farm]`: must be the same at all servers.
    FarmSection over Farm {
        size: u16,
        max_drift: Span,
        max_lifetime: Span,
        default_lifetime: Span,
        default_idle_timeout: Span,
        heartbeat_every: Span,
        suspect_after: Span,
        down_after: Span,
        give_up_after: Span,
        slots_per_origin: u32,
        bytes_per_origin: u64,
        anonymous_percent: u8,
        anonymous_lifetime: Span,
        when_full: WhenFull,
        session_bytes: u32,
        attributes_per_session: u32,
        value_bytes: u32,
        frame_bytes: u32,
        known_servers: u32,
        when_isolated: WhenIsolated,
        acks: AcksText,
    }
}

section! {
    /// `[local]`: this server's own.
    LocalSection over Local {
        query_timeout: Span,
        ack_timeout: Span,
        repair_delay: Span,
        round_timeout: Span,
        pull_budget: u32,
        offer_above: u32,
        answer_all: bool,
        pending_forwards: u32,
        pending_requests: u32,
        cold_start_after: Span,
        start_wait: Span,
        leave_timeout: Span,
        verify_every: Span,
    }
}

section! {
    /// `[http_limits]`: this server's own.
    HttpSection over HttpLimits {
        body_bytes: usize,
        body_timeout: Span,
        header_timeout: Span,
        connections: usize,
        drain_timeout: Span,
        expirations_bytes: usize,
    }
}

impl FarmSection {
    /// Replaces what is given here; a default that is not, and is longer than the longest life that is, is
    /// cut to that.
    pub(super) fn lay_over_farm(self, farm: &mut Farm) {
        let (names_lifetime, names_idle) =
            (self.default_lifetime.is_some(), self.default_idle_timeout.is_some());
        self.lay_over(farm);
        if !names_lifetime {
            farm.default_lifetime = farm.default_lifetime.min(farm.max_lifetime);
        }
        if !names_idle {
            farm.default_idle_timeout = farm.default_idle_timeout.min(farm.max_lifetime);
        }
    }
}
