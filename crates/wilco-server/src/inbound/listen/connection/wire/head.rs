//! Checks the head of an HTTP/1 request: it has to be unambiguous.
//!
//! hyper accepts some requests that can be read in two ways: a length together with a chunked body,
//! two hosts, bare line feeds. If a proxy in front reads them the other way, one request hides in
//! another (RFC 9112, section 11.2).

use http::Uri;

use crate::inbound::listen::connection::{HEADERS_MAX, HeadFault, is_host};

/// Where the body ends that follows a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

/// The length of the head at the start of `bytes` and the framing of its body; `None` while the
/// head is incomplete.
pub(super) fn examine(bytes: &[u8]) -> Result<Option<(usize, Framing)>, HeadFault> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES_MAX => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(HeadFault::TooLarge),
        Err(_) => return Err(HeadFault::Malformed),
    };
    let mut lines = bytes[..length].split(|&b| b == b'\n');
    let last = lines.next_back();
    if last != Some(b"") || lines.any(|line| !line.ends_with(b"\r")) {
        return Err(HeadFault::Malformed);
    }
    if !is_target(request.path.unwrap_or_default(), request.method) {
        return Err(HeadFault::Malformed);
    }
    framing(&request).map(|framing| Some((length, framing))).ok_or(HeadFault::Malformed)
}

/// RFC 9112, section 3.2: a path, an absolute URL, or the asterisk of OPTIONS. A fragment would be
/// ignored, and what only a proxy is asked for has no path.
fn is_target(target: &str, method: Option<&str>) -> bool {
    let Ok(uri) = target.parse::<Uri>() else { return false };
    let has_form = match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(authority)) => !authority.as_str().contains('@'),
        (None, None) => target.starts_with('/') || (target == "*" && method == Some("OPTIONS")),
        _ => false,
    };
    has_form && !target.contains('#')
}

/// RFC 9112, sections 3.2 and 6: one host, and only one way to find the end of the body.
fn framing(request: &httparse::Request<'_, '_>) -> Option<Framing> {
    let is_1_1 = request.version == Some(1);
    let (mut hosts, mut length, mut chunked) = (0, None, false);
    for field in request.headers.iter() {
        if field.name.eq_ignore_ascii_case("host") {
            hosts += 1;
            if !is_host(field.value) {
                return None;
            }
        } else if field.name.eq_ignore_ascii_case("content-length") {
            let digits = std::str::from_utf8(field.value).ok()?;
            if length.is_some() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            length = Some(digits.parse().ok().filter(|&bytes| bytes <= LENGTH_MAX)?);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if chunked || !is_1_1 || !field.value.eq_ignore_ascii_case(b"chunked") {
                return None;
            }
            chunked = true;
        }
    }
    if hosts > 1 || (is_1_1 && hosts == 0) {
        return None;
    }
    match (length, chunked) {
        (Some(_), true) => None,
        (None, true) => Some(Framing::Chunked),
        (length, false) => Some(Framing::Length(length.unwrap_or(0))),
    }
}

/// The largest length that is accepted. hyper reserves the last few numbers and answers them in its
/// own way.
const LENGTH_MAX: u64 = u64::MAX >> 1;
/// The largest head, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str) -> Result<Option<Framing>, HeadFault> {
        examine(head.as_bytes()).map(|found| found.map(|(_, framing)| framing))
    }

    #[test]
    fn a_head_says_how_long_the_body_is() {
        for (fields, expected) in [
            ("Host: a\r\n", Framing::Length(0)),
            ("Host: a\r\nContent-Length: 17\r\n", Framing::Length(17)),
            ("Host: a\r\nTransfer-Encoding: Chunked\r\n", Framing::Chunked),
        ] {
            let head = format!("POST /webhook HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(check(&head), Ok(Some(expected)), "{head}");
            for end in 0..head.len() {
                assert_eq!(check(&head[..end]), Ok(None), "{:?}", &head[..end]);
            }
        }
    }

    #[test]
    fn an_ambiguous_head_is_malformed() {
        for fields in [
            "",
            "Host: a\r\nHost: a\r\n",
            "Host: a b\r\n",
            "Host: a@b\r\n",
            "Host: a/b\r\n",
            "Host: a:b\r\n",
            "Host: a:1:1\r\n",
            "Host: ::1\r\n",
            "Host: [::1\r\n",
            "Host: [::1]a\r\n",
            "Host: []\r\n",
            "Host: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n",
            "Host: a\r\nContent-Length: 3, 3\r\n",
            "Host: a\r\nContent-Length: +3\r\n",
            "Host: a\r\nContent-Length: -1\r\n",
            "Host: a\r\nContent-Length: 0x3\r\n",
            "Host: a\r\nContent-Length: 99999999999999999999\r\n",
            "Host: a\r\nContent-Length: 18446744073709551615\r\n",
            "Host: a\r\nContent-Length:\r\n",
            "Host: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Host: a\r\nTransfer-Encoding: identity\r\n",
            "Host: a\nContent-Length: 3\r\n",
            "Host: a\r\nX: a\rb\r\n",
            "Host: a\r\nX : a\r\n",
            "Host: a\r\n folded\r\n",
            "Host: a\r\nX: a\0b\r\n",
            "Host: a\r\n: no name\r\n",
        ] {
            let head = format!("POST /webhook HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(check(&head), Err(HeadFault::Malformed), "{head:?}");
        }
    }

    #[test]
    fn a_first_line_that_is_not_http_1_is_malformed() {
        for line in [
            "POST /webhook HTTP/2.0",
            "POST /webhook HTTP/1.2",
            "POST  /webhook HTTP/1.1",
            "POST /web hook HTTP/1.1",
            "POST /webhook",
            "POST webhook HTTP/1.1",
            "POST a:80 HTTP/1.1",
            "POST * HTTP/1.1",
            "POST /webhook#a HTTP/1.1",
            "POST ftp://a/webhook HTTP/1.1",
            "POST http://a@b/webhook HTTP/1.1",
            "CONNECT a:80 HTTP/1.1",
            "POST /webhook HTTP/1.1 ",
            "PRI * HTTP/2.0",
            "P\u{0}ST / HTTP/1.1",
            "\u{16}\u{3}\u{1}",
        ] {
            let head = format!("{line}\r\nHost: a\r\n\r\n");
            assert_eq!(check(&head), Err(HeadFault::Malformed), "{head:?}");
        }
    }

    #[test]
    fn an_old_client_needs_no_host_and_may_not_chunk() {
        assert_eq!(check("POST / HTTP/1.0\r\n\r\n"), Ok(Some(Framing::Length(0))));
        let head = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(check(head), Err(HeadFault::Malformed));
    }

    #[test]
    fn a_head_over_the_limits_is_too_large() {
        let long = format!("POST / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(HEAD_BYTES_MAX));
        assert_eq!(check(&long), Err(HeadFault::TooLarge));
        let many = format!("POST / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: a\r\n".repeat(HEADERS_MAX));
        assert_eq!(check(&many), Err(HeadFault::TooLarge));
    }
}
