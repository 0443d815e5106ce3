//! The range of every number that a scenario may hold. `docs/scenario.md` has the same table; a test
//! compares the two.

/// One number of the schema.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Where it stands: tables by name, the kind of a fault or a delay after the name of its table.
    pub name: &'static str,
    /// Its unit; empty for a plain number.
    pub unit: &'static str,
    /// The least that is allowed.
    pub least: f64,
    /// The most that is allowed.
    pub most: f64,
}

const fn field(name: &'static str, unit: &'static str, least: f64, most: f64) -> Field {
    Field { name, unit, least, most }
}

/// A day: no run is longer.
const DAY_S: f64 = 86_400.0;
/// The longest delay.
const DELAY_MS: f64 = 60_000.0;
/// The largest number of a TOML file.
const LARGEST: f64 = i64::MAX as f64;
const SERVERS: f64 = 64.0;
const ONE: f64 = 1.0;

/// Every number that a scenario may hold. (That a server is one of the scenario's own is checked
/// besides.)
pub const FIELDS: &[Field] = &[
    field("seed", "", 0.0, LARGEST),
    field("servers", "", ONE, SERVERS),
    field("later", "server", ONE, SERVERS),
    field("duration_s", "s", 0.0, DAY_S),
    field("limits.slots_per_origin", "", ONE, 16_777_216.0),
    field("limits.bytes_per_origin", "bytes", 16_384.0, 1_125_899_906_842_624.0),
    field("limits.anonymous_percent", "percent", ONE, 100.0),
    field("limits.known_servers", "", ONE, 65_536.0),
    field("limits.session_bytes", "bytes", 1024.0, 16_777_216.0),
    field("limits.attributes_per_session", "", ONE, 65_536.0),
    field("limits.pull_budget", "bytes", ONE, 134_217_728.0),
    field("limits.offer_above", "bytes", 0.0, 268_435_456.0),
    field("limits.pending_forwards", "", 0.0, 1_048_576.0),
    field("limits.pending_requests", "", ONE, 1_048_576.0),
    field("limits.max_lifetime_s", "s", ONE, 31_622_400.0),
    field("limits.anonymous_lifetime_s", "s", ONE, 31_622_400.0),
    field("limits.give_up_after_ms", "ms", 2000.0, 86_400_000.0),
    field("limits.verify_every_ms", "ms", 0.0, 86_400_000.0),
    field("network.loss", "probability", 0.0, ONE),
    field("network.repeats", "probability", 0.0, ONE),
    field("network.corruption", "probability", 0.0, ONE),
    field("network.queue", "messages", ONE, 1_000_000.0),
    field("network.link.from", "server", ONE, SERVERS),
    field("network.link.to", "server", ONE, SERVERS),
    field("delay.fixed.ms", "ms", 0.0, DELAY_MS),
    field("delay.uniform.min_ms", "ms", 0.0, DELAY_MS),
    field("delay.uniform.max_ms", "ms", 0.0, DELAY_MS),
    field("delay.long_tail.usual_ms", "ms", 0.0, DELAY_MS),
    field("delay.long_tail.rare_ms", "ms", 0.0, DELAY_MS),
    field("delay.long_tail.rare", "probability", 0.0, ONE),
    field("delay.hump.min_ms", "ms", 0.0, DELAY_MS),
    field("delay.hump.max_ms", "ms", 0.0, DELAY_MS),
    field("delay.halving.least_ms", "ms", 0.0, DELAY_MS),
    field("delay.halving.half_ms", "ms", 0.0, DELAY_MS),
    field("delay.halving.most_ms", "ms", 0.0, DELAY_MS),
    field("workload.customers", "", 0.0, 10_000.0),
    field("workload.think_ms", "ms", 0.0, 3_600_000.0),
    field("workload.patience_ms", "ms", ONE, 3_600_000.0),
    field("workload.idle_timeout_s", "s", ONE, 31_622_400.0),
    field("workload.lifetime_s", "s", ONE, 31_622_400.0),
    field("buggify.probability", "probability", 0.0, ONE),
    field("fault.at_s", "s", 0.0, DAY_S),
    field("fault.crash.server", "server", ONE, SERVERS),
    field("fault.start.server", "server", ONE, SERVERS),
    field("fault.pause.server", "server", ONE, SERVERS),
    field("fault.resume.server", "server", ONE, SERVERS),
    field("fault.leave.server", "server", ONE, SERVERS),
    field("fault.slow.server", "server", ONE, SERVERS),
    field("fault.slow.ms", "ms", 0.0, 10_000.0),
    field("fault.partition.side", "server", ONE, SERVERS),
    field("fault.isolate.server", "server", ONE, SERVERS),
    field("fault.one_way.side", "server", ONE, SERVERS),
    field("fault.swallow.side", "server", ONE, SERVERS),
    field("fault.bridge.server", "server", ONE, SERVERS),
    field("fault.bridge.side", "server", ONE, SERVERS),
    field("fault.cut.from", "server", ONE, SERVERS),
    field("fault.cut.to", "server", ONE, SERVERS),
    field("fault.clog.from", "server", ONE, SERVERS),
    field("fault.clog.to", "server", ONE, SERVERS),
    field("fault.unclog.from", "server", ONE, SERVERS),
    field("fault.unclog.to", "server", ONE, SERVERS),
    field("fault.weather.loss", "probability", 0.0, ONE),
    field("fault.weather.repeats", "probability", 0.0, ONE),
    field("fault.weather.corruption", "probability", 0.0, ONE),
    field("fault.step.server", "server", ONE, SERVERS),
    field("fault.step.ms", "ms", -86_400_000.0, 86_400_000.0),
    field("fault.drift.server", "server", ONE, SERVERS),
    field("fault.drift.ppm", "parts per million", -100_000.0, 100_000.0),
    field("fault.corrupt_memory.server", "server", ONE, SERVERS),
    field("fault.corrupt_memory.pick", "", 0.0, 4_294_967_295.0),
    field("fault.flood.server", "server", ONE, SERVERS),
    field("fault.flood.sessions", "", ONE, 10_000.0),
    field("fault.flood.bytes", "bytes", 0.0, 1_048_576.0),
    field("request.at_s", "s", 0.0, DAY_S),
    field("request.customer", "", ONE, 10_000.0),
    field("request.servers", "server", ONE, SERVERS),
    field("request.flips", "", 0.0, 4_294_967_295.0),
];

/// Every number in a table of TOML, with its name in the schema.
pub(super) fn numbers(table: &toml::Table) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    walk("", table, &mut found);
    found
}

fn walk(above: &str, table: &toml::Table, found: &mut Vec<(String, f64)>) {
    let kind = table.get("kind").and_then(toml::Value::as_str);
    for (key, value) in table {
        // The time of a fault is the same for all kinds.
        let name = match kind.filter(|_| key != "at_s" && above != "request") {
            Some(kind) => format!("{above}.{kind}.{key}"),
            None if above.is_empty() || key == "delay" => key.clone(),
            None => format!("{above}.{key}"),
        };
        number(&name, value, found);
    }
}

fn number(name: &str, value: &toml::Value, found: &mut Vec<(String, f64)>) {
    match value {
        toml::Value::Integer(integer) => found.push((name.to_owned(), *integer as f64)),
        toml::Value::Float(float) => found.push((name.to_owned(), *float)),
        toml::Value::Table(table) => walk(name, table, found),
        toml::Value::Array(values) => values.iter().for_each(|value| number(name, value, found)),
        _ => {}
    }
}
