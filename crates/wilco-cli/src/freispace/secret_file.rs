//! Files that hold a secret or the state of a rotation: complete or not there, and on disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

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

    /// Gives the file the owner, the group and the mode of another, so that whoever reads that one can
    /// read this one.
    pub(crate) fn copy_owner_and_mode(&self, other: &Path) -> Result<(), Failure> {
        let copy = || {
            let (other, own) = (fs::metadata(other)?, self.file.metadata()?);
            if (other.uid(), other.gid()) != (own.uid(), own.gid()) {
                fchown(&self.file, Some(other.uid()), Some(other.gid()))?;
            }
            let mode = other.permissions().mode() & 0o660 | 0o600;
            self.file.set_permissions(fs::Permissions::from_mode(mode))
        };
        copy().map_err(|error| {
            let (path, other) = (self.path.display(), other.display());
            Failure::failed(format!(
                "cannot give {path} the owner and mode of {other}: {error}; run this as its owner or \
                 as root"
            ))
        })
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

/// A file with a value in JSON, which is replaced as a whole.
pub(crate) struct TextFile(pub(crate) PathBuf);

impl TextFile {
    /// The value; `None` if there is no such file.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<Option<T>, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::failed(format!("cannot read {}: {error}", self.0.display()))
        };
        match fs::read(&self.0) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| failed(&error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Replaces the value and returns once it is on disk.
    pub(crate) fn write(&self, value: &impl Serialize) -> Result<(), Failure> {
        let mut unfinished = self.0.clone().into_os_string();
        unfinished.push(".unfinished");
        let write = || {
            let text = serde_json::to_vec_pretty(value).map_err(io::Error::other)?;
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(&unfinished)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&unfinished, &self.0)?;
            sync_folder(&self.0)
        };
        write().map_err(|error: io::Error| {
            Failure::failed(format!("cannot write {}: {error}", self.0.display()))
        })
    }
}

/// Returns once the names in the folder of this file are on disk.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
