//! Heartbeats, written and read by hand: the same bytes as serde's, in a fraction of the time.
//!
//! Almost all messages of a quiet farm are heartbeats, and everybody reads each. What is written here, a test holds
//! against what serde writes, which is what the wire format is. The reader gives up wherever something is
//! unusual, and then serde says whether it is a heartbeat at all; so what it does read must only be right.

use alloc::vec::Vec;

use super::by_hand::{varint, vector, words};
use super::fixed;
use crate::command::Heartbeat;
use crate::id::ServerId;
use crate::stamp::{Stamp, Timestamp};

/// The number of a heartbeat among commands; a test holds it against theirs.
const NUMBER: u8 = 5;

/// Appends the encoding of a command that is this heartbeat.
pub(super) fn write(heartbeat: &Heartbeat, out: &mut Vec<u8>) {
    // Named one by one, so that a new field is not forgotten here.
    let Heartbeat {
        clock,
        end,
        applied,
        members,
        joining,
        partial,
        left,
        published,
        closed,
        copies,
        linked,
    } = heartbeat;
    out.push(NUMBER);
    words([clock.as_micros(), end.to_bits()], out);
    vector(applied, out);
    servers(members, out);
    out.extend_from_slice(&[u8::from(*joining), u8::from(*partial)]);
    servers(left, out);
    out.push(u8::from(*published));
    servers(closed, out);
    varint(*copies, out);
    servers(linked, out);
}

#[inline]
fn servers(servers: &[ServerId], out: &mut Vec<u8>) {
    varint(8 * servers.len() as u64, out);
    for server in servers {
        words([server.to_bits()], out);
    }
}

/// Reads the heartbeat that these bytes are, all of them, in the memory of another one. Whether it could; if not,
/// that says nothing of the bytes, and what was read means nothing.
pub(super) fn read(bytes: &[u8], into: &mut Heartbeat) -> bool {
    bytes.first() == Some(&NUMBER) && read_fields(&bytes[1..], into).is_some()
}

fn read_fields(mut bytes: &[u8], into: &mut Heartbeat) -> Option<()> {
    let rest = &mut bytes;
    // In the order of the bytes; named one by one, so that a new field is not forgotten here.
    let Heartbeat {
        clock,
        end,
        applied,
        members,
        joining,
        partial,
        left,
        published,
        closed,
        copies,
        linked,
    } = into;
    *clock = Timestamp::from_micros(word(rest)?);
    *end = Stamp::from_bits(word(rest)?);
    applied.read_anew(run(rest)?);
    fixed::servers::read(run(rest)?, members);
    *joining = flag(rest)?;
    *partial = flag(rest)?;
    fixed::servers::read(run(rest)?, left);
    *published = flag(rest)?;
    fixed::servers::read(run(rest)?, closed);
    *copies = number(rest)?;
    fixed::servers::read(run(rest)?, linked);
    rest.is_empty().then_some(())
}

#[inline]
fn word(rest: &mut &[u8]) -> Option<u64> {
    let (word, others) = rest.split_first_chunk()?;
    *rest = others;
    Some(u64::from_le_bytes(*word))
}

#[inline]
fn flag(rest: &mut &[u8]) -> Option<bool> {
    let (&byte, others) = rest.split_first()?;
    *rest = others;
    (byte <= 1).then_some(byte == 1)
}

/// A number of no more than two bytes, as most are.
#[inline]
fn number(rest: &mut &[u8]) -> Option<u64> {
    match **rest {
        [one, ref others @ ..] if one < 0x80 => {
            *rest = others;
            Some(u64::from(one))
        }
        [low, high, ref others @ ..] if high < 0x80 => {
            *rest = others;
            Some(u64::from(low & 0x7f) | u64::from(high) << 7)
        }
        _ => None,
    }
}

/// A run of parts of so many bytes.
#[inline]
fn run<'a, const PART: usize>(rest: &mut &'a [u8]) -> Option<&'a [[u8; PART]]> {
    let length = number(rest)? as usize;
    let (run, others) = rest.split_at_checked(length)?;
    *rest = others;
    match run.as_chunks() {
        (parts, []) => Some(parts),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::Command;
    use crate::vector::Vector;

    fn any_servers() -> impl Strategy<Value = Vec<ServerId>> {
        let server = any::<u64>().prop_map(ServerId::from_bits);
        // Some are longer than what is read here.
        prop_oneof![
            Just(Vec::new()),
            prop::collection::vec(server.clone(), 0..40),
            prop::collection::vec(server, 2_048..2_060),
        ]
    }

    fn any_vector() -> impl Strategy<Value = Vector> {
        let entry = (any::<u64>(), any::<u64>());
        let entry = entry.prop_map(|(by, at)| (ServerId::from_bits(by), Stamp::from_bits(at)));
        prop::collection::vec(entry, 0..80).prop_map(Vector::from_iter)
    }

    fn any_heartbeat() -> impl Strategy<Value = Heartbeat> {
        let times = (any::<u64>(), any::<u64>(), any_vector());
        let flags = (any::<bool>(), any::<bool>(), any::<bool>());
        let lists = (any_servers(), any_servers(), any_servers(), any_servers());
        let copies = prop_oneof![0..300_u64, 16_000..17_000_u64, any::<u64>()];
        (times, flags, lists, copies).prop_map(
            |((clock, end, applied), flags, (members, left, closed, linked), copies)| Heartbeat {
                clock: Timestamp::from_micros(clock),
                end: Stamp::from_bits(end),
                applied,
                members,
                joining: flags.0,
                partial: flags.1,
                left,
                published: flags.2,
                closed,
                copies,
                linked,
            },
        )
    }

    /// What is read in the memory of another one, if it can be.
    fn read_after(bytes: &[u8], other: Option<&Heartbeat>) -> Option<Heartbeat> {
        let mut into = other.cloned().unwrap_or_default();
        read(bytes, &mut into).then_some(into)
    }

    fn by_serde(bytes: &[u8]) -> Option<Command> {
        let (command, rest) = postcard::take_from_bytes::<Command>(bytes).ok()?;
        rest.is_empty().then_some(command)
    }

    proptest! {
        #[test]
        fn a_heartbeat_is_written_and_read_as_serde_does(
            heartbeat in any_heartbeat(),
            other in any_heartbeat(),
        ) {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            write(&heartbeat, &mut ours);
            let command = Command::Heartbeat(heartbeat.clone());
            super::super::append(&command, &mut theirs);
            prop_assert_eq!(&ours, &theirs);
            prop_assert_eq!(by_serde(&ours), Some(command));
            let longest = [&heartbeat.members, &heartbeat.left, &heartbeat.closed, &heartbeat.linked]
                .into_iter()
                .map(Vec::len)
                .max();
            let usual = longest < Some(2_048) && heartbeat.copies < 1 << 14;
            let expected = usual.then_some(heartbeat);
            prop_assert_eq!(&read_after(&ours, None), &expected);
            prop_assert_eq!(&read_after(&ours, Some(&other)), &expected);
            // In memory of just its own size, too.
            prop_assert_eq!(&read_after(&ours, expected.as_ref()), &expected);
        }

        #[test]
        fn whatever_is_read_as_a_heartbeat_is_what_serde_reads(
            heartbeat in any_heartbeat(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut bytes = Vec::new();
            write(&heartbeat, &mut bytes);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Some(read) = read_after(&bytes, Some(&heartbeat)) {
                prop_assert_eq!(by_serde(&bytes), Some(Command::Heartbeat(read)));
            }
        }
    }
}
