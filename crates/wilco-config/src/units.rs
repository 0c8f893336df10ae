//! Values with units, addresses and URLs: how they are written in the file.

use std::time::Duration;

use ipnet::IpNet;

/// A size in bytes: `1 MiB`, `64KiB`, `500 kB`, `1024`.
///
/// # Errors
///
/// The text is not a size, or is too large.
pub fn size(text: &str) -> Result<u64, String> {
    let invalid = || format!("invalid size {text:?}: expected one such as \"1 MiB\" or \"500 kB\"");
    let (number, unit) = split(text);
    let factor = match unit {
        "" | "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(invalid()),
    };
    let number: u64 = number.parse().map_err(|_| invalid())?;
    number.checked_mul(factor).ok_or_else(|| format!("the size {text:?} is too large"))
}

/// Writes a size in the largest unit of which it is a whole number.
pub fn format_size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.iter().find(|(_, bits)| bytes != 0 && bytes.trailing_zeros() >= *bits);
    unit.map_or_else(|| format!("{bytes} B"), |(unit, bits)| format!("{} {unit}", bytes >> bits))
}

/// A time span: `500 ms`, `30 s`, `2 min`, `24 h`, `30 days`.
///
/// # Errors
///
/// The text is not a time span, is zero, or is more than ten years.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "day" | "days" => 86_400_000,
        _ => 0,
    };
    let invalid =
        || format!("invalid time {text:?}: expected one such as \"30 s\", \"2 min\" or \"24 h\"");
    let number: u64 = number.parse().map_err(|_| invalid())?;
    match number.checked_mul(millis) {
        Some(0) | None => Err(invalid()),
        Some(total) if total > DURATION_MS_MAX => Err(format!("{text:?} is more than ten years")),
        Some(total) => Ok(Duration::from_millis(total)),
    }
}

/// A time span as [`duration`] reads it, or `forever`, which is `None`.
///
/// # Errors
///
/// The text is neither.
pub fn duration_or_forever(text: &str) -> Result<Option<Duration>, String> {
    if text == "forever" {
        return Ok(None);
    }
    duration(text).map(Some).map_err(|error| {
        if error.starts_with("invalid") {
            format!("invalid time {text:?}: expected one such as \"30 days\", or \"forever\"")
        } else {
            error
        }
    })
}

/// Writes a time span in the largest unit of which it is a whole number, as [`duration`] reads it.
pub fn format_duration(span: Duration) -> String {
    let millis = span.as_millis();
    let units = [("days", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)];
    let unit =
        units.into_iter().find(|(_, length)| millis >= *length && millis.is_multiple_of(*length));
    match unit {
        Some(("days", length)) if millis == length => "1 day".into(),
        Some((unit, length)) => format!("{} {unit}", millis / length),
        None => format!("{millis} ms"),
    }
}

/// A number in a time span: `10/s`, `100/min`, `1000/h`.
///
/// # Errors
///
/// The text is not a rate, is zero, or is more than a million.
pub fn rate(text: &str) -> Result<(u32, Duration), String> {
    let invalid = || {
        format!("invalid rate {text:?}: expected one such as \"10/s\", \"100/min\" or \"1000/h\"")
    };
    let (count, unit) = text.split_once('/').ok_or_else(invalid)?;
    let count = count.trim().parse().ok().filter(|count| (1..=RATE_MAX).contains(count));
    let secs = match unit.trim() {
        "s" => 1,
        "min" => 60,
        "h" => 3_600,
        _ => return Err(invalid()),
    };
    Ok((count.ok_or_else(invalid)?, Duration::from_secs(secs)))
}

/// A network: `203.0.113.0/24`, or a single address.
///
/// # Errors
///
/// The text is neither.
pub fn network(text: &str) -> Result<IpNet, String> {
    text.parse()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| format!("invalid network {text:?}: expected one such as \"203.0.113.0/24\""))
}

/// The path of a URL, as it is in a request.
///
/// # Errors
///
/// The text has another part of a URL in it, or does not begin with a slash.
pub fn url_path(text: &str) -> Result<String, String> {
    let uri: Result<http::Uri, _> = text.parse();
    match uri {
        Ok(uri) if uri.path() == text && text.starts_with('/') => Ok(text.into()),
        _ => {
            Err(format!("invalid path {text:?}: expected it to begin with /, without ? or spaces"))
        }
    }
}

/// An absolute `http` or `https` URL. Because it may contain a secret, an error shows nothing of it.
///
/// # Errors
///
/// The text is not such a URL, or has a name or password in it.
pub fn url(text: &str) -> Result<http::Uri, String> {
    let invalid = || "invalid url: expected http:// or https:// and a host".to_owned();
    let url: http::Uri = text.parse().map_err(|_| invalid())?;
    match (url.scheme_str(), url.authority()) {
        (Some("http" | "https"), Some(authority)) if !authority.as_str().contains('@') => Ok(url),
        (Some("http" | "https"), Some(_)) => {
            Err("a name or password in a URL is not sent; use a header instead".into())
        }
        _ => Err(invalid()),
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// Attempts that may begin in a second, a minute or an hour, at the most.
const RATE_MAX: u32 = 1_000_000;
const DURATION_MS_MAX: u64 = 10 * 366 * 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_unit() {
        for (text, expected) in
            [("1 MiB", 1 << 20), ("64KiB", 65_536), ("500 kB", 500_000), ("7", 7)]
        {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for text in ["", "MiB", "-1", "1 mib", "1.5 MiB", "99999999999999999999", "18446744 TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read_with_their_unit_and_are_never_zero() {
        for (text, expected) in
            [("500 ms", 500), ("30 s", 30_000), ("2min", 120_000), ("30 days", 2_592_000_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(expected)), "{text}");
        }
        for text in ["500 ms", "90 s", "2 min", "36 h", "1 day", "30 days"] {
            assert_eq!(duration(text).map(format_duration).as_deref(), Ok(text));
        }
        for text in ["", "30", "0 s", "1 month", "-5 s", "9999999 days"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_can_be_forever() {
        assert_eq!(duration_or_forever("30 days"), duration("30 days").map(Some));
        assert_eq!(duration_or_forever("forever"), Ok(None));
        for text in ["", "Forever", "0 days", "never"] {
            let error = duration_or_forever(text).unwrap_err();
            assert!(error.contains("\"forever\""), "{error}");
        }
    }

    #[test]
    fn a_rate_is_a_number_in_a_time_span() {
        for (text, count, secs) in [("10/s", 10, 1), ("100 / min", 100, 60), ("7/h", 7, 3_600)] {
            assert_eq!(rate(text), Ok((count, Duration::from_secs(secs))), "{text}");
        }
        for text in ["", "10", "0/s", "-1/s", "10/day", "/s", "99999999/s", "1.5/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_is_absolute_and_carries_no_password() {
        assert!(url("https://erp.example.com/hooks?x=1").is_ok());
        for text in
            ["erp.example.com", "/hooks", "ftp://x/", "https://user:pw@x/", "https:///x", ""]
        {
            assert!(url(text).is_err(), "{text}");
        }
    }
}
