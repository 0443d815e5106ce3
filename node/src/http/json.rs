//! The JSON of requests and responses: attributes as customers write and see them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use grapevine_tokio::{
    Change, Farm, Key, Limit, Listed, Principal, Rotation, Served, Session, Shown, Value,
};
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::carried::Parts;
use super::error::{Code, Problem};

/// How deep arrays and objects may be nested in a value.
pub(super) const DEPTH: usize = 64;

/// The body of `POST /sessions`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct NewSession {
    attributes: Option<Entries>,
    idle_timeout_s: Option<Box<RawValue>>,
    lifetime_s: Option<Box<RawValue>>,
    principal: Option<String>,
}

/// The body of `POST .../rotate`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct NewId {
    principal: Option<String>,
    grace_s: Option<Box<RawValue>>,
    idle_timeout_s: Option<Box<RawValue>>,
    lifetime_s: Option<Box<RawValue>>,
    set: Option<Entries>,
    remove: Option<Vec<String>>,
    add: Option<Entries>,
}

/// The body of `PATCH`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Changes {
    set: Option<Entries>,
    remove: Option<Vec<String>>,
    add: Option<Entries>,
}

/// The body of `PUT`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replacement {
    attributes: Entries,
}

/// An object's members in their order, each with the text of its value.
#[derive(Debug, Default)]
struct Entries(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Reads a body.
///
/// # Errors
/// `malformed_json` if it is no JSON, `invalid_body` if it is JSON of another shape; both say where.
pub(super) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // serde would also take a list of a struct's fields.
    if body.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        serde_json::from_slice::<IgnoredAny>(body).map_err(|error| wrong(body, &error))?;
        return Err(Problem::new(Code::InvalidBody, "the body must be a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| wrong(body, &error))
}

fn wrong(body: &[u8], error: &serde_json::Error) -> Problem {
    let (code, message) = match error.classify() {
        Category::Data => {
            (Code::InvalidBody, format!("the body is not what this call takes: {error}"))
        }
        _ if body.trim_ascii().is_empty() => {
            (Code::MalformedJson, "the body is empty; a JSON object is needed".into())
        }
        _ => (Code::MalformedJson, format!("the body is not JSON: {error}")),
    };
    Problem::new(code, message).with("line", error.line()).with("column", error.column())
}

impl NewSession {
    /// The engine's words for it.
    ///
    /// # Errors
    /// [`Problem`] names what can't be.
    pub(super) fn into_create(self, farm: &Farm) -> Result<grapevine_tokio::Create, Problem> {
        Ok(grapevine_tokio::Create {
            attributes: self.attributes.unwrap_or_default().into_registers()?,
            idle_timeout: seconds("idle_timeout_s", self.idle_timeout_s.as_deref(), farm)?,
            lifetime: seconds("lifetime_s", self.lifetime_s.as_deref(), farm)?,
            principal: self.principal.as_deref().map(principal).transpose()?,
            ..Default::default()
        })
    }
}

impl NewId {
    /// The engine's words for it.
    ///
    /// # Errors
    /// [`Problem`] names what can't be.
    pub(super) fn into_rotation(self, farm: &Farm) -> Result<Rotation, Problem> {
        let Self { set, remove, add, .. } = self;
        Ok(Rotation {
            principal: self.principal.as_deref().map(principal).transpose()?,
            changes: Changes { set, remove, add }.into_changes()?,
            grace: grace(self.grace_s.as_deref())?,
            idle_timeout: seconds("idle_timeout_s", self.idle_timeout_s.as_deref(), farm)?,
            lifetime: seconds("lifetime_s", self.lifetime_s.as_deref(), farm)?,
            ..Rotation::default()
        })
    }
}

/// Whose a session is. How long a name may be the engine says.
///
/// # Errors
/// `out_of_range` for nobody's name.
pub(super) fn principal(name: &str) -> Result<Principal, Problem> {
    if name.is_empty() {
        let message = "`principal` is empty; it must have 1 to 256 bytes";
        return Err(Problem::new(Code::OutOfRange, message).with("field", "principal"));
    }
    Ok(Principal::new(name))
}

fn grace(given: Option<&RawValue>) -> Result<Duration, Problem> {
    const LONGEST: u64 = 60;
    let Some(given) = given else { return Ok(Duration::ZERO) };
    match given.get().parse::<u64>() {
        Ok(seconds) if seconds <= LONGEST => Ok(Duration::from_secs(seconds)),
        _ => {
            let message = format!(
                "`grace_s` is {}, but must be a whole number of seconds from 0 to {LONGEST}",
                short(given.get())
            );
            Err(Problem::new(Code::OutOfRange, message).with("field", "grace_s"))
        }
    }
}

fn seconds(
    field: &str,
    given: Option<&RawValue>,
    farm: &Farm,
) -> Result<Option<Duration>, Problem> {
    let Some(given) = given else { return Ok(None) };
    let allowed = farm.max_lifetime.as_secs();
    match given.get().parse::<u64>() {
        Ok(seconds) if (1..=allowed).contains(&seconds) => Ok(Some(Duration::from_secs(seconds))),
        _ => {
            let message = format!(
                "`{field}` is {}, but must be a whole number of seconds from 1 to {allowed} (the \
                 farm's max_lifetime)",
                short(given.get())
            );
            Err(Problem::new(Code::OutOfRange, message).with("field", field))
        }
    }
}

/// A text that a customer sent, cut to a length that a sentence can hold.
fn short(text: &str) -> String {
    const LONGEST: usize = 40;
    if text.chars().count() <= LONGEST {
        return text.into();
    }
    text.chars().take(LONGEST).chain("…".chars()).collect()
}

impl Replacement {
    /// The attributes that shall be there, and no others.
    ///
    /// # Errors
    /// [`Problem`] names what can't be.
    pub(super) fn into_attributes(self) -> Result<Vec<(Key, Value)>, Problem> {
        self.attributes.into_registers()
    }
}

impl Changes {
    /// The engine's words for it. No key stands twice, so the order does not matter.
    ///
    /// # Errors
    /// [`Problem`] names what can't be.
    pub(super) fn into_changes(self) -> Result<Vec<Change>, Problem> {
        let mut known = BTreeSet::new();
        let mut changes = Vec::new();
        for (name, text) in self.set.unwrap_or_default().0 {
            let key = once(&mut known, &name)?;
            changes.push(Change::Set(key, value(&name, &text)?));
        }
        for name in self.remove.unwrap_or_default() {
            changes.push(Change::Remove(once(&mut known, &name)?));
        }
        for (name, text) in self.add.unwrap_or_default().0 {
            let key = once(&mut known, &name)?;
            let amount = text.get().parse().map_err(|_| {
                let (text, least, most) = (short(text.get()), i64::MIN, i64::MAX);
                let message = format!(
                    "{text} can't be added to `{name}`: it must be a whole number from {least} to \
                     {most}"
                );
                Problem::new(Code::OutOfRange, message).with("field", "add").with("key", &*name)
            })?;
            changes.push(Change::Add(key, amount));
        }
        Ok(changes)
    }
}

impl Entries {
    fn into_registers(self) -> Result<Vec<(Key, Value)>, Problem> {
        let mut known = BTreeSet::new();
        let register = |(name, text): (String, Box<RawValue>)| {
            Ok((once(&mut known, &name)?, value(&name, &text)?))
        };
        self.0.into_iter().map(register).collect()
    }
}

fn once(known: &mut BTreeSet<Key>, name: &str) -> Result<Key, Problem> {
    let key = Key::new(name).map_err(|error| Problem::of_key(&error, name))?;
    if known.insert(key.clone()) {
        return Ok(key);
    }
    let message = format!("`{name}` stands more than once; a request may name each key once");
    Err(Problem::new(Code::DuplicateKey, message).with("key", name))
}

/// The bytes of a register: the customer's own text, without blanks between the tokens.
fn value(name: &str, text: &RawValue) -> Result<Value, Problem> {
    let compact = compact(text.get()).ok_or_else(|| {
        let message =
            format!("the value of `{name}` is nested too deep; {DEPTH} levels are allowed");
        Problem::over_limit("json_depth", DEPTH as u64, message).with("key", name)
    })?;
    // The text is kept as it is, but whoever reads it must be able to: what JSON's grammar allows
    // and programs can't represent (halves of surrogate pairs, 1e999) ends here.
    if let Err(error) = serde_json::from_slice::<serde_json::Value>(&compact) {
        let message = format!("the value of `{name}` is JSON that programs can't read: {error}");
        return Err(Problem::new(Code::InvalidValue, message).with("key", name));
    }
    Ok(Value::new(&compact))
}

/// Leaves out the blanks outside strings. `None` if the nesting is too deep.
fn compact(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in text.as_bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => continue,
                b'"' => in_string = true,
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > DEPTH {
                return None;
            }
        }
        out.push(byte);
    }
    Some(out)
}

