//! What is shared, read straight into the memory that is shared: serde reads it into a box first, and then
//! moves it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::de::{Deserialize, Deserializer};

/// Reads one.
pub(crate) fn one<'de, D, T>(deserializer: D) -> Result<Arc<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Arc::new)
}

struct Shared<T>(Arc<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one(deserializer).map(Self)
    }
}

/// Reads a list of them.
pub(crate) fn list<'de, D, T>(deserializer: D) -> Result<Vec<Arc<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let shared = Vec::<Shared<T>>::deserialize(deserializer)?;
    Ok(shared.into_iter().map(|shared| shared.0).collect())
}
