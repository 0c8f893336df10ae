//! Why a verb failed.

use std::{fmt, io};

use wilco_server::{
    client::ClientError,
    config::Diagnostics,
    service::{StartError, TlsError},
};
use wilco_store::{OpenError, StoreError};

use super::{draw, is_coloured, wrapped};

/// Why a verb failed, and the exit code of the process.
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn failed(why: impl fmt::Display) -> Self {
        Self { code: 1, text: why.to_string() }
    }

    pub(crate) fn usage(why: impl fmt::Display) -> Self {
        Self { code: 2, text: why.to_string() }
    }

    /// 78 is `EX_CONFIG` of sysexits.
    pub(crate) fn configuration(why: impl fmt::Display) -> Self {
        Self { code: 78, text: why.to_string() }
    }

    /// The text in lines that fit a terminal.
    pub(crate) fn for_terminal(&self) -> String {
        match self.text.is_empty() || self.text.contains('\n') {
            true => self.to_string(),
            false => wrapped("wilco: ", "       ", &self.text),
        }
    }

    pub(crate) fn not_permitted(text: &str) -> Self {
        let user = rustix::process::geteuid().as_raw();
        let hint = "run this as the user of the service, such as sudo -u wilco";
        Self::failed(format!("{text}: this is user {user}; {hint}"))
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::configuration(draw(&diagnostics, is_coloured(&io::stderr())))
    }
}

/// Errors whose text says everything.
macro_rules! from_errors {
    ($($error:ty),+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::failed(error)
            }
        })+
    };
}

from_errors!(
    ClientError,
    StartError,
    StoreError,
    TlsError,
    getrandom::Error,
    http::Error,
    serde_json::Error
);

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let text = error.to_string();
        match text.contains("Permission denied") {
            true => Self::not_permitted(&text),
            false => Self::failed(text),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // The reader of the output wants no more of it: `wilco events list | head`.
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { code: 0, text: String::new() },
            _ => Self::failed(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.as_str() {
            "" => Ok(()),
            drawn if drawn.contains('\n') => f.write_str(drawn),
            line => writeln!(f, "wilco: {line}"),
        }
    }
}
