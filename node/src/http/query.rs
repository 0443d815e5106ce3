//! What stands behind the `?` of a session's call.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use grapevine_tokio::{Acks, ReadPolicy};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Shared;
use super::error::{Code, Problem};

/// `?acks=` of the writes; `None` if it is not given.
pub(super) struct AcksQuery(pub(super) Option<Acks>);

/// `?stale=` of the read.
pub(super) struct StaleQuery(pub(super) ReadPolicy);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAcks {
    acks: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStale {
    stale: Option<String>,
}

fn parse<T: DeserializeOwned>(parts: &Parts) -> Result<T, Problem> {
    let read = Query::<T>::try_from_uri(&parts.uri);
    read.map(|Query(raw)| raw).map_err(|error| {
        let message = format!("what stands behind the `?` is not what this call takes: {error}");
        Problem::new(Code::InvalidQuery, message)
    })
}

impl FromRequestParts<Shared> for AcksQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        let raw: RawAcks = parse(parts)?;
        let others = app.grapevine.farm().size.saturating_sub(1);
        raw.acks.map(|text| acks(&text, others)).transpose().map(Self)
    }
}

impl FromRequestParts<Shared> for StaleQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Problem> {
        let raw: RawStale = parse(parts)?;
        match raw.stale.as_deref() {
            None | Some("no") => Ok(Self(ReadPolicy::Fresh)),
            Some("ok") => Ok(Self(ReadPolicy::BestEffort)),
            Some(other) => {
                let message = format!("stale={other:?} is not allowed; it must be ok or no");
                Err(Problem::new(Code::InvalidQuery, message).with("field", "stale"))
            }
        }
    }
}

fn acks(text: &str, others: u16) -> Result<Acks, Problem> {
    match text {
        "local" => return Ok(Acks::Local),
        "majority" => return Ok(Acks::Majority),
        "all" => return Ok(Acks::All),
        _ => {}
    }
    match text.parse::<u16>() {
        Ok(0) => Ok(Acks::Local),
        Ok(count) if count <= others => Ok(Acks::Peers(count)),
        _ => {
            let message = format!(
                "acks={text:?} is not allowed; it must be local, majority, all, or a number from \
                 0 to {others} (the farm's other servers)"
            );
            Err(Problem::new(Code::InvalidQuery, message).with("field", "acks"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_may_wait_for_as_many_servers_as_there_are() {
        let table = [
            ("local", Acks::Local),
            ("0", Acks::Local),
            ("1", Acks::Peers(1)),
            ("2", Acks::Peers(2)),
            ("majority", Acks::Majority),
            ("all", Acks::All),
        ];
        for (text, wanted) in table {
            assert_eq!(acks(text, 2).unwrap(), wanted, "{text}");
        }
        for text in ["", "3", "-1", "1.0", "ALL", "99999999999", "two"] {
            let error = acks(text, 2).unwrap_err();
            assert!(error.message().contains("from 0 to 2"), "{}", error.message());
        }
    }
}
