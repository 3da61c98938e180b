//! Sharing without access.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

/// A value that only its owner touches: shareable between threads because sharing gives no access.
///
/// ```
/// use larder_runtime::Owned;
///
/// let mut counted = Owned::new(1);
/// *counted.get_mut() += 1;
/// assert_eq!(*counted.get_mut(), 2);
/// ```
pub struct Owned<T>(Mutex<T>);

impl<T> Owned<T> {
    /// Takes the value in.
    pub fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// The value, for whoever owns this.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Owned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owned(..)")
    }
}
