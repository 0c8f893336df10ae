//! Output that is the same on each run.

/// Colours as `<31>`.
pub(super) fn as_written(drawn: &str) -> String {
    let mut text = String::new();
    let mut parts = drawn.split("\u{1b}[");
    text += parts.next().unwrap_or_default();
    for part in parts {
        let (style, rest) = part.split_once('m').unwrap();
        text += &format!("<{style}>{rest}");
    }
    text
}

/// Times and ids are replaced by fixed ones of the same length.
pub(super) fn with_fixed_values(drawn: &str) -> String {
    let mut text = String::new();
    let mut rest = drawn;
    while let Some(c) = rest.chars().next() {
        let is_inside = text.ends_with(|c: char| c.is_ascii_alphanumeric());
        let found = VALUES.iter().find(|(pattern, _)| !is_inside && begins(rest, pattern));
        let length = match found {
            Some((pattern, value)) => {
                text += value;
                pattern.len()
            }
            None => {
                text.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    text
}

/// In a pattern, `0` is any digit and `A` any digit or capital.
fn begins(text: &str, pattern: &str) -> bool {
    let fits = |(byte, pattern): (u8, u8)| match pattern {
        b'0' => byte.is_ascii_digit(),
        b'A' => byte.is_ascii_digit() || byte.is_ascii_uppercase(),
        _ => byte == pattern,
    };
    let mut after = text.bytes().skip(pattern.len());
    text.len() >= pattern.len()
        && text.bytes().zip(pattern.bytes()).all(fits)
        && after.next().is_none_or(|byte| !byte.is_ascii_digit() && !byte.is_ascii_uppercase())
}

/// Longer patterns come before those that they begin with.
const VALUES: &[(&str, &str)] = &[
    ("0000-00-00T00:00:00.000", "2026-11-25T14:04:49.250"),
    ("0000-00-00", "2026-11-25"),
    ("00:00:00.000", "14:04:49.250"),
    ("00:00:00", "14:04:49"),
    // Of yesterday, shortly after midnight.
    ("00-00 00:00", "14:04:49   "),
    ("01AAAAAAAAAAAAAAAAAAAAAAAA", "01JQ8ZK4N3W8T1V5R7Y9ABCDEF"),
    ("01AAAAAAAAAAA", "01JQ8ZK4N3W8T"),
    ("127.0.0.1:00000", "127.0.0.1:8443"),
    // How long something took.
    ("0.00 µs", "1.25 ms"),
    ("00.0 µs", "1.25 ms"),
    ("000 µs", "1.25 ms"),
    ("0.00 ms", "1.25 ms"),
    ("00.0 ms", "1.25 ms"),
    ("000 ms", "1.25 ms"),
    ("0.00 s", "1.25 ms"),
    // How large files are.
    ("0.0 KiB", "2.0 MiB"),
    ("00 KiB", "2.0 MiB"),
    ("000 KiB", "2.0 MiB"),
    ("0.0 MiB", "2.0 MiB"),
    ("00 MiB", "2.0 MiB"),
    ("000 MiB", "2.0 MiB"),
    ("0.0 GiB", "2.0 MiB"),
    ("00 GiB", "2.0 MiB"),
    ("000 GiB", "2.0 MiB"),
];
