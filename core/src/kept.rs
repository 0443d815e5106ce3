//! What is kept only because finding it anew takes long.

use core::fmt;
use core::ops::{Deref, DerefMut};

/// Something that follows from the rest of the state, or says how much of it is known. It is not shown: two engines
/// that will do the same are to be the same text, whatever each of them happens to know already (see
/// [`crate::Engine::behaviour`]).
#[derive(Clone, Copy, Default)]
pub(crate) struct Kept<T>(pub(crate) T);

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Kept<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(kept)")
    }
}
