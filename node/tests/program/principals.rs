//! Whose sessions they are: log-in, sign out everywhere, a user's sessions.

use reqwest::header::{AUTHORIZATION, COOKIE, SET_COOKIE, WWW_AUTHENTICATE};
use serde_json::json;

use crate::farm::{Farm, token};

#[tokio::test]
async fn a_log_in_gives_a_new_token_and_the_old_one_is_over_at_every_server() {
    let farm = Farm::start(3).await;
    let (_, made) = farm.send("POST", 0, "/sessions", r#"{"attributes": {"cart/tea": 2}}"#).await;
    let old = token(&made).to_string();
    let log_in = r#"{"principal": "ann@example.com", "set": {"role": "admin"}, "add": {"cart/tea": 1},
        "idle_timeout_s": 900}"#;
    let path = format!("/sessions/{old}/rotate?acks=all");
    let (status, new) = farm.send("POST", 1, &path, log_in).await;
    assert_eq!(status, 200, "{new}");
    assert_eq!(new["session"]["attributes"], json!({ "cart/tea": 3, "role": "admin" }));
    assert_eq!(new["session"]["principal"], "ann@example.com");
    assert_eq!(new["session"]["idle_timeout_s"], 900);
    for at in 0..3 {
        let (status, shown) = farm.get(at, &format!("/sessions/{}", token(&new))).await;
        assert_eq!((status, &shown["session"]), (200, &new["session"]), "{shown}");
        let (status, error) = farm.get(at, &format!("/sessions/{old}")).await;
        assert_eq!((status, &error["code"]), (404, &json!("ended")));
    }
    let (status, error) = farm.send("POST", 1, &path, "").await;
    assert_eq!((status, &error["code"]), (404, &json!("ended")));
}

