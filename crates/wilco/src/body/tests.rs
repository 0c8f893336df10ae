//! A body is the same in memory and elsewhere, in whatever chunks.

use super::*;

/// A stored body that is read in chunks of these sizes, or cannot be read at an empty one.
pub(crate) struct Pieces(pub(crate) Vec<Vec<u8>>);

impl StoredBytes for Pieces {
    fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    fn read_at(&self, start: usize) -> io::Result<Bytes> {
        let mut at = 0;
        for piece in &self.0 {
            if start < at + piece.len() {
                return Ok(piece[start - at..].to_vec().into());
            }
            at += piece.len();
        }
        Ok(Bytes::new())
    }
}

fn bodies(parts: &[&str]) -> [Body; 2] {
    let pieces = parts.iter().map(|part| part.as_bytes().to_vec()).collect();
    let chunks = parts.iter().map(|part| Bytes::from(part.as_bytes().to_vec()));
    [chunks.collect(), Body::stored(Arc::new(Pieces(pieces)))]
}

#[test]
fn a_body_is_the_same_wherever_it_is_and_however_it_was_cut_into_chunks() {
    let whole = Body::from(&b"canary"[..]);
    for parts in [&["canary"][..], &["can", "ary"], &["c", "", "anar", "y"]] {
        for body in bodies(parts) {
            assert_eq!((body.len(), &body.contiguous(6).unwrap()[..]), (6, &b"canary"[..]));
            let chunks = body.chunks().map(Result::unwrap);
            assert!(body == whole && chunks.flatten().eq(*b"canary"), "{parts:?}");
            let mut read = Vec::new();
            body.reader().read_to_end(&mut read).unwrap();
            assert_eq!(read, b"canary", "{parts:?}");
        }
    }
    for parts in [&["canary", "x"][..], &["can", "arx"], &["canar"], &[]] {
        for body in bodies(parts) {
            assert!(body != whole, "{parts:?}");
            assert!(whole != body, "{parts:?}");
        }
    }
    assert!(Body::from_iter([]).is_empty());
}

#[test]
fn a_part_of_a_body_is_the_same_however_that_was_cut_into_chunks() {
    for parts in [&["canary"][..], &["can", "ary"], &["c", "", "anar", "y"]] {
        for body in bodies(parts) {
            for (range, expected) in [
                (0..6, Some("canary")),
                (2..4, Some("na")),
                (3..6, Some("ary")),
                (6..6, Some("")),
                (5..7, None),
                (Range { start: 2, end: 1 }, None),
            ] {
                let part = body.part(range.clone()).ok();
                let expected = expected.map(str::as_bytes);
                assert_eq!(part.as_deref(), expected, "{parts:?} {range:?}");
            }
        }
    }
}

#[test]
fn a_body_is_not_read_into_more_memory_than_allowed() {
    for body in bodies(&["can", "ary"]) {
        assert!(body.contiguous(6).is_ok());
        let error = body.contiguous(5).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(error.to_string().contains("has 6 bytes, more than the 5"), "{error}");
    }
}

#[test]
fn a_stored_body_that_ends_early_is_an_error_and_not_a_shorter_body() {
    struct Short;
    impl StoredBytes for Short {
        fn len(&self) -> usize {
            2
        }
        fn read_at(&self, start: usize) -> io::Result<Bytes> {
            Ok(Bytes::from_static(b"a").slice(start.min(1)..))
        }
    }
    let body = Body::stored(Arc::new(Short));
    let chunks: Vec<_> = body.chunks().map(|chunk| chunk.is_ok()).collect();
    assert_eq!(chunks, [true, false]);
    assert!(body.contiguous(2).is_err() && body.reader().read_to_end(&mut Vec::new()).is_err());
    assert!(body != body.clone());
}
