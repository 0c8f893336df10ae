//! Damage in the write-ahead log, distinguished from the torn end that a power cut leaves.
//!
//! SQLite ends a log at its first frame whose checksum is wrong, and takes the rest for an unfinished
//! write. That is right for the last transaction only: each one is synced before the next begins. So
//! where more than one commit follows the broken frame, acknowledged events are at stake.
//!
//! The last commit alone cannot be judged by the log: one that was torn before its sync and one that was
//! synced and then damaged can be the same bytes. What distinguishes them has to be stored elsewhere: in
//! the index of the log (`-shm`), which names a commit only after its sync: it is always there after
//! a crash of the process, and after a power cut as far as the kernel had written it. Where it does not
//! name the last commit, that is taken for torn: then nothing proves that it was acknowledged.
//!
//! The checksum of a frame is computed over its content and the checksum before it (the format:
//! <https://sqlite.org/fileformat2.html#walformat>). So the frames behind a break can be verified from
//! the checksums that are stored, and damage within four bytes can be undone where only one change of
//! four bytes gives the stored checksum. A broken frame does not matter either where a later one
//! holds the same page. What is sound is written again as a log that SQLite reads to its end.

mod frames;

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufReader, Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::{private_file, sibling_path, sync_folder};
use frames::{
    FRAME_HEADER_BYTES, Found, Frame, HEADER_BYTES, Header, Order, big_endian, checksum, commits,
    fill, is_page_size, scan, stored, synced_frames,
};

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

/// Whether something is in the log that SQLite would cut off, and that is not a torn end. Reads a frame
/// at a time.
pub(crate) fn is_damaged(store: &Path) -> io::Result<bool> {
    let path = sibling_path(store, "-wal");
    let mut log = match File::open(&path) {
        Ok(log) => BufReader::new(log),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut header = [0; HEADER_BYTES];
    if !fill(&mut log, &mut header)? {
        return Ok(false);
    }
    match Header::read(&header) {
        Some(header) => {
            let synced_frames = synced_frames(&index(store), &header);
            Ok(scan(header, &mut log)?.damage(synced_frames).is_some())
        }
        None => Ok(examine(store, &fs::read(path)?)?.is_some()),
    }
}

/// Saves what can be saved of a damaged log.
///
/// The caller makes sure that no other process has it open.
pub(crate) fn mend(store: &Path) -> io::Result<Option<Damage>> {
    let path = sibling_path(store, "-wal");
    let bytes = fs::read(&path)?;
    let Some(mended) = examine(store, &bytes)? else { return Ok(None) };
    // The name comes from the content: a start that is cut off here keeps no second copy.
    let kept = sibling_path(store, &format!("-wal.damaged-{:08x}", crc32fast::hash(&bytes)));
    write_synced(&kept, &bytes)?;
    sync_folder(store)?;
    if mended.saved_commits > 0 {
        // A crash here leaves a log that ends early; the copy has all of it.
        write_synced(&path, &mended.log)?;
        // It counts the frames that were in the log before.
        match fs::remove_file(sibling_path(store, "-shm")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
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

/// `None` where the log is whole, or ends as a power cut leaves it.
fn examine(store: &Path, log: &[u8]) -> io::Result<Option<Mended>> {
    if log.len() < HEADER_BYTES {
        return Ok(None);
    }
    let sound_header = Header::read(log);
    let (found, damage) = if let Some(header) = sound_header {
        let found = scan(header, &mut &log[HEADER_BYTES..])?;
        let damage = found.damage(synced_frames(&index(store), &header));
        (found, damage)
    } else {
        let Some(found) = with_lost_header(store, log)? else { return Ok(None) };
        let commits = commits(&found.frames);
        (found, Some((0, commits)))
    };
    let Some((broken, commits_behind)) = damage else { return Ok(None) };
    let Found { header, mut frames } = found;
    let (order, frame_bytes) = (header.order, header.frame_bytes());
    let mut log = log.to_vec();
    if sound_header.is_none() {
        let written = header.bytes(big_endian(&log, 12));
        log[..HEADER_BYTES].copy_from_slice(&written);
    }
    let broken_frames = frames.iter().filter(|frame| frame.is_end).count();
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

/// Reads the frames behind a header that SQLite would not take. `None` where nothing is lost with it.
///
/// The header is synced before the first frame is written, so a power cut can break it only while there
/// is none of its generation: when the log begins again, behind frames that are in the database. What
/// the database does not have is there because a sound header was there before it.
fn with_lost_header(store: &Path, log: &[u8]) -> io::Result<Option<Found>> {
    // No connection of this process has the database open yet: closing it would drop its locks.
    let database = File::open(store)?;
    let mut size = [0; 2];
    let size = match database.read_exact_at(&mut size, 16) {
        Ok(()) if size == [0, 1] => 65_536,
        Ok(()) => usize::from(u16::from_be_bytes(size)),
        Err(_) => big_endian(log, 8) as usize,
    };
    if !is_page_size(size) {
        return Ok(None);
    }
    let mut best: Option<(usize, Found)> = None;
    for header in Header::guesses(log, size) {
        let found = scan(header, &mut &log[HEADER_BYTES..])?;
        let intact = found.frames.iter().filter(|frame| frame.is_intact).count();
        if best.as_ref().map_or(0, |(most, _)| *most) < intact {
            best = Some((intact, found));
        }
    }
    let Some((_, found)) = best else { return Ok(None) };
    let frames =
        found.frames.iter().zip(log[HEADER_BYTES..].chunks_exact(FRAME_HEADER_BYTES + size));
    let last: HashMap<u32, &[u8]> = frames
        .filter(|(frame, _)| frame.is_intact)
        .map(|(frame, bytes)| (frame.page, &bytes[FRAME_HEADER_BYTES..]))
        .collect();
    let is_stored = |page: u32, content: &[u8]| {
        let mut stored = vec![0; size];
        let at = u64::from(page.saturating_sub(1)) * size as u64;
        database.read_exact_at(&mut stored, at).is_ok() && stored == content
    };
    let is_all_stored = last.into_iter().all(|(page, content)| is_stored(page, content));
    Ok((!is_all_stored && commits(&found.frames) > 0).then_some(found))
}

/// The beginning of the log's index, if it was left behind.
fn index(store: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = File::open(sibling_path(store, "-shm"));
    // What cannot be read says nothing.
    let _ = file.and_then(|file| file.take(INDEX_BYTES).read_to_end(&mut bytes));
    bytes
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

/// Both copies of the header of the log's index.
const INDEX_BYTES: u64 = 96;

#[cfg(test)]
mod tests;
