//! The figures at the end: a table for people, JSON for programs, and the verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use super::World;
use super::check::{Checked, Level};
use super::customer::Visit;

/// The most reasons that are told.
const REASONS: usize = 20;

/// What the demo measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) customers: u32,
    pub(super) seconds: u64,
    pub(super) servers: usize,
    pub(super) interactions: u64,
    pub(super) by_server: BTreeMap<String, u64>,
    pub(super) found: u64,
    pub(super) moved_on: u64,
    pub(super) in_doubt: u64,
    pub(super) turned_up: usize,
    pub(super) not_replicated: u64,
    pub(super) latency: (Duration, Duration),
    pub(super) carts_right: usize,
    pub(super) cart_lines: usize,
    pub(super) cart_lines_lost: usize,
    pub(super) cart_lines_over: usize,
    pub(super) sessions_lost: usize,
    pub(super) killed_server: usize,
    pub(super) restart_to_ready: Duration,
    pub(super) end_to_level: Duration,
    pub(super) identical: bool,
    pub(super) sessions: u64,
    pub(super) digest: String,
    pub(super) reasons: Vec<String>,
}

impl Figures {
    /// What was counted and found; the caller adds what it measured itself.
    pub(super) fn of(world: &World, visits: &[Visit], farm: &Level, carts: &[Checked]) -> Self {
        let board = &world.board;
        let servers = world.client.servers();
        let digest = farm.digests.iter().flatten().min_by_key(|digest| digest.sessions).cloned();
        let sum = |of: fn(&Checked) -> usize| carts.iter().map(of).sum::<usize>();
        let mut figures = Self {
            servers,
            interactions: board.interactions.get(),
            by_server: (1..)
                .map(|number: usize| number.to_string())
                .zip(board.by_server.iter().map(super::board::Count::get))
                .collect(),
            found: board.found.get(),
            moved_on: board.moved_on.get(),
            in_doubt: board.in_doubt.get(),
            turned_up: sum(|cart| cart.turned_up),
            not_replicated: board.not_replicated.get(),
            latency: board.percentiles(),
            carts_right: carts.iter().filter(|cart| cart.right_at == servers).count(),
            cart_lines: sum(|cart| cart.lines),
            cart_lines_lost: sum(|cart| cart.lines_lost),
            cart_lines_over: sum(|cart| cart.lines_over),
            sessions_lost: carts.iter().filter(|cart| cart.found_at < servers).count(),
            identical: farm.identical,
            sessions: digest.as_ref().map_or(0, |digest| digest.sessions),
            digest: digest.map_or_else(String::new, |digest| digest.hash),
            ..Self::default()
        };
        figures.judge(board.login_in_doubt.get(), visits, farm, carts);
        figures
    }

    fn judge(&mut self, orphans: u64, visits: &[Visit], farm: &Level, carts: &[Checked]) {
        let mut reasons: Vec<String> = Vec::new();
        if !farm.identical {
            let each: Vec<String> =
                farm.digests.iter().map(|digest| format!("{digest:?}")).collect();
            reasons
                .push(format!("the servers are not identical or not ready: {}", each.join(", ")));
        }
        let least = visits.len() as u64;
        if !(least..=least + orphans).contains(&self.sessions) {
            reasons.push(format!("{} sessions are left of {least}", self.sessions));
        }
        if self.found != self.interactions {
            let lacking = self.interactions - self.found;
            reasons.push(format!("{lacking} interactions did not find their session"));
        }
        if self.carts_right != visits.len() {
            let (right, all) = (self.carts_right, visits.len());
            reasons.push(format!("only {right} of {all} carts are right on every server"));
        }
        let said = visits.iter().flat_map(|visit| &visit.complaints);
        let found = carts.iter().flat_map(|cart| &cart.complaints);
        let all: Vec<&String> = said.chain(found).collect();
        reasons.extend(all.iter().take(REASONS).map(|complaint| complaint.to_string()));
        if all.len() > REASONS {
            reasons.push(format!("and {} more like these", all.len() - REASONS));
        }
        self.reasons = reasons;
    }

    /// Whether nothing was lost, counters are exact and all servers are identical.
    pub(super) fn passed(&self) -> bool {
        self.reasons.is_empty()
    }

    /// Whether every line of every cart has exactly what was added to it, on every server.
    fn counters_exact(&self) -> bool {
        self.cart_lines_lost == 0 && self.cart_lines_over == 0 && self.sessions_lost == 0
    }
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 100.0
}

/// The figures for programs. The names are stable; `docs/demo.md` tells what they mean.
pub(super) fn json(figures: &Figures) -> String {
    format!("{:#}\n", fields(figures))
}

