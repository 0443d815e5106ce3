//! Scenarios: a run as data. A scenario says what farm there is, what customers do and what goes
//! wrong when; it says nothing of how that is simulated, so other harnesses can run it too. The
//! schema is documented in `docs/scenario.md`.

use serde::{Deserialize, Serialize};

mod buggify;
mod check;
mod fault;
mod limits;
mod network;
mod schema;
mod workload;

pub use buggify::Buggify;
pub use check::ScenarioError;
pub use fault::{Fault, Memory, Timed};
pub use limits::{FarmAcks, Limits};
pub use network::{Delay, Links, OwnDelay};
pub use schema::{FIELDS, Field};
pub use workload::{Kind, Scripted, Workload};

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Feeds every coin flip of the run.
    pub seed: u64,
    /// How many servers are configured.
    pub servers: u16,
    /// Which of them don't run at the beginning: a `start` among the faults starts them. Numbered
    /// from 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<u16>,
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
    /// Rare choices that are forced.
    #[serde(default, skip_serializing_if = "Buggify::is_empty")]
    pub buggify: Buggify,
    /// What goes wrong, in order of time.
    #[serde(default, rename = "fault", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Timed>,
    /// Requests one by one, in order of time: made besides what the workload's customers do, by
    /// customers numbered after them.
    #[serde(default, rename = "request", skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Scripted>,
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

impl Scenario {
    /// A scenario from its TOML.
    ///
    /// # Errors
    /// [`ScenarioError`], if it can't be read or a value doesn't fit.
    pub fn from_toml(text: &str) -> Result<Self, ScenarioError> {
        check::ranges(&toml::from_str(text)?)?;
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
}
