//! The body of a request, as it came.

use std::{
    fmt,
    io::{self, BufRead, Read},
    iter,
    ops::Range,
    sync::Arc,
};

use bytes::{Buf as _, Bytes};

use crate::counted;

/// The body of a request, byte for byte as it came.
///
/// A small body is in memory. A large one is somewhere else, in a file or in a store, and read from
/// there chunk by chunk, so that what it takes of memory does not depend on its size: use
/// [`chunks`](Self::chunks) or [`reader`](Self::reader). Reading such a body blocks, and can fail. A
/// clone shares the bytes. Its `Debug` shows the length and nothing of the content.
#[derive(Clone)]
pub struct Body(Kind);

#[derive(Clone)]
enum Kind {
    InMemory(InMemory),
    Stored(Arc<dyn StoredBytes>),
}

/// Bytes that are not in memory.
pub trait StoredBytes: Send + Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of them, from `start` on: at least one where there are any, and at most
    /// [`STORED_CHUNK_BYTES`].
    ///
    /// # Errors
    ///
    /// They cannot be read.
    fn read_at(&self, start: usize) -> io::Result<Bytes>;
}

/// Chunks in memory. Joining them would copy a body.
#[derive(Clone, Default)]
pub(crate) struct InMemory {
    first: Bytes,
    /// Empty for nearly every body, and then it takes no memory.
    rest: Vec<Bytes>,
    len: usize,
}

impl InMemory {
    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.len += chunk.len();
        if self.first.is_empty() {
            self.first = chunk;
        } else {
            self.rest.push(chunk);
        }
    }
}

impl Body {
    /// A body that is not in memory.
    pub fn stored(bytes: Arc<dyn StoredBytes>) -> Self {
        Self(Kind::Stored(bytes))
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kind::InMemory(body) => body.len,
            Kind::Stored(bytes) => bytes.len(),
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is not in memory, so that reading it blocks.
    pub fn is_stored(&self) -> bool {
        matches!(self.0, Kind::Stored(_))
    }

    /// What it takes of memory while it is read.
    pub fn bytes_in_memory(&self) -> usize {
        match &self.0 {
            Kind::InMemory(body) => body.len,
            Kind::Stored(bytes) => bytes.len().min(STORED_CHUNK_BYTES),
        }
    }

    /// All of it in order, in chunks of any size; nothing more after an error.
    pub fn chunks(&self) -> impl Iterator<Item = io::Result<Bytes>> + '_ {
        Chunks { body: self, chunk: 0, at: 0 }
    }

    /// Some of its bytes, from `start` on: at least one where there are any.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn read_at(&self, start: usize) -> io::Result<Bytes> {
        match &self.0 {
            Kind::InMemory(body) => {
                let mut at = 0;
                let mut chunks = iter::once(&body.first).chain(&body.rest);
                let found = chunks.find_map(|chunk| {
                    let here = start - at;
                    at += chunk.len();
                    (here < chunk.len()).then(|| chunk.slice(here..))
                });
                Ok(found.unwrap_or_default())
            }
            Kind::Stored(bytes) => read_stored(bytes.as_ref(), start),
        }
    }

    /// Reads all of it in order.
    pub fn reader(&self) -> impl BufRead + '_ {
        Reader { chunks: self.chunks(), chunk: Bytes::new() }
    }

    /// All of it in one piece, in memory, which copies a body of several chunks; `bytes_max` says how
    /// much memory that may take.
    ///
    /// # Errors
    ///
    /// It has more bytes than that, or cannot be read.
    pub fn contiguous(&self, bytes_max: usize) -> io::Result<Bytes> {
        let bytes = self.len();
        if bytes > bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("the body has {bytes} bytes, more than the {bytes_max} that are read here"),
            ));
        }
        if let Kind::InMemory(InMemory { first, rest, .. }) = &self.0
            && rest.is_empty()
        {
            return Ok(first.clone());
        }
        let mut whole = Vec::with_capacity(bytes);
        for chunk in self.chunks() {
            whole.extend_from_slice(&chunk?);
        }
        Ok(whole.into())
    }

    /// All of it in one piece, for a signature or a value that needs that. What is in memory already may
    /// have any size.
    pub(crate) fn in_one_piece(&self) -> io::Result<Bytes> {
        self.contiguous(if self.is_stored() { WHOLE_BODY_BYTES_MAX } else { usize::MAX })
    }

    /// Whether it is UTF-8.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn is_utf8(&self) -> io::Result<bool> {
        // The beginning of a character whose end is in the next chunk.
        let mut pending = Vec::new();
        for chunk in self.chunks() {
            let chunk = chunk?;
            let mut rest = &chunk[..];
            while !pending.is_empty()
                && let Some((byte, after)) = rest.split_first()
            {
                pending.push(*byte);
                rest = after;
                match str::from_utf8(&pending) {
                    Ok(_) => pending.clear(),
                    Err(error) if error.error_len().is_none() => {}
                    Err(_) => return Ok(false),
                }
            }
            match str::from_utf8(rest) {
                Ok(_) => {}
                Err(error) if error.error_len().is_none() => {
                    pending.extend_from_slice(&rest[error.valid_up_to()..]);
                }
                Err(_) => return Ok(false),
            }
        }
        Ok(pending.is_empty())
    }

    /// A copy of a part of it, in memory.
    ///
    /// # Errors
    ///
    /// It does not reach that far, or cannot be read.
    pub fn part(&self, range: Range<usize>) -> io::Result<Bytes> {
        if range.start > range.end || range.end > self.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut part = Vec::with_capacity(range.len());
        while part.len() < range.len() {
            let mut bytes = self.read_at(range.start + part.len())?;
            bytes.truncate(range.len() - part.len());
            part.extend_from_slice(&bytes);
        }
        Ok(part.into())
    }
}

