//! Checks the head of an HTTP/2 request, by the rules for HTTP/1 that h2 does not check itself.
//!
//! h2 refuses repeated, unknown and late pseudo-headers, fields about the connection, upper case, and
//! a content length that the content does not have (RFC 9113, sections 8.1 to 8.3).

use http::{HeaderValue, Method, Request, header};

use crate::inbound::listen::connection::{HEADERS_MAX, HeadFault, is_host};

/// Checks it, and adds the host that an HTTP/1 request would have (RFC 9113, section 8.3.1).
pub(super) fn check<B>(request: &mut Request<B>) -> Result<(), HeadFault> {
    let (fields, target) = (request.headers(), request.uri());
    if fields.len() > HEADERS_MAX {
        return Err(HeadFault::TooLarge);
    }
    let is_asterisk = target.path() == "*" && request.method() == Method::OPTIONS;
    let is_http = matches!(target.scheme_str(), None | Some("http" | "https"));
    let has_one_length = fields.get_all(header::CONTENT_LENGTH).iter().count() <= 1;
    let is_unambiguous = request.method() != Method::CONNECT
        && is_http
        && (is_asterisk || target.path().starts_with('/'))
        && has_one_length
        && fields.values().all(is_trimmed);
    if !is_unambiguous {
        return Err(HeadFault::Malformed);
    }
    let authority = target.authority().map(http::uri::Authority::as_str);
    let mut hosts = fields.get_all(header::HOST).iter();
    let host = match (authority, hosts.next(), hosts.next()) {
        (Some(authority), None, None) => authority.as_bytes(),
        (None, Some(host), None) => host.as_bytes(),
        (Some(authority), Some(host), None)
            if host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()) =>
        {
            host.as_bytes()
        }
        _ => return Err(HeadFault::Malformed),
    };
    if !is_host(host) {
        return Err(HeadFault::Malformed);
    }
    if let Ok(host) = HeaderValue::from_bytes(host) {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
    Ok(())
}

/// RFC 9113, section 8.2.1: no space at either end.
fn is_trimmed(value: &HeaderValue) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !is_space(value.as_bytes().first()) && !is_space(value.as_bytes().last())
}
