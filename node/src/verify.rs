//! `grapevine verify`: asks servers how they compare with all others, for people and for scripts.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::VerifyArgs;

/// What a request may take beyond the verification itself.
const SLACK: Duration = Duration::from_secs(10);
/// How long before a server is asked again that was not compared with one that is not ready.
const AGAIN: Duration = Duration::from_millis(200);

/// What `POST /verify` answers; see `docs/http.md`.
#[derive(Debug, Deserialize)]
struct Report {
    server: u16,
    identical: bool,
    unheard: u16,
    peers: Vec<Peer>,
}

#[derive(Debug, Deserialize)]
struct Peer {
    server: u16,
    sessions: u64,
    left_out: u64,
    differing: u64,
    repaired: u64,
    named: Vec<String>,
    missed: Option<String>,
    why: Option<String>,
}

/// How it ended, the worst of all servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Identical,
    Unknown,
    Differs,
}

/// Asks all servers and prints what they say.
pub(crate) async fn run(args: VerifyArgs) -> ExitCode {
    let within = Duration::from_secs(args.within);
    let http = reqwest::Client::builder().no_proxy().timeout(within + SLACK).build();
    let http = match http {
        Ok(http) => http,
        Err(error) => {
            eprintln!("grapevine: the HTTP client could not start: {error}");
            return ExitCode::from(2);
        }
    };
    let mut verdict = Verdict::Identical;
    let mut bodies = Vec::new();
    for url in &args.urls {
        match ask_until_ready(&http, url, within).await {
            Ok((body, report)) => {
                verdict = verdict.max(report.verdict());
                if !args.json {
                    print!("{}", report.text(url));
                }
                bodies.push(json!({ "url": url, "report": body }));
            }
            Err(why) => {
                verdict = verdict.max(Verdict::Unknown);
                eprintln!("grapevine: {url}: {why}");
                bodies.push(json!({ "url": url, "error": why }));
            }
        }
    }
    if args.json {
        println!("{}", Value::from(bodies));
    } else {
        println!("{}", verdict.text());
    }
    ExitCode::from(verdict.code())
}

/// Asks again while a server is not ready, for so long in all: who has just joined is taken to be joining
/// until the next heartbeat comes.
async fn ask_until_ready(
    http: &reqwest::Client,
    url: &str,
    within: Duration,
) -> Result<(Value, Report), String> {
    let end = Instant::now() + within;
    loop {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let asked = ask(http, url, left).await;
        let waits = matches!(&asked, Ok((_, report)) if report.waits());
        if !waits || Instant::now() + AGAIN >= end {
            return asked;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn ask(
    http: &reqwest::Client,
    url: &str,
    within: Duration,
) -> Result<(Value, Report), String> {
    let path = format!("{}/verify?within_ms={}", url.trim_end_matches('/'), within.as_millis());
    let response = http.post(path).send().await.map_err(|error| {
        // The address alone tells nobody why: the cause of the cause does.
        let mut why = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            why = format!("{why}: {inner}");
            cause = inner.source();
        }
        format!("it could not be asked: {why}")
    })?;
    let status = response.status();
    let body: Value = response
        .json()
        .await
        .map_err(|_| format!("it answered {status}, not as a Grapevine server does"))?;
    if !status.is_success() {
        let message = body["message"].as_str().unwrap_or("no reason given");
        return Err(format!("it answered {status}: {message}"));
    }
    let report = Report::deserialize(&body)
        .map_err(|error| format!("its answer is not a report: {error}"))?;
    Ok((body, report))
}

impl Report {
    fn verdict(&self) -> Verdict {
        if self.peers.iter().any(|peer| peer.differing > 0) {
            Verdict::Differs
        } else if self.identical {
            Verdict::Identical
        } else {
            Verdict::Unknown
        }
    }

    /// Whether it may say more in a moment. What differed is told at once: it is equal afterwards.
    fn waits(&self) -> bool {
        let not_ready = |missed: &str| matches!(missed, "not_ready" | "own_not_ready");
        let missed = |peer: &Peer| peer.missed.as_deref().is_some_and(not_ready);
        self.peers.iter().any(missed) && self.peers.iter().all(|peer| peer.differing == 0)
    }

    fn text(&self, url: &str) -> String {
        let mut text = format!("server {} ({url})\n", self.server);
        for peer in &self.peers {
            text += &format!("  server {}: {}\n", peer.server, peer.text());
        }
        if self.unheard > 0 {
            text += &format!("  {} configured servers were never heard of\n", self.unheard);
        }
        text
    }
}

impl Peer {
    fn text(&self) -> String {
        let mut text = match (self.differing, self.sessions, &self.why) {
            (0, 0, Some(why)) => return format!("not compared: {why}"),
            (0, sessions, _) => format!("identical, {sessions} sessions compared"),
            (differing, sessions, _) => format!(
                "{differing} sessions differed, {} of them were made equal; {sessions} compared",
                self.repaired
            ),
        };
        if self.left_out > 0 {
            text += &format!(", {} left out (just written to, or about to end)", self.left_out);
        }
        if let Some(why) = &self.why {
            text += &format!("; not to the end: {why}");
        }
        for id in &self.named {
            text += &format!("\n    differed: {id}");
        }
        text
    }
}

impl Verdict {
    const fn text(self) -> &'static str {
        match self {
            Self::Identical => "The servers are identical.",
            Self::Unknown => "Not all servers could be compared; no difference was found.",
            Self::Differs => "Servers differed. What is said to be made equal is equal now.",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Identical => 0,
            Self::Differs => 1,
            Self::Unknown => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(differing: u64, why: Option<&str>) -> Report {
        let peer = Peer {
            server: 2,
            sessions: 7,
            left_out: 1,
            differing,
            repaired: differing,
            named: (0..differing).map(|n| format!("{n:016x}")).collect(),
            missed: why.map(|_| "no_answer".to_owned()),
            why: why.map(str::to_owned),
        };
        Report {
            server: 1,
            identical: differing == 0 && why.is_none(),
            unheard: 0,
            peers: vec![peer],
        }
    }

    #[test]
    fn a_difference_is_told_with_its_sessions_and_ends_with_one() {
        let report = report(2, None);
        assert_eq!(report.verdict().code(), 1);
        let text = report.text("http://127.0.0.1:1");
        assert!(text.contains("2 sessions differed, 2 of them were made equal"), "{text}");
        assert!(text.contains("differed: 0000000000000001"), "{text}");
    }

    #[test]
    fn what_could_not_be_compared_ends_with_two_and_says_why() {
        let report = report(0, Some("it did not answer in time"));
        assert_eq!(report.verdict().code(), 2);
        assert!(report.text("u").contains("not to the end: it did not answer in time"));
    }

    #[test]
    fn who_is_not_ready_is_asked_again_unless_something_differed() {
        let not_ready = |differing| {
            let mut report = report(differing, Some("it is joining"));
            report.peers[0].missed = Some("not_ready".to_owned());
            report.peers[0].sessions = 0;
            report
        };
        assert!(not_ready(0).waits() && !not_ready(2).waits());
        assert!(!report(0, Some("it did not answer in time")).waits());
        assert!(not_ready(0).text("u").contains("server 2: not compared: it is joining"));
    }

    #[test]
    fn identical_servers_end_with_zero_and_say_what_was_left_out() {
        let report = report(0, None);
        assert_eq!(report.verdict().code(), 0);
        let text = report.text("u");
        assert!(text.contains("identical, 7 sessions compared, 1 left out"), "{text}");
    }
}
