//! How many servers know of an end before it is answered.

use serde_json::json;

use crate::farm::{Farm, until};

/// Ends a session, and all of somebody, at the first server, and gives what both answers are.
async fn ends(farm: &Farm, token: &str) -> Vec<(u16, serde_json::Value)> {
    let mut answers = Vec::new();
    for path in [format!("/sessions/{token}"), "/principals/ann/sessions".to_string()] {
        let (status, answer) = farm.send("DELETE", 0, &path, "").await;
        answers.push((status, json!([answer["code"], answer["acked"], answer["wanted"]])));
    }
    answers
}

#[tokio::test]
async fn an_end_waits_for_as_many_as_the_farm_wants_for_every_write() {
    let quick = "[local]\nack_timeout = '300ms'\n[farm]\ndown_after = '30s'\n";
    for (acks, size, away, wanted) in
        [("2", 3, 1, 2), ("\"majority\"", 5, 3, 2), ("\"all\"", 3, 1, 2)]
    {
        let mut farm = Farm::start_with(size, &format!("{quick}acks = {acks}")).await;
        let token = farm.create(0, "{}").await;
        for at in 0..away {
            farm.kill(usize::from(size) - 1 - at).await;
        }
        let too_few = (504, json!(["not_replicated", 1, wanted]));
        let answers = ends(&farm, &token).await;
        assert_eq!(answers, [too_few.clone(), too_few], "acks = {acks}");
    }
}

#[tokio::test]
async fn an_end_at_the_only_server_that_runs_is_not_told_as_done() {
    let quick = "[local]\nack_timeout = '300ms'\n[farm]\ndown_after = '700ms'";
    let mut farm = Farm::start_with(3, quick).await;
    let token = farm.create(0, "{}").await;
    farm.kill(1).await;
    farm.kill(2).await;
    until("it knows that it is alone", async || {
        let down = farm.state_of(0, 2).await? == "down" && farm.state_of(0, 3).await? == "down";
        down.then_some(())
    })
    .await;
    let alone = (504, json!(["not_replicated", 0, 1]));
    assert_eq!(ends(&farm, &token).await, [alone.clone(), alone]);
    let (status, error) = farm.get(0, &format!("/sessions/{token}")).await;
    assert_eq!((status, &error["code"]), (404, &json!("ended")), "all the same it stands");
}
