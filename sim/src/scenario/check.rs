//! What a scenario may say: each number has a range, each server that is named is there.

use super::Scenario;

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
    fn times(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let faults = self.faults.iter().map(|timed| ("fault.at_s", timed.at_s));
        faults.chain(self.requests.iter().map(|request| ("request.at_s", request.at_s)))
    }

    pub(super) fn validate(&self) -> Result<(), ScenarioError> {
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
        if let Some(name) = self.buggify.unknown() {
            return refuse("buggify.points", name.clone(), "the names are listed in docs/rare.md");
        }
        let links = &self.network;
        for (field, value) in [
            ("buggify.probability", self.buggify.probability),
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
