//! The body of a request, as it came.

use std::{fmt, iter, ops::Range};

use bytes::Bytes;

/// The body of a request, byte for byte as it came.
///
/// A large body is kept in the chunks in which it was received, because joining them would copy
/// it: read it with [`chunks`](Self::chunks) where that is possible. A clone shares the bytes. Its
/// `Debug` shows the length and nothing of the content.
#[derive(Clone, Default)]
pub struct Body {
    first: Bytes,
    /// Empty for nearly every body, and then it takes no memory.
    rest: Vec<Bytes>,
    len: usize,
}

impl Body {
    /// Appends a chunk.
    pub fn push(&mut self, chunk: Bytes) {
        self.len += chunk.len();
        if self.first.is_empty() {
            self.first = chunk;
        } else {
            self.rest.push(chunk);
        }
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of it in order, in chunks of any size.
    pub fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        iter::once(&self.first).chain(&self.rest)
    }

    /// All of it in one piece, which copies a body of several chunks.
    pub fn contiguous(&self) -> Bytes {
        if self.rest.is_empty() {
            return self.first.clone();
        }
        let mut whole = Vec::with_capacity(self.len);
        self.chunks().for_each(|chunk| whole.extend_from_slice(chunk));
        whole.into()
    }
}

impl Body {
    /// A copy of a part of it; `None` if it does not reach that far.
    pub(crate) fn part(&self, range: Range<usize>) -> Option<Bytes> {
        if range.start > range.end || range.end > self.len {
            return None;
        }
        let mut part = Vec::with_capacity(range.len());
        let mut at = 0;
        for chunk in self.chunks() {
            let here =
                range.start.saturating_sub(at)..range.end.saturating_sub(at).min(chunk.len());
            part.extend_from_slice(chunk.get(here).unwrap_or_default());
            at += chunk.len();
        }
        Some(part.into())
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(chunk: T) -> Self {
        let first = chunk.into();
        Self { len: first.len(), first, rest: Vec::new() }
    }
}

impl FromIterator<Bytes> for Body {
    fn from_iter<I: IntoIterator<Item = Bytes>>(chunks: I) -> Self {
        let mut body = Self::default();
        chunks.into_iter().for_each(|chunk| body.push(chunk));
        body
    }
}

impl PartialEq for Body {
    /// Whether both have the same bytes, in whatever chunks.
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.chunks().flatten().eq(other.chunks().flatten())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_the_same_however_it_was_cut_into_chunks() {
        let whole = Body::from(&b"canary"[..]);
        for parts in [&["canary"][..], &["can", "ary"], &["c", "", "anar", "y"]] {
            let body: Body = parts.iter().map(|part| Bytes::from(*part)).collect();
            assert_eq!((body.len(), &body.contiguous()[..]), (6, &b"canary"[..]), "{parts:?}");
            assert!(body == whole && body.chunks().flatten().eq(b"canary"), "{parts:?}");
        }
        let others = [&["canary", "x"][..], &["can", "arx"], &["canar"], &[]];
        for parts in others {
            let body: Body = parts.iter().map(|part| Bytes::from(*part)).collect();
            assert!(body != whole, "{parts:?}");
        }
        assert!(Body::from_iter([]).is_empty());
    }

    #[test]
    fn a_part_of_a_body_is_the_same_however_that_was_cut_into_chunks() {
        for parts in [&["canary"][..], &["can", "ary"], &["c", "", "anar", "y"]] {
            let body: Body = parts.iter().map(|part| Bytes::from(*part)).collect();
            for (range, expected) in [
                (0..6, Some("canary")),
                (2..4, Some("na")),
                (3..6, Some("ary")),
                (6..6, Some("")),
                (5..7, None),
            ] {
                let part = body.part(range.clone());
                assert_eq!(part.as_deref(), expected.map(str::as_bytes), "{parts:?} {range:?}");
            }
        }
        let reversed = Range { start: 2, end: 1 };
        assert_eq!(Body::from("canary").part(reversed), None);
    }
}
