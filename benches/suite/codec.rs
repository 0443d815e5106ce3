//! Encode and decode, beside the same for an update that says the least that one must; its payload
//! is copied out of the received bytes too, for a slice of them would keep all of them.

use std::hint::black_box;
use std::time::Duration;

use grapevine_benches::cpu;
use grapevine_benches::floor::Flat;
use grapevine_benches::lab::{Lab, Nanos};
use grapevine_benches::work::{Spread, Writer, payload};
use grapevine_core::{Command, Farm, wire};

pub(crate) fn run(lab: &mut Lab) {
    let (mut writer, _) = Writer::new(64);
    let mut spread = Spread::new(1, 64);
    let one = writer.updates(1, 1, &mut spread).remove(0);
    let full = writer.updates(256, 256, &mut spread).remove(0);
    let payload = payload();
    let flat = Flat::new(7, 8, &payload);
    let mut out = Vec::new();
    let copied = lab.time("encode", "floor", |times| {
        repeat(times, || {
            black_box(&flat).encode(&mut out);
            black_box(&out);
        })
    });
    flat.encode(&mut out);
    let owned = lab.time("decode", "floor", |times| {
        repeat(times, || {
            black_box(Flat::decode(black_box(&out)).own());
        })
    });
    for (name, frame, copied, owned) in [("one", one, copied, owned), ("full", full, copied, owned)]
    {
        let farm = Farm::default();
        let command = wire::decode(&frame, &farm).expect("an own frame");
        let Command::Batch(batch) = &command else { panic!("no batch: {command:?}") };
        let updates = batch.writes.len() as f64;
        let each = |nanos: Nanos| nanos.map(|nanos| nanos / updates);
        let mut out = Vec::new();
        wire::encode(&command, &mut out);
        assert!(out == frame, "decode and encode must be inverse");
        let encode = lab.time("encode", name, |times| {
            repeat(times, || {
                out.clear();
                wire::encode(black_box(&command), &mut out);
                black_box(&out);
            })
        });
        let decode = lab.time("decode", name, |times| {
            repeat(times, || {
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

fn repeat(times: u64, mut run: impl FnMut()) -> Duration {
    cpu::time(|| (0..times).for_each(|_| run()))
}
