//! Vectors beside trees that do the same.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn entries() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0..14_u64, 0..4_u64), 0..20)
}

fn entry((server, stamp): (u64, u64)) -> Entry {
    (ServerId::from_bits(server), Stamp::from_bits(stamp))
}

/// The same by the book: the highest stamp of each server.
fn tree(entries: &[(u64, u64)]) -> BTreeMap<ServerId, Stamp> {
    let mut tree = BTreeMap::new();
    for (server, stamp) in entries.iter().copied().map(entry) {
        let highest = tree.entry(server).or_insert(stamp);
        *highest = stamp.max(*highest);
    }
    tree.retain(|_, stamp| *stamp > Stamp::ZERO);
    tree
}

fn same(vector: &Vector, tree: &BTreeMap<ServerId, Stamp>) -> Result<(), TestCaseError> {
    prop_assert!(vector.iter().eq(tree.iter().map(|(&server, &stamp)| (server, stamp))));
    let pairs: Vec<Entry> = tree.iter().map(|(&server, &stamp)| (server, stamp)).collect();
    prop_assert_eq!(postcard::to_allocvec(vector), Ok(encoded(&pairs)));
    prop_assert_eq!(matches!(vector.0, Entries::Many(_)), tree.len() > INLINE);
    Ok(())
}

/// By the book: the length in bytes, then each server and its stamp.
fn encoded(entries: &[Entry]) -> Vec<u8> {
    let words = entries.iter().flat_map(|(server, stamp)| [server.to_bits(), stamp.to_bits()]);
    let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    let mut all = postcard::to_allocvec(&bytes.len()).expect("a length");
    all.extend(bytes);
    all
}

#[test]
fn vectors_are_the_same_if_they_are_as_long_and_no_place_differs() {
    let vector = |len: u64, other: Option<(u64, Entry)>| {
        let place = |n| other.filter(|&(at, _)| at == n).map_or(entry((2 * n, 5)), |(_, e)| e);
        (0..len).map(place).collect::<Vector>()
    };
    for len in 0..14 {
        assert_eq!(vector(len, None), vector(len, None));
        assert_ne!(vector(len, None), vector(len + 1, None));
        for at in 0..len {
            assert_ne!(vector(len, None), vector(len, Some((at, entry((2 * at + 1, 5))))), "{at}");
            assert_ne!(vector(len, None), vector(len, Some((at, entry((2 * at, 6))))), "{at}");
        }
    }
}

