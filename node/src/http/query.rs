//! What stands behind the `?` of a session's call.

use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use grapevine_tokio::{Acks, Address, MAX_LISTED, ReadPolicy, ServerId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Shared;
use super::error::{Code, Problem};

/// `?acks=` of the writes; `None` if it is not given.
pub(super) struct AcksQuery(pub(super) Option<Acks>);

/// `?stale=` and `?wait_ms=` of the read.
pub(super) struct PolicyQuery(pub(super) ReadPolicy);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAcks {
    acks: Option<String>,
}

/// `?within_ms=` of a verification.
pub(super) struct WithinQuery(pub(super) Duration);

/// How long a verification may take, if the call doesn't say.
const WITHIN_MS: u64 = 30_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWithin {
    within_ms: Option<u64>,
}

impl FromRequestParts<Shared> for WithinQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Problem> {
        let raw: RawWithin = parse(parts)?;
        let ms = raw.within_ms.unwrap_or(WITHIN_MS);
        let most = grapevine_tokio::LONGEST_VERIFY.as_millis() as u64;
        if !(1..=most).contains(&ms) {
            let message = format!("within_ms={ms} is not allowed; it must be from 1 to {most}");
            return Err(Problem::new(Code::InvalidQuery, message).with("field", "within_ms"));
        }
        Ok(Self(Duration::from_millis(ms)))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    stale: Option<String>,
    wait_ms: Option<String>,
}

/// `?after=` and `?most=` of a list.
pub(super) struct PageQuery {
    pub(super) after: Option<Address>,
    pub(super) most: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPage {
    after: Option<String>,
    most: Option<String>,
}

/// `?after=`, `?most=` and `?wait_ms=` of what has expired.
pub(super) struct ExpirationsQuery {
    pub(super) after: Option<After>,
    pub(super) most: u16,
    pub(super) wait: Duration,
}

/// Where the part before ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct After {
    pub(super) process: ServerId,
    pub(super) number: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpirations {
    after: Option<String>,
    most: Option<String>,
    wait_ms: Option<String>,
}

impl FromRequestParts<Shared> for ExpirationsQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Problem> {
        let raw: RawExpirations = parse(parts)?;
        expirations(raw.after.as_deref(), raw.most.as_deref(), raw.wait_ms.as_deref())
    }
}

fn expirations(
    after: Option<&str>,
    most: Option<&str>,
    wait: Option<&str>,
) -> Result<ExpirationsQuery, Problem> {
    let place = |text: &str| {
        let (process, number) = text.split_once('-')?;
        let process = ServerId::from_bits(process.parse().ok()?);
        Some(After { process, number: number.parse().ok()? })
    };
    let allowed = "the `next` of an earlier answer";
    let after = after.map(|text| place(text).ok_or_else(|| refuse("after", text, allowed)));
    Ok(ExpirationsQuery {
        after: after.transpose()?,
        most: self::most(most)?,
        wait: wait.map(wait_ms).transpose()?.unwrap_or_default(),
    })
}

fn refuse(field: &str, value: &str, allowed: impl std::fmt::Display) -> Problem {
    let message = format!("{field}={value:?} is not allowed; it must be {allowed}");
    Problem::new(Code::InvalidQuery, message).with("field", field)
}

fn most(text: Option<&str>) -> Result<u16, Problem> {
    let Some(text) = text else { return Ok(MAX_LISTED) };
    match text.parse() {
        Ok(most) if (1..=MAX_LISTED).contains(&most) => Ok(most),
        _ => Err(refuse("most", text, format_args!("a whole number from 1 to {MAX_LISTED}"))),
    }
}

fn wait_ms(text: &str) -> Result<Duration, Problem> {
    let longest = ReadPolicy::LONGEST.as_millis() as u64;
    match text.parse::<u64>() {
        Ok(wait) if wait <= longest => Ok(Duration::from_millis(wait)),
        _ => Err(refuse("wait_ms", text, format_args!("a whole number from 0 to {longest}"))),
    }
}

impl FromRequestParts<Shared> for PageQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Problem> {
        let raw: RawPage = parse(parts)?;
        page(raw.after.as_deref(), raw.most.as_deref())
    }
}

