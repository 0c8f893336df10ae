//! A value that must not be shown.

use std::fmt;

/// A value that may be a secret, so it is never printed. It is not a [`Secret`](wilco::Secret), because
/// that promises checked bytes and a name that is safe to show, while this may be an empty text in the
/// file itself, or a parsed URL, and only says at a reload whether it has changed.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting<T = Vec<u8>>(pub T);

impl<T> fmt::Debug for Setting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Setting(…)")
    }
}