proptest! {
    #[test]
    fn a_stamp_is_found_wherever_its_entry_stands(
        entries in prop::collection::btree_map(0..40_u64, 1..9_u64, 0..40),
        boots in prop::collection::vec(0..3_u64, 40),
    ) {
        // Numbers from zero, most or few of them, and some have two processes.
        let server = |number: u64, boot| {
            ServerId::from_bits(((number / 2) << 48) | ((number % 2) << 9) | boot)
        };
        let all = entries.iter().map(|(&number, &stamp)| {
            (server(number, boots[number as usize]), Stamp::from_bits(stamp))
        });
        let vector: Vector = all.clone().collect();
        let tree: BTreeMap<ServerId, Stamp> = all.collect();
        for number in 0..44 {
            for boot in 0..3 {
                let server = server(number, boot);
                let stamp = tree.get(&server).copied().unwrap_or(Stamp::ZERO);
                prop_assert_eq!(vector.get(server), stamp);
            }
        }
        let again: Vector = tree.iter().map(|(&server, &stamp)| (server, stamp)).collect();
        prop_assert_eq!(&vector, &again);
        if let Some((&server, _)) = tree.iter().next_back() {
            let mut other = again;
            other.raise(server, Stamp::from_bits(10));
            prop_assert_ne!(&vector, &other);
        }
    }

    #[test]
    fn a_vector_does_what_a_tree_does(a in entries(), b in entries(), bound in 0..14_u64) {
        let (left, right) = (tree(&a), tree(&b));
        let mut ours: Vector = a.iter().copied().map(entry).collect();
        let theirs: Vector = b.iter().copied().map(entry).collect();
        same(&ours, &left)?;
        let at = |tree: &BTreeMap<_, _>, server| tree.get(&server).copied().unwrap_or(Stamp::ZERO);
        let beyond: Vec<Entry> = right
            .iter()
            .map(|(&server, &stamp)| (server, stamp))
            .filter(|&(server, stamp)| stamp > at(&left, server))
            .collect();
        prop_assert_eq!(ours.beyond(&theirs).collect::<Vec<_>>(), &beyond[..]);
        prop_assert_eq!(ours.covers(&theirs), beyond.is_empty());
        prop_assert_eq!(ours == theirs, left == right);
        let newest = left.iter().map(|(&server, &stamp)| Version::new(stamp, server)).max();
        prop_assert_eq!(ours.newest(), newest.unwrap_or_default());
        prop_assert_eq!(ours.cmp(&theirs), left.cmp(&right));
        let mut least = left.clone();
        least.retain(|server, stamp| {
            *stamp = at(&right, *server).min(*stamp);
            *stamp > Stamp::ZERO
        });
        let mut met = ours.clone();
        met.meet(&theirs);
        same(&met, &least)?;
        ours.join(&theirs);
        let mut both = a.clone();
        both.extend(&b);
        let mut joined = tree(&both);
        same(&ours, &joined)?;
        ours.retain(|server, _| server.to_bits() < bound);
        joined.retain(|server, _| server.to_bits() < bound);
        same(&ours, &joined)?;
    }

    #[test]
    fn vectors_of_the_same_servers_are_compared_and_joined_as_trees_are(
        stamps in prop::collection::vec((1..4_u64, 1..4_u64), 0..40),
    ) {
        let numbered = || stamps.iter().zip(0..);
        let (a, b): (Vec<_>, Vec<_>) =
            numbered().map(|(&(one, other), server)| ((server, one), (server, other))).unzip();
        let mine: Vector = a.iter().copied().map(entry).collect();
        let theirs: Vector = b.iter().copied().map(entry).collect();
        prop_assert_eq!(mine.covers(&theirs), stamps.iter().all(|(one, other)| one >= other));
        let taken = |take: fn(u64, u64) -> u64| -> Vec<(u64, u64)> {
            numbered().map(|(&(one, other), server)| (server, take(one, other))).collect()
        };
        let (mut joined, mut met) = (mine.clone(), mine.clone());
        joined.join(&theirs);
        same(&joined, &tree(&taken(u64::max)))?;
        met.meet(&theirs);
        same(&met, &tree(&taken(u64::min)))?;
    }

    #[test]
    fn entries_of_any_order_are_read_as_a_tree_reads_them(entries in entries()) {
        let pairs: Vec<Entry> = entries.into_iter().map(entry).collect();
        let bytes = encoded(&pairs);
        let mut tree: BTreeMap<ServerId, Stamp> = pairs.iter().copied().collect();
        tree.retain(|_, stamp| *stamp > Stamp::ZERO);
        let vector: Vector = postcard::from_bytes(&bytes).expect("a vector");
        same(&vector, &tree)?;
    }

    #[test]
    fn a_vector_with_a_part_of_an_entry_is_refused(entries in entries(), cut in 1..16_usize) {
        let pairs: Vec<Entry> = entries.into_iter().map(entry).collect();
        let whole = encoded(&pairs);
        let bytes = &whole[whole.len() - 16 * pairs.len()..];
        let cut = bytes.len().saturating_sub(cut);
        let mut cut_off = postcard::to_allocvec(&cut).expect("a length");
        cut_off.extend(&bytes[..cut]);
        prop_assert_eq!(postcard::from_bytes::<Vector>(&cut_off).is_ok(), pairs.is_empty());
    }
}
