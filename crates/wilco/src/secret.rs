//! What a provider and its receiver share.

use std::{env, fmt};

use crate::counted;

/// A shared secret and its name. It cannot be empty, and it cannot be printed.
#[derive(Clone)]
pub struct Secret {
    name: String,
    bytes: Vec<u8>,
}

impl Secret {
    /// Takes the secret's bytes as they are, without one trailing line break, which editors and
    /// `echo` add. Logs, records and metrics show `name` in its place: `env:FREISPACE_SECRET`.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if it has fewer than [`SECRET_BYTES_MIN`] bytes, or if [`of_any_length`]
    /// refuses it.
    ///
    /// [`of_any_length`]: Secret::of_any_length
    pub fn new(name: impl Into<String>, bytes: Vec<u8>) -> Result<Self, SecretError> {
        let secret = Self::of_any_length(name, bytes)?;
        match secret.bytes.len() {
            length if length < SECRET_BYTES_MIN => {
                Err(SecretError::TooShort { name: secret.name, length })
            }
            _ => Ok(secret),
        }
    }

    /// Like [`Secret::new`], without a minimum length: for a secret that is sent along instead of
    /// used to sign.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if it is empty, has a NUL or a byte order mark, or if it is surrounded by
    /// white space or quotes: nobody means that.
    pub fn of_any_length(name: impl Into<String>, mut bytes: Vec<u8>) -> Result<Self, SecretError> {
        let name = name.into();
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        let is_quote = |byte: &u8| matches!(byte, b'"' | b'\'');
        let is_quoted = |bytes: &[u8]| match bytes {
            [first, .., last] => first == last && is_quote(first),
            _ => false,
        };
        match bytes.as_slice() {
            [] => Err(SecretError::Empty { name }),
            [0xef, 0xbb, 0xbf, ..] | [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
                Err(SecretError::ByteOrderMark { name })
            }
            bytes if bytes.contains(&0) => Err(SecretError::Nul { name }),
            bytes if bytes.trim_ascii().is_empty() => Err(SecretError::Empty { name }),
            bytes if bytes.trim_ascii().len() < bytes.len() => {
                Err(SecretError::WhiteSpace { name })
            }
            bytes if is_quoted(bytes) => Err(SecretError::Quoted { name }),
            _ => Ok(Self { name, bytes }),
        }
    }

    /// These bytes, whatever they are: what somebody may have set by mistake.
    pub(crate) fn as_it_is(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), bytes }
    }

    /// Reads the environment variable `variable`. The secret's name is `env:` and that word.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if the variable is not set, or if [`Secret::new`] refuses its value.
    pub fn from_env(variable: &str) -> Result<Self, SecretError> {
        let value = env::var_os(variable)
            .ok_or_else(|| SecretError::NotSet { variable: variable.into() })?;
        Self::new(format!("env:{variable}"), value.into_encoded_bytes())
    }

    /// The name, which is safe to show.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The secret itself. Only code that computes or compares signatures may call this.
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.name)
    }
}

/// Why a secret was refused. No message contains any part of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment does not have the variable.
    #[error("{variable} is not set; set it: export {variable}=…")]
    NotSet {
        /// The variable's name.
        variable: String,
    },
    /// Empty, or only a line break.
    #[error("secret {name} is empty; take it from the provider's webhook page")]
    Empty {
        /// The secret's name.
        name: String,
    },
    /// So short that it could be guessed.
    #[error(
        "secret {name} has {} and needs {SECRET_BYTES_MIN}; is it cut off?",
        counted(*length, "byte", "bytes")
    )]
    TooShort {
        /// The secret's name.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// White space or a second line break around it.
    #[error("secret {name} begins or ends with white space or a line break; remove it")]
    WhiteSpace {
        /// The secret's name.
        name: String,
    },
    /// The quotes of a shell or of an `.env` file became a part of it.
    #[error("secret {name} is in quotes, which would be part of it; remove them")]
    Quoted {
        /// The secret's name.
        name: String,
    },
    /// An editor marked the file as Unicode.
    #[error("secret {name} begins with a byte order mark; save the file as UTF-8 without one")]
    ByteOrderMark {
        /// The secret's name.
        name: String,
    },
    /// Binary, or a file in UTF-16.
    #[error("secret {name} contains a NUL byte; is the file in UTF-16?")]
    Nul {
        /// The secret's name.
        name: String,
    },
}

/// The minimum length of a secret in bytes.
pub const SECRET_BYTES_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_loses_one_line_break_and_nothing_else() {
        for (given, kept) in [
            ("12345678", "12345678"),
            ("12345678\n", "12345678"),
            ("12345678\r\n", "12345678"),
            ("1234\n5678", "1234\n5678"),
            ("it's \"so\"", "it's \"so\""),
        ] {
            assert_eq!(
                Secret::new("t", given.into()).unwrap().expose(),
                kept.as_bytes(),
                "{given:?}"
            );
        }
    }

    #[test]
    fn a_secret_that_cannot_be_intended_is_refused_by_name_without_being_shown() {
        for (given, expected) in [
            (b"".as_slice(), "is empty"),
            (b"\n", "is empty"),
            (b" \t \n", "is empty"),
            (b"canary", "has 6 bytes"),
            (b"canary\0\0", "NUL"),
            (b"canary-canary \n", "white space"),
            (b"\tcanary-canary", "white space"),
            (b"canary-canary\n\n", "line break"),
            (b"\"canary-canary\"", "in quotes"),
            (b"'canary-canary'\n", "in quotes"),
            (b"\xef\xbb\xbfcanary-canary", "byte order mark"),
            (b"\xff\xfec\0a\0n\0a\0r\0y\0", "byte order mark"),
        ] {
            let error = Secret::new("env:X", given.into()).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("env:X"), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn a_debug_print_shows_the_name_only() {
        assert_eq!(
            format!("{:?}", Secret::new("env:X", "canary-canary".into()).unwrap()),
            "Secret(env:X)"
        );
    }
}
