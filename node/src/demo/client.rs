//! The demo's HTTP client: what a customer's program needs to know of `docs/http.md`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use super::order::Lane;

/// The lines of a cart: how many of what.
pub(super) type Cart = BTreeMap<String, i64>;

/// How long one request may take; far longer than any server waits.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Requests at once, so that any number of customers needs few file descriptors.
const AT_ONCE: usize = 128;

/// Talks to all servers.
pub(super) struct Client {
    http: reqwest::Client,
    sites: Vec<String>,
    places: Semaphore,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// The session.
    Served(Reply),
    /// 504: the write stands, but was not confirmed in time.
    Standing {
        /// What to carry from now on.
        token: String,
    },
    /// The session is not there, or not whole.
    Gone(String),
    /// Nothing was done; another server may do it.
    Elsewhere,
    /// The connection died: if it was a write, nobody knows whether it was done.
    Doubt,
    /// Something that must not happen.
    Wrong(String),
}

/// A session as a server showed it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reply {
    /// What to carry from now on.
    pub(super) token: String,
    /// The attributes.
    pub(super) attributes: Map<String, Value>,
}

impl Reply {
    /// The lines of the cart. A line that is no number counts as lost.
    pub(super) fn cart(&self) -> Cart {
        let lines = self.attributes.iter().filter_map(|(key, value)| {
            Some((key.strip_prefix("cart/")?.to_string(), value.as_i64().unwrap_or(i64::MIN)))
        });
        lines.collect()
    }

    /// The number of the last write of a lane that this copy has.
    pub(super) fn last_of(&self, lane: &Lane) -> u64 {
        self.attributes.get(&lane.key()).and_then(Value::as_u64).unwrap_or(0)
    }
}

#[derive(Deserialize)]
struct Body {
    token: String,
    session: Shape,
    served_by: usize,
    stale: bool,
    lost: bool,
}

#[derive(Deserialize)]
struct Shape {
    attributes: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: String,
    message: String,
    token: Option<String>,
}

/// What `/digest` says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Digest {
    /// Live sessions.
    pub(super) sessions: u64,
    /// The hash of their contents.
    pub(super) hash: String,
}

impl Client {
    /// A client for servers 1, 2 and so on at these addresses.
    pub(super) fn new(sites: Vec<String>) -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(AT_ONCE / 2)
            .build()
            .map_err(|error| format!("the HTTP client could not start: {error}"))?;
        Ok(Self { http, sites, places: Semaphore::new(AT_ONCE) })
    }

    /// Logs in: a new session.
    pub(super) async fn log_in(&self, at: usize, user: &str) -> Answer {
        let body = json!({ "attributes": { "user": user } });
        let url = format!("{}/sessions?acks=1", self.sites[at]);
        self.send(at, self.http.post(url).json(&body)).await
    }

    /// Reads the session.
    pub(super) async fn look(&self, at: usize, token: &str) -> Answer {
        self.send(at, self.http.get(format!("{}/sessions/{token}", self.sites[at]))).await
    }

    /// Adds to the cart, and says in the same write which one of its lane it is.
    pub(super) async fn add(&self, at: usize, token: &str, lane: &Lane, adds: &Cart) -> Answer {
        let adds: BTreeMap<String, i64> =
            adds.iter().map(|(sku, count)| (format!("cart/{sku}"), *count)).collect();
        let body = json!({ "set": { lane.key(): lane.count() }, "add": adds });
        let url = format!("{}/sessions/{token}?acks=1", self.sites[at]);
        self.send(at, self.http.patch(url).json(&body)).await
    }

    async fn send(&self, at: usize, request: reqwest::RequestBuilder) -> Answer {
        let Ok(_place) = self.places.acquire().await else { return Answer::Elsewhere };
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Answer::Elsewhere,
            Err(_) => return Answer::Doubt,
        };
        let status = response.status().as_u16();
        let Ok(bytes) = response.bytes().await else { return Answer::Doubt };
        understand(at, status, &bytes)
    }

    /// Whether a server is ready.
    pub(super) async fn ready(&self, at: usize) -> bool {
        let asked = self.http.get(format!("{}/ready", self.sites[at])).send().await;
        asked.is_ok_and(|response| response.status().is_success())
    }

    /// A server's digest; `None` if it did not answer.
    pub(super) async fn digest(&self, at: usize) -> Option<Digest> {
        let asked = self.http.get(format!("{}/digest", self.sites[at])).send().await.ok()?;
        asked.json().await.ok()
    }

    /// How many servers there are.
    pub(super) fn servers(&self) -> usize {
        self.sites.len()
    }
}

fn understand(at: usize, status: u16, bytes: &[u8]) -> Answer {
    if status == 200 || status == 201 {
        return match serde_json::from_slice::<Body>(bytes) {
            Ok(body) if body.lost => Answer::Gone("some of its writes are lost".into()),
            Ok(body) if body.stale => Answer::Wrong("a stale copy, without asking for one".into()),
            Ok(body) if body.served_by != at + 1 => {
                Answer::Wrong(format!("served by {} instead of {}", body.served_by, at + 1))
            }
            Ok(body) => {
                Answer::Served(Reply { token: body.token, attributes: body.session.attributes })
            }
            Err(error) => Answer::Wrong(format!("an answer of another shape: {error}")),
        };
    }
    let refusal: Refusal = serde_json::from_slice(bytes).unwrap_or_default();
    match (status, refusal) {
        (504, Refusal { token: Some(token), .. }) => Answer::Standing { token },
        (404, refusal) => Answer::Gone(format!("{}: {}", refusal.code, refusal.message)),
        (503, _) => Answer::Elsewhere,
        (status, refusal) => {
            Answer::Wrong(format!("{status} {}: {}", refusal.code, refusal.message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(more: &str) -> String {
        format!(
            "{{\"token\": \"t\", \"session\": {{\"attributes\": {{\"cart/tea\": 2, \"user\": \
             \"ann\"}}, \"deadline\": 1, \"idle_timeout_s\": 1}}, {more}}}"
        )
    }

    #[test]
    fn an_answer_is_taken_only_if_it_is_whole_and_from_the_server_that_was_asked() {
        let good = body("\"served_by\": 2, \"stale\": false, \"lost\": false");
        let Answer::Served(reply) = understand(1, 200, good.as_bytes()) else { panic!() };
        assert_eq!(reply.cart(), Cart::from([("tea".into(), 2)]));
        assert!(matches!(understand(0, 200, good.as_bytes()), Answer::Wrong(_)));
        let stale = body("\"served_by\": 2, \"stale\": true, \"lost\": false");
        assert!(matches!(understand(1, 200, stale.as_bytes()), Answer::Wrong(_)));
        let lost = body("\"served_by\": 2, \"stale\": false, \"lost\": true");
        assert!(matches!(understand(1, 200, lost.as_bytes()), Answer::Gone(_)));
        assert!(matches!(understand(1, 200, b"{}"), Answer::Wrong(_)));
    }

    #[test]
    fn each_refusal_means_what_the_documentation_says() {
        let standing = br#"{"code": "not_replicated", "acked": 0, "wanted": 1, "token": "n"}"#;
        assert_eq!(understand(0, 504, standing), Answer::Standing { token: "n".into() });
        assert_eq!(understand(0, 503, b"{}"), Answer::Elsewhere);
        assert!(matches!(understand(0, 404, b"{}"), Answer::Gone(_)));
        assert!(matches!(understand(0, 422, b"nonsense"), Answer::Wrong(_)));
    }
}
