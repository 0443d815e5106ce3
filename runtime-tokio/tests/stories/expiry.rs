//! Sessions that end by themselves.

use std::time::Duration;

use grapevine_tokio::{Create, Expiration, Limit, SessionId};

use crate::common::{Trio, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_session_that_expires_is_told_of_by_one_server_of_the_farm_once() {
    let trio = Trio::start().await;
    let mut listeners: Vec<_> = trio.servers.iter().map(|server| server.expirations()).collect();
    let second = Duration::from_secs(1);
    let mut made: Vec<(SessionId, Limit)> = Vec::new();
    for server in &trio.servers {
        let idle = Create { idle_timeout: Some(second), ..Create::default() };
        let over = Create { lifetime: Some(second), ..Create::default() };
        made.push((server.create(idle).await.unwrap().session.id, Limit::Idle));
        made.push((server.create(over).await.unwrap().session.id, Limit::Absolute));
        let deleted = Create { lifetime: Some(second), ..Create::default() };
        let deleted = server.create(deleted).await.unwrap().token;
        server.delete(&deleted, grapevine_tokio::Acks::Local).await.unwrap();
    }
    until("every copy is dropped or a tombstone", async || {
        let mut left = 0;
        for server in &trio.servers {
            left += server.status().await.unwrap().sessions;
        }
        left == 0
    })
    .await;
    drop(trio);
    let mut told = Vec::new();
    for listener in &mut listeners {
        while let Some(expiration) = listener.next().await {
            let Expiration::Session { session, limit } = expiration else {
                panic!("{expiration:?}")
            };
            told.push((session.id, limit));
        }
    }
    told.sort();
    made.sort();
    assert_eq!(told, made);
}