/// The body of every response that shows a session.
#[derive(Debug, Serialize)]
pub(super) struct Reply<'a> {
    token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a str>,
    session: Shape<'a>,
    served_by: u16,
    stale: bool,
    lost: bool,
    isolated: bool,
}

#[derive(Debug, Serialize)]
struct Shape<'a> {
    attributes: BTreeMap<&'a str, Box<RawValue>>,
    deadline: u64,
    idle_timeout_s: serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
}

impl<'a> Shape<'a> {
    fn of(session: &'a Session) -> Self {
        Self {
            attributes: attributes(session),
            deadline: session.fixed.deadline.as_millis() / 1000,
            idle_timeout_s: in_seconds(session.fixed.idle_timeout),
            principal: session.fixed.principal.as_ref().map(Principal::as_str),
        }
    }
}

/// The body of a list of sessions.
#[derive(Debug, Serialize)]
pub(super) struct List<'a> {
    sessions: Vec<Entry<'a>>,
    next: Option<String>,
    served_by: u16,
}

/// A session without its token: who lists it is not who carries it.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    #[serde(flatten)]
    session: Shape<'a>,
    created: u64,
    accessed: u64,
}

impl<'a> Entry<'a> {
    fn of(session: &'a Session) -> Self {
        Self {
            session: Shape::of(session),
            created: session.id.created.time().as_millis() / 1000,
            accessed: session.accessed.time().as_millis() / 1000,
        }
    }
}

