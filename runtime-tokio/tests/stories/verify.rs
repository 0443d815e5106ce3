//! Comparing copies over real sockets.

use std::time::Duration;

use grapevine_tokio::{Missed, State};

use crate::common::{Trio, until, with};

const WITHIN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_say_that_they_hold_the_same_and_that_a_stopped_one_was_not_compared() {
    let Trio { mut servers, .. } = Trio::start().await;
    for server in &servers {
        server.create(with(&[("user", "ann")])).await.unwrap();
    }
    until("all is compared with both others and the same", async || {
        let report = servers[0].verify(WITHIN).await.unwrap();
        assert!(!report.differs(), "{report:?}");
        report.identical() && report.peers.iter().all(|peer| peer.sessions == 3)
    })
    .await;
    drop(servers.pop());
    until("the third is down", async || {
        let members = servers[0].status().await.unwrap().members;
        members.iter().any(|member| member.state == State::Down)
    })
    .await;
    let report = servers[0].verify(WITHIN).await.unwrap();
    assert!(!report.identical() && !report.differs());
    let missed: Vec<_> = report.peers.iter().map(|peer| peer.missed).collect();
    assert_eq!(missed, [None, Some(Missed::Down)]);
}
