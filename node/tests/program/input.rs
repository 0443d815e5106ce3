//! What customers may send, and what they get for the rest.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

use crate::farm::{Farm, PATIENCE};

#[tokio::test]
async fn wrong_requests_get_a_status_a_code_and_change_nothing() {
    let farm = Farm::start(1).await;
    let carried =
        farm.create(0, r#"{"attributes": {"user": "ann", "n": 9223372036854775807}}"#).await;
    let before = farm.get(0, "/digest").await;
    let one = format!("/sessions/{carried}");
    let deep = format!(r#"{{"set": {{"a": {}}}}}"#, "[".repeat(100_000) + &"]".repeat(100_000));
    let long_key = format!(r#"{{"set": {{"{}": 1}}}}"#, "k".repeat(257));
    let big_value = format!(r#"{{"set": {{"a": "{}"}}}}"#, "x".repeat(20_000));
    let table: &[(&str, &str, &str, u16, &str)] = &[
        ("POST", "/sessions", "{", 400, "malformed_json"),
        ("POST", "/sessions", "{} x", 400, "malformed_json"),
        ("POST", "/sessions", "[]", 422, "invalid_body"),
        ("POST", "/sessions", r#"{"attribute": {}}"#, 422, "invalid_body"),
        ("POST", "/sessions", r#"{"attributes": [1]}"#, 422, "invalid_body"),
        ("POST", "/sessions", r#"{"idle_timeout_s": 0}"#, 422, "out_of_range"),
        ("POST", "/sessions", r#"{"idle_timeout_s": -5}"#, 422, "out_of_range"),
        ("POST", "/sessions", r#"{"lifetime_s": 1.5}"#, 422, "out_of_range"),
        ("POST", "/sessions", r#"{"lifetime_s": 99999999999999999999}"#, 422, "out_of_range"),
        ("POST", "/sessions", r#"{"lifetime_s": "60"}"#, 422, "out_of_range"),
        ("POST", "/sessions?acks=7", "{}", 422, "invalid_query"),
        ("POST", "/sessions?acks=all&acks=1", "{}", 422, "invalid_query"),
        ("POST", "/sessions?ack=1", "{}", 422, "invalid_query"),
        ("GET", "/sessions/nonsense", "", 404, "malformed_token"),
        ("GET", "/sessions/%ff", "", 404, "malformed_token"),
        ("GET", &format!("/sessions/{carried}A"), "", 404, "malformed_token"),
        ("GET", &format!("/sessions/{}", "A".repeat(carried.len())), "", 404, "malformed_token"),
        ("GET", &format!("/sessions/{}", "A".repeat(9000)), "", 404, "malformed_token"),
        ("GET", &format!("{one}?stale=maybe"), "", 422, "invalid_query"),
        ("GET", &format!("{one}?acks=1"), "", 422, "invalid_query"),
        ("PATCH", &one, "", 400, "malformed_json"),
        ("PATCH", &one, "{\"set\": {\"a\": 01}}", 400, "malformed_json"),
        ("PATCH", &one, "\u{0}", 400, "malformed_json"),
        ("PATCH", &one, r#"{"append": {}}"#, 422, "invalid_body"),
        ("PATCH", &one, r#"{"set": {"a": 1e999}}"#, 422, "invalid_value"),
        ("PATCH", &one, r#"{"set": {"": 1}}"#, 422, "invalid_key"),
        ("PATCH", &one, r#"{"set": {"a\u0007": 1}}"#, 422, "invalid_key"),
        ("PATCH", &one, r#"{"set": {"a": 1}, "remove": ["a"]}"#, 422, "duplicate_key"),
        ("PATCH", &one, r#"{"add": {"a": 1.5}}"#, 422, "out_of_range"),
        ("PATCH", &one, r#"{"set": {"a": 1}, "add": {"user": 1}}"#, 422, "not_a_number"),
        ("PATCH", &one, r#"{"set": {"a": 1}, "add": {"n": 1}}"#, 422, "counter_overflow"),
        ("PATCH", &one, &deep, 422, "over_limit"),
        ("PATCH", &one, &long_key, 422, "over_limit"),
        ("PATCH", &one, &big_value, 422, "over_limit"),
        ("PUT", &one, "{}", 422, "invalid_body"),
        ("PUT", &one, r#"{"attributes": null}"#, 422, "invalid_body"),
        ("DELETE", &format!("{one}?acks=many"), "", 422, "invalid_query"),
        ("POST", &one, "{}", 405, "method_not_allowed"),
        ("GET", "/sessions", "", 405, "method_not_allowed"),
        ("DELETE", "/farm", "", 405, "method_not_allowed"),
        ("GET", "/nowhere", "", 404, "no_such_route"),
        ("GET", &format!("{one}/more"), "", 404, "no_such_route"),
    ];
    for (method, path, body, status, code) in table {
        let (is, error) = farm.send(method, 0, path, body).await;
        let what = format!("{method} {:.60} {body:.60}", path);
        assert_eq!((is, &error["code"]), (*status, &json!(code)), "{what}: {error}");
        assert!(error["message"].as_str().unwrap().len() > 10, "{what}: {error}");
    }
    assert_eq!(farm.get(0, "/digest").await, before, "nothing changed");
}

#[tokio::test]
async fn each_limit_answers_by_its_name() {
    let limits = "[farm]\nattributes_per_session = 4\nvalue_bytes = 100\nsession_bytes = 1024\n\
                  slots_per_origin = 2\nanonymous_percent = 100\n\
                  [http_limits]\nbody_bytes = 2000";
    let farm = Farm::start_with(1, limits).await;
    let carried = farm.create(0, "{}").await;
    let one = format!("/sessions/{carried}");
    let many = r#"{"set": {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}}"#;
    let value = format!(r#"{{"set": {{"a": "{}"}}}}"#, "x".repeat(100));
    let key = format!(r#"{{"set": {{"{}": 1}}}}"#, "k".repeat(257));
    let deep = format!(r#"{{"set": {{"a": {}1{}}}}}"#, "[".repeat(65), "]".repeat(65));
    let wide: Vec<String> =
        (0..4).map(|n| format!("\"{n}{}\": \"{}\"", "k".repeat(250), "v".repeat(90))).collect();
    let wide = format!("{{\"set\": {{{}}}}}", wide.join(", "));
    let table = [
        (many, "attributes_per_session", 4),
        (value.as_str(), "value_bytes", 100),
        (key.as_str(), "key_bytes", 256),
        (deep.as_str(), "json_depth", 64),
        (wide.as_str(), "session_bytes", 1024),
    ];
    for (body, limit, allowed) in table {
        let (status, error) = farm.send("PATCH", 0, &one, body).await;
        assert_eq!((status, &error["code"]), (422, &json!("over_limit")), "{limit}: {error}");
        assert_eq!((&error["limit"], &error["allowed"]), (&json!(limit), &json!(allowed)));
    }
    let large = format!(r#"{{"set": {{"a": "{}"}}}}"#, "x".repeat(2000));
    let huge = "x".repeat(30_000);
    for body in [large, huge] {
        let (status, error) = farm.send("PATCH", 0, &one, &body).await;
        assert_eq!((status, &error["code"]), (413, &json!("body_too_large")), "{error}");
        assert_eq!((&error["limit"], &error["allowed"]), (&json!("body_bytes"), &json!(2000)));
    }
    farm.create(0, "{}").await;
    let (status, error) = farm.send("POST", 0, "/sessions", "{}").await;
    assert_eq!((status, &error["code"]), (503, &json!("full")), "{error}");
    assert_eq!(error["limit"], "slots_per_origin");
}

/// What the server sends until it closes the connection.
fn converse(farm: &Farm, text: &[u8]) -> String {
    let mut stream = TcpStream::connect(farm.servers[0].http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text).unwrap();
    let mut heard = Vec::new();
    // A reset after the answer is an end too.
    let ended = stream.read_to_end(&mut heard);
    let timed_out = ended.as_ref().is_err_and(|error| {
        matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
    });
    assert!(!timed_out, "the connection stayed open after {}", String::from_utf8_lossy(&heard));
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_says_that_it_is_too_large_is_refused_before_it_comes() {
    let farm = Farm::start_with(1, "[http_limits]\nbody_timeout = '10m'").await;
    let head = "POST /sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n";
    for (more, begun) in [("", ""), ("", "{\"attri"), ("Expect: 100-continue\r\n", "")] {
        let mut stream = TcpStream::connect(farm.servers[0].http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{head}{more}\r\n{begun}").as_bytes()).unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"}") {
            let mut part = [0; 1024];
            let read = stream.read(&mut part).expect("no answer came");
            assert!(read > 0, "it was cut off after {}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&part[..read]);
        }
        let heard = String::from_utf8(heard).unwrap();
        assert!(heard.starts_with("HTTP/1.1 413 "), "{heard}");
        assert!(heard.contains(r#""code":"body_too_large""#), "{heard}");
        assert!(heard.contains(r#""allowed":262144"#) && heard.contains("body_bytes"), "{heard}");
    }
    // Who sends it all gets to read the answer too, if it is not far too much.
    let (status, error) = farm.send("POST", 0, "/sessions", &"x".repeat(4_000_000)).await;
    assert_eq!((status, &error["code"]), (413, &json!("body_too_large")), "{error}");
    assert_eq!(farm.send("POST", 0, "/sessions", "{}").await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_too_slowly_or_no_http_is_cut_off_and_disturbs_nobody() {
    let limits = "[http_limits]\nbody_timeout = '200ms'\nheader_timeout = '200ms'";
    let farm = Farm::start_with(1, limits).await;
    let half_head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ";
    assert_eq!(converse(&farm, half_head), "", "half a head is no request");
    assert_eq!(converse(&farm, b""), "", "who says nothing is let go");
    let half_body = b"POST /sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{\"attri";
    let heard = converse(&farm, half_body);
    assert!(heard.starts_with("HTTP/1.1 408 ") && heard.contains("body_timeout"), "{heard}");
    let heard = converse(&farm, b"\x16\x03\x01\x02\x00\x01\x00 this is not HTTP\r\n\r\n");
    assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 400 "), "{heard}");
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "x".repeat(200_000));
    let heard = converse(&farm, long.as_bytes());
    assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 431 "), "{heard}");
    assert_eq!(farm.send("POST", 0, "/sessions", "{}").await.0, 201);
}

#[tokio::test]
async fn no_more_connections_than_allowed_are_served_at_once_and_the_rest_wait_their_turn() {
    let farm =
        Farm::start_with(1, "[http_limits]\nconnections = 2\nheader_timeout = '500ms'").await;
    let _idle: Vec<TcpStream> =
        (0..8).map(|_| TcpStream::connect(farm.servers[0].http).unwrap()).collect();
    assert_eq!(farm.send("POST", 0, "/sessions", "{}").await.0, 201, "it is served in the end");
}

#[tokio::test]
async fn values_come_back_as_they_were_sent() {
    let farm = Farm::start(2).await;
    let text = r#"{"attributes": {"big": 123456789012345678901234567890, "f": 1.0, "s": "ä\n\"", "o": { "b" : [1, 2] }}}"#;
    let carried = farm.create(0, text).await;
    let url = farm.url(1, &format!("/sessions/{carried}"));
    let shown = farm.http.get(url).send().await.unwrap().text().await.unwrap();
    for part in [
        r#""big":123456789012345678901234567890"#,
        r#""f":1.0"#,
        r#""s":"ä\n\"""#,
        r#""o":{"b":[1,2]}"#,
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}
