//! The digest of a body.

use std::{fmt, io};

use aws_lc_rs::digest;

use crate::Body;

/// SHA-256 of a body. Prints as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(body: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(body);
        Self::finish(context)
    }

    /// The digest of this body.
    ///
    /// # Errors
    ///
    /// The body cannot be read.
    pub fn of_body(body: &Body) -> io::Result<Self> {
        let mut context = digest::Context::new(&digest::SHA256);
        for chunk in body.chunks() {
            context.update(&chunk?);
        }
        Ok(Self::finish(context))
    }

    /// The digest of what a context for SHA-256 was given.
    pub(crate) fn finish(context: digest::Context) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
