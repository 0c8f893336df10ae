//! Words of the file that stand for more than text: sizes, times, places.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use ipnet::IpNet;

use wilco_delivery::RateLimit;

use crate::config::{Address, folder_of, is_path};

/// `1 MiB`, `64KiB`, `500 kB`, `1024`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
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
        _ => return Err(format!("{text:?} is no size; write it like \"1 MiB\" or \"500 kB\"")),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("{text:?} is no size; write it like \"1 MiB\" or \"500 kB\""))?;
    number.checked_mul(factor).ok_or_else(|| format!("{text:?} is more than wilco can count"))
}

/// A size as the file has it, in the largest unit that it is a whole number of.
pub(crate) fn written(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.iter().find(|(_, bits)| bytes != 0 && bytes.trailing_zeros() >= *bits);
    unit.map_or_else(|| format!("{bytes} B"), |(unit, bits)| format!("{} {unit}", bytes >> bits))
}

/// `500 ms`, `30 s`, `2 min`, `24 h`, `30 days`.
///
/// # Errors
///
/// It is none, and how one is written.
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
    let wrong = || format!("{text:?} is no time; write it like \"30 s\", \"2 min\" or \"24 h\"");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match number.checked_mul(millis) {
        Some(0) | None => Err(wrong()),
        Some(total) if total > DURATION_MS_MAX => Err(format!("{text:?} is more than ten years")),
        Some(total) => Ok(Duration::from_millis(total)),
    }
}

/// `10/s`, `100/min`, `1000/h`.
pub(crate) fn rate(text: &str) -> Result<RateLimit, String> {
    let wrong =
        || format!("{text:?} is no rate; write it like \"10/s\", \"100/min\" or \"1000/h\"");
    let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
    let count = count.trim().parse().ok().filter(|count| (1..=RATE_MAX).contains(count));
    let secs = match unit.trim() {
        "s" => 1,
        "min" => 60,
        "h" => 3_600,
        _ => return Err(wrong()),
    };
    Ok(RateLimit { count: count.ok_or_else(wrong)?, per: Duration::from_secs(secs) })
}

/// `0.0.0.0:443`, `[::]:443`, `unix:/run/wilco/wilco.sock`.
///
/// # Errors
///
/// It is none, and how one is written.
pub fn address(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Address::Unix(path.into()));
    }
    text.parse::<SocketAddr>().map(Address::Tcp).map_err(|_| {
        format!("{text:?} is no address; write IP:PORT, such as \"0.0.0.0:443\", or \"unix:PATH\"")
    })
}

/// `203.0.113.0/24`, or a single address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    text.parse()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{text:?} is no network; write it like \"203.0.113.0/24\""))
}

/// A file that can be read now.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    // What does not look like a path may be what belongs into the file.
    let shown = if is_path(text) { text } else { "the file that it names" };
    fs::File::open(text).map_err(|cause| format!("cannot read {shown}: {cause}"))?;
    Ok(text.into())
}

/// A file that may not be there yet, in a folder that is.
pub(crate) fn growing(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let folder = folder_of(&path);
    match fs::metadata(folder) {
        Err(cause) => return Err(format!("cannot find the folder {}: {cause}", folder.display())),
        Ok(found) if !found.is_dir() => return Err(format!("{} is no folder", folder.display())),
        Ok(_) => {}
    }
    match fs::metadata(&path) {
        Ok(found) if !found.is_file() => Err(format!("{text} is no regular file")),
        _ if path.file_name().is_none() => Err(format!("{text:?} names no file")),
        _ => Ok(path),
    }
}

/// A path of an endpoint, as it stands in a request.
pub(super) fn url_path(text: &str) -> Result<String, String> {
    let uri: Result<http::Uri, _> = text.parse();
    match uri {
        Ok(uri) if uri.path() == text && text.starts_with('/') => Ok(text.into()),
        _ => Err(format!("{text:?} is no path; it begins with / and has no ? or space")),
    }
}

/// An absolute `http` or `https` URL. An error shows nothing of it: it may have a secret.
///
/// # Errors
///
/// It is none, and how one is written.
pub fn url(text: &str) -> Result<http::Uri, String> {
    let wrong = || "the url is no URL that begins with http:// or https:// and a host".to_owned();
    let url: http::Uri = text.parse().map_err(|_| wrong())?;
    match (url.scheme_str(), url.authority()) {
        (Some("http" | "https"), Some(authority)) if !authority.as_str().contains('@') => Ok(url),
        (Some("http" | "https"), Some(_)) => {
            Err("a name or password in a URL is not sent; use a header instead".into())
        }
        _ => Err(wrong()),
    }
}

/// Reads a command as a shell would split it, and sees that its program can be run.
///
/// # Errors
///
/// It cannot be split, or its program cannot be run.
pub fn command_line(line: &str) -> Result<Vec<String>, String> {
    let words = shlex::split(line).filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| format!("{line:?} is no command; is a quote left open?"))?;
    executable(&words[0])?;
    Ok(words)
}

/// A program that is there and may be executed.
pub(crate) fn executable(program: &str) -> Result<(), String> {
    if !program.contains('/') {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|folder| may_run(&folder.join(program)));
        return if found { Ok(()) } else { Err(format!("no program {program:?} in PATH")) };
    }
    match fs::metadata(program) {
        Err(cause) => Err(format!("cannot find {program}: {cause}")),
        Ok(_) if may_run(program.as_ref()) => Ok(()),
        Ok(_) => Err(format!("{program} is not an executable file; try chmod +x {program}")),
    }
}

fn may_run(path: &std::path::Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
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
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "MiB", "-1", "1 mib", "1.5 MiB", "99999999999999999999", "18446744 TiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_with_their_unit_and_are_never_nothing() {
        for (text, expected) in
            [("500 ms", 500), ("30 s", 30_000), ("2min", 120_000), ("30 days", 2_592_000_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(expected)), "{text}");
        }
        for text in ["", "30", "0 s", "1 month", "-5 s", "9999999 days"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_is_a_number_in_a_while() {
        for (text, count, secs) in [("10/s", 10, 1), ("100 / min", 100, 60), ("7/h", 7, 3_600)] {
            assert_eq!(
                rate(text),
                Ok(RateLimit { count, per: Duration::from_secs(secs) }),
                "{text}"
            );
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
