//! Servers that die, leave and come back.

use std::io::Write as _;

use serde_json::json;

use crate::farm::{Farm, until};

#[tokio::test]
async fn a_server_that_is_killed_and_started_again_empty_gets_everything_back() {
    let mut farm = Farm::start(3).await;
    let mut carried = Vec::new();
    for n in 0..30_usize {
        let body = format!(r#"{{"attributes": {{"user": "u{n}"}}}}"#);
        carried.push(farm.create(n % 3, &body).await);
    }
    farm.kill(1).await;
    for (n, token) in carried.iter().enumerate() {
        // While it is away, sessions change, end and are made; those it made itself as well.
        let at = if n % 2 == 0 { 0 } else { 2 };
        let path = format!("/sessions/{token}?acks=1");
        if n < 5 {
            assert_eq!(farm.send("DELETE", at, &path, "").await.0, 204);
        } else {
            let (status, _) = farm.send("PATCH", at, &path, r#"{"add": {"n": 2}}"#).await;
            assert_eq!(status, 200);
        }
    }
    let late = farm.create(2, r#"{"attributes": {"late": true}}"#).await;

    farm.launch(1);
    farm.until_ready(1).await;
    farm.until_level(26).await;
    for (n, token) in carried.iter().enumerate() {
        if n < 5 {
            let (status, error) = farm.get(1, &format!("/sessions/{token}")).await;
            assert_eq!((status, &error["code"]), (404, &json!("ended")), "it is not back: {error}");
        } else {
            let all = json!({ "n": 2, "user": format!("u{n}") });
            assert_eq!(farm.attributes(1, token).await, all);
        }
    }
    assert_eq!(farm.attributes(1, &late).await, json!({ "late": true }));
    let (_, answer) = farm.get(1, "/farm").await;
    assert_eq!(answer["server"], 2);
}

#[tokio::test]
async fn all_servers_can_be_replaced_one_after_the_other() {
    let mut farm = Farm::start(3).await;
    let token = farm.create(0, r#"{"attributes": {"user": "ann"}}"#).await;
    for at in 0..3 {
        farm.kill(at).await;
        farm.launch(at);
        farm.until_ready(at).await;
        farm.until_level(1).await;
    }
    for at in 0..3 {
        assert_eq!(farm.attributes(at, &token).await, json!({ "user": "ann" }));
    }
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_leaves_in_order() {
    let mut farm = Farm::start(3).await;
    let token = farm.create(1, r#"{"attributes": {"user": "ann"}}"#).await;
    let path = format!("/sessions/{token}");
    let (status, _) = farm.send("PATCH", 1, &path, r#"{"set": {"last": "words"}}"#).await;
    assert_eq!(status, 200);
    farm.terminate(1).await;
    let ended = farm.until_ended(1).await;
    assert_eq!(ended.code(), Some(0), "{}", farm.said_by(1));
    for at in [0, 2] {
        until("the others see that it left", async || {
            (farm.state_of(at, 2).await.as_deref() == Some("left")).then_some(())
        })
        .await;
        assert_eq!(farm.attributes(at, &token).await["last"], "words");
    }
    for address in [farm.servers[1].http, farm.servers[1].farm] {
        assert!(std::net::TcpStream::connect(address).is_err(), "{address} still listens");
    }
    assert!(!farm.said_by(1).contains(&token[..40]), "no token is logged");

    farm.launch(1);
    farm.until_ready(1).await;
    farm.until_level(1).await;
    assert_eq!(farm.attributes(1, &token).await["last"], "words");
}

#[tokio::test]
async fn requests_that_run_when_the_server_is_told_to_stop_get_their_answer() {
    let mut farm = Farm::start(3).await;
    let token = farm.create(0, "{}").await;
    farm.kill(1).await;
    farm.kill(2).await;
    // Nobody can confirm this write, so it waits for as long as writes do.
    let url = farm.url(0, &format!("/sessions/{token}?acks=1"));
    let request = farm.http.patch(url).body(r#"{"set": {"a": 1}}"#).send();
    let waiting = tokio::spawn(request);
    until("the write waits", async || {
        let (_, shown) = farm.get(0, "/farm").await;
        (shown["waiting"] == 1).then_some(())
    })
    .await;
    farm.terminate(0).await;
    let response = waiting.await.unwrap().expect("the request was cut off");
    assert_eq!(response.status(), 504);
    assert_eq!(farm.until_ended(0).await.code(), Some(0), "{}", farm.said_by(0));
}

#[tokio::test]
async fn a_server_whose_log_nobody_reads_any_more_goes_on() {
    let mut farm = Farm::prepare(1, "");
    farm.launch_unheard(0);
    farm.until_ready(0).await;
    let token = farm.create(0, "{}").await;
    for round in 1..=3 {
        // Each time it has something to warn of.
        let mut stranger = std::net::TcpStream::connect(farm.servers[0].farm).unwrap();
        stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        until("it has noticed the stranger", async || {
            let (_, shown) = farm.get(0, "/farm").await;
            let reasons = shown["links"]["reasons"].as_object()?.values();
            (reasons.filter_map(|count| count.as_u64()).sum::<u64>() >= round).then_some(())
        })
        .await;
    }
    assert_eq!(farm.attributes(0, &token).await, json!({}));
    farm.terminate(0).await;
    assert_eq!(farm.until_ended(0).await.code(), Some(0));
}

#[tokio::test]
async fn what_kept_a_server_from_starting_is_its_exit_code_even_if_nobody_hears_why() {
    let mut farm = Farm::prepare(1, "[farm]\nsize = 0");
    farm.launch_unheard(0);
    assert_eq!(farm.until_ended(0).await.code(), Some(1));
}

#[tokio::test]
async fn a_child_whose_parent_is_gone_stops() {
    let mut farm = Farm::start(1).await;
    farm.end_stdin(0);
    assert_eq!(farm.until_ended(0).await.code(), Some(0), "{}", farm.said_by(0));
}

#[tokio::test]
async fn a_second_server_with_a_number_in_use_is_refused_and_says_so() {
    let mut farm = Farm::prepare(3, "");
    farm.launch(0);
    farm.launch(1);
    farm.until_ready(0).await;
    farm.until_ready(1).await;
    let token = farm.create(0, "{}").await;
    farm.launch_as(2, 1);
    let ended = farm.until_ended(2).await;
    assert_eq!(ended.code(), Some(1));
    assert!(farm.said_by(2).contains("number 1 is in use"), "{}", farm.said_by(2));
    // The one that had it goes on, undisturbed.
    assert_eq!(farm.attributes(0, &token).await, json!({}));
    assert_eq!(farm.state_of(1, 1).await.as_deref(), Some("alive"), "{}", farm.said_by(1));
}
