//! `POST /verify` and `grapevine verify`.

use crate::farm::{Farm, free_port, local, run, said, until};

#[tokio::test]
async fn servers_that_hold_the_same_say_so_and_one_that_is_killed_is_not_compared() {
    let mut farm = Farm::start(3).await;
    for at in 0..3 {
        farm.create(at, r#"{"attributes": {"user": "ann"}}"#).await;
    }
    farm.until_level(3).await;
    // Sessions are compared once every server has heard that the other has them.
    until("all three sessions are compared with both others", async || {
        let (status, report) = farm.send("POST", 0, "/verify?within_ms=20000", "").await;
        assert_eq!(status, 200, "{report}");
        let compared = report["peers"].as_array()?.iter().all(|peer| peer["sessions"] == 3);
        (compared && report["identical"] == true).then_some(())
    })
    .await;
    let urls: Vec<String> = (0..3).map(|at| farm.url(at, "")).collect();
    let output = run(&["verify", "--http", &urls[0], &urls[1], "--http", &urls[2]]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text} {}", said(&output));
    assert!(text.contains("The servers are identical."), "{text}");

    farm.kill(2).await;
    until("the killed server is down", async || {
        (farm.state_of(0, 3).await? == "down").then_some(())
    })
    .await;
    let output = run(&["verify", "--json", "--http", &urls[0], "--http", &urls[2]]).await;
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json[0]["report"]["peers"][1]["missed"], "down", "{json}");
    assert!(json[1]["error"].as_str().unwrap().contains("could not be asked"), "{json}");
}

/// Heartbeats are rare here, so that the others take for long who is ready for joining.
#[tokio::test]
async fn who_has_just_become_ready_is_compared_with() {
    let rare = "[farm]\nheartbeat_every = '1s'\nsuspect_after = '3s'\ndown_after = '6s'";
    let mut farm = Farm::start_with(3, rare).await;
    farm.create(0, "{}").await;
    farm.kill(2).await;
    farm.launch(2);
    farm.until_ready(2).await;
    let urls: Vec<String> = (0..3).map(|at| farm.url(at, "")).collect();
    let output = run(&["verify", "--http", &urls[0], &urls[1], &urls[2]]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text} {}", said(&output));
    assert!(text.contains("The servers are identical."), "{text}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_told_with_its_address_and_ends_with_two() {
    let nobody = format!("http://{}", local(free_port()));
    let output = run(&["verify", "--http", &nobody]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains(&nobody), "{}", said(&output));
    let output = run(&["verify"]).await;
    assert_eq!(output.status.code(), Some(2), "wrong use");
    let farm = Farm::start(1).await;
    let (status, body) = farm.send("POST", 0, "/verify?within_ms=0", "").await;
    assert_eq!((status, body["code"].as_str()), (422, Some("invalid_query")), "{body}");
}
