//! Changes that an application makes to a session, and the delta that says them to the farm.

use super::{Attribute, Counter, Key, Session, Subtotal, Value};
use crate::sorted::SortedMap;
use crate::stamp::Version;

/// One change of one attribute (modify: R61, R91).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Change {
    /// Write a register.
    Set(Key, Value),
    /// Remove the attribute. Removing what is not there is no write.
    Remove(Key),
    /// Add to a counter. A register that holds a whole number in decimal digits becomes a counter
    /// that starts at that number; where there is nothing, it starts at zero.
    Add(Key, i64),
}

/// Why a change can't be made. The session did not change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum ChangeError {
    /// An add to a register that doesn't hold a whole number.
    #[error("`{0}` is not a number, so nothing can be added to it; set or remove it first")]
    NotANumber(Key),
    /// An add that leaves the range of `i64`.
    #[error("adding to `{0}` would leave the range of a 64-bit signed integer")]
    CounterOverflow(Key),
}

impl Session {
    /// The delta that makes these changes, in order, or `None` if they change nothing.
    ///
    /// # Errors
    /// [`ChangeError`], when one of them can't be made; then none is.
    pub(crate) fn modify(
        &self,
        changes: &[Change],
        version: Version,
    ) -> Result<Option<Self>, ChangeError> {
        let made = self.changed(changes, version)?;
        if made.is_empty() {
            return Ok(None);
        }
        let mut delta = self.delta(version);
        delta.attributes = made;
        Ok(Some(delta))
    }

    /// The attributes that these changes make.
    fn changed(
        &self,
        changes: &[Change],
        version: Version,
    ) -> Result<SortedMap<Key, Attribute>, ChangeError> {
        let mut made = SortedMap::new();
        for change in changes {
            let (Change::Set(key, _) | Change::Remove(key) | Change::Add(key, _)) = change;
            let current = made.get(key).or_else(|| self.attributes.get(key));
            let next = match change {
                Change::Set(_, value) => {
                    Some(Attribute::Register { version, value: value.clone() })
                }
                Change::Remove(_) => match current {
                    None | Some(Attribute::Removed { .. }) => None,
                    Some(_) => Some(Attribute::Removed { version }),
                },
                Change::Add(_, amount) => Some(self.add(key, current, *amount, version)?),
            };
            if let Some(next) = next {
                made.insert(key.clone(), next);
            }
        }
        Ok(made)
    }

    /// Gives a session that is being created what an old one shows, with changes: all of it is a
    /// write of this version. A counter goes on from its value, without its history.
    ///
    /// # Errors
    /// [`ChangeError`], when a change can't be made.
    pub(crate) fn with_contents_of(
        mut self,
        old: &Self,
        changes: &[Change],
        version: Version,
    ) -> Result<Self, ChangeError> {
        let again = old.attributes.iter().filter_map(|(key, attribute)| {
            let attribute = match attribute {
                Attribute::Removed { .. } => return None,
                Attribute::Register { value, .. } => {
                    Attribute::Register { version, value: value.clone() }
                }
                Attribute::Counter(counter) => {
                    let (base, subtotals) = (counter.value(), SortedMap::new());
                    Attribute::Counter(Counter { epoch: version, base, subtotals })
                }
            };
            Some((key.clone(), attribute))
        });
        self.attributes = again.collect();
        for (key, made) in &self.changed(changes, version)? {
            self.attributes.insert(key.clone(), made.clone());
        }
        self.attributes.retain(|_, attribute| !matches!(attribute, Attribute::Removed { .. }));
        Ok(self)
    }

    fn add(
        &self,
        key: &Key,
        current: Option<&Attribute>,
        amount: i64,
        version: Version,
    ) -> Result<Attribute, ChangeError> {
        let fresh = |epoch, base| Counter { epoch, base, subtotals: SortedMap::new() };
        let mut counter = match current {
            None => fresh(self.floor, 0),
            Some(Attribute::Removed { version }) => fresh(*version, 0),
            Some(Attribute::Register { version, value }) => {
                let number = core::str::from_utf8(value.as_bytes()).ok();
                let number = number.and_then(|text| text.parse::<i64>().ok());
                fresh(*version, number.ok_or_else(|| ChangeError::NotANumber(key.clone()))?)
            }
            Some(Attribute::Counter(counter)) => counter.clone(),
        };
        let before = counter.subtotals.get(&version.server).map_or(0, |own| own.sum);
        let overflow = || ChangeError::CounterOverflow(key.clone());
        let sum = before.checked_add(amount).ok_or_else(overflow)?;
        counter.value().checked_add(amount).ok_or_else(overflow)?;
        counter.subtotals.insert(version.server, Subtotal { stamp: version.stamp, sum });
        Ok(Attribute::Counter(counter))
    }

    /// The delta that replaces all attributes ("delete and add": R62, R92): it raises the floor to
    /// its own version, which the new attributes survive.
    pub(crate) fn replace(
        &self,
        attributes: impl IntoIterator<Item = (Key, Value)>,
        version: Version,
    ) -> Self {
        let mut delta = self.delta(version);
        delta.floor = version;
        delta.attributes = registers(attributes, version);
        delta
    }

    /// Gives a session that is being created its first attributes.
    pub(crate) fn with_attributes(
        mut self,
        attributes: impl IntoIterator<Item = (Key, Value)>,
        version: Version,
    ) -> Self {
        self.attributes = registers(attributes, version);
        self
    }
}

fn registers(
    attributes: impl IntoIterator<Item = (Key, Value)>,
    version: Version,
) -> SortedMap<Key, Attribute> {
    let register = |(key, value)| (key, Attribute::Register { version, value });
    attributes.into_iter().map(register).collect()
}
