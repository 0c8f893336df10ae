//! Damage in the write-ahead log, told from the torn end that a power cut leaves.
//!
//! SQLite ends a log at its first frame whose checksum is wrong, and takes the rest for an unfinished
//! write. That is right for the last transaction only: each one is synced before the next begins. So
//! where more than one commit stands behind the broken frame, acknowledged events are at stake.
//!
//! The checksum of a frame is computed over its content and the checksum before it (the format:
//! <https://sqlite.org/fileformat2.html#walformat>). So the frames behind a break can be verified from
//! the checksums that are stored, and damage within four bytes can be undone where only one change of
//! four bytes gives the stored checksum. A broken frame does not matter either where a later one
//! holds the same page. What is sound is written again as a log that SQLite reads to its end.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufReader, Read, Write as _},
    path::{Path, PathBuf},
};

use super::{beside, private_file, sync_folder};

/// What was done about a damaged log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// A copy of the log as it was found.
    pub(super) kept: PathBuf,
    /// Frames whose checksum was wrong.
    pub(super) broken_frames: usize,
    /// Commits behind the first of them that were saved.
    pub(super) saved_commits: usize,
    /// Commits that could not be, at the least: one whose own mark is damaged is not counted.
    pub(super) lost_commits: usize,
}

/// Whether commits stand behind a break in the log. Reads a frame at a time.
pub(crate) fn is_damaged(store: &Path) -> io::Result<bool> {
    let log = match File::open(beside(store, "-wal")) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let found = scan(&mut BufReader::new(log))?;
    Ok(found.is_some_and(|found| found.damage().is_some()))
}

/// Saves what can be saved of a damaged log.
///
/// The caller makes sure that no other process has it open.
pub(crate) fn mend(store: &Path) -> io::Result<Option<Damage>> {
    let path = beside(store, "-wal");
    let bytes = fs::read(&path)?;
    let Some(mended) = examine(&bytes)? else { return Ok(None) };
    // The name comes from the content: a start that is cut off here keeps no second copy.
    let kept = beside(store, &format!("-wal.damaged-{:08x}", crc32fast::hash(&bytes)));
    write_synced(&kept, &bytes)?;
    sync_folder(store)?;
    if mended.saved_commits > 0 {
        // A crash here leaves a log that ends early; the copy has all of it.
        write_synced(&path, &mended.log)?;
    }
    Ok(Some(Damage {
        kept,
        broken_frames: mended.broken_frames,
        saved_commits: mended.saved_commits,
        lost_commits: mended.lost_commits,
    }))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file: File = private_file(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

struct Mended {
    log: Vec<u8>,
    broken_frames: usize,
    saved_commits: usize,
    lost_commits: usize,
}

/// A frame of the log's newest generation.
#[derive(Clone, Copy)]
struct Frame {
    page: u32,
    is_commit: bool,
    /// The frame header has the salts of the log, so that its page number can be trusted.
    has_salts: bool,
    is_intact: bool,
    /// SQLite takes this for the end of the log.
    is_end: bool,
}

type Checksum = [u32; 2];

/// What is in a log.
struct Found {
    order: Order,
    frame_bytes: usize,
    frames: Vec<Frame>,
}

impl Found {
    /// The first broken frame and the commits behind it, where that is not a torn end.
    fn damage(&self) -> Option<(usize, usize)> {
        let broken = self.frames.iter().position(|frame| frame.is_end)?;
        let commits = commits(&self.frames[broken..]);
        (commits >= 2).then_some((broken, commits))
    }
}

fn commits(frames: &[Frame]) -> usize {
    frames.iter().filter(|frame| frame.is_commit && frame.has_salts).count()
}

/// `None` where the log is whole, or ends as a power cut leaves it.
fn examine(log: &[u8]) -> io::Result<Option<Mended>> {
    let Some(found) = scan(&mut &log[..])? else { return Ok(None) };
    let Some((broken, commits_behind)) = found.damage() else { return Ok(None) };
    let Found { order, frame_bytes, mut frames } = found;
    let broken_frames = frames.iter().filter(|frame| frame.is_end).count();
    let mut log = log.to_vec();
    for (index, frame) in frames.iter_mut().enumerate().skip(broken) {
        if frame.is_intact {
            continue;
        }
        let header = HEADER_BYTES + index * frame_bytes;
        match &solutions(&log, order, frame_bytes, index)[..] {
            [(place, word)] => {
                log[header + place..header + place + 4].copy_from_slice(word);
                *frame = Frame {
                    page: big_endian(&log, header),
                    is_commit: big_endian(&log, header + 4) != 0,
                    has_salts: true,
                    is_intact: true,
                    is_end: false,
                };
            }
            // It may be the page number that is damaged.
            many if many.iter().any(|(place, _)| *place < 8) => frame.has_salts = false,
            _ => {}
        }
    }
    let end = sound_end(&frames, broken);
    let saved_commits = commits(&frames[broken..end.max(broken)]);
    Ok(Some(Mended {
        log: rewrite(&log, order, frame_bytes, &frames[..end]),
        broken_frames,
        saved_commits,
        lost_commits: commits_behind.saturating_sub(saved_commits),
    }))
}

/// How the words of a page are read for the checksum.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn of(log: &[u8]) -> Option<Self> {
        match big_endian(log, 0) {
            0x377f_0682 => Some(Self::Little),
            0x377f_0683 => Some(Self::Big),
            _ => None,
        }
    }

    fn read(self, word: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(word),
            Self::Big => u32::from_be_bytes(word),
        }
    }

    fn write(self, word: u32) -> [u8; 4] {
        match self {
            Self::Little => word.to_le_bytes(),
            Self::Big => word.to_be_bytes(),
        }
    }
}

