//! How the dashboard and the command line write sizes and times for people.

use std::borrow::Borrow;

/// A size of two or three digits: `1.5 KiB`, `200 GiB`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn size(bytes: impl Borrow<u64>) -> String {
    let (mut number, mut unit) = (*bytes.borrow() as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if number < 1_000.0 {
            break;
        }
        (number, unit) = (number / 1_024.0, larger);
    }
    match unit {
        "B" => format!("{number} B"),
        _ if number < 9.95 => format!("{number:.1} {unit}"),
        _ => format!("{number:.0} {unit}"),
    }
}

/// A length of time in the largest unit of which it has two, rounded down: `29 h`. The script of the dashboard
/// does the same.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        for (bytes, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (200 << 30, "200 GiB"),
            (7_000 << 40, "7000 TiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
        for (seconds, expected) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7_199, "119 min"),
            (29 * 3_600, "29 h"),
            (90 * 86_400, "90 days"),
        ] {
            assert_eq!(span(seconds), expected);
        }
    }
}
