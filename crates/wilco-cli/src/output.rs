//! How results are printed: for which screen, without what a sender could control it with, and times.

use std::{io, time::Duration};

use console::measure_text_width;
use jiff::{Timestamp, ZonedDateTime, civil::Date, tz::TimeZone};
use wilco_server::{clock, config};

use super::is_coloured;

/// The screen that stdout goes to.
#[derive(Clone, Copy)]
pub(crate) struct Screen {
    /// In characters; `None` if stdout is not a terminal, so that nothing may be shortened.
    pub(crate) width: Option<usize>,
    pub(crate) is_coloured: bool,
}

impl Screen {
    pub(crate) fn stdout() -> Self {
        let size = console::Term::stdout().size_checked();
        Self {
            width: size.map(|(_, columns)| usize::from(columns)),
            is_coloured: is_coloured(&io::stdout()),
        }
    }

    pub(crate) fn is_terminal(self) -> bool {
        self.width.is_some()
    }

    /// Whether a row has to do without what its reader most likely knows.
    pub(crate) fn is_narrow(self) -> bool {
        self.width.is_some_and(|width| width < NARROW_COLUMNS)
    }

    /// Words with a colour each, where they are states of deliveries and destinations.
    pub(crate) fn painted(self, words: &str) -> String {
        if self.is_coloured { painted(words) } else { words.to_owned() }
    }
}

/// Colours the states of deliveries and destinations.
fn painted(words: &str) -> String {
    let colour = |word: &str| match word.trim_end_matches([',', ';', ':', '…']) {
        "delivered" | "ok" | "yes" | "✓" => Some(GREEN),
        "dead" | "failed" | "open" | "✗" => Some(RED),
        "retrying" | "paused" | "damaged" | "failing" | "waiting" => Some(YELLOW),
        "skipped" | "superseded" | "cancelled" => Some(DIM),
        _ => None,
    };
    let word = |word: &str| match colour(word) {
        Some(colour) => styled(colour, word),
        None => word.to_owned(),
    };
    words
        .split_inclusive([' ', '\n'])
        .map(|part| {
            let bare = part.trim_end_matches([' ', '\n']);
            word(bare) + &part[bare.len()..]
        })
        .collect()
}

pub(super) fn styled(style: u8, text: &str) -> String {
    format!("\u{1b}[{style}m{text}\u{1b}[0m")
}

/// Text from a sender without what a terminal would interpret or what could hide other text:
/// control characters, bidirectional overrides, and characters without a width.
pub(crate) fn visible(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect()
}

/// The same of a text that may have several lines.
pub(crate) fn visible_lines(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

/// The same of JSON, which stays the same value.
pub(crate) fn visible_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if !is_hidden(c) {
            text.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            text += &format!("\\u{unit:04x}");
        }
    }
    text
}

