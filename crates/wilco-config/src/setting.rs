//! A value that must not be shown.

use std::fmt;

/// A value that may be a secret, so it is never printed. Unlike a [`Secret`](wilco::Secret) it has no
/// name and may be anything.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting<T = Vec<u8>>(pub T);

impl<T> fmt::Debug for Setting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Setting(…)")
    }
}