/// A session that ended by itself.
#[derive(Debug, Serialize)]
pub(super) struct Over<'a> {
    #[serde(flatten)]
    session: Entry<'a>,
    ended_by: &'static str,
    hashed_id: String,
}

impl<'a> Over<'a> {
    /// What an application cleans up by.
    pub(super) fn new(session: &'a Session, limit: Limit) -> Self {
        let ended_by = match limit {
            Limit::Idle => "idle_timeout",
            Limit::Absolute => "deadline",
        };
        Self { session: Entry::of(session), ended_by, hashed_id: session.id.hashed().to_string() }
    }
}

impl<'a> List<'a> {
    /// What an application sees of a page of its user's sessions.
    pub(super) fn new(listed: &'a Listed, number: u16) -> Self {
        Self {
            sessions: listed.sessions.iter().map(|session| Entry::of(session)).collect(),
            next: listed.next.map(|next| format!("{}-{}", next.origin.to_bits(), next.slot)),
            served_by: number,
        }
    }
}

impl<'a> Reply<'a> {
    /// What a customer sees of a session that this server serves.
    pub(super) fn new(served: &'a Served, parts: &'a Parts, number: u16) -> Self {
        Self {
            token: &parts.token,
            context: parts.context.as_deref(),
            session: Shape::of(&served.session),
            served_by: number,
            stale: served.stale,
            lost: served.lost,
            isolated: served.isolated,
        }
    }
}

/// Whole seconds as a whole number.
fn in_seconds(time: Duration) -> serde_json::Value {
    if time.subsec_nanos() == 0 { time.as_secs().into() } else { time.as_secs_f64().into() }
}

/// The attributes as JSON: a register's own text, a counter as a number. Bytes that are no JSON
/// (written past this interface, by a program that embeds a server) are shown as a string.
pub(super) fn attributes(session: &Session) -> BTreeMap<&str, Box<RawValue>> {
    let text = |shown: Shown<'_>| match shown {
        Shown::Count(count) => RawValue::from_string(count.to_string()),
        Shown::Bytes(bytes) => std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| RawValue::from_string(text.into()).ok())
            .map_or_else(|| serde_json::value::to_raw_value(&String::from_utf8_lossy(bytes)), Ok),
    };
    session.iter().filter_map(|(key, shown)| Some((key.as_str(), text(shown).ok()?))).collect()
}

#[cfg(test)]
mod tests;
