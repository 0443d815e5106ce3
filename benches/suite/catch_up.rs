//! Catch-up: an empty server joins two that hold sessions of 1 KiB, over loopback sockets. Beside
//! sending the same bytes through one bare socket.

use std::time::{Duration, Instant};

use grapevine_benches::farm::{MOMENT, Trio, until_level};
use grapevine_benches::floor::Pipes;
use grapevine_benches::lab::Lab;
use grapevine_benches::work::{Reader, Writer};

pub(crate) fn run(lab: &mut Lab) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let sessions = lab.size(1 << 15, 1 << 8);
    // The creates of all sessions are the sessions.
    let (writer, creates) = Writer::new(sessions);
    drop((Reader::new(sessions, &creates), writer));
    let bytes: usize = creates.iter().map(Vec::len).sum();
    drop(creates);

    let mut pipes = runtime.block_on(Pipes::new(1)).expect("sockets on loopback");
    let floor = lab.rounds("catch_up", "floor", sessions as u64, || {
        runtime.block_on(pipes.send(bytes)).expect("bytes through a socket")
    });
    drop(pipes);
    let trio = runtime.block_on(async {
        let trio = Trio::start(2).await.expect("two servers");
        trio.create(0, sessions / 2).await;
        trio.create(1, sessions / 2).await;
        trio.until_level().await;
        trio
    });
    let mut starts = Vec::new();
    let transfer = lab.rounds("catch_up", "transfer", sessions as u64, || {
        let (whole, transfer) = runtime.block_on(join(&trio, sessions as u64));
        starts.push(whole);
        transfer
    });
    lab.row("catch-up, per session: from the first to the last", transfer, floor, Some(2.2));
    if let (Some(transfer), Some(floor)) = (transfer, floor) {
        starts.sort();
        let whole = starts[starts.len() / 2];
        let rate = |nanos: f64| bytes as f64 / sessions as f64 / nanos * 1e3;
        lab.note(format!(
            "Catch-up of {sessions} sessions, {:.0} MB: {:.0} MB/s, bare socket {:.0} MB/s; {whole:.0?} \
             from the start of the empty server until it is level.",
            bytes as f64 / 1e6,
            rate(transfer),
            rate(floor),
        ));
    }
}

/// Starts the third server empty, and waits until it is level. Returns how long that took from its
/// start, and from the first session's arrival.
async fn join(trio: &Trio, sessions: u64) -> (Duration, Duration) {
    let start = Instant::now();
    let server = trio.restart(2).await;
    let mut first = None;
    loop {
        let status = server.status().await.expect("a running server");
        if status.sessions > 0 && first.is_none() {
            first = Some(Instant::now());
        }
        if status.sessions == sessions && !status.joining {
            break;
        }
        tokio::time::sleep(MOMENT).await;
    }
    until_level(&[&server, &trio.servers[0], &trio.servers[1]]).await;
    let first = first.expect("sessions came");
    (start.elapsed(), first.elapsed())
}
