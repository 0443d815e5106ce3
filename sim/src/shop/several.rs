//! Several changes in one update: of different attributes, and of one attribute twice.

use grapevine_core::{Change, Key, Value};
use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use super::Shop;

impl Shop {
    /// Changes of a register, the counter and another item, in any order; and how much they add in all.
    pub(super) fn several(
        &self,
        set: &Key,
        removed: &Key,
        value: &Value,
        rng: &mut ChaCha8Rng,
    ) -> (i64, Vec<Change>) {
        let counter = self.counter.clone();
        let amounts = [rng.random_range(-3..10), rng.random_range(-3..10)];
        let mut changes = vec![
            Change::Set(set.clone(), value.clone()),
            Change::Add(counter.clone(), amounts[0]),
            Change::Remove(removed.clone()),
        ];
        let mut sum = amounts[0];
        match rng.random_range(0..5) {
            0 => {
                changes.push(Change::Add(counter, amounts[1]));
                sum += amounts[1];
            }
            1 => changes.push(Change::Set(set.clone(), Value::new(b"first, or last"))),
            2 => changes.push(Change::Remove(set.clone())),
            3 => {
                changes.push(Change::Set(removed.clone(), Value::new(b"back again, or never gone")))
            }
            _ => {}
        }
        changes.shuffle(rng);
        (sum, changes)
    }
}