/// Verifies each frame from the checksum before it, as that is stored or as it was computed: a stored
/// one may be all that is damaged. `None` where there is no log that could be read.
fn scan(log: &mut impl Read) -> io::Result<Option<Found>> {
    let mut header = [0; HEADER_BYTES];
    if !fill(log, &mut header)? {
        return Ok(None);
    }
    let Some(order) = Order::of(&header) else { return Ok(None) };
    let page_bytes = big_endian(&header, 8) as usize;
    if !page_bytes.is_power_of_two() || !(512..=65_536).contains(&page_bytes) {
        return Ok(None);
    }
    let frame_bytes = FRAME_HEADER_BYTES + page_bytes;
    let salts = &header[16..24];
    let mut frames: Vec<Frame> = Vec::new();
    let mut seeds = [stored(&header, 24); 2];
    let mut is_current = true;
    let mut frame = vec![0; frame_bytes];
    while fill(log, &mut frame)? {
        let frame = &frame[..];
        let stored = stored(frame, 16);
        let computed = seeds.map(|seed| checksum(order, seed, frame));
        let has_salts = &frame[8..16] == salts;
        let is_intact = is_current && computed.contains(&stored);
        if is_intact && computed[0] != stored {
            // It follows from what was computed for the frame before: only its checksum is damaged.
            if let Some(before) = frames.last_mut() {
                before.is_intact = true;
            }
        }
        let is_end = !has_salts || computed[0] != stored;
        is_current = has_salts || is_intact;
        let computed = if is_intact { stored } else { computed[0] };
        seeds = [stored, computed];
        frames.push(Frame {
            page: big_endian(frame, 0),
            is_commit: big_endian(frame, 4) != 0,
            has_salts: is_current,
            is_intact,
            is_end,
        });
    }
    // Behind the last frame with the salts stands what an earlier generation left.
    let end = frames.iter().rposition(|frame| frame.has_salts).map_or(0, |last| last + 1);
    frames.truncate(end);
    Ok(Some(Found { order, frame_bytes, frames }))
}

