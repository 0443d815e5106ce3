//! Floods of new sessions by visitors who keep no cookie.

use serde_json::json;

use crate::farm::{Farm, token};

/// What a session takes when it is over: see `docs/guarantees.md`.
const ENDED_BYTES: u64 = 440;

#[tokio::test]
async fn a_flood_ends_the_oldest_visitors_is_refused_then_and_touches_nobody_logged_in() {
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
    let (mut made, mut last) = (5_u64, String::new());
    let refused = loop {
        let (status, answer) = farm.send("POST", 0, "/sessions", &body).await;
        if status != 201 {
            break (status, answer);
        }
        (made, last) = (made + 1, token(&answer));
        assert!(made < 1000, "it is never refused");
    };
    let why = json!(["full", "anonymous_bytes"]);
    assert_eq!((refused.0, json!([refused.1["code"], refused.1["limit"]])), (503, why));
    let (_, shown) = farm.get(0, "/farm").await;
    let allowed = shown["limits"]["anonymous_bytes"].as_u64().unwrap();
    assert_eq!(refused.1["allowed"], allowed, "{}", refused.1);
    // As many as have their places in half of the room; and what is left is for those who are there.
    assert_eq!(made, allowed / 2 / ENDED_BYTES, "{shown}");
    let here = made + 1 - shown["tombstones"].as_u64().unwrap();
    assert!(here * 2 * 400 > allowed / 2, "{here} are there: {shown}");
    for visitor in &visitors {
        let (status, error) = farm.get(0, &format!("/sessions/{visitor}")).await;
        assert_eq!((status, &error["code"]), (404, &json!("ended")), "{error}");
    }
    let (status, there) = farm.get(0, &format!("/sessions/{last}")).await;
    assert_eq!((status, &there["session"]["attributes"]["cart"]), (200, &cart["cart"]), "{there}");
    let write = r#"{"set": {"note": "still here"}}"#;
    let (status, ann) = farm.send("PATCH", 0, &format!("/sessions/{ann}"), write).await;
    assert_eq!((status, &ann["session"]["attributes"]["cart"]), (200, &cart["cart"]), "{ann}");
    let (status, bob) = farm.send("POST", 0, "/sessions", r#"{"principal": "bob"}"#).await;
    assert_eq!(status, 201, "a log-in finds room: {bob}");
    assert_eq!(farm.get(0, &format!("/sessions/{}", token(&bob))).await.0, 200);
}
