//! The calls for operators and load balancers.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::Json;
use axum::extract::State;
use grapevine_tokio::{Farm, LinkState, LinkStatus, Member, Status, Vector, WhenIsolated};
use serde_json::{Value, json};

use super::Shared;
use super::error::{Code, Problem};
use super::query::WithinQuery;

/// `GET /farm`: what this server knows of itself and the others.
pub(super) async fn farm(State(app): State<Shared>) -> Result<Json<Value>, Problem> {
    let status = app.grapevine.status().await?;
    let members: Vec<Value> = status.members.iter().map(member).collect();
    let farm = app.grapevine.farm();
    Ok(Json(json!({
        "server": status.server.number(),
        "id": status.server.to_string(),
        "boot_ms": status.server.boot().as_millis(),
        "farm_size": status.farm_size,
        "fingerprint": hex(&farm.fingerprint()),
        "listen": app.grapevine.local_addr().to_string(),
        "joining": status.joining,
        "progress": status.progress,
        "isolated": status.isolated,
        "skewed": status.skewed,
        "leaving": status.leaving,
        "members": members,
        "applied": vector(&status.applied),
        "end": status.end.to_string(),
        "sessions": status.sessions,
        "partial": status.partial,
        "tombstones": status.tombstones,
        "bytes": status.bytes,
        "own": status.own,
        "limits": limits(farm),
        "waiting": status.waiting,
        "counters": status.counters,
        "links": links(&app.grapevine.links()),
    })))
}

/// What the sessions that one server made may take.
fn limits(farm: &Farm) -> Value {
    json!({
        "sessions": farm.slots_per_origin,
        "bytes": farm.bytes_per_origin,
        "anonymous_sessions": farm.anonymous_slots(),
        "anonymous_bytes": farm.anonymous_bytes(),
    })
}

fn member(member: &Member) -> Value {
    json!({
        "server": member.server.number(),
        "id": member.server.to_string(),
        "boot_ms": member.server.boot().as_millis(),
        "state": member.state,
        "joining": member.joining,
        "reachable": member.reachable,
        "heard_ms": member.heard.as_millis(),
        "clock_offset_us": member.clock_offset_us,
        "end": member.end.to_string(),
        "copies": member.copies,
        "acked": member.acked.to_string(),
    })
}

fn links(links: &LinkStatus) -> Value {
    let state = |state: LinkState| match state {
        LinkState::Dialling => "dialling",
        LinkState::Up => "up",
        LinkState::Itself => "itself",
        LinkState::Duplicate => "duplicate",
        _ => "other",
    };
    let outgoing = links.outgoing.iter().map(|link| {
        json!({
            "address": link.address,
            "server": link.server.map(|server| server.number()),
            "state": state(link.state),
            "problem": link.problem,
            "queued_frames": link.queued_frames,
            "queued_bytes": link.queued_bytes,
        })
    });
    let incoming = links.incoming.iter().map(|link| {
        json!({
            "server": link.server.number(),
            "address": link.address.map(|address| address.to_string()),
        })
    });
    json!({
        "outgoing": outgoing.collect::<Vec<Value>>(),
        "incoming": incoming.collect::<Vec<Value>>(),
        "frames_sent": links.frames_sent,
        "bytes_sent": links.bytes_sent,
        "writes": links.writes,
        "frames_received": links.frames_received,
        "bytes_received": links.bytes_received,
        "queue_overflow": links.queue_overflow,
        "reasons": links.reasons,
    })
}

fn vector(vector: &Vector) -> BTreeMap<String, String> {
    vector.iter().map(|(server, stamp)| (server.to_string(), stamp.to_string())).collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `GET /health`: whether the process does its work. An isolated server does, and says so.
pub(super) async fn health(State(app): State<Shared>) -> Result<Json<Value>, Problem> {
    let status = app.grapevine.status().await.map_err(|error| {
        Problem::new(Code::NotHealthy, error.to_string()).with("reason", "stopped")
    })?;
    if status.skewed {
        let message = "this server's clock is too far from the other servers' clocks";
        return Err(Problem::new(Code::NotHealthy, message).with("reason", "skewed"));
    }
    Ok(fine(&status))
}

/// `GET /ready`: whether customers should be sent here.
pub(super) async fn ready(State(app): State<Shared>) -> Result<Json<Value>, Problem> {
    let not =
        |reason: &str, message: &str| Problem::new(Code::NotReady, message).with("reason", reason);
    let status =
        app.grapevine.status().await.map_err(|error| not("stopped", &error.to_string()))?;
    if status.leaving {
        return Err(not("leaving", "this server is leaving the farm"));
    }
    if status.skewed {
        return Err(not("skewed", "this server's clock is too far from the other servers' clocks"));
    }
    if status.joining {
        let problem = not("joining", "this server has not yet got everything from the others");
        return Err(problem.with("progress", json!(status.progress)));
    }
    if status.isolated && app.grapevine.farm().when_isolated == WhenIsolated::Refuse {
        return Err(not("isolated", "this server is cut off from the majority of the farm"));
    }
    Ok(fine(&status))
}

fn fine(status: &Status) -> Json<Value> {
    Json(json!({
        "status": "ok",
        "server": status.server.number(),
        "joining": status.joining,
        "leaving": status.leaving,
        "isolated": status.isolated,
    }))
}

/// `GET /digest`: a hash over all live sessions' contents. It looks at every session, so it runs
/// beside the threads that serve customers, and once at a time.
pub(super) async fn digest(State(app): State<Shared>) -> Result<Json<Value>, Problem> {
    let _turn = app.digests.lock().await;
    let grapevine = app.grapevine.clone();
    let digest = tokio::task::spawn_blocking(move || grapevine.digest());
    let digest = digest.await.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    Ok(Json(json!({ "sessions": digest.sessions, "hash": hex(&digest.hash) })))
}

/// `POST /verify`: compares all sessions with those of every other server, and mends what differs.
pub(super) async fn verify(
    State(app): State<Shared>,
    WithinQuery(within): WithinQuery,
) -> Result<Json<Value>, Problem> {
    let report = app.grapevine.verify(within).await?;
    let peers = report.peers.iter().map(|peer| {
        json!({
            "server": peer.number,
            "id": peer.server.map(|server| server.to_string()),
            "sessions": peer.sessions,
            "left_out": peer.left_out,
            "differing": peer.differing,
            "repaired": peer.repaired,
            "named": peer.named.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "missed": peer.missed,
            "why": peer.missed.map(|missed| missed.to_string()),
        })
    });
    Ok(Json(json!({
        "server": app.number(),
        "identical": report.identical(),
        "unheard": report.unheard,
        "peers": peers.collect::<Vec<_>>(),
    })))
}

#[cfg(test)]
mod tests {
    use grapevine_tokio::Counters;

    use super::*;

    #[test]
    fn the_documentation_lists_every_counter_and_no_other() {
        let docs = include_str!("../../../docs/http.md");
        let section = docs.split("\n### Counters\n").nth(1).expect("there is no such section");
        let section = section.split("\n## ").next().unwrap_or_default();
        let names = section
            .lines()
            .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_string()));
        let mut documented: Vec<String> = names.collect();
        documented.sort();
        let counters = serde_json::to_value(Counters::default()).unwrap();
        let mut coded: Vec<String> = counters.as_object().unwrap().keys().cloned().collect();
        coded.sort();
        assert_eq!(coded, documented);
    }

    #[test]
    fn bytes_are_shown_as_two_digits_each() {
        assert_eq!(hex(&[0, 0x0f, 0xf0]), "000ff0");
    }
}
