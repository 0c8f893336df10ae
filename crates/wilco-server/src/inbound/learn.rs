//! Keeps the secret that a handshake brings, in a file that is there completely or not at all.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use tokio::task::spawn_blocking;
use wilco::Secret;

/// Writes the secret to a new file of mode 0600, and syncs it. An existing file is not touched.
pub(super) async fn keep(path: PathBuf, secret: Secret) -> io::Result<()> {
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
