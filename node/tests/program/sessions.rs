//! docs/http.md, line by line.

use serde_json::{Value, json};

use crate::farm::{Farm, token};

fn shape(body: &Value) {
    let mut fields: Vec<&String> = body.as_object().unwrap().keys().collect();
    fields.sort();
    assert_eq!(fields, ["isolated", "lost", "served_by", "session", "stale", "token"]);
    let mut fields: Vec<&String> = body["session"].as_object().unwrap().keys().collect();
    fields.sort();
    assert_eq!(fields, ["attributes", "deadline", "idle_timeout_s"]);
    assert!(body["session"]["deadline"].is_u64());
}

#[tokio::test]
async fn a_session_lives_at_every_server_until_it_is_deleted_at_any() {
    let farm = Farm::start(3).await;

    let body = r#"{"attributes": {"user": "ann"}, "idle_timeout_s": 600, "lifetime_s": 7200}"#;
    let before = unix_seconds();
    let (status, made) = farm.send("POST", 0, "/sessions", body).await;
    assert_eq!(status, 201, "{made}");
    shape(&made);
    assert_eq!(made["session"]["attributes"], json!({ "user": "ann" }));
    assert_eq!(made["session"]["idle_timeout_s"], 600);
    let deadline = made["session"]["deadline"].as_u64().unwrap();
    assert!((before + 7198..=unix_seconds() + 7202).contains(&deadline), "{deadline} {before}");
    assert_eq!((&made["served_by"], &made["stale"]), (&json!(1), &json!(false)));

    let (status, read) = farm.get(1, &format!("/sessions/{}", token(&made))).await;
    assert_eq!((status, &read["served_by"]), (200, &json!(2)), "{read}");
    shape(&read);
    assert_eq!(read["session"], made["session"]);

    let changes = r#"{"set": {"name": {"first": "Ann"}, "n": 5, "gone": 1}, "add": {"cart/a": 2}}"#;
    let path = format!("/sessions/{}", token(&read));
    let (status, changed) = farm.send("PATCH", 2, &path, changes).await;
    assert_eq!(status, 200, "{changed}");
    shape(&changed);
    let all = json!({ "cart/a": 2, "gone": 1, "n": 5, "name": { "first": "Ann" }, "user": "ann" });
    assert_eq!(changed["session"]["attributes"], all, "the state after the write");

    let changes = r#"{"remove": ["gone", "never there"], "add": {"n": 3, "cart/a": -1}}"#;
    let path = format!("/sessions/{}", token(&changed));
    let (status, changed) = farm.send("PATCH", 0, &path, changes).await;
    let all = json!({ "cart/a": 1, "n": 8, "name": { "first": "Ann" }, "user": "ann" });
    assert_eq!((status, &changed["session"]["attributes"]), (200, &all), "{changed}");

    let path = format!("/sessions/{}", token(&changed));
    let (status, nothing) = farm.send("PATCH", 1, &path, "{}").await;
    assert_eq!((status, &nothing["session"]["attributes"]), (200, &all));

    let (status, put) =
        farm.send("PUT", 1, &path, r#"{"attributes": {"user": "bob", "x": null}}"#).await;
    assert_eq!(status, 200, "{put}");
    shape(&put);
    assert_eq!(put["session"]["attributes"], json!({ "user": "bob", "x": null }));
    assert_eq!(farm.attributes(2, &token(&put)).await, json!({ "user": "bob", "x": null }));

    let path = format!("/sessions/{}", token(&put));
    assert_eq!(farm.send("DELETE", 2, &path, "").await, (204, Value::Null));
    for at in 0..3 {
        let (status, gone) = farm.get(at, &path).await;
        assert_eq!((status, &gone["code"]), (404, &json!("ended")), "{gone}");
        for (method, body) in [("PATCH", "{}"), ("PUT", r#"{"attributes": {}}"#), ("DELETE", "")] {
            let (status, gone) = farm.send(method, at, &path, body).await;
            assert_eq!((status, &gone["code"]), (404, &json!("ended")), "{method} {gone}");
        }
    }
}

fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn a_session_needs_no_particulars() {
    let farm = Farm::start(1).await;
    for body in ["", "{}", r#"{"attributes": null, "lifetime_s": null}"#] {
        let (status, made) = farm.send("POST", 0, "/sessions", body).await;
        assert_eq!(status, 201, "{body}: {made}");
        assert_eq!(made["session"]["attributes"], json!({}));
        assert_eq!(made["session"]["idle_timeout_s"], 1800);
    }
    let path = format!("/sessions/{}", farm.create(0, "{}").await);
    assert_eq!(farm.send("DELETE", 0, &path, "").await.0, 204, "a farm of one waits for nobody");
}

#[tokio::test]
async fn every_write_may_wait_for_other_servers() {
    let farm = Farm::start(3).await;
    for acks in ["local", "0", "1", "2", "majority", "all"] {
        let (status, made) = farm.send("POST", 0, &format!("/sessions?acks={acks}"), "{}").await;
        assert_eq!(status, 201, "{acks}: {made}");
        let at = |body: &Value| format!("/sessions/{}?acks={acks}", token(body));
        let (status, changed) = farm.send("PATCH", 1, &at(&made), r#"{"set": {"a": 1}}"#).await;
        assert_eq!(status, 200, "{acks}: {changed}");
        let put = r#"{"attributes": {"b": 2}}"#;
        let (status, replaced) = farm.send("PUT", 2, &at(&changed), put).await;
        assert_eq!(status, 200, "{acks}: {replaced}");
        let (status, gone) = farm.send("DELETE", 0, &at(&replaced), "").await;
        assert_eq!(status, 204, "{acks}: {gone}");
    }
    // What two others have confirmed, the others show even to who carries an old token.
    let old = farm.create(0, "{}").await;
    let path = format!("/sessions/{old}?acks=2");
    assert_eq!(farm.send("PATCH", 0, &path, r#"{"set": {"a": 1}}"#).await.0, 200);
    for at in 1..3 {
        assert_eq!(farm.attributes(at, &old).await, json!({ "a": 1 }));
    }
}

#[tokio::test]
async fn a_write_that_nobody_confirms_is_504_and_stands() {
    let mut farm = Farm::start(3).await;
    let carried = farm.create(0, r#"{"attributes": {"user": "ann"}}"#).await;
    let other = farm.create(0, "{}").await;
    farm.kill(1).await;
    farm.kill(2).await;

    let path = format!("/sessions/{carried}?acks=1");
    let (status, error) = farm.send("PATCH", 0, &path, r#"{"add": {"n": 1}}"#).await;
    assert_eq!((status, &error["code"]), (504, &json!("not_replicated")), "{error}");
    assert_eq!((&error["acked"], &error["wanted"]), (&json!(0), &json!(1)));
    let shown = farm.attributes(0, &token(&error)).await;
    assert_eq!(shown, json!({ "n": 1, "user": "ann" }), "the write stands");

    let path = format!("/sessions/{}?acks=majority", token(&error));
    let (status, error) = farm.send("PUT", 0, &path, r#"{"attributes": {"b": 1}}"#).await;
    assert_eq!((status, &error["wanted"]), (504, &json!(1)), "{error}");

    let (status, error) = farm.send("POST", 0, "/sessions?acks=2", "{}").await;
    assert_eq!((status, &error["acked"], &error["wanted"]), (504, &json!(0), &json!(2)));
    assert_eq!(farm.attributes(0, &token(&error)).await, json!({}));

    // A logout that nobody else has heard of could be undone by a crash, so it is told.
    let path = format!("/sessions/{other}");
    let (status, error) = farm.send("DELETE", 0, &path, "").await;
    assert_eq!((status, &error["acked"]), (504, &json!(0)), "{error}");
    assert_eq!(error.get("token"), None);
    assert_eq!(farm.get(0, &path).await.0, 404, "it is over all the same");
}

#[tokio::test]
async fn a_logout_settles_for_one_server_when_another_hangs_or_is_down() {
    let mut farm = Farm::start(3).await;
    let carried = [farm.create(0, "{}").await, farm.create(0, "{}").await];
    farm.signal(2, "STOP").await;
    assert_eq!(farm.send("DELETE", 0, &format!("/sessions/{}", carried[0]), "").await.0, 204);
    farm.kill(2).await;
    assert_eq!(farm.send("DELETE", 0, &format!("/sessions/{}", carried[1]), "").await.0, 204);
    for carried in carried {
        assert_eq!(farm.get(1, &format!("/sessions/{carried}")).await.0, 404);
    }
}

#[tokio::test]
async fn increments_at_all_servers_at_once_are_all_counted() {
    let farm = Farm::start(3).await;
    let carried = farm.create(0, r#"{"attributes": {"n": 100}}"#).await;
    let path = format!("/sessions/{carried}");
    let one = |at: usize, round: usize| {
        let body = format!(r#"{{"set": {{"k/{at}/{round}": {round}}}, "add": {{"n": 1}}}}"#);
        let (farm, path) = (&farm, &path);
        async move { farm.send("PATCH", at, path, &body).await }
    };
    let rounds = (0..20).flat_map(|round| (0..3).map(move |at| (at, round)));
    let answers = futures_util::future::join_all(rounds.map(|(at, round)| one(at, round))).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");

    farm.until_level(1).await;
    for at in 0..3 {
        let shown = farm.attributes(at, &carried).await;
        assert_eq!(shown["n"], 160);
        assert_eq!(shown.as_object().unwrap().len(), 61, "no attribute was lost");
    }
}

#[tokio::test]
async fn the_calls_for_operators_tell_what_they_say() {
    let farm = Farm::start(3).await;
    let carried = farm.create(0, r#"{"attributes": {"user": "ann"}}"#).await;
    farm.until_level(1).await;

    let (status, shown) = farm.get(1, "/farm").await;
    assert_eq!((status, &shown["server"], &shown["farm_size"]), (200, &json!(2), &json!(3)));
    let members = shown["members"].as_array().unwrap();
    let mut states: Vec<(u64, &str)> = members
        .iter()
        .map(|member| (member["server"].as_u64().unwrap(), member["state"].as_str().unwrap()))
        .collect();
    states.sort();
    assert_eq!(states, [(1, "alive"), (3, "alive")]);
    assert_eq!(shown["sessions"], 1);
    assert_eq!(shown["isolated"], false);
    assert!(shown["applied"].as_object().unwrap().keys().any(|id| id.starts_with("1@")));
    assert!(shown["counters"]["writes"].is_u64() && shown["links"]["reasons"].is_object());
    assert!(!shown.to_string().contains(&carried), "no token is shown");

    for path in ["/health", "/ready"] {
        let (status, fine) = farm.get(2, path).await;
        assert_eq!((status, &fine["status"], &fine["server"]), (200, &json!("ok"), &json!(3)));
        assert_eq!(fine["isolated"], false);
    }

    let (_, one) = farm.get(0, "/digest").await;
    let (_, two) = farm.get(1, "/digest").await;
    assert_eq!(one, two);
    assert_eq!((&one["sessions"], one["hash"].as_str().unwrap().len()), (&json!(1), 64));
    let path = format!("/sessions/{carried}?acks=all");
    farm.send("PATCH", 0, &path, r#"{"set": {"user": "bob"}}"#).await;
    farm.until_level(1).await;
    let (_, later) = farm.get(0, "/digest").await;
    assert_ne!(one["hash"], later["hash"], "the digest is of the contents");
}

#[tokio::test]
async fn a_server_that_waits_for_the_others_is_healthy_but_not_ready() {
    let mut farm = Farm::prepare(3, "");
    farm.launch(0);
    crate::farm::until("it answers", async || {
        farm.http.get(farm.url(0, "/health")).send().await.ok().filter(|r| r.status() == 200)
    })
    .await;
    let (status, error) = farm.get(0, "/ready").await;
    assert_eq!((status, &error["code"]), (503, &json!("not_ready")), "{error}");
    assert_eq!(error["reason"], "joining");
    let progress = &error["progress"];
    assert_eq!((&progress["copies"], &progress["silent"]), (&json!(0), &json!(2)), "{error}");
    assert_eq!(progress["copies_elsewhere"], json!(null), "nobody has said anything");
    farm.launch(1);
    farm.launch(2);
    for at in 0..3 {
        farm.until_ready(at).await;
    }
}

#[tokio::test]
async fn a_server_without_a_majority_goes_on_and_says_so_in_every_response() {
    let mut farm = Farm::start(3).await;
    let carried = farm.create(0, "{}").await;
    farm.kill(1).await;
    farm.kill(2).await;
    crate::farm::until("it knows that it is isolated", async || {
        let (_, fine) = farm.get(0, "/health").await;
        (fine["isolated"] == true).then_some(())
    })
    .await;
    crate::farm::until("it says so in a header", async || {
        let url = farm.url(0, &format!("/sessions/{carried}"));
        let response = farm.http.get(url).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.headers().get("grapevine-isolated").filter(|value| *value == "true").cloned()
    })
    .await;
}