fn page(after: Option<&str>, most: Option<&str>) -> Result<PageQuery, Problem> {
    let place = |text: &str| {
        let (origin, slot) = text.split_once('-')?;
        let origin = ServerId::from_bits(origin.parse().ok()?);
        Some(Address { origin, slot: slot.parse().ok()? })
    };
    let allowed = "the `next` of an earlier page";
    let after = after.map(|text| place(text).ok_or_else(|| refuse("after", text, allowed)));
    Ok(PageQuery { after: after.transpose()?, most: self::most(most)? })
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

impl FromRequestParts<Shared> for PolicyQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Problem> {
        let raw: RawPolicy = parse(parts)?;
        policy(raw.stale.as_deref(), raw.wait_ms.as_deref()).map(Self)
    }
}

fn policy(stale: Option<&str>, wait: Option<&str>) -> Result<ReadPolicy, Problem> {
    let stale = match stale {
        None | Some("no") => false,
        Some("ok") => true,
        Some(other) => return Err(refuse("stale", other, "ok or no")),
    };
    Ok(match (stale, wait.map(wait_ms).transpose()?) {
        (false, None) => ReadPolicy::Fresh,
        (true, None) => ReadPolicy::BestEffort,
        (false, Some(wait)) => ReadPolicy::FreshWithin(wait),
        (true, Some(wait)) => ReadPolicy::BestEffortWithin(wait),
    })
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

    #[test]
    fn a_page_begins_where_one_ended_and_is_bounded() {
        let first = page(None, None).unwrap();
        assert_eq!((first.after, first.most), (None, MAX_LISTED));
        let next = page(Some("77-3"), Some("5")).unwrap();
        let after = Address { origin: ServerId::from_bits(77), slot: 3 };
        assert_eq!((next.after, next.most), (Some(after), 5));
        for after in ["", "77", "-3", "77-", "a-b", "99999999999999999999-1"] {
            assert!(page(Some(after), None).is_err(), "{after}");
        }
        for most in ["", "0", "-1", "101", "all"] {
            let error = page(None, Some(most)).err().unwrap();
            assert!(error.message().contains("from 1 to 100"), "{}", error.message());
        }
    }

    #[test]
    fn what_expired_is_asked_for_from_where_the_last_answer_ended() {
        let first = expirations(None, None, None).unwrap();
        assert_eq!((first.after, first.most, first.wait), (None, MAX_LISTED, Duration::ZERO));
        let next = expirations(Some("77-3"), Some("5"), Some("60000")).unwrap();
        let after = After { process: ServerId::from_bits(77), number: 3 };
        let longest = Duration::from_secs(60);
        assert_eq!((next.after, next.most, next.wait), (Some(after), 5, longest));
        for after in ["", "77", "-3", "77-", "a-b", "1-99999999999999999999"] {
            assert!(expirations(Some(after), None, None).is_err(), "{after}");
        }
        assert!(expirations(None, Some("101"), None).is_err());
        assert!(expirations(None, None, Some("60001")).is_err());
    }

    #[test]
    fn a_read_may_say_how_long_it_waits_and_what_it_takes_then() {
        let ms = Duration::from_millis;
        let table = [
            (None, None, ReadPolicy::Fresh),
            (Some("no"), None, ReadPolicy::Fresh),
            (Some("ok"), None, ReadPolicy::BestEffort),
            (None, Some("0"), ReadPolicy::FreshWithin(ms(0))),
            (Some("no"), Some("250"), ReadPolicy::FreshWithin(ms(250))),
            (Some("ok"), Some("60000"), ReadPolicy::BestEffortWithin(ms(60_000))),
        ];
        for (stale, wait, wanted) in table {
            assert_eq!(policy(stale, wait).unwrap(), wanted, "{stale:?} {wait:?}");
        }
        for wait in ["", "-1", "60001", "1.5", "soon", "99999999999999999999"] {
            let error = policy(None, Some(wait)).unwrap_err();
            assert!(error.message().contains("from 0 to 60000"), "{}", error.message());
        }
        assert!(policy(Some("maybe"), None).unwrap_err().message().contains("ok or no"));
    }
}
