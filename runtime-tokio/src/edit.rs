//! Changing a session as if it were a local thing: an [`Edit`] shows the session and records what
//! is done to it.

use std::sync::Arc;

use grapevine_core::{Change, Key, KeyError, Session, Shown, Value};

/// A session while it is being changed by [`crate::Grapevine::update`].
///
/// It shows the session as it was read. Only what is changed goes to the farm, so that changes made
/// to other attributes elsewhere at the same time stay (R61), and adds to counters add up.
#[derive(Debug)]
pub struct Edit {
    session: Arc<Session>,
    changes: Vec<Change>,
    wrong: Option<KeyError>,
}

impl Edit {
    pub(crate) const fn new(session: Arc<Session>) -> Self {
        Self { session, changes: Vec::new(), wrong: None }
    }

    /// The attribute as it was read, without the changes made since.
    pub fn get(&self, key: &str) -> Option<Shown<'_>> {
        self.session.get(key)
    }

    /// The attributes as they were read, without the changes made since.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, Shown<'_>)> {
        self.session.iter()
    }

    /// Writes an attribute.
    ///
    /// A key that isn't allowed makes the whole update fail with [`crate::Error::Key`].
    pub fn set(&mut self, key: &str, value: impl AsRef<[u8]>) -> &mut Self {
        let value = Value::new(value.as_ref());
        self.record(key, |key| Change::Set(key, value))
    }

    /// Removes an attribute, if it is there.
    pub fn remove(&mut self, key: &str) -> &mut Self {
        self.record(key, Change::Remove)
    }

    /// Adds to a counter; where there is none yet, it starts at zero. Adds made at several servers
    /// at once all count.
    pub fn add(&mut self, key: &str, amount: i64) -> &mut Self {
        self.record(key, |key| Change::Add(key, amount))
    }

    fn record(&mut self, key: &str, change: impl FnOnce(Key) -> Change) -> &mut Self {
        match Key::new(key) {
            Ok(key) => self.changes.push(change(key)),
            // The first one is as good as any to say.
            Err(error) => {
                self.wrong.get_or_insert(error);
            }
        }
        self
    }

    pub(crate) fn into_changes(self) -> Result<Vec<Change>, KeyError> {
        self.wrong.map_or(Ok(self.changes), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapevine_core::{Address, Fixed, Secret, SessionId, Stamp, Timestamp};

    fn edit() -> Edit {
        let id = SessionId {
            address: Address::default(),
            created: Stamp::ZERO,
            secret: Secret::from_bytes([0; 16]),
        };
        let idle_timeout = std::time::Duration::from_secs(60);
        let fixed = Fixed { deadline: Timestamp::MAX, idle_timeout, ..Fixed::default() };
        Edit::new(Arc::new(Session::new(id, fixed)))
    }

    #[test]
    fn changes_are_recorded_in_order() {
        let key = |text| Key::new(text).unwrap();
        let mut edit = edit();
        edit.set("name", "ann").add("cart/tea", 2).remove("draft");
        assert_eq!(
            edit.into_changes().unwrap(),
            [
                Change::Set(key("name"), Value::new(b"ann")),
                Change::Add(key("cart/tea"), 2),
                Change::Remove(key("draft")),
            ]
        );
    }

    #[test]
    fn one_key_that_is_not_allowed_makes_the_whole_edit_fail() {
        let mut edit = edit();
        edit.set("good", "1").set("", "2").add("bad\n", 1);
        assert_eq!(edit.into_changes(), Err(KeyError::Empty));
    }
}
