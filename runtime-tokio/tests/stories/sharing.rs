//! One session, many servers.

use grapevine_tokio::{Acks, Create, Error, NotFound, RequestError, TokenError};

use crate::common::{Trio, text, until, with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_created_on_one_server_is_read_updated_and_deleted_on_the_others() {
    let Trio { servers, .. } = Trio::start().await;
    let created = servers[0].create(with(&[("user", "ann")])).await.unwrap();

    let read = servers[1].read(&created.token).await.unwrap();
    assert_eq!(text(&read, "user").as_deref(), Some("ann"));
    assert!(!read.stale && !read.lost);

    let updated = servers[1]
        .update(&read.token, |session| {
            session.set("city", "Ghent").add("cart/tea", 2).remove("user");
        })
        .await
        .unwrap();
    let read = servers[2].read(&updated.token).await.unwrap();
    assert_eq!(text(&read, "city").as_deref(), Some("Ghent"));
    assert_eq!(text(&read, "cart/tea").as_deref(), Some("2"));
    assert_eq!(text(&read, "user"), None);

    servers[2].delete(&read.token, Acks::All).await.unwrap();
    for server in &servers {
        let gone = server.read(&read.token).await.unwrap_err();
        assert_eq!(gone, Error::Request(RequestError::NotFound(NotFound::Ended)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_who_moves_at_every_click_always_sees_the_last_one() {
    let Trio { servers, .. } = Trio::start().await;
    let mut token = servers[0].create(Create::default()).await.unwrap().token;
    for click in 0..300 {
        let here = &servers[click % 3];
        let before = here.read(&token).await.unwrap();
        assert_eq!(text(&before, "clicks").unwrap_or("0".into()), click.to_string());
        token = here.update(&before.token, |s| _ = s.add("clicks", 1)).await.unwrap().token;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_updates_at_all_servers_end_identical_with_nothing_lost() {
    const ROUNDS: usize = 100;
    let trio = Trio::start().await;
    let token = trio.servers[0].create(Create::default()).await.unwrap().token;
    let writers = trio.servers.iter().cloned().enumerate().map(|(n, server)| {
        let mut token = token.clone();
        tokio::spawn(async move {
            for round in 0..ROUNDS {
                let update = server.update(&token, |session| {
                    session.add("clicks", 1).set(&format!("from-{n}/{round}"), round.to_string());
                    session.set("last", format!("{n}-{round}"));
                });
                token = update.await.unwrap().token;
            }
            token
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut tokens = Vec::new();
    for writer in writers {
        tokens.push(writer.await.unwrap());
    }
    assert_eq!(trio.level().await, 1);
    let mut lasts = Vec::new();
    for (server, token) in trio.servers.iter().zip(&tokens) {
        let served = server.read(token).await.unwrap();
        assert_eq!(text(&served, "clicks"), Some((3 * ROUNDS).to_string()));
        for n in 0..3 {
            for round in 0..ROUNDS {
                let key = format!("from-{n}/{round}");
                assert_eq!(text(&served, &key), Some(round.to_string()), "{key}");
            }
        }
        lasts.push(text(&served, "last"));
    }
    assert!(lasts.windows(2).all(|pair| pair[0] == pair[1]), "{lasts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacing_drops_what_was_there_on_every_server() {
    let trio = Trio::start().await;
    let token = trio.servers[0].create(with(&[("a", "1"), ("b", "2")])).await.unwrap().token;
    let new = with(&[("b", "3")]).attributes;
    let token = trio.servers[1].replace(&token, new, Acks::All).await.unwrap().token;
    for server in &trio.servers {
        let served = server.read(&token).await.unwrap();
        assert_eq!(served.session.iter().count(), 1);
        assert_eq!(text(&served, "b").as_deref(), Some("3"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_token_costs_the_farm_no_message() {
    let trio = Trio::start().await;
    let token = trio.servers[0].create(Create::default()).await.unwrap().token;
    let mut forged = token.into_bytes();
    forged[30] = if forged[30] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let before = trio.servers[1].status().await.unwrap().counters;
    let read = trio.servers[1].read(&forged).await;
    assert_eq!(read, Err(Error::Token(TokenError::WrongMac)));
    let update = trio.servers[1].update(&forged, |s| _ = s.set("admin", "yes")).await;
    assert_eq!(update, Err(Error::Token(TokenError::WrongMac)));
    let delete = trio.servers[1].delete(&forged, Acks::Local).await;
    assert_eq!(delete, Err(Error::Token(TokenError::WrongMac)));
    let after = trio.servers[1].status().await.unwrap().counters;
    assert_eq!((before.requests, before.queries), (after.requests, after.queries));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_not_allowed_changes_nothing() {
    let trio = Trio::start().await;
    let token = trio.servers[0].create(Create::default()).await.unwrap().token;
    let update = trio.servers[0].update(&token, |s| _ = s.set("good", "1").set("bad\n", "2"));
    assert!(matches!(update.await, Err(Error::Key(_))));
    let served = trio.servers[0].read(&token).await.unwrap();
    assert_eq!(served.session.iter().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settled_sessions_are_read_without_asking_the_engine() {
    let trio = Trio::start().await;
    let token = trio.servers[0].create(with(&[("user", "ann")])).await.unwrap().token;
    trio.level().await;
    let requests = async || trio.servers[1].status().await.unwrap().counters.requests;
    until("a read takes the short way", async || {
        let before = requests().await;
        trio.servers[1].read(&token).await.unwrap();
        requests().await == before
    })
    .await;
}
