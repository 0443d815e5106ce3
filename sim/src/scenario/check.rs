//! What a scenario may say: each number has a range, each server that is named is there, and what
//! belongs together fits together.

use grapevine_core::{Config, ServerId, Timestamp};

use super::schema::{FIELDS, numbers};
use super::{Delay, Scenario};

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
        field: String,
        /// What it is.
        value: String,
        /// What is allowed.
        allowed: String,
    },
}

fn refuse(
    field: &str,
    value: &dyn std::fmt::Debug,
    allowed: impl Into<String>,
) -> Result<(), ScenarioError> {
    let (field, value, allowed) = (field.to_owned(), format!("{value:?}"), allowed.into());
    Err(ScenarioError::Value { field, value, allowed })
}

/// How a scenario names what core refuses. What it has no field for comes of those that it has.
fn limit(field: &str) -> String {
    if field == "frame_bytes" {
        return "a farm with frame_bytes".to_owned();
    }
    let named = ["", "_ms", "_s"].map(|unit| format!("limits.{field}{unit}"));
    let known = |name: &&String| FIELDS.iter().any(|field| field.name == **name);
    named.iter().find(known).unwrap_or(&named[0]).clone()
}

/// Checks all numbers of a text that has the form of a scenario.
pub(super) fn ranges(table: &toml::Table) -> Result<(), ScenarioError> {
    for (name, value) in numbers(table) {
        // What is not a field at all is refused by its name, when the text is read as a scenario.
        let Some(field) = FIELDS.iter().find(|field| field.name == name) else { continue };
        if !(field.least..=field.most).contains(&value) {
            let unit = if field.unit == "ms" || field.unit == "s" { field.unit } else { "" };
            let allowed = format!("it must be from {} to {} {unit}", field.least, field.most);
            return refuse(&name, &Plain(value), allowed.trim_end());
        }
    }
    Ok(())
}

/// A number as it is written: whole ones without a point.
struct Plain(f64);

impl std::fmt::Debug for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

impl Scenario {
    /// Checks what no range says.
    pub(crate) fn validate(&self) -> Result<(), ScenarioError> {
        let (from, to) = self.workload.think_ms;
        if from > to {
            let allowed = "it must go from the shorter to the longer time";
            return refuse("workload.think_ms", &[from, to], allowed);
        }
        if let Some(name) = self.buggify.unknown() {
            return refuse(
                "buggify.points",
                &format_args!("{name}"),
                "the names are listed in docs/rare.md",
            );
        }
        self.validate_farm()?;
        self.validate_network()?;
        self.known("later", &self.later)?;
        self.validate_faults()?;
        self.validate_requests()
    }

    /// The core's own limits must take what the scenario says of them.
    fn validate_farm(&self) -> Result<(), ScenarioError> {
        let server = ServerId::new(1, Timestamp::from_millis(1));
        let mut config = Config::new(server, self.limits.farm(self.servers));
        config.local = self.limits.local();
        config.validate().map_err(|error| ScenarioError::Value {
            field: limit(error.field),
            value: error.value,
            allowed: error.allowed.to_owned(),
        })
    }

    fn validate_network(&self) -> Result<(), ScenarioError> {
        let own = self.network.own.iter();
        for own in own.clone() {
            self.known("network.link", &[own.from, own.to])?;
        }
        for delay in own.map(|own| own.delay).chain([self.network.delay]) {
            let rising = match delay {
                Delay::Fixed { .. } => true,
                Delay::Uniform { min_ms, max_ms } | Delay::Hump { min_ms, max_ms } => {
                    min_ms <= max_ms
                }
                Delay::LongTail { usual_ms, rare_ms, .. } => usual_ms <= rare_ms,
                Delay::Halving { least_ms, most_ms, .. } => least_ms <= most_ms,
            };
            if !rising {
                return refuse("delay", &delay, "the shorter time must not be the longer one");
            }
        }
        Ok(())
    }

    fn validate_faults(&self) -> Result<(), ScenarioError> {
        for timed in &self.faults {
            let field = format!("fault.{}", timed.fault.kind());
            self.in_time(&format!("{field}.at_s"), timed.at_s)?;
            if let Some(side) = timed.fault.clone().side_mut()
                && side.is_empty()
            {
                let allowed = "it must name at least one server";
                return refuse(&format!("{field}.side"), side, allowed);
            }
            self.known(&field, &timed.fault.servers())?;
        }
        Ok(())
    }

    fn validate_requests(&self) -> Result<(), ScenarioError> {
        for request in &self.requests {
            self.in_time("request.at_s", request.at_s)?;
            self.known("request.servers", &request.servers)?;
            if !(1..=2).contains(&request.servers.len()) {
                let allowed = "it must name one server, or two";
                return refuse("request.servers", &request.servers, allowed);
            }
        }
        Ok(())
    }

    /// Whether this is a time of the first phase: what comes later never happens.
    fn in_time(&self, field: &str, at_s: f64) -> Result<(), ScenarioError> {
        if (0.0..=self.duration_s).contains(&at_s) {
            return Ok(());
        }
        let allowed =
            format!("it must be from 0 to {} s, the scenario's duration_s", self.duration_s);
        refuse(field, &Plain(at_s), allowed)
    }

    /// Whether these are servers of this scenario, none of them twice.
    fn known(&self, field: &str, servers: &[u16]) -> Result<(), ScenarioError> {
        let mut named = servers.to_vec();
        named.sort_unstable();
        named.dedup();
        if named.iter().all(|server| (1..=self.servers).contains(server))
            && named.len() == servers.len()
        {
            return Ok(());
        }
        let allowed = format!("it must name servers from 1 to {}, none twice", self.servers);
        refuse(field, &servers, allowed)
    }
}
