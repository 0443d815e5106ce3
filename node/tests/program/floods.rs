//! Floods of new sessions by visitors who keep no cookie.

use serde_json::json;

use crate::farm::{Farm, token};

/// What a session takes when it is over: see `docs/guarantees.md`.
const ENDED_BYTES: u64 = 440;

#[tokio::test]
async fn a_flood_may_end_every_visitors_session_is_refused_then_and_touches_nobody_logged_in() {
    let limits = "[farm]\nwhen_full = 'evict_anonymous'\nsession_bytes = 1024\nvalue_bytes = 512\n\
                  bytes_per_origin = 65536";
    let farm = Farm::start_with(1, limits).await;
    let cart = json!({ "cart": "x".repeat(300) });
    let ann = json!({ "principal": "ann", "attributes": cart }).to_string();
    let ann = farm.create(0, &ann).await;
    let body = json!({ "attributes": cart }).to_string();
    let mut visitors = Vec::new();
    for _ in 0..5 {
        visitors.push(farm.create(0, &body).await);
    }
    let mut made = 5_u64;
    let refused = loop {
        let (status, answer) = farm.send("POST", 0, "/sessions", &body).await;
        if status != 201 {
            break (status, answer);
        }
        made += 1;
        assert!(made < 1000, "it is never refused");
    };
    let why = json!(["full", "anonymous_bytes"]);
    assert_eq!((refused.0, json!([refused.1["code"], refused.1["limit"]])), (503, why));
    let (_, shown) = farm.get(0, "/farm").await;
    let allowed = shown["limits"]["anonymous_bytes"].as_u64().unwrap();
    let room = allowed / 16 * 15 / ENDED_BYTES;
    // As many as fit if all are over, but for the contents of the last.
    assert!((room - 2..=room).contains(&made), "{made} of {room}: {shown}");
    assert!(shown["tombstones"].as_u64().unwrap() + 2 >= made, "{shown}");
    for visitor in &visitors {
        let (status, error) = farm.get(0, &format!("/sessions/{visitor}")).await;
        assert_eq!((status, &error["code"]), (404, &json!("ended")), "{error}");
    }
    let write = r#"{"set": {"note": "still here"}}"#;
    let (status, ann) = farm.send("PATCH", 0, &format!("/sessions/{ann}"), write).await;
    assert_eq!((status, &ann["session"]["attributes"]["cart"]), (200, &cart["cart"]), "{ann}");
    let (status, bob) = farm.send("POST", 0, "/sessions", r#"{"principal": "bob"}"#).await;
    assert_eq!(status, 201, "a log-in finds room: {bob}");
    assert_eq!(farm.get(0, &format!("/sessions/{}", token(&bob))).await.0, 200);
}
