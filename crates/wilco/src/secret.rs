//! What a provider and its receiver share.

use std::{env, fmt};

/// A shared secret and the name that it goes by. It cannot be empty and cannot be printed.
#[derive(Clone)]
pub struct Secret {
    name: String,
    bytes: Vec<u8>,
}

impl Secret {
    /// Takes the secret's bytes as they are, but for one trailing line break, which editors and
    /// `echo` add. `name` stands for it in logs, records and metrics: `env:FREISPACE_SECRET`.
    ///
    /// # Errors
    ///
    /// [`SecretError`] for fewer than [`SECRET_BYTES_MIN`] bytes, or a NUL among them.
    pub fn new(name: impl Into<String>, mut bytes: Vec<u8>) -> Result<Self, SecretError> {
        let name = name.into();
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        match bytes.len() {
            0 => Err(SecretError::Empty { name }),
            length if length < SECRET_BYTES_MIN => Err(SecretError::TooShort { name, length }),
            _ if bytes.contains(&0) => Err(SecretError::Nul { name }),
            _ => Ok(Self { name, bytes }),
        }
    }

    /// Reads the environment variable `variable`. The secret's name is `env:` and that word.
    ///
    /// # Errors
    ///
    /// [`SecretError`] where the variable is not set, or holds what [`Secret::new`] refuses.
    pub fn from_env(variable: &str) -> Result<Self, SecretError> {
        let value = env::var_os(variable)
            .ok_or_else(|| SecretError::NotSet { variable: variable.into() })?;
        Self::new(format!("env:{variable}"), value.into_encoded_bytes())
    }

    /// The name, which is safe to show.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The secret itself, for a MAC and for nothing else.
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.name)
    }
}

/// Why a secret was refused. None of these texts holds any part of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment does not have the variable.
    #[error("{variable} is not set; put the provider's secret there: export {variable}=…")]
    NotSet {
        /// The variable's name.
        variable: String,
    },
    /// Nothing, or nothing but a line break.
    #[error("secret {name} is empty; take it from the provider's webhook page")]
    Empty {
        /// The secret's name.
        name: String,
    },
    /// So short that it could be guessed.
    #[error("secret {name} has {length} bytes and needs {SECRET_BYTES_MIN}; is it cut off?")]
    TooShort {
        /// The secret's name.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// Binary, or a file in UTF-16.
    #[error("secret {name} holds a NUL byte; is the file in UTF-16?")]
    Nul {
        /// The secret's name.
        name: String,
    },
}

/// The shortest secret that is taken, in bytes.
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
            ("12345678\n\n", "12345678\n"),
            (" 12345678 ", " 12345678 "),
        ] {
            assert_eq!(
                Secret::new("t", given.into()).unwrap().expose(),
                kept.as_bytes(),
                "{given:?}"
            );
        }
    }

    #[test]
    fn an_empty_short_or_binary_secret_is_refused_by_name_and_not_shown() {
        for (given, expected) in
            [("", "is empty"), ("\n", "is empty"), ("canary", "has 6 bytes"), ("canary\0\0", "NUL")]
        {
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
