//! Pulses: signs of life that go against the stream. A subscriber sends one now and then, and the
//! publisher echoes the newest in its stream. From them each side knows what bytes alone don't tell:
//!
//! - What a publisher sends may be swallowed on its way, and no system says so for many minutes. If no
//!   pulse comes, the link leads nowhere, and the publisher dials again.
//! - What a subscriber reads may be old, and who sent it dead: what a cut holds back arrives when it is
//!   mended. An echo shows that the publisher lived when its pulse was sent, by the subscriber's own
//!   clock; so it is what says whether a number is in use.

use std::time::Duration;

use grapevine_core::wire;

use super::frame::LENGTH;
use super::handshake;
use super::peers::Inbound;
use crate::net::OwnedWriteHalf;
use crate::net::time::{self, Instant};

/// With what the body of an echo's frame begins. No command does: their numbers are small.
const ECHO: u8 = u8::MAX;

/// The bytes of such a body: that, and the pulse's number.
const ECHO_BYTES: usize = 1 + size_of::<u64>();

/// The frame that echoes a pulse.
pub(super) fn echo(number: u64) -> Vec<u8> {
    let length = (ECHO_BYTES + wire::SEAL_BYTES) as u32;
    let mut frame = length.to_le_bytes().to_vec();
    frame.push(ECHO);
    frame.extend(number.to_le_bytes());
    wire::seal_from(&mut frame, LENGTH);
    frame
}

/// The number that a frame's opened body echoes; `None` if it is a command, or nothing.
pub(super) fn echoed(body: &[u8]) -> Option<u64> {
    let (&ECHO, number) = body.split_first()? else { return None };
    number.try_into().ok().map(u64::from_le_bytes)
}

/// Sends pulses on a connection that feeds this server, for as long as it is there.
pub(super) async fn send(to: &mut OwnedWriteHalf, inbound: &Inbound, every: Duration) {
    // One that can't be sent tells nothing: whether the connection is over, reading shows. If it has no
    // room, the publisher does not read, and later ones are worth no more.
    while handshake::pulse(to, inbound.pulse(Instant::now())).await.is_ok() {
        time::sleep(every).await;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapevine_core::Farm;

    #[test]
    fn an_echo_is_told_from_every_command() {
        let frame = echo(77);
        let length = u32::from_le_bytes(*frame.first_chunk().unwrap());
        assert_eq!(length as usize, frame.len() - LENGTH);
        let body = wire::open(&frame[LENGTH..]).unwrap();
        assert_eq!(echoed(body), Some(77));
        for number in [0, 1, u64::MAX / 3, u64::MAX] {
            let frame = echo(number);
            let body = wire::open(&frame[LENGTH..]).unwrap();
            assert!(wire::decode(body, &Farm::default()).is_err(), "{number} is a command too");
        }
    }

    #[test]
    fn what_is_too_long_or_too_short_is_no_echo() {
        let whole = [&[ECHO][..], &7u64.to_le_bytes()].concat();
        assert_eq!(echoed(&whole), Some(7));
        for cut in 0..whole.len() {
            assert_eq!(echoed(&whole[..cut]), None, "{cut} bytes");
        }
        assert_eq!(echoed(&[&whole[..], &[0]].concat()), None);
        assert_eq!(echoed(&[&[6][..], &[0; 8]].concat()), None, "it begins as a command");
    }
}
