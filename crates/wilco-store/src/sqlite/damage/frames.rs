//! What is in a write-ahead log.

use std::io::{self, Read};

/// A frame of the log's newest generation.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) page: u32,
    pub(super) is_commit: bool,
    /// The frame header has the salts of the log, so that its page number can be trusted.
    pub(super) has_salts: bool,
    pub(super) is_intact: bool,
    /// SQLite takes this for the end of the log.
    pub(super) is_end: bool,
}

pub(super) type Checksum = [u32; 2];

/// What is in a log.
pub(super) struct Found {
    pub(super) order: Order,
    pub(super) frame_bytes: usize,
    pub(super) frames: Vec<Frame>,
}

impl Found {
    /// The first broken frame and the commits behind it, where that is not a torn end.
    pub(super) fn damage(&self) -> Option<(usize, usize)> {
        let broken = self.frames.iter().position(|frame| frame.is_end)?;
        let commits = commits(&self.frames[broken..]);
        (commits >= 2).then_some((broken, commits))
    }
}

pub(super) fn commits(frames: &[Frame]) -> usize {
    frames.iter().filter(|frame| frame.is_commit && frame.has_salts).count()
}

/// How the words of a page are read for the checksum.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    pub(super) fn of(log: &[u8]) -> Option<Self> {
        match big_endian(log, 0) {
            0x377f_0682 => Some(Self::Little),
            0x377f_0683 => Some(Self::Big),
            _ => None,
        }
    }

    pub(super) fn read(self, word: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(word),
            Self::Big => u32::from_be_bytes(word),
        }
    }

    pub(super) fn write(self, word: u32) -> [u8; 4] {
        match self {
            Self::Little => word.to_le_bytes(),
            Self::Big => word.to_be_bytes(),
        }
    }
}

/// Verifies each frame from the checksum before it, as that is stored or as it was computed: a stored
/// one may be all that is damaged. `None` where there is no log that could be read.
pub(super) fn scan(log: &mut impl Read) -> io::Result<Option<Found>> {
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

/// Of the first eight bytes of a frame's header and of its page.
pub(super) fn checksum(order: Order, seed: Checksum, frame: &[u8]) -> Checksum {
    let (header, page) = (&frame[..8], &frame[FRAME_HEADER_BYTES..]);
    header.chunks_exact(8).chain(page.chunks_exact(8)).fold(seed, |[mut a, mut b], pair| {
        let words = [[pair[0], pair[1], pair[2], pair[3]], [pair[4], pair[5], pair[6], pair[7]]];
        a = a.wrapping_add(order.read(words[0])).wrapping_add(b);
        b = b.wrapping_add(order.read(words[1])).wrapping_add(a);
        [a, b]
    })
}

pub(super) fn stored(bytes: &[u8], at: usize) -> Checksum {
    [big_endian(bytes, at), big_endian(bytes, at + 4)]
}

/// The number at a place that the caller knows to be within.
pub(super) fn big_endian(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(super) const HEADER_BYTES: usize = 32;

pub(super) const FRAME_HEADER_BYTES: usize = 24;