fn fields(figures: &Figures) -> Value {
    json!({
        "passed": figures.passed(),
        "reasons": figures.reasons,
        "customers": figures.customers,
        "seconds": figures.seconds,
        "servers": figures.servers,
        "interactions": figures.interactions,
        "interactions_by_server": figures.by_server,
        "interactions_found": figures.found,
        "moved_on": figures.moved_on,
        "in_doubt": figures.in_doubt,
        "in_doubt_turned_up": figures.turned_up,
        "not_replicated": figures.not_replicated,
        "latency_ms_p50": ms(figures.latency.0),
        "latency_ms_p99": ms(figures.latency.1),
        "carts_right": figures.carts_right,
        "cart_lines": figures.cart_lines,
        "cart_lines_lost": figures.cart_lines_lost,
        "cart_lines_over": figures.cart_lines_over,
        "counters_exact": figures.counters_exact(),
        "sessions": figures.sessions,
        "sessions_lost": figures.sessions_lost,
        "killed_server": figures.killed_server,
        "restart_to_ready_ms": ms(figures.restart_to_ready),
        "end_to_level_ms": ms(figures.end_to_level),
        "farm_identical": figures.identical,
        "digest": figures.digest,
    })
}

/// The figures for people.
pub(super) fn table(figures: &Figures) -> Table {
    let of = |part: String, whole: String| format!("{part} of {whole}");
    let yes = |so: bool| if so { "yes" } else { "NO" }.to_string();
    let by_server: Vec<String> =
        figures.by_server.iter().map(|(server, count)| format!("{server}: {count}")).collect();
    let rows = [
        ("customers", figures.customers.to_string()),
        ("interactions", figures.interactions.to_string()),
        ("interactions by server", by_server.join("   ")),
        (
            "interactions that found their session",
            of(figures.found.to_string(), figures.interactions.to_string()),
        ),
        (
            "carts complete and right on every server",
            of(figures.carts_right.to_string(), figures.customers.to_string()),
        ),
        (
            "cart lines lost",
            of(figures.cart_lines_lost.to_string(), figures.cart_lines.to_string()),
        ),
        ("counters exact", yes(figures.counters_exact())),
        ("server killed and started again empty", figures.killed_server.to_string()),
        ("time until it was level", format!("{:.2} s", figures.restart_to_ready.as_secs_f64())),
        ("customers went on at another server", format!("{} times", figures.moved_on)),
        ("writes in doubt, all settled", figures.in_doubt.to_string()),
        (
            "time of an interaction, half / 99 of 100 below",
            format!("{:.1} ms / {:.1} ms", ms(figures.latency.0), ms(figures.latency.1)),
        ),
        ("all servers identical", yes(figures.identical)),
    ];
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    for (name, value) in rows {
        table.add_row([name.to_string(), value]);
    }
    if let Some(values) = table.column_mut(1) {
        values.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::client::Cart;

    fn visits(count: u32) -> Vec<Visit> {
        let visit = |number| Visit {
            number,
            token: Some("t".into()),
            expected: Cart::new(),
            doubts: Vec::new(),
            complaints: Vec::new(),
        };
        (0..count).map(visit).collect()
    }

    fn good() -> Figures {
        Figures {
            interactions: 10,
            found: 10,
            carts_right: 2,
            sessions: 2,
            identical: true,
            ..Figures::default()
        }
    }

    fn judged(mut figures: Figures, visits: &[Visit]) -> Figures {
        let farm = Level { digests: Vec::new(), identical: figures.identical };
        figures.judge(0, visits, &farm, &[]);
        figures
    }

    #[test]
    fn the_documentation_lists_every_figure_and_no_other() {
        let docs = include_str!("../../../docs/demo.md");
        let names = docs
            .lines()
            .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_string()));
        let mut documented: Vec<String> = names.collect();
        documented.sort();
        let value = fields(&Figures::default());
        let mut coded: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        coded.sort();
        assert_eq!(coded, documented);
    }

    #[test]
    fn the_demo_passes_only_if_nothing_was_lost() {
        assert!(judged(good(), &visits(2)).passed());
        let worse = [
            Figures { found: 9, ..good() },
            Figures { carts_right: 1, ..good() },
            Figures { sessions: 1, ..good() },
            Figures { sessions: 3, ..good() },
            Figures { identical: false, ..good() },
        ];
        for figures in worse {
            let figures = judged(figures, &visits(2));
            assert!(!figures.passed(), "{figures:?}");
            assert!(json(&figures).contains("\"passed\": false"));
        }
        let mut complaining = visits(2);
        complaining[1].complaints.push("lost".into());
        assert!(!judged(good(), &complaining).passed());
    }
}