/// Reads as many bytes as there is room for; false where there are fewer.
fn fill(log: &mut impl Read, part: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(part) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The words of a frame of which a change gives the checksum that is stored: where, and what they were.
///
/// A change of `d` in a word changes the two sums by `d` times two Fibonacci numbers, which depend on
/// how far the word is from the end. So there are two equations for one unknown, and most often one
/// word that solves them; of changes in the highest bits only there are several.
fn solutions(log: &[u8], order: Order, frame_bytes: usize, index: usize) -> Vec<(usize, [u8; 4])> {
    let at = HEADER_BYTES + index * frame_bytes;
    let seed = stored(log, if index == 0 { 24 } else { at - frame_bytes + 16 });
    let frame = &log[at..at + frame_bytes];
    let (computed, expected) = (checksum(order, seed, frame), stored(frame, 16));
    let wanted = [0, 1].map(|sum: usize| expected[sum].wrapping_sub(computed[sum]));
    let mut found = Vec::new();
    // What a change of one in a word adds to the two sums, from the last word to the first.
    let (mut first, mut second) = (0_u32, 1_u32);
    let places = (0..8).chain(FRAME_HEADER_BYTES..frame_bytes).step_by(4);
    for place in places.collect::<Vec<_>>().into_iter().rev() {
        let change = match first % 2 {
            1 => wanted[0].wrapping_mul(inverse(first)),
            // Of two Fibonacci numbers in a row one is odd.
            _ => wanted[1].wrapping_mul(inverse(second)),
        };
        if [first, second].map(|factor| factor.wrapping_mul(change)) == wanted {
            let word = [frame[place], frame[place + 1], frame[place + 2], frame[place + 3]];
            found.push((place, order.write(order.read(word).wrapping_add(change))));
        }
        (first, second) = (second, first.wrapping_add(second));
    }
    found
}

/// Of an odd number, modulo 2^32: each step of Newton's method doubles the bits that are right.
fn inverse(odd: u32) -> u32 {
    (0..5).fold(odd, |x, _| x.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(x))))
}

/// The frames up to the last commit before which every broken frame is replaced by a later one.
fn sound_end(frames: &[Frame], broken: usize) -> usize {
    let last_commit = |end: usize| {
        let is_end = |frame: &Frame| frame.is_commit && frame.is_intact;
        frames[..end].iter().rposition(is_end).map_or(0, |last| last + 1)
    };
    let mut end = last_commit(frames.len());
    loop {
        let last: HashMap<u32, usize> = (0..end)
            .filter(|&index| frames[index].is_intact)
            .map(|index| (frames[index].page, index))
            .collect();
        let is_needed = |&index: &usize| {
            let frame = frames[index];
            let is_replaced =
                frame.has_salts && last.get(&frame.page).is_some_and(|&last| last > index);
            !frame.is_intact && !is_replaced
        };
        match (broken.min(end)..end).find(is_needed) {
            None => return end,
            Some(needed) => end = last_commit(needed),
        }
    }
}

/// The log again, without its broken frames and with checksums that follow from one another.
fn rewrite(log: &[u8], order: Order, frame_bytes: usize, frames: &[Frame]) -> Vec<u8> {
    let mut written = log[..HEADER_BYTES].to_vec();
    let mut seed = stored(log, 24);
    let parts = log[HEADER_BYTES..].chunks_exact(frame_bytes).zip(frames);
    for (part, _) in parts.filter(|(_, frame)| frame.is_intact) {
        let at = written.len();
        written.extend_from_slice(part);
        written[at + 8..at + 16].copy_from_slice(&log[16..24]);
        seed = checksum(order, seed, part);
        written[at + 16..at + 20].copy_from_slice(&seed[0].to_be_bytes());
        written[at + 20..at + 24].copy_from_slice(&seed[1].to_be_bytes());
    }
    written
}

/// Of the first eight bytes of a frame's header and of its page.
fn checksum(order: Order, seed: Checksum, frame: &[u8]) -> Checksum {
    let (header, page) = (&frame[..8], &frame[FRAME_HEADER_BYTES..]);
    header.chunks_exact(8).chain(page.chunks_exact(8)).fold(seed, |[mut a, mut b], pair| {
        let words = [[pair[0], pair[1], pair[2], pair[3]], [pair[4], pair[5], pair[6], pair[7]]];
        a = a.wrapping_add(order.read(words[0])).wrapping_add(b);
        b = b.wrapping_add(order.read(words[1])).wrapping_add(a);
        [a, b]
    })
}

fn stored(bytes: &[u8], at: usize) -> Checksum {
    [big_endian(bytes, at), big_endian(bytes, at + 4)]
}