/// Bytes of a stored body: never none before its end, because a reader would wait for ever.
fn read_stored(bytes: &dyn StoredBytes, start: usize) -> io::Result<Bytes> {
    if start >= bytes.len() {
        return Ok(Bytes::new());
    }
    let chunk = bytes.read_at(start)?;
    match chunk.is_empty() || chunk.len() > bytes.len() - start {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok(chunk),
    }
}

struct Chunks<'b> {
    body: &'b Body,
    /// The number of the next chunk of a body in memory.
    chunk: usize,
    /// The place of the next byte of a stored one.
    at: usize,
}

impl Iterator for Chunks<'_> {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<io::Result<Bytes>> {
        match &self.body.0 {
            Kind::InMemory(InMemory { first, rest, .. }) => {
                let chunk = match self.chunk.checked_sub(1) {
                    None => Some(first),
                    Some(number) => rest.get(number),
                };
                self.chunk += 1;
                chunk.cloned().map(Ok)
            }
            Kind::Stored(bytes) => {
                if self.at >= bytes.len() {
                    return None;
                }
                let chunk = read_stored(bytes.as_ref(), self.at);
                self.at = chunk.as_ref().map_or(usize::MAX, |chunk| self.at + chunk.len());
                Some(chunk)
            }
        }
    }
}

struct Reader<C> {
    chunks: C,
    chunk: Bytes,
}

impl<C: Iterator<Item = io::Result<Bytes>>> BufRead for Reader<C> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.chunk.is_empty() {
            let Some(chunk) = self.chunks.next() else { break };
            self.chunk = chunk?;
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, count: usize) {
        self.chunk.advance(count);
    }
}

impl<C: Iterator<Item = io::Result<Bytes>>> Read for Reader<C> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl Default for Body {
    fn default() -> Self {
        InMemory::default().into()
    }
}

impl From<InMemory> for Body {
    fn from(body: InMemory) -> Self {
        Self(Kind::InMemory(body))
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(chunk: T) -> Self {
        let first = chunk.into();
        InMemory { len: first.len(), first, rest: Vec::new() }.into()
    }
}

impl FromIterator<Bytes> for Body {
    fn from_iter<I: IntoIterator<Item = Bytes>>(chunks: I) -> Self {
        let mut body = InMemory::default();
        chunks.into_iter().for_each(|chunk| body.push(chunk));
        body.into()
    }
}

impl PartialEq for Body {
    /// Whether both have the same bytes, wherever these are. A body that cannot be read equals none.
    fn eq(&self, other: &Self) -> bool {
        let (mut these, mut those) = (self.reader(), other.reader());
        self.len() == other.len()
            && loop {
                match (these.fill_buf(), those.fill_buf()) {
                    (Ok([]), Ok([])) => break true,
                    (Ok(a), Ok(b)) => {
                        let count = a.len().min(b.len());
                        if count == 0 || a[..count] != b[..count] {
                            break false;
                        }
                        these.consume(count);
                        those.consume(count);
                    }
                    (Err(_), _) | (_, Err(_)) => break false,
                }
            }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&counted(self.len(), "byte", "bytes"))
    }
}

/// The largest chunk in which the service receives a body, and the largest body that it keeps in memory,
/// in bytes: a larger one is stored elsewhere.
pub const BODY_CHUNK_BYTES: usize = 256 << 10;

/// The chunks in which a stored body is written and read, in bytes. Allocators keep several of a size for
/// each thread, and many threads read.
pub const STORED_CHUNK_BYTES: usize = 64 << 10;
/// The largest body of which a provider may sign something else than the bytes as they are, such as the
/// sorted fields of a form, or which it may sign with a public key, in bytes.
pub const WHOLE_BODY_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
pub(crate) mod tests;