fn is_hidden(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The time zone that times are shown in: local, or UTC.
pub(crate) struct Times(TimeZone);

impl Times {
    pub(crate) fn new(is_utc: bool) -> Self {
        Self(if is_utc { TimeZone::UTC } else { TimeZone::system() })
    }

    /// `2026-11-25T14:04:49.250+01:00`
    pub(crate) fn full(&self, at: Timestamp) -> String {
        self.zoned(at).strftime("%Y-%m-%dT%H:%M:%S.%3f%:z").to_string()
    }

    /// `2026-11-25 14:04:49`, with the offset if it differs from `usual`.
    pub(crate) fn short(&self, at: Timestamp, usual: &str) -> String {
        let zoned = self.zoned(at);
        self.with_offset(zoned.strftime("%Y-%m-%d %H:%M:%S").to_string(), at, usual)
    }

    fn with_offset(&self, text: String, at: Timestamp, usual: &str) -> String {
        let offset = self.offset(at);
        if offset == usual { text } else { text + &offset }
    }

    /// The title of a column of times, most of which have this offset.
    pub(crate) fn title(&self, what: &str, screen: Screen, usual: &str) -> String {
        if screen.is_terminal() { format!("{what} ({usual})") } else { what.to_owned() }
    }

    /// The title of a column of times of receipt, which is the first of a wide table.
    pub(crate) fn received(&self, screen: Screen, usual: &str) -> String {
        self.title(if screen.is_narrow() { "at" } else { "received" }, screen, usual)
    }

    /// A time in such a column: complete, unless it is for a terminal.
    pub(crate) fn cell(&self, at: Timestamp, screen: Screen, usual: &str) -> String {
        match (screen.is_terminal(), screen.is_narrow()) {
            (true, true) => self.brief(at, clock::now(), usual),
            (true, false) => self.short(at, usual),
            (false, _) => self.full(at),
        }
    }

    /// `14:04:49` of today, `11-24 14:04` of this year, else `2025-11-24`, with the offset if it differs from
    /// `usual`.
    fn brief(&self, at: Timestamp, now: Timestamp, usual: &str) -> String {
        let (zoned, now) = (self.zoned(at), self.zoned(now));
        let format = match zoned.date() {
            date if date == now.date() => "%H:%M:%S",
            date if date.year() == now.date().year() => "%m-%d %H:%M",
            _ => "%Y-%m-%d",
        };
        self.with_offset(zoned.strftime(format).to_string(), at, usual)
    }

    /// `14:04:49`
    pub(crate) fn of_day(&self, at: Timestamp) -> String {
        self.zoned(at).strftime("%H:%M:%S").to_string()
    }

    /// `14:04:49+01:00`
    pub(crate) fn time(&self, at: Timestamp) -> String {
        self.zoned(at).strftime("%H:%M:%S%:z").to_string()
    }

    /// `+01:00`
    pub(crate) fn offset(&self, at: Timestamp) -> String {
        self.zoned(at).strftime("%:z").to_string()
    }

    fn zoned(&self, at: Timestamp) -> ZonedDateTime {
        at.to_zoned_datetime(self.0.clone())
    }
}

/// A time that a person wrote, in the local time zone.
pub(crate) fn instant(text: &str) -> Result<Timestamp, String> {
    instant_at(text, &clock::now().to_zoned_datetime(TimeZone::system()))
}

fn instant_at(text: &str, now: &ZonedDateTime) -> Result<Timestamp, String> {
    let wrong = || {
        format!(
            "invalid time {text:?}: expected 2026-11-24, 14:00, 2026-11-24T14:00, yesterday, \
             2026-11-24T08:00:00Z, or 2h for two hours ago"
        )
    };
    let of_day =
        |day: Date| day.to_zoned_datetime(now.time_zone().clone()).map(|day| day.timestamp());
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let ago = text.strip_suffix('m').filter(|number| number.parse::<u32>().is_ok());
    let ago = ago.map_or_else(|| text.into(), |minutes| format!("{minutes} min"));
    if let Ok(ago) = config::duration(&ago) {
        return now.timestamp().checked_sub(ago).map_err(|error| error.to_string());
    }
    // The parser also takes an hour alone, and the time of a whole date.
    let is_time = text.contains(':') && !text.contains('-');
    let at = if text == "today" {
        of_day(now.date())
    } else if text == "yesterday" {
        now.date().yesterday().and_then(of_day)
    } else if let (Ok(time), true) = (text.parse::<jiff::civil::Time>(), is_time) {
        now.date()
            .to_datetime(time)
            .to_zoned_datetime(now.time_zone().clone())
            .map(|at| at.timestamp())
    } else {
        let at = text.parse::<jiff::civil::DateTime>();
        at.and_then(|at| at.to_zoned_datetime(now.time_zone().clone())).map(|at| at.timestamp())
    };
    at.map_err(|_| wrong())
}

/// A duration as people read it, in three digits: `8.42 µs`, `850 µs`, `12.3 ms`, `4.20 s`.
pub(crate) fn readable(time: Duration) -> String {
    let (number, unit) = match time.as_secs_f64() {
        s if s < 0.000_999_5 => (s * 1e6, "µs"),
        s if s < 0.999_5 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    match number {
        n if n < 9.995 => format!("{n:.2} {unit}"),
        n if n < 99.95 => format!("{n:.1} {unit}"),
        n => format!("{n:.0} {unit}"),
    }
}

/// A label, and a value that is broken at spaces.
pub(crate) fn labelled(label: &str, value: &str) -> String {
    wrapped(&format!("{label:<LABEL_CHARS$}"), &" ".repeat(LABEL_CHARS), value)
}

/// Text that is broken at spaces into lines that fit a terminal of 80 columns, with something before the first
/// and before each further line.
pub(crate) fn wrapped(first: &str, further: &str, value: &str) -> String {
    let (mut text, mut line) = (String::new(), first.to_owned());
    let mut has_words = false;
    for word in value.split_whitespace() {
        if has_words && measure_text_width(&line) + measure_text_width(word) > LINE_COLUMNS {
            text += &format!("{}\n", line.trim_end());
            line = further.to_owned();
        }
        line += &format!("{word} ");
        has_words = true;
    }
    text + line.trim_end() + "\n"
}

const LABEL_CHARS: usize = 13;
const LINE_COLUMNS: usize = 80;
/// Below this, a listing leaves out dates of today.
const NARROW_COLUMNS: usize = 100;

/// How a terminal is told to draw text.
pub(super) const BOLD: u8 = 1;
const DIM: u8 = 2;
pub(super) const RED: u8 = 31;
const GREEN: u8 = 32;
const YELLOW: u8 = 33;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_sender_hides_nothing_and_controls_nothing() {
        for text in [
            "a\u{1b}[2Jb",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{200b}b",
            "a\u{9b}b",
            "a\nb",
            "a\u{e0100}b",
            "a\u{3164}b",
            "a\u{34f}b",
        ] {
            assert!(visible(text).starts_with("a\u{fffd}"), "{text:?}");
        }
        assert_eq!(visible("Größe 映画 🎬\t"), "Größe 映画 🎬\t");
        assert_eq!(visible_lines("a\nb\u{7}\r\n"), "a\nb\u{fffd}\u{fffd}\n");
        let json = serde_json::to_string("ö\u{9b}\u{202e}\u{e0100}\u{1b}").unwrap();
        let shown = visible_json(&json);
        assert_eq!(shown, r#""ö\u009b\u202e\udb40\udd00\u001b""#);
        let read: (String, String) =
            (serde_json::from_str(&json).unwrap(), serde_json::from_str(&shown).unwrap());
        assert_eq!(read.0, read.1);
    }

    #[test]
    fn a_line_of_text_has_at_most_80_columns() {
        for (word, fitting) in [("abc", 19), ("映画", 15)] {
            let text = |count| wrapped("- a: ", "  ", &vec![word; count].join(" "));
            assert_eq!(text(fitting).lines().count(), 1, "{word}");
            assert!(text(fitting + 1).ends_with(&format!("\n  {word}\n")), "{word}");
        }
        let long = "x".repeat(100);
        assert_eq!(labelled("events", &long), format!("events       {long}\n"));
    }

    #[test]
    fn only_states_are_coloured() {
        assert_eq!(painted("erp delivered, log x\n"), "erp \u{1b}[32mdelivered,\u{1b}[0m log x\n");
        assert_eq!(painted("a dead\n"), "a \u{1b}[31mdead\u{1b}[0m\n");
        assert_eq!(painted("deadline  retrying"), "deadline  \u{1b}[33mretrying\u{1b}[0m");
    }

    #[test]
    fn a_time_is_read_as_people_write_it() {
        let now: ZonedDateTime = "2026-11-25T15:00:00+01:00[+01:00]".parse().unwrap();
        for (text, expected) in [
            ("2026-11-25", "2026-11-24T23:00:00Z"),
            ("today", "2026-11-24T23:00:00Z"),
            ("yesterday", "2026-11-23T23:00:00Z"),
            ("14:00", "2026-11-25T13:00:00Z"),
            ("14:00:30", "2026-11-25T13:00:30Z"),
            ("2026-11-24T14:00", "2026-11-24T13:00:00Z"),
            ("2026-11-24 14:00", "2026-11-24T13:00:00Z"),
            ("2026-11-24T14:00:00Z", "2026-11-24T14:00:00Z"),
            ("2026-11-24T14:00:00+02:00", "2026-11-24T12:00:00Z"),
            ("10m", "2026-11-25T13:50:00Z"),
            ("10 min", "2026-11-25T13:50:00Z"),
            ("2h", "2026-11-25T12:00:00Z"),
            ("3 days", "2026-11-22T14:00:00Z"),
        ] {
            let expected: Timestamp = expected.parse().unwrap();
            assert_eq!(instant_at(text, &now), Ok(expected), "{text}");
        }
        for text in ["", "soon", "25:00", "2026-13-01", "-2h", "10"] {
            assert!(instant_at(text, &now).is_err(), "{text}");
        }
    }

    #[test]
    fn a_narrow_listing_leaves_out_what_its_reader_knows() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let times = Times(TimeZone::fixed(jiff::tz::offset(1)));
        for (text, expected) in [
            ("2026-11-25T13:04:49Z", "14:04:49"),
            ("2026-11-24T23:00:00Z", "00:00:00"),
            ("2026-11-24T22:59:59Z", "11-24 23:59"),
            ("2025-12-31T22:00:00Z", "2025-12-31"),
        ] {
            assert_eq!(
                times.brief(at(text), at("2026-11-25T14:00:00Z"), "+01:00"),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_duration_is_shown_in_three_digits() {
        for (micros, expected) in [
            (8, "8.00 µs"),
            (432, "432 µs"),
            (1_004, "1.00 ms"),
            (12_340, "12.3 ms"),
            (432_100, "432 ms"),
            (4_204_000, "4.20 s"),
        ] {
            assert_eq!(readable(Duration::from_micros(micros)), expected);
        }
    }
}
