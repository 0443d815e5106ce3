//! `GET /expirations`: an application that cleans up after sessions that ended by themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::farm::{Farm, token, until};

/// Makes a session and gives its token.
async fn make(farm: &Farm, at: usize, body: Value) -> String {
    let (status, made) = farm.send("POST", at, "/sessions", &body.to_string()).await;
    assert_eq!(status, 201, "{made}");
    token(&made)
}

#[tokio::test]
async fn each_session_that_expires_is_told_by_one_server_once_without_what_its_token_is() {
    // Nobody counts anybody as gone on a machine with much else to do.
    let farm = Farm::start_with(3, "[farm]\ndown_after = '60s'").await;
    let mut tokens = Vec::new();
    for at in 0..3 {
        let upload = json!({ "upload": format!("dir-{at}") });
        tokens.push(make(&farm, at, json!({ "attributes": upload, "idle_timeout_s": 1 })).await);
        let order = json!({ "order": at });
        let body = json!({ "attributes": order, "lifetime_s": 1, "principal": "ann" });
        tokens.push(make(&farm, at, body).await);
    }
    let mut places = vec![String::new(); 3];
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    until("all six are told", async || {
        for (at, place) in places.iter_mut().enumerate() {
            // Small parts, so that there are several.
            let (status, part) = farm.get(at, &format!("/expirations?most=1{place}")).await;
            assert_eq!((status, &part["missed"]), (200, &json!(0)), "{part}");
            assert_eq!(part["served_by"], at + 1);
            *place = format!("&after={}", part["next"].as_str().unwrap());
            for over in part["expirations"].as_array().unwrap() {
                let mut fields: Vec<&String> = over.as_object().unwrap().keys().collect();
                fields.sort();
                fields.retain(|field| *field != "principal");
                let all = ["accessed", "attributes", "created", "deadline", "ended_by"];
                assert_eq!(fields, [&all[..], &["hashed_id", "idle_timeout_s"]].concat());
                let by = over["ended_by"].as_str().unwrap();
                let named = over.get("principal").is_some_and(|name| name == "ann");
                assert_eq!(by, if named { "deadline" } else { "idle_timeout" }, "{over}");
                let name = over["hashed_id"].as_str().unwrap();
                assert_eq!(name.len(), 16);
                let twice = told.insert(name.into(), over["attributes"].to_string());
                assert_eq!(twice, None, "it was told before");
                assert!(!tokens.iter().any(|token| over.to_string().contains(&token[..40])));
            }
        }
        (told.len() == 6).then_some(())
    })
    .await;
    let mut contents: Vec<&String> = told.values().collect();
    contents.sort();
    let all = (0..3).map(|n| json!({ "order": n }).to_string());
    let all = all.chain((0..3).map(|n| json!({ "upload": format!("dir-{n}") }).to_string()));
    assert_eq!(contents, all.collect::<Vec<_>>().iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn who_asks_waits_for_the_next_and_what_nobody_fetched_is_counted() {
    // Two sessions without contents.
    let farm = Farm::start_with(1, "[http_limits]\nexpirations_bytes = 1024").await;
    let url = farm.url(0, "/expirations?wait_ms=60000");
    let waiting = tokio::spawn(farm.http.get(url).send());
    make(&farm, 0, json!({ "lifetime_s": 1 })).await;
    let first: Value = waiting.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(first["expirations"].as_array().unwrap().len(), 1, "{first}");
    let (_, again) = farm.get(0, "/expirations?wait_ms=60000").await;
    assert_eq!(again, first, "an answer that did not arrive can be asked for again");

    for _ in 0..4 {
        make(&farm, 0, json!({ "lifetime_s": 1 })).await;
    }
    until("all are told", async || {
        let (_, shown) = farm.get(0, "/farm").await;
        (shown["counters"]["expired_told"] == 5).then_some(())
    })
    .await;
    let after = first["next"].as_str().unwrap();
    let rest = until("the last one is here", async || {
        let (_, rest) = farm.get(0, &format!("/expirations?after={after}")).await;
        let missed = rest["missed"].as_u64()?;
        (missed + rest["expirations"].as_array()?.len() as u64 == 4).then_some(rest)
    })
    .await;
    assert_eq!(rest["missed"], 2, "{rest}");
    let (_, all) = farm.get(0, "/expirations").await;
    assert_eq!((&all["missed"], &all["expirations"]), (&json!(3), &rest["expirations"]));
    let after = rest["next"].as_str().unwrap();
    let (_, none) = farm.get(0, &format!("/expirations?after={after}&wait_ms=1")).await;
    assert_eq!((&none["expirations"], &none["missed"]), (&json!([]), &json!(0)));
    assert_eq!(none["next"], rest["next"]);
    for query in ["after=x", "most=0", "wait_ms=60001", "before=1"] {
        let (status, error) = farm.get(0, &format!("/expirations?{query}")).await;
        assert_eq!((status, &error["code"]), (422, &json!("invalid_query")), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_starts_anew_begins_anew_and_one_that_stops_lets_nobody_wait() {
    let mut farm = Farm::start(1).await;
    make(&farm, 0, json!({ "lifetime_s": 1 })).await;
    let (_, old) = farm.get(0, "/expirations?wait_ms=60000").await;
    assert_eq!(old["expirations"].as_array().unwrap().len(), 1, "{old}");
    let after = old["next"].as_str().unwrap().to_string();
    let url = farm.url(0, &format!("/expirations?wait_ms=60000&after={after}"));
    let waiting = tokio::spawn(farm.http.get(url).send());
    // If it is not there by then, it is refused.
    tokio::time::sleep(Duration::from_millis(300)).await;
    farm.terminate(0).await;
    assert_eq!(farm.until_ended(0).await.code(), Some(0));
    assert!(!farm.said_by(0).contains("cut off"), "{}", farm.said_by(0));
    if let Ok(response) = waiting.await.unwrap() {
        let told: Value = response.json().await.unwrap();
        assert_eq!((&told["expirations"], &told["missed"]), (&json!([]), &json!(0)), "{told}");
    }

    farm.launch(0);
    farm.until_ready(0).await;
    make(&farm, 0, json!({ "lifetime_s": 1 })).await;
    let (_, new) = farm.get(0, &format!("/expirations?wait_ms=60000&after={after}")).await;
    assert_eq!(new["expirations"].as_array().unwrap().len(), 1, "{new}");
    assert_ne!((&new["id"], &new["expirations"]), (&old["id"], &old["expirations"]));
}
