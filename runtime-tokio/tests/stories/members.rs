//! Where peers come from, and which addresses are taken.

use grapevine_tokio::{Farm, Grapevine, LinkState, StartError};

use crate::common::{quick, sees_all, sockets, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_may_be_given_by_names() {
    let [(one, one_at), (two, two_at)] = sockets();
    let start = |number, listener, peer: u16| {
        let builder = Grapevine::builder(number).farm(quick(2)).listener(listener);
        builder.peer(format!("localhost:{peer}")).start()
    };
    let (one, two) = tokio::join!(start(1, one, two_at.port()), start(2, two, one_at.port()));
    let (one, two) = (one.unwrap(), two.unwrap());
    until("both see each other", async || sees_all(&one, 1).await && sees_all(&two, 1).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_found_by_dns_recognise_themselves_among_the_answers() {
    let sockets = sockets::<3>();
    let ports: Vec<u16> = sockets.iter().map(|(_, at)| at.port()).collect();
    let mut starting = Vec::new();
    for (n, (listener, _)) in sockets.into_iter().enumerate() {
        let builder = Grapevine::builder(n as u16 + 1).farm(quick(3)).listener(listener);
        // The same names on every server, as one deploys it.
        let builder = ports
            .iter()
            .fold(builder, |builder, port| builder.peers_from_dns(format!("localhost:{port}"), 3));
        starting.push(tokio::spawn(builder.start()));
    }
    let mut servers = Vec::new();
    for started in starting {
        servers.push(started.await.unwrap().unwrap());
    }
    for server in &servers {
        until("all see each other", async || sees_all(server, 2).await).await;
        let links = server.links();
        let own = links.outgoing.iter().find(|out| out.address == server.local_addr().to_string());
        assert_eq!(own.unwrap().state, LinkState::Itself, "{links:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_addresses_of_one_server_make_one_link() {
    let [(one, one_at), (two, two_at)] = sockets();
    let builder = Grapevine::builder(1).farm(quick(2)).listener(one);
    let builder = builder.peer(two_at.to_string()).peer(format!("localhost:{}", two_at.port()));
    let two = Grapevine::builder(2).farm(quick(2)).listener(two).peer(one_at.to_string());
    let (one, _two) = tokio::join!(builder.start(), two.start());
    let one = one.unwrap();
    until("one address is linked, the other recognised as the same server", async || {
        let mut states: Vec<_> = one.links().outgoing.iter().map(|out| out.state).collect();
        states.sort_by_key(|state| *state == LinkState::Duplicate);
        states == [LinkState::Up, LinkState::Duplicate]
    })
    .await;
}

#[tokio::test]
async fn only_addresses_of_this_machine_are_taken_and_the_error_says_why() {
    let why = "farm links are not encrypted yet";
    let listening = Grapevine::builder(1).listen("0.0.0.0:0".parse().unwrap()).start().await;
    let peer = Grapevine::builder(1).peer("192.0.2.1:7401").start().await;
    for (result, address) in [(listening, "0.0.0.0:0"), (peer, "192.0.2.1:7401")] {
        let error = result.unwrap_err();
        assert!(matches!(error, StartError::NotLoopback { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(address) && text.contains(why), "{text}");
    }
}

#[tokio::test]
async fn configurations_that_make_no_sense_are_refused_with_the_value() {
    for peer in ["7402", "localhost", ":7402", "localhost:port", ""] {
        let error = Grapevine::builder(1).peer(peer).start().await.unwrap_err();
        assert!(matches!(&error, StartError::Peer { peer: shown } if shown == peer), "{error:?}");
    }
    let size = Grapevine::builder(1).farm(quick(5)).peers_from_dns("localhost:1", 3).start().await;
    assert!(matches!(size, Err(StartError::Size { farm: 5, named: 3 })));
    let farm = Farm { size: 0, ..Farm::default() };
    let config = Grapevine::builder(1).farm(farm).start().await;
    assert!(matches!(config, Err(StartError::Config(error)) if error.field == "size"));
}
