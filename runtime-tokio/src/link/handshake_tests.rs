use super::*;
use grapevine_core::Timestamp;
use tokio::io::{DuplexStream, duplex};

const SILENCE: Duration = Duration::from_secs(10);

fn identity(number: u16, instance: u64) -> Identity {
    let server = ServerId::new(number, Timestamp::from_millis(100 + instance));
    Identity { server, instance, fingerprint: [5; 16], key: [7; 32] }
}

type Both = (Result<Hello, Failure>, Result<(Hello, ()), Failure>);

async fn meet(publisher: &Identity, subscriber: &Identity) -> Both {
    meet_judged(publisher, subscriber, Ok(())).await
}

async fn meet_judged(
    publisher: &Identity,
    subscriber: &Identity,
    verdict: Result<(), Refusal>,
) -> Both {
    let (mut a, mut b) = duplex(4096);
    let publishing = async {
        let opened = open(&mut a, publisher, [1; 32], |_| Ok(())).await;
        drop(a);
        opened
    };
    let subscribing = async {
        let accepted = accept(&mut b, subscriber, [2; 32], |_| verdict).await;
        drop(b);
        accepted
    };
    tokio::join!(publishing, subscribing)
}

fn refused<T: std::fmt::Debug>(result: Result<T, Failure>) -> Reason {
    match result {
        Err(Failure::Refused(refusal)) => refusal.reason,
        other => panic!("not refused: {other:?}"),
    }
}

fn refused_by_peer<T: std::fmt::Debug>(result: Result<T, Failure>) -> Refusal {
    match result {
        Err(Failure::ByPeer(refusal)) => refusal,
        other => panic!("not refused by the peer: {other:?}"),
    }
}

/// What the subscriber makes of these bytes, after which the connection closes.
async fn after(bytes: &[u8]) -> Failure {
    let (mut a, mut b) = duplex(4096);
    a.write_all(bytes).await.unwrap();
    a.shutdown().await.unwrap();
    accept(&mut b, &identity(2, 0), [2; 32], |_| Ok(())).await.unwrap_err()
}

#[tokio::test]
async fn two_servers_of_one_farm_learn_each_others_numbers() {
    let (one, two) = (identity(1, 10), identity(2, 20));
    let (opened, accepted) = meet(&one, &two).await;
    assert_eq!(opened.unwrap().server, two.server);
    assert_eq!(accepted.unwrap().0.server, one.server);
}

#[tokio::test]
async fn a_server_with_another_farm_key_is_recognised_as_such_by_both_sides() {
    let stranger = Identity { key: [8; 32], ..identity(1, 10) };
    let (opened, accepted) = meet(&stranger, &identity(2, 20)).await;
    assert_eq!(refused(opened), Reason::WrongKey);
    assert_eq!(refused(accepted), Reason::WrongKey);
}

#[tokio::test]
async fn a_server_with_other_farm_settings_is_told_so() {
    let other = Identity { fingerprint: [6; 16], ..identity(1, 10) };
    let (opened, accepted) = meet(&other, &identity(2, 20)).await;
    assert_eq!(refused(accepted), Reason::WrongSettings);
    let refusal = refused_by_peer(opened);
    assert_eq!(refusal.reason, Reason::WrongSettings);
    assert!(refusal.text.contains("server 1 has other farm settings than server 2"));
}

#[tokio::test]
async fn a_server_that_dials_itself_notices() {
    let one = identity(1, 10);
    let (mut a, mut b) = duplex(4096);
    let opening = async {
        let itself = |hello: &Hello| {
            assert!(one.is(hello));
            Err(Refusal::new(Reason::Itself, String::new()))
        };
        refused(open(&mut a, &one, [1; 32], itself).await)
    };
    let accepting = accept(&mut b, &one, [2; 32], |_| -> Result<(), _> { panic!("judged") });
    let (opened, accepted) = tokio::join!(opening, accepting);
    assert_eq!((opened, refused(accepted)), (Reason::Itself, Reason::Itself));
}

