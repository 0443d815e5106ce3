//! Peers that do what no server does: each is dropped for a counted, named reason, and the farm
//! does not notice.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use grapevine_core::Command;
use grapevine_core::command::Batch;
use grapevine_tokio::{Acks, Create, Farm, Grapevine, Stamp};

use crate::common::{count, quick, sees_all, server, sockets, text, until};
use crate::raw::{HELLO_BYTES, Raw, framed, hello, process};

const NOW_MS: u64 = 1_000_000;

const REASONS: [&str; 15] = [
    "garbage",
    "wrong_version",
    "wrong_settings",
    "wrong_key",
    "handshake_timeout",
    "too_many_handshakes",
    "oversized_frame",
    "empty_frame",
    "half_frame",
    "silent",
    "undecodable",
    "own_number",
    "older_boot",
    "too_many_numbers",
    "misbehaving",
];

/// Two servers of a farm of three; the third place is for the bad peer.
struct Pair {
    servers: [Grapevine; 2],
    at: SocketAddr,
    third: TcpListener,
}

impl Pair {
    async fn start() -> Self {
        let [(one, one_at), (two, two_at), (third, third_at)] = sockets();
        let bounds = |builder: grapevine_tokio::Builder| {
            builder
                .handshake_timeout(Duration::from_millis(500))
                .silence_timeout(Duration::from_secs(1))
                .handshakes(4)
        };
        let (one, two) = tokio::join!(
            bounds(server(1, [two_at, third_at])).listener(one).start(),
            bounds(server(2, [one_at, third_at])).listener(two).start(),
        );
        let pair = Self { servers: [one.unwrap(), two.unwrap()], at: one_at, third };
        for server in &pair.servers {
            let linked = async || {
                let status = server.status().await.unwrap();
                !status.joining && status.members.iter().any(|member| member.reachable)
            };
            until("the two are linked, and wait for the third no more", linked).await;
        }
        for reason in REASONS {
            assert_eq!(pair.counted(reason), 0, "{reason}, before anything was done");
        }
        pair
    }

    fn counted(&self, reason: &str) -> u64 {
        count(&self.servers[0].links(), reason)
    }

    /// The reason was counted, and the two serve customers as if nothing had been.
    async fn dropped_for(&self, reason: &str) {
        until(&format!("`{reason}` is counted"), async || self.counted(reason) > 0).await;
        let create = Create { acks: Acks::Peers(1), ..Create::default() };
        let token = self.servers[0].create(create).await.unwrap().token;
        let update = self.servers[1].update_with(&token, Acks::Peers(1), |s| _ = s.add("n", 1));
        let token = update.await.unwrap().token;
        let served = self.servers[0].read(&token).await.unwrap();
        assert_eq!(text(&served, "n").as_deref(), Some("1"));
    }

    async fn join(&self) -> Raw {
        Raw::join(self.at, process(3, NOW_MS), &farm()).await.unwrap()
    }
}

fn farm() -> Farm {
    quick(3)
}

#[tokio::test]
async fn garbage_instead_of_a_handshake() {
    let pair = Pair::start().await;
    let mut raw = Raw::dial(pair.at).await;
    raw.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    raw.closed().await;
    pair.dropped_for("garbage").await;
}

#[tokio::test]
async fn another_version_of_the_protocol() {
    let pair = Pair::start().await;
    let mut raw = Raw::dial(pair.at).await;
    let mut hello = hello(process(3, NOW_MS), &farm());
    hello[8] = 200;
    raw.send(&hello).await;
    let refused = raw.refused().await;
    assert!(refused.text.contains("version 200 is not spoken here"), "{refused:?}");
    raw.closed().await;
    pair.dropped_for("wrong_version").await;
}

#[tokio::test]
async fn other_settings_of_the_farm() {
    let pair = Pair::start().await;
    let other = Farm { max_drift: Duration::from_millis(123), ..farm() };
    let refused = Raw::join(pair.at, process(3, NOW_MS), &other).await.err().unwrap();
    assert!(refused.text.contains("other farm settings"), "{refused:?}");
    pair.dropped_for("wrong_settings").await;
}

#[tokio::test]
async fn another_key_of_the_farm() {
    let pair = Pair::start().await;
    let joined = Raw::join_with(pair.at, process(3, NOW_MS), &farm(), &[1; 32]).await;
    assert!(joined.err().unwrap().text.contains("does not know this farm's key"));
    pair.dropped_for("wrong_key").await;
}

#[tokio::test]
async fn nothing_at_all_and_half_a_handshake() {
    let pair = Pair::start().await;
    let mut silent = Raw::dial(pair.at).await;
    silent.closed().await;
    pair.dropped_for("handshake_timeout").await;
    let mut half = Raw::dial(pair.at).await;
    half.send(&hello(process(3, NOW_MS), &farm())[..HELLO_BYTES / 2]).await;
    half.closed().await;
    until("it is counted too", async || pair.counted("handshake_timeout") >= 2).await;
    let mut gone = Raw::dial(pair.at).await;
    gone.send(&hello(process(3, NOW_MS), &farm())[..HELLO_BYTES / 2]).await;
    drop(gone);
    pair.dropped_for("handshake_closed").await;
}

