//! Servers that die, stand still, and leave.

use std::net::SocketAddr;
use std::time::Duration;

use grapevine_tokio::{Acks, Builder, Create, Error, Farm, LinkState, LinkStatus, StopReason};

use crate::common::{Proxy, Trio, count, quick, sees_all, server, sockets, text, until, with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_and_restarted_empty_gets_everything_back() {
    let mut trio = Trio::start().await;
    let mut tokens = Vec::new();
    for n in 0..200 {
        let here = &trio.servers[n % 3];
        let create = Create { acks: Acks::Peers(1), ..with(&[("n", &n.to_string())]) };
        tokens.push(here.create(create).await.unwrap().token);
    }
    trio.level().await;
    trio.kill(1).await;
    // Life goes on without it.
    for (n, token) in tokens.iter_mut().enumerate().take(50) {
        let here = &trio.servers[n % 2];
        *token = here.update(token, |s| _ = s.add("meanwhile", 1)).await.unwrap().token;
    }
    trio.restart(1).await;
    trio.all_alive().await;
    assert_eq!(trio.level().await, 200);
    for (n, token) in tokens.iter().enumerate() {
        let served = trio.servers[1].read(token).await.unwrap();
        assert!(!served.stale && !served.lost, "session {n}");
        assert_eq!(text(&served, "n"), Some(n.to_string()));
        let meanwhile = if n < 50 { Some("1".into()) } else { None };
        assert_eq!(text(&served, "meanwhile"), meanwhile, "session {n}");
    }
}

/// Three servers, of which the third is reached through proxies only.
async fn with_proxies(adjust: impl Fn(Builder) -> Builder) -> (Trio, [Proxy; 2]) {
    let [(one, one_at), (two, two_at), (three, three_at)] = sockets();
    let proxies = [Proxy::to(three_at).await, Proxy::to(three_at).await];
    let start = |number, listener, peers: [SocketAddr; 2]| {
        adjust(server(number, peers).listener(listener)).start()
    };
    let (one, two, three) = tokio::join!(
        start(1, one, [two_at, proxies[0].address]),
        start(2, two, [one_at, proxies[1].address]),
        start(3, three, [one_at, two_at]),
    );
    let servers = vec![one.unwrap(), two.unwrap(), three.unwrap()];
    let trio = Trio { servers, addresses: vec![one_at, two_at, three_at] };
    trio.all_alive().await;
    (trio, proxies)
}

/// Updates a session at the first server, a lot, until something is the case.
async fn write_until(
    trio: &Trio,
    token: &str,
    what: &str,
    holds: impl Fn(LinkStatus) -> bool,
) -> u32 {
    let value = vec![b'x'; 8 << 10];
    let mut written = 0;
    until(what, async || {
        for _ in 0..50 {
            let update = trio.servers[0].update(token, |session| {
                session.set(&format!("key-{}", written % 4), &value).add("writes", 1);
            });
            update.await.unwrap();
            written += 1;
        }
        holds(trio.servers[0].links())
    })
    .await;
    written
}

async fn all_have(trio: &Trio, token: &str, writes: u32) {
    assert_eq!(trio.level().await, 1);
    for server in &trio.servers {
        let served = server.read(token).await.unwrap();
        assert_eq!(text(&served, "writes"), Some(writes.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_paused_for_longer_than_its_peers_queues_hold_is_level_again_afterwards() {
    // Its links stay, however slow this machine is.
    let patient = |builder: Builder| builder.silence_timeout(Duration::from_secs(60));
    let (trio, proxies) = with_proxies(|builder| patient(builder.queue_frames(16))).await;
    let token = trio.servers[0].create(Create::default()).await.unwrap().token;
    trio.level().await;

    proxies.iter().for_each(Proxy::pause);
    let overflowing = "the queue to the paused server overflows";
    let writes = write_until(&trio, &token, overflowing, |links| links.queue_overflow > 0).await;
    assert_ne!(trio.servers[0].digest(), trio.servers[2].digest(), "it was not paused");

    proxies.iter().for_each(Proxy::resume);
    all_have(&trio, &token, writes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_nothing_for_too_long_is_dialled_again_and_gets_everything() {
    let (stall, silence) = (Duration::from_millis(300), Duration::from_secs(60));
    let impatient = |builder: Builder| builder.stall_timeout(stall).silence_timeout(silence);
    let (trio, proxies) = with_proxies(impatient).await;
    let token = trio.servers[0].create(Create::default()).await.unwrap().token;
    trio.level().await;

    proxies.iter().for_each(Proxy::pause);
    let stalled = |links: LinkStatus| count(&links, "write_stalled") > 0;
    let writes = write_until(&trio, &token, "the link is given up", stalled).await;

    proxies.iter().for_each(Proxy::resume);
    all_have(&trio, &token, writes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_swallows_all_that_is_sent_and_tells_nobody_is_given_up_and_dialled_anew() {
    let (trio, proxies) = with_proxies(|builder| builder).await;
    let token = trio.servers[0].create(Create::default()).await.unwrap().token;
    trio.level().await;
    let silent = |links: LinkStatus| count(&links, "silent") > 0;

    // What is sent is taken, and no connection closes: no system will ever say that anything is wrong.
    proxies.iter().for_each(Proxy::swallow);
    let writes = write_until(&trio, &token, "it is missed what nobody gives", silent).await;

    all_have(&trio, &token, writes).await;
    trio.all_alive().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_leaves_hands_everything_over_and_stops() {
    let mut trio = Trio::start().await;
    let leaving = trio.servers.remove(2);
    let mut tokens = Vec::new();
    for n in 0..100 {
        tokens.push(leaving.create(with(&[("n", &n.to_string())])).await.unwrap().token);
    }
    assert_eq!(leaving.leave().await, Ok(true), "the others have everything");
    assert_eq!(leaving.stopped().await, StopReason::Left);
    assert_eq!(leaving.read(&tokens[0]).await, Err(Error::Stopped));
    assert_eq!(leaving.status().await, Err(Error::Stopped));
    for (n, token) in tokens.iter().enumerate() {
        let served = trio.servers[n % 2].read(token).await.unwrap();
        assert_eq!(text(&served, "n"), Some(n.to_string()));
    }
    assert_eq!(trio.level().await, 100);
    let address = leaving.local_addr();
    until("its port is free again", async || std::net::TcpListener::bind(address).is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peers_death_is_noticed_at_once_and_its_return_too() {
    let mut trio = Trio::start().await;
    let gone = trio.servers[2].server_id();
    trio.kill(2).await;
    let reachable =
        |trio: &Trio, server| trio.servers[0].links().reachable().any(|id| id == server);
    until("the link is seen to be down", async || !reachable(&trio, gone)).await;
    let down = trio.servers[0].links();
    let out = down.outgoing.iter().find(|o| o.address == trio.addresses[2].to_string()).unwrap();
    assert_eq!(out.state, LinkState::Dialling);
    trio.restart(2).await;
    let back = trio.servers[2].server_id();
    assert!(back > gone && back.number() == gone.number());
    until("the restarted server is linked", async || reachable(&trio, back)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_link_is_noticed_without_sending_anything() {
    let seldom = Farm {
        heartbeat_every: Duration::from_secs(10),
        suspect_after: Duration::from_secs(30),
        down_after: Duration::from_secs(30),
        ..quick(2)
    };
    let [(one, one_at), (two, two_at)] = sockets();
    let start = |number, listener, peer| {
        server(number, [peer]).farm(seldom.clone()).listener(listener).start()
    };
    let (one, two) = tokio::join!(start(1, one, two_at), start(2, two, one_at));
    let (one, two) = (one.unwrap(), two.unwrap());
    until("both have joined", async || sees_all(&one, 1).await && sees_all(&two, 1).await).await;
    let (mut sent, mut quiet) = (0, 0);
    until("the first greetings are over", async || {
        let before = std::mem::replace(&mut sent, one.links().frames_sent);
        quiet = if before == sent { quiet + 1 } else { 0 };
        quiet == 20
    })
    .await;
    drop(two);
    until("the link is seen to be down", async || one.links().reachable().count() == 0).await;
    assert_eq!(one.links().frames_sent, sent, "it took a heartbeat to notice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_last_handle_stops_everything() {
    let trio = Trio::start().await;
    let second = trio.servers[0].clone();
    let address = second.local_addr();
    drop(trio);
    assert!(second.status().await.is_ok(), "one handle is left");
    drop(second);
    until("the port is free", async || std::net::TcpListener::bind(address).is_ok()).await;
}
