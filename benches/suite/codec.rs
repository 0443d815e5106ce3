//! Encode and decode, beside copying the payload, and beside copying it into memory of its own.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grapevine_benches::lab::{Lab, Nanos};
use grapevine_benches::work::{Spread, Writer, payload};
use grapevine_core::{Command, Farm, wire};

pub(crate) fn run(lab: &mut Lab) {
    let (mut writer, _) = Writer::new(64);
    let mut spread = Spread::new(1, 64);
    let one = writer.updates(1, 1, &mut spread).remove(0);
    let full = writer.updates(256, 256, &mut spread).remove(0);
    let copied = lab.time("encode", "floor", |times| repeat(times, copy_into_reused));
    let owned = lab.time("decode", "floor", |times| repeat(times, copy_into_new));
    for (name, frame, copied, owned) in [("one", one, copied, owned), ("full", full, copied, owned)]
    {
        let farm = Farm::default();
        let command = wire::decode(&frame, &farm).expect("an own frame");
        let Command::Batch(batch) = &command else { panic!("no batch: {command:?}") };
        let updates = batch.writes.len() as f64;
        let each = |nanos: Nanos| nanos.map(|nanos| nanos / updates);
        let mut out = Vec::new();
        let encode = lab.time("encode", name, |times| {
            repeat(times, |_| {
                out.clear();
                wire::encode(black_box(&command), &mut out);
                black_box(&out);
            })
        });
        assert_eq!(out, frame, "decode and encode are inverse");
        let decode = lab.time("decode", name, |times| {
            repeat(times, |_| {
                black_box(wire::decode(black_box(&frame), &farm)).expect("an own frame");
            })
        });
        let what = match name {
            "one" => "a batch of one update".to_owned(),
            _ => format!("an update in a batch of {updates}"),
        };
        lab.row(&format!("encode: {what}"), each(encode), copied, None);
        lab.row(&format!("decode and check: {what}"), each(decode), owned, None);
    }
}

fn repeat(times: u64, mut run: impl FnMut(&mut Vec<u8>)) -> Duration {
    let mut reused = Vec::new();
    let start = Instant::now();
    for _ in 0..times {
        run(&mut reused);
    }
    start.elapsed()
}

fn copy_into_reused(reused: &mut Vec<u8>) {
    static PAYLOAD: std::sync::LazyLock<[u8; 1024]> = std::sync::LazyLock::new(payload);
    reused.clear();
    reused.extend_from_slice(black_box(&*PAYLOAD));
    black_box(reused);
}

fn copy_into_new(_: &mut Vec<u8>) {
    static PAYLOAD: std::sync::LazyLock<[u8; 1024]> = std::sync::LazyLock::new(payload);
    black_box(Arc::<[u8]>::from(black_box(&PAYLOAD[..])));
}