/// The number at a place that the caller knows to be within.
fn big_endian(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    const PAGE: usize = 4_096;
    const FRAME: usize = PAGE + FRAME_HEADER_BYTES;

    /// A log of 40 commits, as a process leaves it that is killed.
    fn log() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let live = folder.path().join("live.db");
        let writing = Connection::open(&live).unwrap();
        writing
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; \
                 CREATE TABLE t (n INTEGER PRIMARY KEY, x BLOB); PRAGMA wal_checkpoint(TRUNCATE)",
            )
            .unwrap();
        for n in 0..40 {
            writing.execute("INSERT INTO t VALUES (?1, randomblob(1000))", [n]).unwrap();
        }
        let path = folder.path().join("left.db");
        for ending in ["", "-wal"] {
            fs::copy(beside(&live, ending), beside(&path, ending)).unwrap();
        }
        (folder, path)
    }

    fn rows(path: &Path) -> i64 {
        let connection = Connection::open(path).unwrap();
        let check: String =
            connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_log_that_is_whole_or_torn_at_its_end_is_left_as_it_is() {
        let (_folder, path) = log();
        let wal = beside(&path, "-wal");
        let whole = fs::read(&wal).unwrap();
        let mut last_flipped = whole.clone();
        let last = last_flipped.len() - 100;
        last_flipped[last] ^= 1;
        let zeros_behind = [&whole[..], &[0; 3 * FRAME]].concat();
        for bytes in [
            whole.clone(),
            whole[..whole.len() - 1].to_vec(),
            whole[..whole.len() - 5_000].to_vec(),
            whole[..40].to_vec(),
            Vec::new(),
            last_flipped,
            zeros_behind,
        ] {
            fs::write(&wal, &bytes).unwrap();
            assert!(!is_damaged(&path).unwrap(), "{} bytes", bytes.len());
            assert_eq!(mend(&path).unwrap(), None, "{} bytes", bytes.len());
            assert_eq!(fs::read(&wal).unwrap(), bytes);
        }
    }

    #[test]
    fn a_damaged_bit_is_mended_or_its_loss_is_told() {
        let (_folder, path) = log();
        let whole = fs::read(beside(&path, "-wal")).unwrap();
        let database = fs::read(&path).unwrap();
        let mut mended_whole = 0;
        for place in [0, 3, 4, 9, 16, 21, 24, 25, 100, 2_001, 3_002, FRAME - 1] {
            for frame in [0, 1, 7, 20, 50] {
                for bit in 0..8 {
                    let mut bytes = whole.clone();
                    bytes[HEADER_BYTES + frame * FRAME + place] ^= 1 << bit;
                    let what = format!("bit {bit} of byte {place} of frame {frame}");
                    let mended = examine(&bytes).unwrap().expect(&what);
                    fs::write(&path, &database).unwrap();
                    fs::write(beside(&path, "-wal"), &mended.log).unwrap();
                    let rows = usize::try_from(rows(&path)).unwrap();
                    assert_eq!(rows + mended.lost_commits, 40, "{what}");
                    mended_whole += usize::from(mended.log == whole);
                    assert!(mended.log != bytes, "{what}");
                }
            }
        }
        assert!(mended_whole > 200, "{mended_whole} of 480");
    }

    #[test]
    fn of_a_larger_damage_all_is_saved_that_can_be_and_the_log_is_kept() {
        for (from, bytes_gone) in [(30, 512), (20, PAGE), (25, FRAME), (10, 3 * FRAME)] {
            let (_folder, path) = log();
            let wal = beside(&path, "-wal");
            let mut bytes = fs::read(&wal).unwrap();
            let at = HEADER_BYTES + from * FRAME + 1_000;
            bytes[at..at + bytes_gone].fill(0xa5);
            fs::write(&wal, &bytes).unwrap();
            assert!(is_damaged(&path).unwrap());
            let damage = mend(&path).unwrap().unwrap();
            assert_eq!(fs::read(&damage.kept).unwrap(), bytes);
            let lost = i64::try_from(damage.lost_commits).unwrap();
            // The marks of up to three commits are damaged too.
            assert!((40 - lost - 3..=40 - lost).contains(&rows(&path)), "{damage:?}");
        }
    }
}
