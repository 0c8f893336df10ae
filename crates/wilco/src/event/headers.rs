//! The headers of a request.

use std::fmt;

use bytes::Bytes;

/// The header fields of a request in the order in which they arrived, fields of one name together.
///
/// They are kept as HTTP sends them, one `name: value` per line, each ended by CR LF, because this
/// form can hold any bytes (a value need not be UTF-8, RFC 9110 section 5.5), takes one allocation,
/// and can be read by anyone who opens the store. Names are lower case.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Bytes);

impl Headers {
    /// From names and values. Names become lower case; a line break within a value, which HTTP does
    /// not allow, becomes a space.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<[u8]>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut block = Vec::with_capacity(512);
        for (name, value) in pairs {
            let start = block.len();
            block.extend_from_slice(name.as_ref().as_bytes());
            block[start..].make_ascii_lowercase();
            block.extend_from_slice(b": ");
            let start = block.len();
            block.extend_from_slice(value.as_ref());
            for byte in &mut block[start..] {
                if matches!(byte, b'\r' | b'\n') {
                    *byte = b' ';
                }
            }
            block.extend_from_slice(b"\r\n");
        }
        Self(block.into())
    }

    /// From the form that [`as_bytes`](Self::as_bytes) returns.
    pub const fn from_block(block: Bytes) -> Self {
        Self(block)
    }

    /// The block of lines.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.split(|&b| b == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r")?;
            let colon = line.iter().position(|&b| b == b':')?;
            let name = std::str::from_utf8(&line[..colon]).ok()?;
            Some((name, line.get(colon + 2..).unwrap_or_default()))
        })
    }

    /// All values of one field. `name` is lower case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(field, _)| *field == name).map(|(_, value)| value)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be credentials: a debug print shows the names only.
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_keep_order_repeats_and_bytes_that_are_not_text() {
        let pairs: [(&str, &[u8]); 4] =
            [("Host", b"a"), ("X-Odd", b"\xff\xfe: y"), ("x-empty", b""), ("host", b"b")];
        let headers = Headers::from_block(Headers::from_pairs(pairs).0);
        let read: Vec<_> = headers.iter().collect();
        assert_eq!(
            read,
            [("host", &b"a"[..]), ("x-odd", b"\xff\xfe: y"), ("x-empty", b""), ("host", b"b")]
        );
        assert_eq!(headers.all("host").count(), 2);
    }

    #[test]
    fn a_line_break_in_a_value_cannot_make_a_second_header() {
        let headers = Headers::from_pairs([("a", "b\r\nc: d")]);
        assert_eq!(headers.iter().count(), 1);
    }

    #[test]
    fn a_debug_print_of_headers_shows_no_value() {
        let headers = Headers::from_pairs([("authorization", "Bearer canary")]);
        assert_eq!(format!("{headers:?}"), r#"["authorization"]"#);
    }
}
