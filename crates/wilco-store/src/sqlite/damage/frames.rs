//! The format of the write-ahead log (<https://sqlite.org/fileformat2.html#walformat>) and of the header
//! of its index (<https://sqlite.org/walformat.html#walidxfmt>).

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
    pub(super) header: Header,
    pub(super) frames: Vec<Frame>,
}

impl Found {
    /// The first broken frame and the commits behind it, where that is not a torn end.
    /// `synced_frames` are known to have been whole.
    pub(super) fn damage(&self, synced_frames: usize) -> Option<(usize, usize)> {
        let broken = self.frames.iter().position(|frame| frame.is_end);
        let broken = broken.unwrap_or(self.frames.len());
        let commits = commits(&self.frames[broken..]);
        if broken < synced_frames {
            return Some((broken, commits.max(1)));
        }
        (commits >= 2).then_some((broken, commits))
    }
}

/// What the first bytes of a log say.
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub(super) order: Order,
    pub(super) page_bytes: usize,
    /// Two numbers that each frame of this generation of the log repeats.
    pub(super) salts: [u8; 8],
    /// What the checksum of the first frame continues: the header's own, as stored and as computed.
    pub(super) seeds: [Checksum; 2],
}

impl Header {
    /// `None` where SQLite would take the log for an empty one.
    pub(super) fn read(log: &[u8]) -> Option<Self> {
        let order = Order::of(log)?;
        let page_bytes = big_endian(log, 8) as usize;
        let seeds = [stored(log, 24), sum(order, [0; 2], &log[..24])];
        let is_sound = is_page_size(page_bytes) && seeds[0] == seeds[1];
        is_sound.then(|| Self { order, page_bytes, salts: salts(log, 16), seeds })
    }

    /// What a header may have said that is damaged: the frames have the salts too, and the database
    /// has the page size.
    pub(super) fn guesses(log: &[u8], page_bytes: usize) -> Vec<Self> {
        let mut guesses = Vec::new();
        for at in (0..3).map(|index| HEADER_BYTES + index * (FRAME_HEADER_BYTES + page_bytes)) {
            if log.len() < at + FRAME_HEADER_BYTES {
                break;
            }
            for order in [Order::Little, Order::Big] {
                let seeds = [stored(log, 24), sum(order, [0; 2], &log[..24])];
                guesses.push(Self { order, page_bytes, salts: salts(log, at + 8), seeds });
            }
        }
        guesses
    }

    /// As SQLite writes it. `sequence` counts checkpoints, and nothing depends on it.
    pub(super) fn bytes(&self, sequence: u32) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let page_bytes = u32::try_from(self.page_bytes).unwrap_or(0);
        let words = [self.order.magic(), WAL_VERSION, page_bytes, sequence];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes[16..24].copy_from_slice(&self.salts);
        let sum = sum(self.order, [0; 2], &bytes[..24]);
        bytes[24..28].copy_from_slice(&sum[0].to_be_bytes());
        bytes[28..32].copy_from_slice(&sum[1].to_be_bytes());
        bytes
    }

    pub(super) fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.page_bytes
    }
}

/// How many frames of this generation have been synced at the least, as the index of the log in
/// shared memory says.
///
/// SQLite publishes a commit there after its sync, and each of the two copies of that header has a
/// checksum. What a power cut leaves of the file may be old, but what it says has been so. Only an
/// index that a recovery rebuilt may count frames that were read and not synced; a start empties the
/// log right after that.
pub(super) fn synced_frames(index: &[u8], header: &Header) -> usize {
    let copies = index.chunks_exact(INDEX_HEADER_BYTES).take(2);
    let frames = copies.filter_map(|copy| {
        let word = |at: usize| [copy[at], copy[at + 1], copy[at + 2], copy[at + 3]];
        let native = |at| u32::from_ne_bytes(word(at));
        let is_sound = native(0) == WAL_VERSION
            && copy[32..40] == header.salts
            && sum(Order::NATIVE, [0; 2], &copy[..40]) == [native(40), native(44)];
        is_sound.then(|| native(16) as usize)
    });
    frames.max().unwrap_or(0)
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
    fn of(log: &[u8]) -> Option<Self> {
        [Self::Little, Self::Big].into_iter().find(|order| order.magic() == big_endian(log, 0))
    }

    #[cfg(target_endian = "little")]
    const NATIVE: Self = Self::Little;
    #[cfg(target_endian = "big")]
    const NATIVE: Self = Self::Big;

    fn magic(self) -> u32 {
        match self {
            Self::Little => 0x377f_0682,
            Self::Big => 0x377f_0683,
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
/// one may be all that is damaged.
pub(super) fn scan(header: Header, log: &mut impl Read) -> io::Result<Found> {
    let Header { order, salts, mut seeds, .. } = header;
    let mut frames: Vec<Frame> = Vec::new();
    let mut is_current = true;
    let mut frame = vec![0; header.frame_bytes()];
    while fill(log, &mut frame)? {
        let frame = &frame[..];
        let stored = stored(frame, 16);
        let computed = seeds.map(|seed| checksum(order, seed, frame));
        let has_salts = frame[8..16] == salts;
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
    // The last frame with the salts is followed by what an earlier generation left.
    let end = frames.iter().rposition(|frame| frame.has_salts).map_or(0, |last| last + 1);
    frames.truncate(end);
    Ok(Found { header, frames })
}

/// Reads as many bytes as there is room for; false where there are fewer.
pub(super) fn fill(log: &mut impl Read, part: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(part) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Of the first eight bytes of a frame's header and of its page.
pub(super) fn checksum(order: Order, seed: Checksum, frame: &[u8]) -> Checksum {
    sum(order, sum(order, seed, &frame[..8]), &frame[FRAME_HEADER_BYTES..])
}

fn sum(order: Order, seed: Checksum, bytes: &[u8]) -> Checksum {
    bytes.chunks_exact(8).fold(seed, |[mut a, mut b], pair| {
        let words = [[pair[0], pair[1], pair[2], pair[3]], [pair[4], pair[5], pair[6], pair[7]]];
        a = a.wrapping_add(order.read(words[0])).wrapping_add(b);
        b = b.wrapping_add(order.read(words[1])).wrapping_add(a);
        [a, b]
    })
}

pub(super) fn is_page_size(bytes: usize) -> bool {
    bytes.is_power_of_two() && (512..=65_536).contains(&bytes)
}

fn salts(log: &[u8], at: usize) -> [u8; 8] {
    std::array::from_fn(|byte| log[at + byte])
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
/// Of each copy of the header of the index.
const INDEX_HEADER_BYTES: usize = 48;
/// Of the format, which has not changed since 2010.
const WAL_VERSION: u32 = 3_007_000;
