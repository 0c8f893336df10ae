//! Where a large body is until it is verified and recorded: a file without a name.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use wilco::{Body, STORED_CHUNK_BYTES, StoredBytes};

use crate::StoreError;

/// A body that is written to the disk while it arrives. The file has no name, so that nothing is left of
/// it, however the process ends. Nobody else can open it.
pub struct Spool {
    file: File,
    bytes: usize,
    has_room: HasRoom,
}

/// Fails if there is too little free space for bodies that nobody has verified.
pub(crate) type HasRoom = Arc<dyn Fn() -> Result<(), StoreError> + Send + Sync>;

impl Spool {
    /// Makes a file in this folder.
    pub(crate) fn new(folder: &Path, has_room: HasRoom) -> Result<Self, StoreError> {
        has_room()?;
        let file = unnamed(folder).map_err(|error| not_written(&error))?;
        Ok(Self { file, bytes: 0, has_room })
    }

    /// Appends a chunk. Blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`], or what the disk says.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        let before = self.bytes / ROOM_CHECK_BYTES;
        self.file.write_all_at(chunk, self.bytes as u64).map_err(|error| not_written(&error))?;
        self.bytes += chunk.len();
        if self.bytes / ROOM_CHECK_BYTES > before {
            (self.has_room)()?;
        }
        Ok(())
    }

    /// What was written. The file is there as long as the body is.
    pub fn into_body(self) -> Body {
        Body::stored(Arc::new(Spooled { file: self.file, bytes: self.bytes }))
    }
}

struct Spooled {
    file: File,
    bytes: usize,
}

impl StoredBytes for Spooled {
    fn len(&self) -> usize {
        self.bytes
    }

    fn read_at(&self, start: usize) -> io::Result<Bytes> {
        let mut chunk = vec![0; self.bytes.saturating_sub(start).min(STORED_CHUNK_BYTES)];
        self.file.read_exact_at(&mut chunk, start as u64)?;
        Ok(chunk.into())
    }
}

fn not_written(error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StoreError::Full { reserve: None }
        }
        _ => StoreError::Internal(format!("cannot write a large body to the disk: {error}")),
    }
}

/// A file that never had a name or, where the file system has none of these, has it no longer.
fn unnamed(folder: &Path) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Mode, OFlags, open};
        let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        if let Ok(file) = open(folder, flags, Mode::RUSR | Mode::WUSR) {
            return Ok(File::from(file));
        }
    }
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = folder.join(NAME);
    // Left by a process that was killed before it could remove it.
    let _ = fs::remove_file(&path);
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// The name of a file for a moment, where the file system has no unnamed ones.
const NAME: &str = ".wilco-body";
/// Bytes of a body after which free space is looked at again.
const ROOM_CHECK_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spooled_body_is_read_back_and_leaves_no_name() {
        let folder = tempfile::tempdir().unwrap();
        for bytes in [0, 1, STORED_CHUNK_BYTES, 3 * STORED_CHUNK_BYTES + 7] {
            let sent: Vec<u8> = (0..=250).cycle().take(bytes).collect();
            let mut spool = Spool::new(folder.path(), Arc::new(|| Ok(()))).unwrap();
            sent.chunks(70_000).for_each(|chunk| spool.write(chunk).unwrap());
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
            let body = spool.into_body();
            assert!(body.is_stored() && body == sent.into(), "{bytes}");
        }
    }

    #[test]
    fn a_body_is_not_written_further_when_free_space_runs_short() {
        let folder = tempfile::tempdir().unwrap();
        let full = || Err(StoreError::Full { reserve: None });
        assert!(Spool::new(folder.path(), Arc::new(full)).is_err());
        let left = std::sync::atomic::AtomicUsize::new(2);
        let has_room = move || match left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) {
            0 => full(),
            _ => Ok(()),
        };
        let mut spool = Spool::new(folder.path(), Arc::new(has_room)).unwrap();
        let chunk = vec![b'x'; 1 << 20];
        let written = (0..20).take_while(|_| spool.write(&chunk).is_ok()).count();
        assert_eq!(written, 7, "the first look at the 4th MiB has room, the second at the 8th not");
    }
}
