//! The fuzz targets on a stable compiler: a drawn corpus, and random damage to it. libFuzzer finds
//! more; this runs everywhere.

use grapevine_core::command::{Batch, Command, Write};
use grapevine_core::{Life, ServerId, Session, wire};
use grapevine_fuzz::{Ask, Step, to_bytes};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::sync::Arc;

#[path = "../../core/tests/common/mod.rs"]
mod common;

fn encoded(command: &Command) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::encode(command, &mut bytes);
    bytes
}

/// A step that owns its bytes.
#[derive(Clone, Debug)]
enum Drawn {
    Plain(Step<'static>),
    Sent(ServerId, Command),
}

/// Makes a drawn batch one that its sender's stream can hold, or every one would be refused.
fn mended(command: Command) -> Command {
    let Command::Batch(mut batch) = command else { return command };
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
            Write::Delete(_) => {
                let dead = Session { life: Life::Deleted, ..session.clone() };
                session.merge(&dead);
                Write::Delete(Arc::new(session))
            }
        };
    }
    Command::Batch(Batch { last, ..batch })
}

fn step() -> impl Strategy<Value = Drawn> {
    let ask = any::<[u8; 5]>().prop_map(|[kind, token, acks, key, amount]| {
        Drawn::Plain(Step::Ask(Ask { kind, token: token % 4, acks, key, amount }))
    });
    let plain = |step: Step<'static>| Drawn::Plain(step);
    let sent = (common::server(), common::commands::command(), any::<bool>());
    prop_oneof![
        2 => (0..400_u16).prop_map(move |millis| plain(Step::Wait(millis))),
        1 => any::<u16>().prop_map(move |millis| plain(Step::Wait(millis))),
        1 => common::server().prop_map(move |server| plain(Step::Up(server))),
        1 => common::server().prop_map(move |server| plain(Step::Down(server))),
        5 => ask,
        12 => sent.prop_map(|(from, command, mend)| {
            let command = if mend { mended(command) } else { command };
            let from = match &command {
                Command::Batch(batch) => batch.publisher,
                _ => from,
            };
            Drawn::Sent(from, command)
        }),
    ]
}

fn script(drawn: &[Drawn]) -> Vec<u8> {
    let sent = drawn.iter().map(|step| match step {
        Drawn::Plain(_) => Vec::new(),
        Drawn::Sent(_, command) => encoded(command),
    });
    let sent = sent.collect::<Vec<_>>();
    let steps = drawn.iter().zip(&sent).map(|(step, bytes)| match step {
        Drawn::Plain(step) => *step,
        Drawn::Sent(from, _) => Step::Command(*from, bytes),
    });
    to_bytes(&steps.collect::<Vec<_>>())
}

fn damage(bytes: &mut [u8], flips: &[(Index, u8)]) {
    if bytes.is_empty() {
        return;
    }
    for (at, bit) in flips {
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << (bit % 8);
    }
}

fn flips() -> impl Strategy<Value = Vec<(Index, u8)>> {
    vec((any::<Index>(), any::<u8>()), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_upset_the_decoder(command in common::commands::command(), flips in flips()) {
        let mut bytes = encoded(&command);
        damage(&mut bytes, &flips);
        grapevine_fuzz::decode(&bytes);
    }

    #[test]
    fn no_commands_upset_an_engine(drawn in vec(step(), 0..40)) {
        grapevine_fuzz::engine(&script(&drawn));
    }

    #[test]
    fn no_damaged_script_upsets_an_engine(drawn in vec(step(), 0..40), flips in flips()) {
        let mut bytes = script(&drawn);
        damage(&mut bytes, &flips);
        grapevine_fuzz::engine(&bytes);
    }

    #[test]
    fn a_script_is_read_as_it_was_written(drawn in vec(step(), 0..10)) {
        let bytes = script(&drawn);
        prop_assert_eq!(to_bytes(&grapevine_fuzz::steps(&bytes)), bytes);
    }
}
