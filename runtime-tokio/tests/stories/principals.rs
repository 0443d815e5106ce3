//! Who a session belongs to: new IDs at log-in, sign out everywhere, a user's sessions.

use std::time::Duration;

use grapevine_tokio::{
    Acks, Change, Create, Error, Grapevine, Key, LimitError, MAX_LISTED, NotFound, Principal,
    RequestError, Rotation,
};

use crate::common::{Trio, server, text, until, with};

const ENDED: Error = Error::Request(RequestError::NotFound(NotFound::Ended));

fn ann() -> Principal {
    Principal::new("ann")
}

fn log_in() -> Rotation {
    let changes = vec![Change::Set(Key::new("role").unwrap(), "admin".into())];
    Rotation { principal: Some(ann()), changes, ..Rotation::default() }
}

async fn ended(server: &Grapevine, token: &str) {
    until("the session is over here", async || server.read(token).await == Err(ENDED)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_gives_a_new_id_and_the_old_one_is_over_on_every_server() {
    let trio = Trio::start().await;
    let servers = &trio.servers;
    let planted = servers[0].create(with(&[("cart/tea", "2")])).await.unwrap().token;
    let logged_in = servers[1].rotate(&planted, log_in()).await.unwrap();
    assert_eq!(logged_in.session.fixed.principal, Some(ann()));
    assert_eq!(servers[1].read(&planted).await, Err(ENDED), "here at once");
    for server in servers {
        let read = server.read(&logged_in.token).await.unwrap();
        assert_eq!(text(&read, "cart/tea").as_deref(), Some("2"));
        assert_eq!(text(&read, "role").as_deref(), Some("admin"));
        ended(server, &planted).await;
    }
    assert_eq!(servers[2].rotate(&planted, log_in()).await, Err(ENDED));
    assert_eq!(trio.level().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_its_grace_the_old_id_can_be_read_and_shows_nothing_of_the_log_in() {
    let trio = Trio::start().await;
    let old = trio.servers[0].create(with(&[("cart/tea", "2")])).await.unwrap().token;
    let rotation = Rotation { grace: Duration::from_secs(600), ..log_in() };
    trio.servers[0].rotate(&old, rotation).await.unwrap();
    trio.level().await;
    for server in &trio.servers {
        let read = server.read(&old).await.unwrap();
        assert_eq!(text(&read, "cart/tea").as_deref(), Some("2"));
        assert_eq!(text(&read, "role"), None);
        let write = server.update(&read.token, |s| _ = s.set("role", "admin")).await;
        assert_eq!(write, Err(Error::Request(RequestError::Rotated)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_out_everywhere_ends_a_users_sessions_on_all_servers_and_nobody_elses() {
    let trio = Trio::start().await;
    let servers = &trio.servers;
    let mut anns = Vec::new();
    for server in servers {
        let create = Create { principal: Some(ann()), ..Create::default() };
        anns.push(server.create(create).await.unwrap().token);
    }
    let bob = Some(Principal::new("bob"));
    let bobs = servers[0].create(Create { principal: bob, ..Create::default() }).await.unwrap();
    trio.level().await;
    let first = servers[2].sessions_of(&ann(), None, 2).await.unwrap();
    let rest = servers[2].sessions_of(&ann(), first.next, MAX_LISTED).await.unwrap();
    assert_eq!((first.sessions.len(), rest.sessions.len(), rest.next), (2, 1, None));

    assert_eq!(servers[1].revoke(&ann(), Acks::All).await, Ok(3));
    for server in servers {
        for token in &anns {
            assert_eq!(server.read(token).await, Err(ENDED));
        }
        server.read(&bobs.token).await.unwrap();
        assert!(server.sessions_of(&ann(), None, 9).await.unwrap().sessions.is_empty());
    }
    let again = Create { principal: Some(ann()), ..Create::default() };
    let again = servers[0].create(again).await.unwrap().token;
    trio.level().await;
    servers[2].read(&again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_principal_too_long_is_refused_by_name_and_a_lone_server_waits_for_nobody() {
    let alone = server(1, []).start().await.unwrap();
    let long = Principal::new(&"a".repeat(257));
    let refused =
        Error::Request(RequestError::Limit(LimitError::Principal { bytes: 257, allowed: 256 }));
    let token = alone.create(Create::default()).await.unwrap().token;
    let rotation = Rotation { principal: Some(long.clone()), ..Rotation::default() };
    assert_eq!(alone.rotate(&token, rotation).await, Err(refused.clone()));
    assert_eq!(alone.revoke(&long, Acks::Local).await, Err(refused.clone()));
    assert_eq!(alone.sessions_of(&long, None, 1).await, Err(refused));
    assert_eq!(alone.revoke(&ann(), Acks::Farm).await, Ok(0));
    alone.rotate(&token, Rotation::default()).await.unwrap();
}
