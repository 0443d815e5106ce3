//! Decoding allocates no more than a small multiple of the bytes that it is given, whatever lengths
//! they announce (G10).

use std::alloc::System;

use cap::Cap;
use grapevine_core::wire;
use proptest::prelude::*;
use proptest::sample::Index;

mod drawn;
use drawn::common::commands::command;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Memory for a list of announced length may be taken before its entries are read, but only this
/// much a list, and a command has few lists.
const AHEAD: usize = 3 << 20;
/// Bytes in memory for a byte on the wire.
const TIMES: usize = 40;

/// The most that was allocated, in all, while these bytes were decoded.
fn allocated(bytes: &[u8]) -> usize {
    let farm = grapevine_core::Farm::default();
    let before = MEMORY.total_allocated();
    let decoded = wire::decode(bytes, &farm);
    let after = MEMORY.total_allocated();
    drop(decoded);
    after - before
}

/// Varints of lengths that nobody could mean.
fn announce(bytes: &mut [u8], at: &Index) {
    if bytes.len() < 10 {
        return;
    }
    let at = at.index(bytes.len() - 9);
    bytes[at..at + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
}

// One test in this file, for other threads' memory would be counted too.
proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn decoding_allocates_a_small_multiple_of_the_bytes(
        command in command(),
        at in any::<Index>(),
        announced in any::<bool>(),
    ) {
        let mut bytes = Vec::new();
        wire::encode(&command, &mut bytes);
        if announced {
            announce(&mut bytes, &at);
        }
        let allocated = allocated(&bytes);
        let allowed = AHEAD + TIMES * bytes.len();
        prop_assert!(allocated <= allowed, "{allocated} bytes for {}", bytes.len());
    }
}
