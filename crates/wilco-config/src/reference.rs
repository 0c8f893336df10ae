//! References to secrets: a secret is never in the file itself, which only names where it is.

use std::{fs, ops::Range, path::Path};

use wilco::Secret;

use crate::{excerpt::shown_target, key::ReferenceKind, setting::Setting, view::TableView};

/// A reference to a secret as the file has it, such as `{ env = "NAME" }`. Reading a file only checks how
/// it is written; [`secret`](Reference::secret) and [`setting`](Reference::setting) follow it.
#[derive(Clone)]
pub struct Reference {
    pub(crate) kind: ReferenceKind,
    pub(crate) target: String,
    /// The bytes of the reference in the file, and those of its target.
    pub(crate) span: Range<usize>,
    pub(crate) target_span: Range<usize>,
}

/// A message and a hint. Neither shows a name that may be the secret itself.
type NotFound = (String, String);

/// Checks how the target of a reference is written.
pub(crate) fn check_target(kind: ReferenceKind, target: &str) -> Result<(), NotFound> {
    match kind {
        ReferenceKind::Env if !is_variable_name(target) => Err((
            "this is not the name of an environment variable".into(),
            "such as { env = \"FREISPACE_SECRET\" }: the name, not the secret".into(),
        )),
        ReferenceKind::Credential if target.contains('/') || target.starts_with('.') => {
            Err(("this is not the name of a credential".into(), CREDENTIAL_HINT.into()))
        }
        ReferenceKind::Env | ReferenceKind::File | ReferenceKind::Credential => Ok(()),
    }
}

impl Reference {
    /// Its name, which logs and records show in place of the secret: `env:FREISPACE_SECRET`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.kind.name(), self.target)
    }

    /// Follows it to a secret that is long enough to sign with. What is wrong is reported in `table`,
    /// which has the reference.
    pub fn secret(&self, table: &TableView<'_>) -> Option<Secret> {
        let bytes = self.follow(table)?;
        self.accept(table, Secret::new(self.name(), bytes))
    }

    /// As [`secret`](Self::secret), but to a secret of any length.
    pub fn setting(&self, table: &TableView<'_>) -> Option<Setting> {
        let bytes = self.follow(table)?;
        let secret = self.accept(table, Secret::of_any_length(self.name(), bytes))?;
        Some(Setting(secret.expose().to_vec()))
    }

    /// As [`secret`](Self::secret), for whoever can do without it: reports nothing.
    pub fn find(&self) -> Option<Secret> {
        Secret::new(self.name(), self.look_up().ok()?).ok()
    }

    /// The same file with [`NEXT_SECRET`] after its path, if this is one and there is one.
    pub fn next(&self) -> Option<Self> {
        let target = format!("{}{NEXT_SECRET}", self.target);
        // One that cannot be read is an error: events that it signs would be refused.
        let is_there = || Path::new(&target).try_exists().unwrap_or(true);
        (self.kind == ReferenceKind::File && is_there()).then(|| Self { target, ..self.clone() })
    }

    /// Reports an error about what it leads to.
    pub fn error(&self, table: &TableView<'_>, message: String, hint: &str) {
        table.error(&self.span, message, hint);
    }

    fn follow(&self, table: &TableView<'_>) -> Option<Vec<u8>> {
        let found = self.look_up();
        found.map_err(|(what, hint)| table.error(&self.target_span, what, &hint)).ok()
    }

    fn accept(
        &self,
        table: &TableView<'_>,
        secret: Result<Secret, wilco::SecretError>,
    ) -> Option<Secret> {
        let hint = "store the whole secret there, as plain text, and nothing else";
        secret.map_err(|error| self.error(table, error.to_string(), hint)).ok()
    }

    fn look_up(&self) -> Result<Vec<u8>, NotFound> {
        let shown = shown_target(self.kind.name(), &self.target);
        match self.kind {
            ReferenceKind::Env => from_env(&self.target, shown.is_some()),
            ReferenceKind::File => from_file(Path::new(&self.target), shown.is_some()),
            ReferenceKind::Credential => from_credential(&self.target),
        }
    }
}

/// A name that shells can set (POSIX.1-2024, XBD 3.216).
pub fn is_variable_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(is_part)
}

fn from_env(name: &str, is_shown: bool) -> Result<Vec<u8>, NotFound> {
    let found = std::env::var_os(name).map(std::ffi::OsString::into_encoded_bytes);
    found.ok_or_else(|| match is_shown {
        true => {
            (format!("environment variable {name} is not set"), format!("set it: export {name}=…"))
        }
        false => (
            "the environment has no variable of this name".into(),
            "the name of a variable belongs here, such as FREISPACE_SECRET, and not the secret"
                .into(),
        ),
    })
}

fn from_file(path: &Path, is_shown: bool) -> Result<Vec<u8>, NotFound> {
    fs::read(path).map_err(|cause| {
        let hint = "write the secret there, readable for wilco's user";
        match is_shown {
            true => (format!("cannot read {}: {cause}", path.display()), hint.into()),
            false => (format!("cannot read the file that this names: {cause}"), hint.into()),
        }
    })
}

fn from_credential(name: &str) -> Result<Vec<u8>, NotFound> {
    let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
        return Err(("systemd passed no credentials".into(), CREDENTIAL_HINT.into()));
    };
    fs::read(Path::new(&folder).join(name))
        .map_err(|cause| (format!("cannot read this credential: {cause}"), CREDENTIAL_HINT.into()))
}

/// What is appended to the path of a secret's file for that of the next secret, while it is changed.
pub const NEXT_SECRET: &str = ".new";
const CREDENTIAL_HINT: &str = "add LoadCredential=NAME:/path to the unit, or use env or file";
