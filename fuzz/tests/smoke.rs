//! The fuzz targets on a stable compiler: a drawn corpus, and random damage to it. libFuzzer finds
//! more; this runs everywhere.

use grapevine_fuzz::to_bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

mod drawn;
use drawn::common::commands::command;
use drawn::{encoded, script, step};

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
    #![proptest_config(ProptestConfig { cases: 15_000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_upset_the_decoder(command in command(), flips in flips()) {
        let mut bytes = encoded(&command);
        damage(&mut bytes, &flips);
        grapevine_fuzz::decode(&bytes);
    }

    #[test]
    fn no_text_upsets_the_reader_of_tokens(bytes in vec(any::<u8>(), 0..200), text in "[A-Za-z0-9_.-]{0,300}") {
        grapevine_fuzz::token(&bytes);
        grapevine_fuzz::token(text.as_bytes());
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
