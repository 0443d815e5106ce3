//! Writes that nobody has any more.

use std::time::Duration;

use grapevine_tokio::{Acks, Error, Farm, Grapevine, Local, RequestError, Served, State};

use crate::common::{Proxy, Trio, quick, server, sockets, text, until, with};

/// Servers 1 and 2, and a token for what server 3 wrote and nobody heard before it died. What it was
/// written to had spread.
async fn after_a_loss() -> (Trio, String) {
    let [(one, one_at), (two, two_at), (three, three_at)] = sockets();
    let proxies = [Proxy::to(one_at).await, Proxy::to(two_at).await];
    let start = |number, listener, peers: [_; 2]| {
        let farm = Farm { give_up_after: Duration::from_secs(1), ..quick(3) };
        let local = Local { ack_timeout: Duration::from_millis(200), ..Local::default() };
        server(number, peers).farm(farm).local(local).listener(listener).start()
    };
    let (one, two, three) = tokio::join!(
        start(1, one, [two_at, three_at]),
        start(2, two, [one_at, three_at]),
        start(3, three, [proxies[0].address, proxies[1].address]),
    );
    let servers = vec![one.unwrap(), two.unwrap(), three.unwrap()];
    let mut trio = Trio { servers, addresses: vec![one_at, two_at, three_at] };
    trio.all_alive().await;
    let made = trio.servers[2].create(with(&[("spread", "yes")])).await.unwrap();
    trio.level().await;
    proxies.iter().for_each(Proxy::pause);
    // A proxy that reads already forwards that one more; then nothing.
    let third = trio.servers[2].server_id();
    for other in &trio.servers[..2] {
        until("nothing of it arrives any more", async || {
            let status = other.status().await.unwrap();
            status.members.iter().any(|m| m.server == third && m.state == State::Down)
        })
        .await;
    }
    let written = trio.servers[2].update(&made.token, |s| _ = s.set("spread", "no")).await.unwrap();
    trio.kill(2).await;
    (trio, written.token)
}

/// What the write comes to once the farm knows that the dead server does not come back with what it had.
async fn once_given_up(at: &Grapevine, token: &str, acks: Acks) -> Result<Served, Error> {
    let mut came = None;
    until("the dead server is given up", async || {
        let outcome = at.update_with(token, acks, |s| _ = s.set("after", "it")).await;
        let waits = matches!(outcome, Err(Error::Request(RequestError::Unavailable(_))));
        came = Some(outcome);
        !waits
    })
    .await;
    came.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_says_that_what_it_rests_on_is_lost() {
    let (trio, token) = after_a_loss().await;
    let updated = once_given_up(&trio.servers[0], &token, Acks::Farm).await.unwrap();
    assert_eq!(text(&updated, "spread").as_deref(), Some("yes"));
    assert_eq!(text(&updated, "after").as_deref(), Some("it"));
    assert!(updated.lost, "it was told by the read within, and by nothing else");
    let read = trio.servers[0].read(&updated.token).await.unwrap();
    assert!(!read.lost, "the new token asks for nothing that is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_is_not_confirmed_says_so_too() {
    let (trio, token) = after_a_loss().await;
    match once_given_up(&trio.servers[1], &token, Acks::Peers(2)).await {
        Err(Error::NotReplicated { wanted: 2, lost, token: Some(_), .. }) => assert!(lost),
        other => panic!("{other:?}"),
    }
}
