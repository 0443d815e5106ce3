//! Merge alone: what `Session::merge` costs, beside copying one payload.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grapevine_benches::floor::Slots;
use grapevine_benches::lab::Lab;
use grapevine_benches::work::{Spread, Writer};
use grapevine_core::{Command, Farm, Session, wire};

pub(crate) fn run(lab: &mut Lab) {
    let (copy, delta) = copy_and_delta();
    let mut slot = Slots::new(1);
    let floor = lab.time("merge", "floor", |times| slot.write(times, &mut Spread::new(1, 1)));
    let news = lab.time("merge", "news", |times| merge(times, &copy, &delta, true));
    lab.row("merge: a delta with news", news, floor, None);
    let mut merged = copy.clone();
    assert!(merged.merge(&delta), "the delta must be news");
    let repeat = lab.time("merge", "repeat", |times| merge(times, &merged, &delta, false));
    lab.row("merge: the same delta again", repeat, floor, None);
    let whole = lab.time("merge", "clone", |times| cloned(times, &merged));
    lab.row("clone of a copy, as each write makes one", whole, floor, None);
}

/// A session as it was created, and an update of it.
fn copy_and_delta() -> (Session, Arc<Session>) {
    let (mut writer, _) = Writer::new(1);
    let copy = Session::clone(&writer.copies()[0]);
    let frame = writer.updates(1, 1, &mut Spread::new(1, 1)).remove(0);
    match wire::decode(&frame, &Farm::default()) {
        Ok(Command::Batch(batch)) => (copy, Arc::clone(batch.writes[0].session())),
        other => panic!("no batch: {other:?}"),
    }
}

/// Merges into copies that were made beforehand.
fn merge(times: u64, copy: &Session, delta: &Session, news: bool) -> Duration {
    const TOGETHER: u64 = 256;
    let mut total = Duration::ZERO;
    let mut left = times;
    while left > 0 {
        let count = left.min(TOGETHER);
        let mut copies = vec![copy.clone(); count as usize];
        let start = Instant::now();
        for copy in &mut copies {
            assert_eq!(black_box(&mut *copy).merge(black_box(delta)), news, "news or not");
        }
        total += start.elapsed();
        left -= count;
    }
    total
}

fn cloned(times: u64, copy: &Session) -> Duration {
    let start = Instant::now();
    for _ in 0..times {
        black_box(black_box(copy).clone());
    }
    start.elapsed()
}