#[tokio::test]
async fn more_connections_than_may_be_in_their_handshakes() {
    let pair = Pair::start().await;
    let mut crowd = Vec::new();
    for _ in 0..12 {
        crowd.push(Raw::dial(pair.at).await);
    }
    for raw in &mut crowd {
        raw.closed().await;
    }
    pair.dropped_for("too_many_handshakes").await;
}

#[tokio::test]
async fn an_oversized_length_and_a_length_of_zero() {
    let pair = Pair::start().await;
    let mut raw = pair.join().await;
    raw.send(&u32::MAX.to_le_bytes()).await;
    raw.closed().await;
    pair.dropped_for("oversized_frame").await;
    let mut raw = pair.join().await;
    raw.send(&[0; 4]).await;
    raw.closed().await;
    pair.dropped_for("empty_frame").await;
}

#[tokio::test]
async fn half_a_frame_and_then_the_end() {
    let pair = Pair::start().await;
    let mut raw = pair.join().await;
    raw.send(&[100, 0, 0, 0, 1, 2, 3]).await;
    drop(raw);
    pair.dropped_for("half_frame").await;
}

#[tokio::test]
async fn half_a_frame_and_then_silence() {
    let pair = Pair::start().await;
    let mut raw = pair.join().await;
    raw.send(&[100, 0, 0, 0, 1, 2, 3]).await;
    raw.closed().await;
    pair.dropped_for("silent").await;
}

#[tokio::test]
async fn a_frame_that_is_no_command() {
    let pair = Pair::start().await;
    let mut raw = pair.join().await;
    raw.send(&framed(vec![250, 250, 250])).await;
    let refused = raw.refused().await;
    assert!(refused.text.contains("not the encoding of a command"), "{refused:?}");
    pair.dropped_for("undecodable").await;
}

#[tokio::test]
async fn a_frame_that_was_damaged_on_its_way() {
    let pair = Pair::start().await;
    let mut raw = pair.join().await;
    let mut body = Vec::new();
    grapevine_core::wire::encode(&Command::HeartbeatRequest, &mut body);
    let mut frame = framed(body);
    frame[4] ^= 1;
    raw.send(&frame).await;
    let refused = raw.refused().await;
    assert!(refused.text.contains("its checksum is wrong"), "{refused:?}");
    pair.dropped_for("undecodable").await;
}

#[tokio::test]
async fn this_servers_own_number() {
    let pair = Pair::start().await;
    let refused = Raw::join(pair.at, process(1, NOW_MS), &farm()).await.err().unwrap();
    let words = "server number 1 is used by two servers: this one (boot ";
    assert!(refused.text.starts_with(words), "{refused:?}");
    assert!(refused.text.contains(") and 127.0.0.1:"), "{refused:?}");
    pair.dropped_for("own_number").await;
}

#[tokio::test]
async fn a_process_older_than_the_numbers_newest() {
    let pair = Pair::start().await;
    let newest = pair.join().await;
    drop(newest);
    let refused = Raw::join(pair.at, process(3, NOW_MS - 1), &farm()).await.err().unwrap();
    assert!(refused.text.contains("was taken over by a newer process"), "{refused:?}");
    pair.dropped_for("older_boot").await;
}

#[tokio::test]
async fn one_number_more_than_the_farm_has_servers() {
    let pair = Pair::start().await;
    let _third = pair.join().await;
    let refused = Raw::join(pair.at, process(4, NOW_MS), &farm()).await.err().unwrap();
    assert!(refused.text.contains("server number 4 is one too many"), "{refused:?}");
    pair.dropped_for("too_many_numbers").await;
}

#[tokio::test]
async fn a_peer_that_publishes_what_is_not_its_own_is_cut_off_for_a_while() {
    let pair = Pair::start().await;
    let mut raw = pair.join().await;
    let mut body = Vec::new();
    let (publisher, stamp) = (process(2, NOW_MS), Stamp::from_bits(1));
    let batch = Batch { publisher, prev: stamp, writes: vec![], last: stamp, ack: false };
    grapevine_core::wire::encode(&Command::Batch(batch), &mut body);
    raw.send(&framed(body)).await;
    let refused = raw.refused().await;
    assert!(refused.text.contains("a batch that is not part of its stream"), "{refused:?}");
    let again = Raw::join(pair.at, process(3, NOW_MS), &farm()).await.err().unwrap();
    assert_eq!(again.text, "server 3 was cut off for misbehaving");
    pair.dropped_for("misbehaving").await;
    until("it may come back", async || {
        Raw::join(pair.at, process(3, NOW_MS), &farm()).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn after_all_of_it_the_place_is_still_free_for_the_real_third_server() {
    let pair = Pair::start().await;
    for bytes in [&b"\0\0\0\0\0\0\0\0\0\0"[..], &[0xff; 200]] {
        Raw::dial(pair.at).await.send(bytes).await;
    }
    let mut raw = pair.join().await;
    raw.send(&[1, 0, 0, 0, 99]).await;
    raw.closed().await;
    let others = pair.servers.each_ref().map(Grapevine::local_addr);
    let third = server(3, others).listener(pair.third).start().await.unwrap();
    until("the third server has joined", async || sees_all(&third, 2).await).await;
}
