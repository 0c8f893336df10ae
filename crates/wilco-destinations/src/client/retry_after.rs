//! How long a service asks to wait.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, header};
use jiff::Timestamp;

/// How long a response asks to wait: `retry-after` of RFC 9110, section 10.2.3, in seconds, or as a date in
/// any of the three forms of section 5.6.7, relative to now. A fraction of a second, which some services send,
/// is rounded up; a number that is too large means the longest wait; a date that has passed means none.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !whole.is_empty() && is_digits(whole) && is_digits(fraction) {
        let seconds = whole.parse().unwrap_or(u64::MAX);
        let is_more = fraction.bytes().any(|digit| digit != b'0');
        return Some(Duration::from_secs(seconds.saturating_add(is_more.into())));
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(date.saturating_sub(now.as_duration().try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn the_wait_is_read_in_every_format_of_http() {
        for (text, expected) in [
            ("17", Some(17)),
            (" 17 ", Some(17)),
            ("0", Some(0)),
            ("3.0", Some(3)),
            ("2.25", Some(3)),
            ("18446744073709551615.5", Some(u64::MAX)),
            ("99999999999999999999999999", Some(u64::MAX)),
            ("Thu, 01 Jan 1970 00:01:40 GMT", Some(100)),
            ("Thursday, 01-Jan-70 00:01:40 GMT", Some(100)),
            ("Thu Jan  1 00:01:40 1970", Some(100)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("", None),
            (".5", None),
            ("soon", None),
            ("-5", None),
            ("+5", None),
            ("5 s", None),
        ] {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]);
            let read = retry_after(&headers, NOW).map(|wait| wait.as_secs());
            assert_eq!(read, expected, "{text:?}");
        }
        let later = NOW + Duration::from_secs(101);
        let date = "Thu, 01 Jan 1970 00:01:40 GMT".parse().unwrap();
        let headers = HeaderMap::from_iter([(header::RETRY_AFTER, date)]);
        assert_eq!(retry_after(&headers, later), Some(Duration::ZERO), "a date that has passed");
    }
}
