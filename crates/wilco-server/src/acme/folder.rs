//! The folder next to the store in which the account and the certificate are kept, readable only by the
//! user of wilco.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use wilco_config::folder_of;

/// The folder, which is made when the first file is written.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The folder of a store.
    pub(crate) fn of(store: &Path) -> Self {
        Self(folder_of(store).join("acme"))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The text of a file; `None` if there is none.
    pub(super) fn read(&self, name: &str) -> io::Result<Option<String>> {
        match fs::read_to_string(self.path(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a file. After a crash there is the old text or the new one, completely.
    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<()> {
        if !self.0.is_dir() {
            DirBuilder::new().mode(0o700).create(&self.0)?;
            File::open(folder_of(&self.0))?.sync_all()?;
        }
        let unfinished = self.path(&format!("{name}.unfinished"));
        // A process that was ended may have left this file, with an unknown mode.
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, self.path(name))?;
        File::open(&self.0)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_completely_and_only_its_owner_can_read_it() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::of(&root.path().join("wilco.db"));
        assert_eq!(folder.read("account.json").unwrap(), None);
        folder.write("account.json", "the first text, which is longer").unwrap();
        fs::write(folder.path("account.json.unfinished"), "left behind").unwrap();
        folder.write("account.json", "the second").unwrap();
        assert_eq!(folder.read("account.json").unwrap().as_deref(), Some("the second"));
        for (name, mode) in [("", 0o700), ("account.json", 0o600)] {
            let found = fs::metadata(folder.path(name)).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode, "{name}");
        }
        let left = fs::read_dir(root.path().join("acme")).unwrap().count();
        assert_eq!(left, 1, "nothing unfinished is left");
    }
}