#[tokio::test]
async fn a_refusal_reaches_the_publisher_word_by_word() {
    let verdict = Refusal {
        reason: Reason::NumberInUse,
        about: ServerId::from_bits(77),
        text: "number 1 is in use by a live server".into(),
    };
    let (opened, accepted) =
        meet_judged(&identity(1, 10), &identity(2, 20), Err(verdict.clone())).await;
    assert_eq!(refused_by_peer(opened), verdict);
    assert_eq!(refused(accepted), Reason::NumberInUse);
}

#[tokio::test]
async fn only_a_publisher_that_knows_the_key_is_judged() {
    let (mut a, mut b) = duplex(4096);
    let mut hello = identity(1, 10).hello([1; 32]).encode().to_vec();
    hello.extend([0; PROOF_BYTES]);
    a.write_all(&hello).await.unwrap();
    let judge = |_: &Hello| -> Result<(), _> { panic!("judged without a proof") };
    let accepted = accept(&mut b, &identity(2, 0), [2; 32], judge).await;
    assert_eq!(refused(accepted), Reason::WrongKey);
}

#[tokio::test]
async fn a_proof_is_worth_nothing_on_another_connection() {
    let (one, two) = (identity(1, 10), identity(2, 20));
    let (ours, theirs) = (one.hello([1; 32]), two.hello([2; 32]));
    let overheard: [u8; 32] = one.proof(PUBLISHER, &ours, &theirs).finalize().into_bytes().into();
    let replay = async |nonce| {
        let (mut a, mut b): (DuplexStream, DuplexStream) = duplex(4096);
        a.write_all(&[&ours.encode()[..], &overheard].concat()).await.unwrap();
        accept(&mut b, &two, nonce, |_| Ok(())).await
    };
    assert!(replay([2; 32]).await.is_ok(), "the nonce that it was made for");
    assert_eq!(refused(replay([3; 32]).await), Reason::WrongKey);
}

#[tokio::test]
async fn garbage_is_told_from_another_version_and_from_an_early_end() {
    let mut hello = identity(1, 10).hello([1; 32]).encode().to_vec();
    for cut in 0..hello.len() {
        assert!(matches!(after(&hello[..cut]).await, Failure::Io(_)), "cut after {cut} bytes");
    }
    let garbage = after(b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(matches!(garbage, Failure::Refused(r) if r.reason == Reason::Garbage));
    hello[8] = 99;
    let version = after(&hello[..HEAD_BYTES]).await;
    let Failure::Refused(refusal) = version else { panic!("{version:?}") };
    assert_eq!(refusal.reason, Reason::WrongVersion);
    assert!(refusal.text.contains("version 99"), "{}", refusal.text);
}

#[tokio::test]
async fn a_peers_words_are_cleaned_before_they_are_shown() {
    let mut bytes = vec![REFUSAL, 250];
    bytes.extend([0; 8]);
    bytes.extend(7u16.to_le_bytes());
    bytes.extend(b"a\x1b[2J\nb");
    let Failure::ByPeer(refusal) = hear(&mut &bytes[..], SILENCE, |_| ()).await else { panic!() };
    assert_eq!((refusal.reason, &*refusal.text), (Reason::RefusedByPeer, "a [2J b"));
    let long = [&[REFUSAL, 1][..], &[0; 8], &[0xff; 2]].concat();
    let Failure::Refused(refusal) = hear(&mut &long[..], SILENCE, |_| ()).await else { panic!() };
    assert_eq!(refusal.reason, Reason::Garbage);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_pulses_is_heard_and_one_that_stops_is_given_up() {
    let (mut a, mut b) = duplex(4096);
    let mut heard = Vec::new();
    let began = time::Instant::now();
    let pulsing = async {
        for number in [5, 900, 70_000] {
            pulse(&mut a, number).await.unwrap();
            time::sleep(SILENCE / 2).await;
        }
        // Half a sign of life is none.
        a.write_all(&[PULSE, 1, 2]).await.unwrap();
        std::future::pending::<()>().await;
    };
    let failure = tokio::select! {
        failure = hear(&mut b, SILENCE, |number| heard.push(number)) => failure,
        () = pulsing => unreachable!(),
    };
    assert_eq!(heard, [5, 900, 70_000]);
    assert!(matches!(failure, Failure::Refused(refusal) if refusal.reason == Reason::Silent));
    assert_eq!(began.elapsed(), SILENCE * 2, "half of it twice, and the whole");
}
