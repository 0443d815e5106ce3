//! Numbers that are used twice, and clocks that were set back.

use std::net::SocketAddr;
use std::time::Duration;

use grapevine_tokio::{Farm, Grapevine, Local, StartError, StopReason};

use crate::common::{Proxy, Trio, count, quick, sees_all, server, sockets, until};
use crate::raw::{Raw, framed, process};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_with_the_same_number_refuse_each_other_and_the_later_one_stops() {
    let [(one, one_at), (two, two_at)] = sockets();
    let first = server(1, [two_at]).listener(one).start().await.unwrap();
    // A clock's millisecond later, so that it is clear which of them is the later one.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let refused = server(1, [one_at]).listener(two).start().await.unwrap_err();
    let StartError::NumberInUse { number: 1, text } = refused else { panic!("{refused}") };
    let boot = first.server_id().boot().as_millis();
    let words = format!("server number 1 is used by two servers: this one (boot {boot}) and 127");
    assert!(text.contains(&words), "{text}");
    assert!(count(&first.links(), "own_number") > 0);
    assert!(first.status().await.is_ok(), "the first one goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_number_is_in_use_elsewhere_in_the_farm_does_not_start() {
    let trio = Trio::start().await;
    let peers = [trio.addresses[0], trio.addresses[1]];
    let refused = server(3, peers).start().await.unwrap_err();
    let StartError::NumberInUse { number: 3, text } = refused else { panic!("{refused}") };
    let boot = trio.servers[2].server_id().boot().as_millis();
    let words = format!("server number 3 is in use by a live server: boot {boot} at 127.0.0.1:");
    assert!(text.contains(&words), "{text}");
    trio.all_alive().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_whose_clock_was_set_back_takes_the_next_boot_number() {
    let mut trio = Trio::start().await;
    let old = trio.servers[2].server_id();
    trio.kill(2).await;
    let peers = [trio.addresses[0], trio.addresses[1]];
    let builder = server(3, peers).wall_clock(|| 1_000_000_000_000);
    let back = builder.start().await.unwrap();
    assert_eq!(back.server_id().boot().as_millis(), old.boot().as_millis() + 1);
    assert_eq!(back.server_id().number(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_process_gets_in_as_soon_as_the_old_one_is_gone() {
    let mut trio = Trio::start().await;
    let old = trio.servers.remove(2);
    let newer = process(3, old.server_id().boot().as_millis() + 60_000);
    let joined = Raw::join(trio.addresses[0], newer, &quick(3)).await;
    assert_eq!(joined.err().unwrap().code, 5, "in use while the old one lives");
    drop(old);
    until("the newer one gets in", async || {
        Raw::join(trio.addresses[0], newer, &quick(3)).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_cut_off_and_replaced_stops_when_it_is_back() {
    let [(one, one_at), (two, two_at)] = sockets();
    let proxy = Proxy::to(one_at).await;
    let start_one = server(1, [two_at]).listener(one).start();
    let start_two = server(2, [proxy.address]).listener(two).start();
    let (one, two) = tokio::join!(start_one, start_two);
    let (one, old) = (one.unwrap(), two.unwrap());
    until("they are linked", async || sees_all(&one, 1).await && sees_all(&old, 1).await).await;

    proxy.pause();
    let newer = process(2, old.server_id().boot().as_millis() + 60_000);
    let mut replacement = None;
    until("the old one has been silent for long enough", async || {
        replacement = Raw::join(one_at, newer, &quick(2)).await.ok();
        replacement.is_some()
    })
    .await;
    proxy.resume();

    let reason = old.stopped().await;
    let StopReason::Superseded { newer: by, text } = reason else { panic!("{reason}") };
    assert_eq!(by, newer);
    assert!(text.contains("server number 2 was taken over by a newer process"), "{text}");
    assert!(one.status().await.is_ok());
}

/// Two addresses at which nobody listens, as long as the sockets are there.
fn nobody() -> ([tokio::net::TcpSocket; 2], [SocketAddr; 2]) {
    let sockets = [0, 1].map(|_| tokio::net::TcpSocket::new_v4().unwrap());
    let bound = sockets.each_ref().map(|socket| {
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.local_addr().unwrap()
    });
    (sockets, bound)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_process_had_sent_keeps_its_number_no_longer_than_its_silence_would() {
    let (_sockets, peers) = nobody();
    let one = server(1, peers).start().await.unwrap();
    let (at, farm) = (one.local_addr(), quick(3));
    let mut dead = Raw::join(at, process(3, 1_000_000), &farm).await.unwrap();
    let newer = process(3, 2_000_000);
    assert_eq!(Raw::join(at, newer, &farm).await.err().unwrap().code, 5, "it lived just now");
    // What a cut has held back comes by and by; nothing in it answers what the other side says now.
    let mut body = Vec::new();
    grapevine_core::wire::encode(&grapevine_core::Command::HeartbeatRequest, &mut body);
    let words = framed(body);
    until("the newer process gets in", async || {
        dead.send(&words).await;
        Raw::join(at, newer, &farm).await.is_ok()
    })
    .await;
    assert!(count(&one.links(), "replaced") > 0, "the old connection was still there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_starts_as_soon_as_one_peer_takes_it_though_another_says_its_number_is_in_use() {
    // It would not give up for half a minute.
    let farm = Farm { down_after: Duration::from_secs(30), ..quick(3) };
    let [(one, one_at), (two, two_at), (three, three_at)] = sockets();
    let start =
        |number, listener, peers| server(number, peers).farm(farm.clone()).listener(listener);
    let one = start(1, one, [two_at, three_at]).start().await.unwrap();
    let mut other = Raw::join(one_at, process(3, 1_000_000), &farm).await.unwrap();
    tokio::spawn(async move {
        while let Ok(number) = other.pulse().await {
            other.echo(number).await;
        }
    });
    let three = tokio::spawn(start(3, three, [one_at, two_at]).start());
    until("it is told that its number is in use", async || {
        count(&one.links(), "number_in_use") > 0
    })
    .await;
    let two = start(2, two, [one_at, three_at]).start().await.unwrap();
    let started = tokio::time::timeout(Duration::from_secs(20), three).await;
    let three = started.expect("it waits for who will not have it").unwrap().unwrap();
    until("the two are linked", async || sees_all(&two, 2).await).await;
    drop(three);
}

#[tokio::test]
async fn a_port_in_use_is_a_clear_error() {
    let [(_held, at)] = sockets();
    let error = Grapevine::builder(1).listen(at).start().await.unwrap_err();
    assert!(matches!(&error, StartError::Listen { address, .. } if *address == at), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with(&format!("can't listen on {at}: Address already in use")), "{text}");
}

#[tokio::test]
async fn a_server_alone_stops_only_when_it_is_told_to() {
    let server = Grapevine::builder(1).start().await.unwrap();
    assert_eq!(server.leave().await, Ok(true));
    assert_eq!(server.stopped().await, StopReason::Left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_takes_the_boot_after_a_predecessor_that_no_link_remembers() {
    let mut trio = Trio::start().await;
    let old = trio.servers[2].server_id();
    trio.servers[2].create(grapevine_tokio::Create::default()).await.unwrap();
    until("everybody has its write", async || {
        let status = |at: usize| trio.servers[at].status();
        let (one, two) = tokio::join!(status(0), status(1));
        [one, two].into_iter().all(|status| status.unwrap().applied.iter().any(|(by, _)| by == old))
    })
    .await;
    trio.kill(2).await;
    // The others start anew, one after the other: only the streams that they hold tell of it.
    for at in [0, 1] {
        trio.kill(at).await;
        trio.restart(at).await;
        until("it has caught up", async || {
            let status = trio.servers[at].status().await.unwrap();
            status.applied.iter().any(|(by, _)| by == old)
        })
        .await;
    }
    let peers = [trio.addresses[0], trio.addresses[1]];
    let mut back = None;
    until("its port is free and it starts", async || {
        let builder = server(3, peers).wall_clock(|| 1_000_000_000_000);
        let builder = builder.listen(trio.addresses[2]);
        let patient = Local { start_wait: Duration::from_secs(10), ..Local::default() };
        back = builder.local(patient).start().await.ok();
        back.is_some()
    })
    .await;
    let back = back.unwrap();
    assert_eq!(back.server_id().boot().as_millis(), old.boot().as_millis() + 1);
}
