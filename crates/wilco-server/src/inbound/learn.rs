//! Keeps the secret that a handshake brings, in a file that is there completely or not at all.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::PoisonError,
};

use tokio::task::spawn_blocking;
use wilco::{Digest, Secret};

use super::{Inbound, Refusal};
use crate::config;

impl Inbound {
    /// Keeps the secret that a handshake brought, and accepts what is signed with it from now on.
    pub(super) async fn learn(
        &self,
        source: &config::Source,
        path: &Path,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        let refused = |why: String| Refusal::NotLearned(why);
        let secret = Secret::new(config::Source::learned_name(path), bytes.to_vec());
        let secret = secret.map_err(|why| refused(why.to_string()))?;
        let key = source.provider.scheme.key(&secret).map_err(|why| refused(why.to_string()))?;
        let Ok(_turn) = self.learning.try_lock() else { return Err(Refusal::Busy) };
        if let Some(known) = source.learned().filter(|_| path.exists()) {
            // A provider that did not get the answer repeats the request.
            return match Digest::of(known.expose()) == Digest::of(secret.expose()) {
                true => Ok(()),
                false => Err(Refusal::OtherSecret(path.to_owned())),
            };
        }
        let written = keep(path.to_owned(), secret.clone()).await;
        written.map_err(|error| refused(format!("cannot write {}: {error}", path.display())))?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.endpoints.rcu(|endpoints| endpoints.with_secret(source, &secret, &key));
        self.set_secrets();
        tracing::warn!(source = source.name.as_str(), secret = secret.name(), "secret learned");
        Ok(())
    }
}

/// Writes the secret to a new file of mode 0600, and syncs it. An existing file is not touched.
async fn keep(path: PathBuf, secret: Secret) -> io::Result<()> {
    spawn_blocking(move || write(&path, &secret)).await.map_err(io::Error::other).flatten()
}

fn write(path: &Path, secret: &Secret) -> io::Result<()> {
    let mut unfinished = OsString::from(path);
    unfinished.push(".unfinished");
    // A process that was ended may have left this file, with part of another secret.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(secret.expose())?;
    file.sync_all()?;
    // Unlike a rename, a link fails if the file is there.
    fs::hard_link(&unfinished, path)?;
    fs::remove_file(&unfinished)?;
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_written_for_its_owner_only_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(folder.path().join("secret.unfinished"), "left behind").unwrap();
        let secret = |text: &str| Secret::new("t", text.into()).unwrap();
        write(&path, &secret("first-secret")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = write(&path, &secret("second-secret")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first-secret");
    }
}
