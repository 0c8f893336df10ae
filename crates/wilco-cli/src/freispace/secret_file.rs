//! A file that holds a secret: complete or not there, and on disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::Failure;

/// A new file for a secret that does not exist yet. It is removed unless the secret is written.
pub(crate) struct SecretFile {
    path: PathBuf,
    file: File,
    is_written: bool,
}

impl SecretFile {
    /// Creates the file before there is a secret, so that a wrong folder, a missing permission or an
    /// existing file is noticed while nothing is lost.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::failed(format!(
                "{} already exists and is not overwritten; name another file, or remove it if no \
                 endpoint uses its secret",
                path.display()
            )),
            _ => Failure::failed(format!("cannot create {}: {error}", path.display())),
        })?;
        Ok(Self { path: path.into(), file, is_written: false })
    }

    /// Writes the secret and returns once it is on disk.
    pub(crate) fn write(&mut self, secret: &str) -> io::Result<()> {
        self.file.write_all(format!("{secret}\n").as_bytes())?;
        self.file.sync_all()?;
        sync_folder(&self.path)?;
        self.is_written = true;
        Ok(())
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        if !self.is_written {
            // Left behind, it is reported by the next run.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Returns once the names in the folder of this file are on disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
