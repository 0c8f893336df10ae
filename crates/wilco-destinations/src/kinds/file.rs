//! Appends a line of JSON for each event to a file, which is rotated when it is full.
//!
//! An event is delivered when its line is on the disk. Waiting events are written together and synced once.
//! The file is opened again each time, to notice if it was renamed or removed.

use std::{
    fmt, fs,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rustix::{
    fs::{Access, access},
    io::Errno,
};
use wilco::Event;
use wilco_config::{Key, TableReader, Unresolved, ValueType, folder_of, size};
use wilco_delivery::{Destination, Reply};
use wilco_store::Claim;

use crate::{
    json_line::JsonLine,
    kind::{Kind, OpenError, Settings, SharedSettings},
    preview::PreviewPart,
};

pub(crate) static KIND: Kind = Kind {
    name: "file",
    keys: &[
        Key::new("path", ValueType::Path, "\"/var/log/wilco/events.jsonl\"")
            .required()
            .doc("from the working folder; its folder must exist"),
        Key::new("max_size", ValueType::Size, "\"100 MiB\"")
            .default("\"100 MiB\"")
            .doc("a new file is begun when the next line would make this one larger"),
        Key::new("keep", ValueType::Integer(1, FILES_KEPT_MAX), "10")
            .default("10")
            .doc("full files that are kept, 1 to 1,000"),
    ],
    written_path: Some("path"),
    concurrency: BATCH_MAX,
    read: |keys| FileSettings::read(keys).map(SharedSettings::new),
};

#[derive(Clone, Debug, PartialEq, Eq)]
struct FileSettings {
    path: PathBuf,
    /// The file is rotated before a line that would make it larger, in bytes.
    max_size: u64,
    /// How many rotated files are kept.
    keep: usize,
}

impl FileSettings {
    fn read(keys: &mut TableReader<'_>) -> Unresolved<Self> {
        let path = keys.parse("path", |text| Ok(PathBuf::from(text)));
        let max_size = keys.parse("max_size", |text| match size(text)? {
            0 => Err("max_size must be greater than 0".into()),
            bytes => Ok(bytes),
        });
        let keep = keys.integer("keep").unwrap_or(FILES_KEPT);
        Unresolved::new(move |table| {
            let path = path?;
            let hint = "make the folder, and let the user that runs wilco write there";
            check_writable(&path).map_err(|what| table.error_about("path", what, hint)).ok()?;
            Some(Self { path, max_size: max_size.unwrap_or(FILE_BYTES), keep })
        })
    }
}

#[async_trait]
impl Settings for FileSettings {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    async fn open(&self, _: &str, _: Duration) -> Result<Arc<dyn Destination>, OpenError> {
        let Self { path, max_size, keep } = self.clone();
        Ok(Arc::new(File(Arc::new(Lines { path, max_size, keep, turn: Mutex::default() }))))
    }

    fn preview(&self, _: &Event) -> Result<Vec<PreviewPart>, String> {
        Ok(vec![PreviewPart::text("path", self.path.display().to_string())])
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }

    fn written_path(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

struct File(Arc<Lines>);

struct Lines {
    path: PathBuf,
    max_size: u64,
    keep: usize,
    /// Held while a line is written.
    turn: Mutex<()>,
}

#[async_trait]
impl Destination for File {
    async fn deliver(&self, claim: &Claim) -> Reply {
        let mut replies = self.deliver_many(std::slice::from_ref(claim)).await;
        replies.remove(0)
    }

    async fn deliver_many(&self, claims: &[Claim]) -> Vec<Reply> {
        let file = Arc::clone(&self.0);
        let lines: Vec<_> = claims.iter().map(|claim| JsonLine::of(claim.event())).collect();
        // No timeout: while the disk hangs, it is unknown whether the lines will be written, and another
        // attempt would hang as well.
        let appended = tokio::task::spawn_blocking(move || file.append(&lines)).await;
        let (on_disk, error) = match appended {
            Ok((on_disk, error)) => (on_disk, error.map(|error| error.to_string())),
            Err(error) => (0, Some(error.to_string())),
        };
        let reply = |index| match &error {
            Some(error) if index >= on_disk => Reply::failed(error.clone()),
            _ => Reply::delivered(),
        };
        (0..claims.len()).map(reply).collect()
    }

    async fn check(&self) -> Result<String, String> {
        let (path, folder) = (&self.0.path, folder_of(&self.0.path));
        if let Err(error) = access(folder, Access::WRITE_OK) {
            return Err(format!("cannot write to the folder {}: {error}", folder.display()));
        }
        match access(path, Access::WRITE_OK) {
            Ok(()) | Err(Errno::NOENT) => Ok(format!("can write to {}", path.display())),
            Err(error) => Err(format!("cannot write to {}: {error}", path.display())),
        }
    }
}

impl Lines {
    /// Appends lines to the file. Returns how many of them, counted from the first, are on the disk then, and
    /// why the others are not.
    fn append(&self, lines: &[JsonLine]) -> (usize, Option<FileError>) {
        let mut on_disk = 0;
        let lengths: Result<Vec<u64>, _> = lines.iter().map(JsonLine::len).collect();
        let lines: Vec<_> = match lengths {
            Ok(lengths) => lines.iter().zip(lengths).collect(),
            Err(cause) => return (on_disk, Some(self.cannot("read an event for")(cause))),
        };
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        while on_disk < lines.len() {
            match self.append_some(&lines[on_disk..]) {
                Ok(count) => on_disk += count,
                Err(error) => return (on_disk, Some(error)),
            }
        }
        (on_disk, None)
    }

    /// Appends as many lines as fit into the file, at least one, and returns their number when they are on the
    /// disk.
    fn append_some(&self, lines: &[(&JsonLine, u64)]) -> Result<usize, FileError> {
        let (mut file, mut found) = self.open()?;
        let is_full = |length: u64, line_bytes: u64| {
            // A line that is longer than `max_size` gets a separate file.
            length > 0 && length.saturating_add(line_bytes) > self.max_size
        };
        if lines.first().is_some_and(|(_, bytes)| is_full(found.len(), *bytes)) {
            self.rotate()?;
            drop(file); // and its lock with it
            (file, found) = self.open()?;
        }
        let before = found.len();
        if before == 0 {
            // Until its name is synced, a power cut may lose a new file. Nothing is written before this,
            // so a file with lines in it has its name on the disk.
            let folder = fs::File::open(folder_of(&self.path));
            let synced = folder.and_then(|folder| folder.sync_all());
            synced.map_err(self.cannot("sync the folder of"))?;
        }
        let is_torn = self.is_torn(&mut file, before).map_err(self.cannot("read"))?;
        let line_break: &[u8] = if is_torn { b"\n" } else { b"" };
        let mut written = file.write_all(line_break);
        let (mut count, mut end) = (0, before.saturating_add(line_break.len() as u64));
        for (line, bytes) in lines {
            if written.is_err() || (count > 0 && is_full(end, *bytes)) {
                break;
            }
            written = line.write_to(&mut file);
            if written.is_ok() {
                count += 1;
                end += bytes;
            }
        }
        if count > 0 && written.is_err() {
            // The lines before it can stay. This one is tried once more, to find out why it fails.
            written = file.set_len(end);
        }
        if let Err(cause) = written.and_then(|()| file.sync_data()) {
            // Remove the half line; if even this fails, the next line begins with a line break.
            let _ = file.set_len(before);
            return Err(self.cannot("write to")(cause));
        }
        Ok(count)
    }

    /// Opens the file that currently has the name, and locks it against other writers: a worker that a
    /// reload has replaced, or another wilco.
    fn open(&self) -> Result<(fs::File, fs::Metadata), FileError> {
        for _ in 0..OPENED_MAX {
            let mut options = fs::OpenOptions::new();
            let options = options.read(true).append(true).create(true).mode(MODE);
            let file = options.open(&self.path).map_err(self.cannot("open"))?;
            if !file.metadata().map_err(self.cannot("look at"))?.is_file() {
                return Err(self.cannot("write to")(io::Error::other("it is not a regular file")));
            }
            // Some network file systems have no locks; the lock in memory has to suffice there.
            let _ = file.lock();
            let found = file.metadata().map_err(self.cannot("look at"))?;
            let is_there = fs::metadata(&self.path)
                .is_ok_and(|there| (there.dev(), there.ino()) == (found.dev(), found.ino()));
            if is_there {
                return Ok((file, found));
            }
        }
        Err(self.cannot("open")(io::Error::other("it was renamed each time it was opened")))
    }

    /// Whether the last line is incomplete because of a crash.
    fn is_torn(&self, file: &mut fs::File, length: u64) -> io::Result<bool> {
        let Some(last) = length.checked_sub(1) else { return Ok(false) };
        let mut byte = [0];
        file.seek(SeekFrom::Start(last))?;
        file.read_exact(&mut byte)?;
        Ok(byte != *b"\n")
    }

    /// Renames the file to `….1`, `….1` to `….2`, and so on, and removes files beyond the last that is
    /// kept. A crash in the middle leaves a gap; the next rotation renames only the files before it.
    fn rotate(&self) -> Result<(), FileError> {
        let is_free = |age: &usize| fs::symlink_metadata(self.old(*age)).is_err();
        let end = (1..self.keep).find(is_free).unwrap_or(self.keep);
        for age in (1..end).rev() {
            let cannot = self.cannot("rotate");
            fs::rename(self.old(age), self.old(age + 1)).map_err(cannot)?;
        }
        fs::rename(&self.path, self.old(1)).map_err(self.cannot("rotate"))?;
        // There are more if `keep` was greater before.
        let mut age = self.keep + 1;
        while fs::remove_file(self.old(age)).is_ok() {
            age += 1;
        }
        Ok(())
    }

    fn old(&self, age: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{age}"));
        name.into()
    }

    fn cannot(&self, what: &'static str) -> impl Fn(io::Error) -> FileError {
        move |cause| FileError { what, path: self.path.clone(), cause }
    }
}

/// Checks a path: the file may not exist yet, but its folder has to.
fn check_writable(path: &Path) -> Result<(), String> {
    let folder = folder_of(path);
    match fs::metadata(folder) {
        Err(cause) => return Err(format!("cannot find the folder {}: {cause}", folder.display())),
        Ok(found) if !found.is_dir() => {
            return Err(format!("{} is not a folder", folder.display()));
        }
        Ok(_) => {}
    }
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(format!("{} is not a regular file", path.display())),
        _ if path.file_name().is_none() => Err(format!("{path:?} does not name a file")),
        _ => Ok(()),
    }
}

/// Why a line could not be written to the file.
#[derive(Debug)]
struct FileError {
    what: &'static str,
    path: PathBuf,
    cause: io::Error,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.what, self.path.display(), self.cause)
    }
}

/// Only for the user that runs wilco, because events may contain personal data.
const MODE: u32 = 0o600;
/// The size of a file, in bytes, unless `max_size` says otherwise.
const FILE_BYTES: u64 = 100 << 20;
/// How many full files are kept, unless `keep` says otherwise.
const FILES_KEPT: usize = 10;
/// The most full files that may be kept, because a rotation looks for each of them.
const FILES_KEPT_MAX: u64 = 1_000;
/// How many lines are synced together.
const BATCH_MAX: usize = 64;
/// Retries if the file is renamed between open and lock.
const OPENED_MAX: usize = 100;
