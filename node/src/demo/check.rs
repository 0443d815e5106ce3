//! What is left at the end: whether the servers are identical, and every cart at every server.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;

use super::client::{Answer, Cart, Client, Digest, Reply};
use super::customer::{Visit, put};

const POLL: Duration = Duration::from_millis(100);
/// How long all looks together may be put off by servers that can't tell.
const PATIENCE: Duration = Duration::from_secs(10);
/// Customers that are checked at once.
const AT_ONCE: usize = 16;

/// What the servers say of themselves.
pub(super) struct Level {
    /// Each server's digest, as it was last.
    pub(super) digests: Vec<Option<Digest>>,
    /// Whether all are ready and identical.
    pub(super) identical: bool,
}

/// Waits until all servers are ready and identical, at most for `patience`.
pub(super) async fn level(client: &Client, patience: Duration) -> Level {
    let end = Instant::now() + patience;
    loop {
        let mut digests = Vec::new();
        let mut ready = true;
        for at in 0..client.servers() {
            ready &= client.ready(at).await;
            digests.push(client.digest(at).await);
        }
        let same = digests.iter().all(|digest| digest.is_some() && *digest == digests[0]);
        if ready && same || Instant::now() > end {
            return Level { digests, identical: ready && same };
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What was found of one customer's cart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Checked {
    /// Servers that had the session.
    pub(super) found_at: usize,
    /// Servers whose cart was right in every line.
    pub(super) right_at: usize,
    /// Lines that must be there.
    pub(super) lines: usize,
    /// Lines that a server lacked, or had less of; summed over the servers.
    pub(super) lines_lost: usize,
    /// Lines that a server had more of, or that nobody ordered; summed over the servers.
    pub(super) lines_over: usize,
    /// Writes that turned up after their customer took them for not done.
    pub(super) turned_up: usize,
    /// What was wrong.
    pub(super) complaints: Vec<String>,
}

/// Checks every customer's cart at every server.
pub(super) async fn carts(client: &Client, visits: &[Visit]) -> Vec<Checked> {
    let end = Instant::now() + PATIENCE;
    let checks = futures_util::stream::iter(visits.iter().map(|visit| check(client, visit, end)));
    checks.buffered(AT_ONCE).collect().await
}

async fn check(client: &Client, visit: &Visit, end: Instant) -> Checked {
    let mut checked = Checked { lines: visit.expected.len(), ..Checked::default() };
    let Some(token) = &visit.token else { return checked };
    for at in 0..client.servers() {
        match patiently(client, at, token, end).await {
            Ok(reply) => checked.compare(visit, at, &reply),
            Err(why) => {
                let (number, server) = (visit.number, at + 1);
                checked.complaints.push(format!(
                    "customer {number}: server {server} does not have the session: {why}"
                ));
                checked.lines_lost += visit.expected.len();
            }
        }
    }
    checked
}

async fn patiently(client: &Client, at: usize, token: &str, end: Instant) -> Result<Reply, String> {
    loop {
        match client.look(at, token).await {
            Answer::Served(reply) => return Ok(reply),
            Answer::Gone(why) | Answer::Wrong(why) => return Err(why),
            _ if Instant::now() > end => return Err("it could not tell in time".into()),
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

impl Checked {
    fn compare(&mut self, visit: &Visit, at: usize, reply: &Reply) {
        let mut expected = visit.expected.clone();
        let late = visit.doubts.iter().filter(|doubt| {
            // Nobody wrote to this lane after the write in doubt, so its marker tells for ever.
            reply.last_of(&doubt.lane) >= doubt.lane.count()
        });
        let mut turned_up = 0;
        for doubt in late {
            put(&mut expected, &doubt.adds);
            turned_up += 1;
        }
        self.turned_up = self.turned_up.max(turned_up);
        self.found_at += 1;
        let wrong = differences(&expected, &reply.cart());
        self.right_at += usize::from(wrong.is_empty());
        for (sku, wanted, shown) in wrong {
            let count = if shown < wanted { &mut self.lines_lost } else { &mut self.lines_over };
            *count += 1;
            self.complaints.push(format!(
                "customer {}: server {} has {shown} of {sku} instead of {wanted}",
                visit.number,
                at + 1
            ));
        }
    }
}

fn differences(expected: &Cart, shown: &Cart) -> Vec<(String, i64, i64)> {
    let of = |cart: &Cart, sku: &str| cart.get(sku).copied().unwrap_or(0);
    let mut skus: Vec<&String> = expected.keys().chain(shown.keys()).collect();
    skus.sort();
    skus.dedup();
    skus.into_iter()
        .map(|sku| (sku.clone(), of(expected, sku), of(shown, sku)))
        .filter(|(_, expected, shown)| expected != shown)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::order::{Doubt, Lane};
    use super::*;

    fn visit() -> Visit {
        Visit {
            number: 7,
            token: Some("t".into()),
            expected: Cart::from([("tea".into(), 3), ("pot".into(), 1)]),
            doubts: Vec::new(),
            complaints: Vec::new(),
        }
    }

    fn reply(attributes: serde_json::Value) -> Reply {
        let serde_json::Value::Object(attributes) = attributes else { panic!() };
        Reply { token: "t".into(), attributes }
    }

    #[test]
    fn a_line_lost_a_line_too_much_and_a_line_too_many_are_told_apart() {
        let mut checked = Checked::default();
        checked.compare(&visit(), 0, &reply(json!({ "cart/tea": 3, "cart/pot": 1, "user": "x" })));
        assert_eq!((checked.right_at, checked.lines_lost, checked.lines_over), (1, 0, 0));
        checked.compare(&visit(), 1, &reply(json!({ "cart/tea": 4, "cart/jam": 1 })));
        assert_eq!((checked.right_at, checked.lines_lost, checked.lines_over), (1, 1, 2));
        assert_eq!(checked.found_at, 2);
        assert!(checked.complaints[1].contains("server 2 has 0 of pot instead of 1"));
    }

    #[test]
    fn a_write_in_doubt_counts_when_its_marker_turned_up() {
        let lane: Lane = Lane::new("a");
        let mut visit = visit();
        visit.doubts.push(Doubt { lane, adds: Cart::from([("tea".into(), 2)]) });
        let mut checked = Checked::default();
        checked.compare(&visit, 0, &reply(json!({ "cart/tea": 5, "cart/pot": 1, "op/a": 1 })));
        assert_eq!((checked.right_at, checked.turned_up), (1, 1));
    }
}
