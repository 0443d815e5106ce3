//! Replicated updates: the whole system on loopback sockets, three servers in one process. An update
//! counts when all three servers have it. Beside sending the same bytes through bare sockets.

use std::time::{Duration, Instant};

use grapevine_benches::cpu::{self, Meter};
use grapevine_benches::farm::Trio;
use grapevine_benches::floor::Pipes;
use grapevine_benches::lab::{Lab, Nanos};
use grapevine_benches::work::{Spread, Writer, key, payload};
use grapevine_tokio::{Acks, Change, Grapevine, Value};

/// Customers that write at once, at each server.
const CUSTOMERS: usize = 64;

pub(crate) fn run(lab: &mut Lab) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    // At each server, in one round.
    let updates = lab.size(8192, 64);
    let all = 3 * updates as u64;

    let mut pipes = runtime.block_on(Pipes::new(6)).expect("sockets on loopback");
    let mut floor_cpu = Meter::default();
    let bytes = (update_bytes() * updates as f64) as usize;
    let floor = lab.rounds("updates", "floor", all, || {
        let before = cpu::used();
        let took = runtime.block_on(pipes.send(bytes)).expect("bytes through sockets");
        floor_cpu.add(before, all);
        took
    });
    drop(pipes);
    for (what, sessions, aim) in [("hot", CUSTOMERS, 2.8), ("uniform", lab.size(1 << 14, 64), 5.6)]
    {
        let mut load = runtime.block_on(Load::new(sessions));
        let mut meter = Meter::default();
        let time = lab.rounds("updates", what, all, || {
            let before = cpu::used();
            let took = runtime.block_on(load.round(updates));
            meter.add(before, all);
            took
        });
        lab.row(&format!("replicated update, {what}: elapsed"), time, floor, None);
        let (ours, least) = (measured(time, &meter), measured(floor, &floor_cpu));
        lab.row(&format!("replicated update, {what}: processor time"), ours, least, Some(aim));
        if let (Some(time), Some(ours)) = (time, ours) {
            let (rate, per_core) = (1e9 / time, 1e9 / ours);
            lab.note(format!(
                "Replicated updates, {what}: {rate:.0}/s by the clock, {per_core:.0}/s per core used."
            ));
        }
        let traffic = runtime.block_on(load.trouble());
        lab.note(format!("Replicated updates, {what}: {traffic}"));
    }
}

fn measured(time: Nanos, meter: &Meter) -> Nanos {
    time.and(meter.nanos_per_item())
}

/// What one update takes on the wire, in a full batch.
fn update_bytes() -> f64 {
    let (mut writer, _) = Writer::new(64);
    let frames = writer.updates(4096, 64, &mut Spread::new(5, 64));
    let length_field = 4;
    frames.iter().map(|frame| frame.len() + length_field).sum::<usize>() as f64 / 4096.0
}

/// Three servers, and customers at each, who keep their tokens from round to round.
struct Load {
    trio: Trio,
    tokens: Vec<Vec<String>>,
    rounds: u64,
}

impl Load {
    async fn new(sessions: usize) -> Self {
        let trio = Trio::start(3).await.expect("three servers");
        let mut tokens = Vec::new();
        for server in 0..3 {
            let all = trio.create(server, sessions).await;
            let each = sessions / CUSTOMERS;
            tokens.extend(all.chunks(each).map(<[String]>::to_vec));
        }
        trio.until_level().await;
        Self { trio, tokens, rounds: 0 }
    }

    /// So many updates at each server, until all servers have all of them.
    async fn round(&mut self, updates: usize) -> Duration {
        self.rounds += 1;
        let start = Instant::now();
        let mut customers = Vec::new();
        for (n, tokens) in self.tokens.drain(..).enumerate() {
            let server = self.trio.servers[n / CUSTOMERS].clone();
            let spread = Spread::new(self.rounds * 1_000 + n as u64, tokens.len());
            customers.push(tokio::spawn(write(server, tokens, spread, updates / CUSTOMERS)));
        }
        for customer in customers {
            self.tokens.push(customer.await.expect("a customer without trouble"));
        }
        self.trio.until_level().await;
        start.elapsed()
    }

    /// What did not go the straight way.
    async fn trouble(&self) -> String {
        let (mut gaps, mut repaired, mut dropped) = (0, 0, 0);
        let (mut frames, mut writes) = (0, 0);
        for server in &self.trio.servers {
            let counters = server.status().await.expect("a running server").counters;
            gaps += counters.gaps;
            repaired += counters.repaired;
            writes += counters.writes;
            let links = server.links();
            dropped += links.queue_overflow;
            frames += links.frames_sent;
        }
        let each = 2.0 * writes as f64 / frames as f64;
        format!(
            "{each:.1} updates per frame; {gaps} gaps, {repaired} sessions repaired, \
             {dropped} frames dropped."
        )
    }
}

async fn write(
    server: Grapevine,
    mut tokens: Vec<String>,
    mut spread: Spread,
    updates: usize,
) -> Vec<String> {
    let value = Value::new(&payload());
    for _ in 0..updates {
        let token = &mut tokens[spread.next()];
        let changes = vec![Change::Set(key(), value.clone())];
        let served = server.change(token, changes, Acks::Local).await.expect("an update");
        *token = served.token;
    }
    tokens
}
