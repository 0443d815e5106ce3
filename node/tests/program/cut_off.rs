//! What a server says that can't hear the others.

use serde_json::json;

use crate::farm::{Farm, token, until};

#[tokio::test]
async fn a_cut_off_server_that_is_to_refuse_serves_nothing_says_why_and_serves_again() {
    let mut farm = Farm::start_with(3, "[farm]\nwhen_isolated = 'refuse'").await;
    let cart = r#"{"principal": "ann", "attributes": {"cart": 1}}"#;
    let session = format!("/sessions/{}", farm.create(0, cart).await);
    farm.kill(1).await;
    farm.kill(2).await;
    until("it refuses", async || {
        let (status, shown) = farm.get(0, &session).await;
        if status == 200 {
            return None;
        }
        let why = json!([status, shown["code"], shown["reason"]]);
        assert_eq!(why, json!([503, "unavailable", "isolated"]), "{shown}");
        Some(())
    })
    .await;
    for (method, path, body) in [
        ("POST", "/sessions", "{}"),
        ("GET", &format!("{session}?stale=ok"), ""),
        ("PATCH", &session, r#"{"set": {"cart": 2}}"#),
        ("PUT", &session, r#"{"attributes": {}}"#),
        ("POST", &format!("{session}/rotate"), "{}"),
        ("DELETE", &session, ""),
        ("GET", "/principals/ann/sessions", ""),
        ("DELETE", "/principals/ann/sessions", ""),
    ] {
        let (status, shown) = farm.send(method, 0, path, body).await;
        let why = json!([status, shown["code"], shown["reason"]]);
        assert_eq!(why, json!([503, "unavailable", "isolated"]), "{method} {path}: {shown}");
    }
    let (status, ready) = farm.get(0, "/ready").await;
    assert_eq!((status, &ready["reason"]), (503, &json!("isolated")), "{ready}");
    let health = farm.http.get(farm.url(0, "/health")).send().await.unwrap();
    assert_eq!(
        (health.status().as_u16(), &health.headers()["grapevine-isolated"]),
        (200, &"true".parse().unwrap())
    );
    farm.launch(1);
    until("it serves again", async || (farm.get(0, &session).await.0 == 200).then_some(())).await;
    let (_, shown) = farm.get(0, &session).await;
    assert_eq!(shown["session"]["attributes"], json!({"cart": 1}), "refused is not done: {shown}");
}

/// What it lacks was written while it stood still, for so long that the others closed their links to it; and
/// when it goes on, they stand still.
#[tokio::test]
async fn a_server_that_can_not_ask_shows_what_may_be_old_to_who_wants_it_and_says_so() {
    let farm = Farm::start(3).await;
    let old = farm.create(0, r#"{"attributes": {"cart": "old"}}"#).await;
    farm.signal(0, "STOP").await;
    until("nobody has a link to the first", async || {
        for at in 1..3 {
            let (_, shown) = farm.get(at, "/farm").await;
            let links = shown["links"]["outgoing"].as_array().unwrap();
            let first = farm.servers[0].farm.to_string();
            let link = links.iter().find(|link| link["address"] == first.as_str()).unwrap();
            (link["state"] != "up").then_some(())?;
        }
        Some(())
    })
    .await;
    let change = r#"{"set": {"cart": "new"}}"#;
    let (status, changed) = farm.send("PATCH", 1, &format!("/sessions/{old}"), change).await;
    assert_eq!(status, 200, "{changed}");
    let new = token(&changed);
    farm.signal(1, "STOP").await;
    farm.signal(2, "STOP").await;
    farm.signal(0, "CONT").await;
    for wait in ["wait_ms=0", "stale=no&wait_ms=50", "stale=no"] {
        let (status, refused) = farm.get(0, &format!("/sessions/{new}?{wait}")).await;
        let why = json!([status, refused["code"], refused["reason"]]);
        assert_eq!(why, json!([503, "unavailable", "no_answer"]), "{wait}: {refused}");
    }
    let (status, shown) = farm.get(0, &format!("/sessions/{new}?stale=ok&wait_ms=50")).await;
    let said = json!([shown["stale"], shown["lost"], shown["session"]["attributes"]["cart"]]);
    assert_eq!((status, said), (200, json!([true, false, "old"])), "{shown}");
    assert_eq!(shown["token"], new, "it goes on asking for what it asked for");
    farm.signal(1, "CONT").await;
    farm.signal(2, "CONT").await;
    until("the first has it", async || {
        let (status, shown) = farm.get(0, &format!("/sessions/{new}")).await;
        (status == 200).then_some(())?;
        let said = json!([shown["stale"], shown["session"]["attributes"]["cart"]]);
        assert_eq!(said, json!([false, "new"]), "{shown}");
        Some(())
    })
    .await;
}