#[tokio::test]
async fn in_its_grace_the_old_token_shows_the_old_contents_and_takes_no_write() {
    let farm = Farm::start(2).await;
    let (_, made) = farm.send("POST", 0, "/sessions", r#"{"attributes": {"user": "guest"}}"#).await;
    let old = format!("/sessions/{}", token(&made));
    let log_in = r#"{"principal": "ann", "grace_s": 60, "set": {"user": "ann"}}"#;
    assert_eq!(farm.send("POST", 0, &format!("{old}/rotate"), log_in).await.0, 200);
    for at in 0..2 {
        let (status, shown) = farm.get(at, &old).await;
        assert_eq!((status, &shown["session"]["attributes"]), (200, &json!({ "user": "guest" })));
        assert_eq!(shown["session"].get("principal"), None);
        for (method, path) in [("PATCH", old.clone()), ("POST", format!("{old}/rotate"))] {
            let (status, error) =
                farm.send(method, at, &path, r#"{"set": {"user": "mallory"}}"#).await;
            assert_eq!((status, &error["code"]), (409, &json!("rotated")), "{error}");
        }
    }
}

#[tokio::test]
async fn a_browser_that_logs_in_carries_the_new_id_in_its_cookie() {
    let farm = Farm::start(1).await;
    let (_, made) = farm.send("POST", 0, "/sessions", "").await;
    let url = farm.url(0, "/session/rotate");
    let request = farm.http.post(url).header(COOKIE, format!("grapevine={}", token(&made)));
    let response = request.body(r#"{"principal": "ann"}"#).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let set = response.headers()[SET_COOKIE].to_str().unwrap().to_string();
    let new: serde_json::Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert!(set.starts_with(&format!("grapevine={};", token(&new))), "{set}");
    assert_ne!(token(&new), token(&made));
}

#[tokio::test]
async fn all_sessions_of_a_user_are_listed_page_by_page_and_ended_everywhere() {
    let farm = Farm::start(3).await;
    let mut anns = Vec::new();
    for at in 0..3 {
        let body = format!(r#"{{"principal": "ann/ü", "attributes": {{"device": {at}}}}}"#);
        let (status, made) = farm.send("POST", at, "/sessions?acks=all", &body).await;
        assert_eq!(status, 201, "{made}");
        anns.push(token(&made).to_string());
    }
    let (_, bob) = farm.send("POST", 0, "/sessions?acks=all", r#"{"principal": "bob"}"#).await;
    let all = "/principals/ann%2F%C3%BC/sessions";
    let (status, first) = farm.get(2, &format!("{all}?most=2")).await;
    assert_eq!((status, first["sessions"].as_array().map(Vec::len)), (200, Some(2)), "{first}");
    let next = first["next"].as_str().expect("more to come");
    let (_, rest) = farm.get(2, &format!("{all}?after={next}")).await;
    assert_eq!(rest["sessions"].as_array().map(Vec::len), Some(1), "{rest}");
    assert_eq!((&rest["next"], &rest["served_by"]), (&json!(null), &json!(3)));
    let entry = &rest["sessions"][0];
    let mut fields: Vec<&String> = entry.as_object().unwrap().keys().collect();
    fields.sort();
    let listed = ["accessed", "attributes", "created", "deadline", "idle_timeout_s", "principal"];
    assert_eq!(fields, listed, "and no token");
    assert_eq!(entry["principal"], "ann/ü");
    for session in &anns {
        assert!(!rest.to_string().contains(session.as_str()));
    }

    assert_eq!(farm.send("DELETE", 1, all, "").await.0, 204);
    for at in 0..3 {
        for session in &anns {
            let (status, error) = farm.get(at, &format!("/sessions/{session}")).await;
            assert_eq!((status, &error["code"]), (404, &json!("ended")), "{error}");
        }
        assert_eq!(farm.get(at, all).await.1["sessions"], json!([]));
        assert_eq!(farm.get(at, &format!("/sessions/{}", token(&bob))).await.0, 200);
    }
    let (_, again) = farm.send("POST", 2, "/sessions", r#"{"principal": "ann/ü"}"#).await;
    assert_eq!(farm.get(0, &format!("/sessions/{}", token(&again))).await.0, 200);
}

#[tokio::test]
async fn what_is_wrong_with_a_principal_or_a_grace_is_told_by_name() {
    let farm = Farm::start(1).await;
    let (_, made) = farm.send("POST", 0, "/sessions", "").await;
    let rotate = format!("/sessions/{}/rotate", token(&made));
    let long = "a".repeat(257);
    let table = [
        ("POST", rotate.clone(), json!({ "principal": "" }), "out_of_range", "field", "principal"),
        (
            "POST",
            rotate.clone(),
            json!({ "principal": long }),
            "over_limit",
            "limit",
            "principal_bytes",
        ),
        ("POST", rotate.clone(), json!({ "grace_s": 61 }), "out_of_range", "field", "grace_s"),
        ("POST", rotate, json!({ "grace_s": -1 }), "out_of_range", "field", "grace_s"),
        (
            "POST",
            "/sessions".into(),
            json!({ "principal": long }),
            "over_limit",
            "limit",
            "principal_bytes",
        ),
        (
            "GET",
            format!("/principals/{long}/sessions"),
            json!({}),
            "over_limit",
            "limit",
            "principal_bytes",
        ),
        (
            "DELETE",
            format!("/principals/{long}/sessions"),
            json!({}),
            "over_limit",
            "limit",
            "principal_bytes",
        ),
        (
            "GET",
            "/principals/ann/sessions?most=0".into(),
            json!({}),
            "invalid_query",
            "field",
            "most",
        ),
        (
            "GET",
            "/principals/ann/sessions?after=x".into(),
            json!({}),
            "invalid_query",
            "field",
            "after",
        ),
    ];
    for (method, path, body, code, field, name) in table {
        let (status, error) = farm.send(method, 0, &path, &body.to_string()).await;
        assert_eq!(
            (status, &error["code"], &error[field]),
            (422, &json!(code), &json!(name)),
            "{error}"
        );
    }
    assert_eq!(farm.get(0, &format!("/sessions/{}", token(&made))).await.0, 200, "nothing changed");
}

#[tokio::test]
async fn where_the_application_has_a_key_nobody_else_says_whose_a_session_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("application.key");
    let key = "5e".repeat(32);
    std::fs::write(&path, &key).unwrap();
    let config = format!("application_key_file = {:?}", path.to_str().unwrap());
    let farm = Farm::start_with(1, &config).await;
    let (status, made) = farm.send("POST", 0, "/sessions", r#"{"attributes": {"a": 1}}"#).await;
    assert_eq!(status, 201, "{made}");
    let one = format!("/sessions/{}", token(&made));
    let calls = [
        ("GET", "/principals/ann/sessions".to_string(), "", 200),
        ("GET", "/expirations".to_string(), "", 200),
        ("POST", "/sessions".to_string(), r#"{"principal": "ann"}"#, 201),
        ("POST", format!("{one}/rotate"), r#"{"principal": "ann"}"#, 200),
        ("DELETE", "/principals/ann/sessions".to_string(), "", 204),
    ];
    let send = async |method: &str, path: &str, body: &str, shown: &[&str]| {
        let method = method.parse::<reqwest::Method>().unwrap();
        let mut request = farm.http.request(method, farm.url(0, path)).body(body.to_string());
        for shown in shown {
            request = request.header(AUTHORIZATION, *shown);
        }
        let response = request.send().await.unwrap();
        let asks = response.headers().get(WWW_AUTHENTICATE).is_some_and(|way| way == "Bearer");
        (response.status().as_u16(), asks, response.text().await.unwrap())
    };
    let bearer = format!("Bearer {key}");
    let (wrong, basic) = (format!("Bearer {}", "5f".repeat(32)), format!("Basic {key}"));
    let refused: [&[&str]; 7] =
        [&[], &[""], &["Bearer"], &["Bearer "], &[&wrong], &[&basic], &[&bearer, &bearer]];
    for (method, path, body, _) in &calls {
        for shown in refused {
            let (status, asks, told) = send(method, path, body, shown).await;
            assert_eq!((status, asks), (401, true), "{method} {path}: {told}");
            assert!(told.contains(r#""code":"unauthorized""#) && !told.contains(&key), "{told}");
        }
    }
    // A token is the right to its session, also to give it a new one.
    let (status, rotated) = farm.send("POST", 0, &format!("{one}/rotate"), "").await;
    assert_eq!(status, 200, "{rotated}");
    let renewed = format!("/sessions/{}/rotate", token(&rotated));
    for (method, path, body, status) in &calls {
        let path = if path.ends_with("/rotate") { &renewed } else { path };
        let (is, _, told) = send(method, path, body, &[&bearer]).await;
        assert_eq!(is, *status, "{method} {path}: {told}");
    }
    assert!(!farm.said_by(0).contains(&key), "it is not logged");
}
