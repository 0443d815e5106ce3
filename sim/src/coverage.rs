//! The engines' counters, as a run reports them beside its marks.

use std::collections::BTreeMap;

use grapevine_core::Counters;

/// Adds the engine's counters to the marks.
pub(crate) fn count(counters: &Counters, marks: &mut BTreeMap<String, u64>) {
    let toml::Value::Table(table) =
        toml::Value::try_from(counters).expect("counters are a table of numbers")
    else {
        unreachable!("counters are a table")
    };
    for (name, value) in table {
        let count = value.as_integer().unwrap_or(0).max(0) as u64;
        *marks.entry(name).or_default() += count;
    }
}
