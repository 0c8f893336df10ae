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

mod frames;

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufReader, Write as _},
    path::{Path, PathBuf},
};

use super::{beside, private_file, sync_folder};
use frames::{
    FRAME_HEADER_BYTES, Found, Frame, HEADER_BYTES, Order, big_endian, checksum, commits, scan,
    stored,
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

#[cfg(test)]
mod tests;
