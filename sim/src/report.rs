//! A run as a picture: one HTML file with its data, its style and its script in it, so that it can
//! be opened anywhere, without a network, years later.

use std::collections::BTreeMap;

use grapevine_core::Timestamp;
use serde_json::{Value, json};

use crate::run::{Outcome, Run, WARM_UP};
use crate::scenario::Scenario;
use crate::swarm::finish;
use crate::trace::Record;
use crate::world::START;

/// The most bytes of a picture's data. Of a longer run the beginning is left out.
pub const LARGEST: usize = 8 << 20;

const PAGE: &str = include_str!("report/page.html");
const STYLE: &str = include_str!("report/page.css");
const SCRIPT: &str = include_str!("report/page.js");
/// Runs only when the address ends with `#self-test`.
const SELF_TEST: &str = include_str!("report/self_test.js");

/// Runs a scenario and draws it: how it ended, and the HTML.
pub fn report(scenario: &Scenario) -> (Outcome, String) {
    let mut run = Run::new(scenario);
    run.record();
    let outcome = finish(&mut run);
    let records = run.world().trace();
    let mut from = START;
    let data = loop {
        let data = data(scenario, &outcome, records, from).to_string();
        // Half of what is left, until it fits: the end is what matters.
        let left = run.world().now().since(from);
        if data.len() <= LARGEST || left.as_millis() == 0 {
            break data;
        }
        from = run.world().now().before(left / 2);
    };
    (outcome, page(scenario, &data))
}

fn page(scenario: &Scenario, data: &str) -> String {
    // The only place where text could end the script element that holds it.
    let data = data.replace('<', "\\u003c");
    // The data is put in last: nothing in it is taken for a place to fill.
    PAGE.replace("{{seed}}", &scenario.seed.to_string())
        .replace("{{style}}", STYLE)
        .replace("{{self_test}}", SELF_TEST)
        .replace("{{script}}", SCRIPT)
        .replace("{{data}}", &data)
}

/// Names that come again and again, by number.
#[derive(Default)]
struct Names {
    numbers: BTreeMap<String, usize>,
    list: Vec<String>,
}

impl Names {
    fn number(&mut self, name: &str) -> usize {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        self.list.push(name.to_owned());
        self.numbers.insert(name.to_owned(), self.list.len() - 1);
        self.list.len() - 1
    }

    fn numbers(&mut self, names: &[String]) -> Vec<usize> {
        names.iter().map(|name| self.number(name)).collect()
    }
}

/// Everything that the script draws; times in microseconds since the start.
fn data(scenario: &Scenario, outcome: &Outcome, records: &[Record], from: Timestamp) -> Value {
    let mut sessions = Names::default();
    let mut lists: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    // What a server has at `from` is the last that was said of it before.
    let early = records.iter().enumerate().take_while(|(_, record)| at(record) < from);
    let last: BTreeMap<_, usize> = early.filter_map(|(n, r)| Some((part(r)?, n))).collect();
    for (n, record) in records.iter().enumerate() {
        let fault = matches!(
            record,
            Record::Fault { .. } | Record::Scheduled { .. } | Record::Links { .. }
        );
        let state = || part(record).is_some_and(|part| last.get(&part) == Some(&n));
        if at(record) >= from || fault || state() {
            let (list, row) = row(record, from, &mut sessions);
            lists.entry(list).or_default().push(row);
        }
    }
    let empty =
        ["sent", "lost", "asked", "answered", "faults", "scheduled", "links", "copies", "applied"];
    for list in empty {
        lists.entry(list).or_default();
    }
    json!({
        "seed": scenario.seed,
        "servers": scenario.servers,
        "later": scenario.later,
        "start_ms": START.as_millis(),
        "begin": WARM_UP.as_micros() as u64,
        "scenario": scenario.to_toml(),
        "verdict": outcome.verdict,
        "broken": outcome.broken,
        "events": outcome.events,
        "from": micros(from),
        "end": (outcome.simulated_s * 1e6) as u64,
        "sessions": sessions.list,
        "lists": lists,
    })
}

/// What part of the state a record is about: a server, and one of its sessions or its vector.
fn part(record: &Record) -> Option<(usize, Option<&str>)> {
    match record {
        Record::Copy { server, session, .. } => Some((*server, Some(session))),
        Record::Applied { server, .. } => Some((*server, None)),
        _ => None,
    }
}

const fn at(record: &Record) -> Timestamp {
    let (Record::Sent { at, .. }
    | Record::Lost { at, .. }
    | Record::Asked { at, .. }
    | Record::Answered { at, .. }
    | Record::Fault { at, .. }
    | Record::Scheduled { at, .. }
    | Record::Copy { at, .. }
    | Record::Links { at, .. }
    | Record::Applied { at, .. }) = record;
    *at
}

fn micros(at: Timestamp) -> u64 {
    at.since(START).as_micros() as u64
}

/// The list that a record belongs to, and its row there. What came before `from` is put there.
fn row(record: &Record, from: Timestamp, sessions: &mut Names) -> (&'static str, Value) {
    let t = micros(at(record).max(from));
    match record {
        Record::Sent { due, link, command, about, damaged, .. } => {
            let about = sessions.numbers(about);
            let damaged = u8::from(*damaged);
            ("sent", json!([t, micros(*due), link.0, link.1, command, about, damaged]))
        }
        Record::Lost { link, command, about, why, .. } => {
            ("lost", json!([t, link.0, link.1, command, sessions.numbers(about), why]))
        }
        Record::Asked { server, what, about, .. } => {
            ("asked", json!([t, server, what, sessions.numbers(about)]))
        }
        Record::Answered { server, what, good, about, .. } => {
            let good = u8::from(*good);
            ("answered", json!([t, server, what, sessions.numbers(about), good]))
        }
        Record::Fault { at, server, what } => ("faults", json!([micros(*at), server, what])),
        Record::Scheduled { at, what } => ("scheduled", json!([micros(*at), what])),
        Record::Links { at, cut, clogged } => ("links", json!([micros(*at), cut, clogged])),
        Record::Copy { server, session, shows, .. } => {
            ("copies", json!([t, server, sessions.number(session), shows]))
        }
        Record::Applied { server, applied, .. } => ("applied", json!([t, server, applied])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_run_can_end_the_element_that_holds_it() {
        let page = page(&Scenario::drawn(1), r#"{"x":"</script><b>{{script}}"}"#);
        assert!(page.contains(r#"{"x":"\u003c/script>\u003cb>{{script}}"}"#));
        assert_eq!(page.matches("</script>").count(), 2, "of the data and of the script");
    }

    #[test]
    fn a_name_is_written_once() {
        let mut names = Names::default();
        assert_eq!(names.numbers(&["a".into(), "b".into(), "a".into()]), [0, 1, 0]);
        assert_eq!(names.list, ["a", "b"]);
    }
}
