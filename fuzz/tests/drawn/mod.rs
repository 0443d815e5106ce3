//! Drawn commands and scripts: what the plain tests start from, and libFuzzer's first corpus.
#![allow(dead_code, reason = "each program uses a part of it")]

use std::sync::Arc;

use grapevine_core::command::{Batch, Command, Write};
use grapevine_core::{Fixed, Life, ServerId, Session, Timestamp, wire};
use grapevine_fuzz::{Ask, Step, to_bytes};
use proptest::prelude::*;

#[path = "../../../core/tests/common/mod.rs"]
pub(crate) mod common;

pub(crate) fn encoded(command: &Command) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::encode(command, &mut bytes);
    bytes
}

/// A step that owns its bytes.
#[derive(Clone, Debug)]
pub(crate) enum Drawn {
    Plain(Step<'static>),
    Sent(ServerId, Command),
    Fitting(ServerId, Command),
}

/// Makes a drawn batch one that its sender's stream can hold, or every one would be refused.
fn mended(command: Command, from: ServerId) -> Command {
    let Command::Batch(mut batch) = command else { return command };
    batch.publisher = from;
    let mut last = batch.prev;
    for write in &mut batch.writes {
        last = last.next();
        let mut session = Session::clone(write.session());
        session.seen.retain(|server, _| server != batch.publisher);
        session.seen.raise(batch.publisher, last);
        *write = match write {
            Write::Create(_) => {
                session.complete = true;
                session.id.address.origin = batch.publisher;
                Write::Create(Arc::new(session))
            }
            Write::Update(_) => {
                session.complete = false;
                session.life = Life::Live;
                Write::Update(Arc::new(session))
            }
            Write::Again(_) => Write::Again(Arc::new(session)),
            Write::Revoke(_) => {
                session.complete = true;
                session.id.address.origin = batch.publisher;
                session.fixed = Arc::new(Fixed { revokes: true, ..(*session.fixed).clone() });
                Write::Revoke(Arc::new(session))
            }
            Write::Delete(_) => {
                let dead = Session { life: Life::Deleted, ..session.clone() };
                session.merge(&dead);
                Write::Delete(Arc::new(session))
            }
        };
    }
    Command::Batch(Batch { last, ..batch })
}

pub(crate) fn step() -> BoxedStrategy<Drawn> {
    let ask = any::<[u8; 5]>().prop_map(|[kind, token, acks, key, amount]| {
        Drawn::Plain(Step::Ask(Ask { kind, token: token % 4, acks, key, amount }))
    });
    let plain = |step: Step<'static>| Drawn::Plain(step);
    let sent = (peer(), common::commands::command(), any::<bool>());
    let fitting = (peer(), common::commands::command());
    prop_oneof![
        2 => (0..400_u16).prop_map(move |millis| plain(Step::Wait(millis))),
        1 => any::<u16>().prop_map(move |millis| plain(Step::Wait(millis))),
        2 => peer().prop_map(move |server| plain(Step::Up(server))),
        1 => peer().prop_map(move |server| plain(Step::Down(server))),
        5 => ask,
        8 => sent.prop_map(|(from, command, mend)| {
            Drawn::Sent(from, if mend { mended(command, from) } else { command })
        }),
        8 => fitting.prop_map(|(from, command)| Drawn::Fitting(from, mended(command, from))),
    ]
    .boxed()
}

/// Mostly the newest process of a peer's number; others are strangers.
fn peer() -> impl Strategy<Value = ServerId> {
    let newest = (2..=3_u16).prop_map(|number| ServerId::new(number, Timestamp::from_millis(2)));
    prop_oneof![9 => newest, 1 => common::server()]
}

pub(crate) fn script(drawn: &[Drawn]) -> Vec<u8> {
    let sent = drawn.iter().map(|step| match step {
        Drawn::Plain(_) => Vec::new(),
        Drawn::Sent(_, command) | Drawn::Fitting(_, command) => encoded(command),
    });
    let sent = sent.collect::<Vec<_>>();
    let steps = drawn.iter().zip(&sent).map(|(step, bytes)| match step {
        Drawn::Plain(step) => *step,
        Drawn::Sent(from, _) => Step::Command(*from, bytes),
        Drawn::Fitting(from, _) => Step::Fitting(*from, bytes),
    });
    to_bytes(&steps.collect::<Vec<_>>())
}
