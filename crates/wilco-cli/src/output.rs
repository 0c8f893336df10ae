//! How results are printed: tables that fit the terminal, colours, and times.

use std::{io, time::Duration};

use console::{measure_text_width, truncate_str};
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
}

/// A table without lines. The first rows decide the widths of the columns; later rows keep them.
pub(crate) struct Table {
    header: Vec<String>,
    /// The width below which a column is not shortened.
    shortest: Vec<usize>,
    widths: Vec<usize>,
    screen: Screen,
    is_begun: bool,
}

impl Table {
    /// Each column has a title, and a width below which it is not shortened.
    pub(crate) fn new(columns: &[(&str, usize)], screen: Screen) -> Self {
        let header: Vec<_> = columns.iter().map(|(title, _)| visible(title)).collect();
        Self {
            widths: header.iter().map(|title| measure_text_width(title)).collect(),
            shortest: columns.iter().map(|(_, shortest)| *shortest).collect(),
            header,
            screen,
            is_begun: false,
        }
    }

    /// The rows as text; the first time with the header.
    pub(crate) fn draw(&mut self, rows: &[Vec<String>]) -> String {
        let rows: Vec<Vec<_>> =
            rows.iter().map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = measure_text_width(cell).max(*width);
            }
        }
        match self.screen.width {
            Some(screen) => fit(&mut self.widths, &self.shortest, screen),
            // One long name must not push all others aside.
            None => self.widths.iter_mut().for_each(|width| *width = (*width).min(PAD_CHARS_MAX)),
        }
        let mut text = String::new();
        if !self.is_begun {
            text.push_str(&self.line(&self.header));
            self.is_begun = true;
        }
        for row in &rows {
            let line = self.line(row);
            text.push_str(&if self.screen.is_coloured { painted(&line) } else { line });
        }
        text
    }

    fn line(&self, cells: &[String]) -> String {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(&self.widths) {
            let cell = match self.screen.width {
                Some(_) => truncate_str(cell, *width, "…"),
                None => cell.into(),
            };
            line.push_str(&cell);
            let padding = width.saturating_sub(measure_text_width(&cell)) + GAP;
            line.extend(std::iter::repeat_n(' ', padding));
        }
        format!("{}\n", line.trim_end())
    }
}

/// Shortens the widest columns until the row fits the screen, or no column can be shortened
/// further.
fn fit(widths: &mut [usize], shortest: &[usize], screen: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > screen {
        let can_give = |(width, shortest): &(&mut usize, &usize)| **width > **shortest;
        let widest = widths.iter_mut().zip(shortest).filter(can_give).max_by_key(|(w, _)| **w);
        let Some((width, _)) = widest else { return };
        *width -= 1;
    }
}

/// Colours the states of deliveries and destinations.
pub(crate) fn painted(line: &str) -> String {
    let colour = |word: &str| match word.trim_end_matches([',', ';', ':']) {
        "delivered" | "ok" | "✓" => Some(32),
        "dead" | "failed" | "✗" => Some(31),
        "retrying" | "paused" | "damaged" => Some(33),
        _ => None,
    };
    let word = |word: &str| match colour(word) {
        Some(colour) => format!("\u{1b}[{colour}m{word}\u{1b}[0m"),
        None => word.to_owned(),
    };
    line.split_inclusive([' ', '\n'])
        .map(|part| {
            let bare = part.trim_end_matches([' ', '\n']);
            word(bare) + &part[bare.len()..]
        })
        .collect()
}

/// Text from a sender without what a terminal would interpret or what could hide other text:
/// control characters, bidirectional overrides, and characters without a width.
pub(crate) fn visible(text: &str) -> String {
    let is_hidden = |c: char| {
        (c.is_control() && c != '\t')
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    text.chars().map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect()
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
        let text = zoned.strftime("%Y-%m-%d %H:%M:%S").to_string();
        let offset = self.offset(at);
        if offset == usual { text } else { text + &offset }
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

/// `; did you mean erp?`, or nothing.
pub(crate) fn did_you_mean<'n>(word: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let near = config::nearest(word, known);
    near.map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

const GAP: usize = 2;
const LABEL_CHARS: usize = 13;
const LINE_COLUMNS: usize = 80;
/// If nothing is shortened, columns are aligned up to this width.
const PAD_CHARS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_the_screen_and_shortens_its_widest_columns() {
        let rows = [
            vec!["2026-11-25 14:04:49".to_owned(), "booking.updated".into(), "x".repeat(90)],
            vec![
                "2026-11-25 14:04:50".into(),
                "映画祭映画祭映画祭映画祭".into(),
                "delivered".into(),
            ],
        ];
        for width in [40, 50, 80, 120, 200] {
            let screen = Screen { width: Some(width), is_coloured: false };
            let columns = [("received", 19), ("event", 6), ("about", 6)];
            let drawn = Table::new(&columns, screen).draw(&rows);
            let widest = drawn.lines().map(measure_text_width).max().unwrap();
            assert!(widest <= width, "{width}: {widest}\n{drawn}");
            assert!(drawn.contains("2026-11-25 14:04:49  "), "{drawn}");
            assert_eq!(drawn.contains('…'), width < 130, "{width}\n{drawn}");
        }
    }

    #[test]
    fn without_a_terminal_nothing_is_shortened_and_a_long_name_does_not_widen_its_column() {
        let rows = [vec!["x".repeat(300), "a".into()], vec!["y".into(), "b".into()]];
        let screen = Screen { width: None, is_coloured: false };
        let drawn = Table::new(&[("event", 6), ("about", 6)], screen).draw(&rows);
        let lines: Vec<_> = drawn.lines().collect();
        assert_eq!(lines[1], format!("{}  a", "x".repeat(300)));
        assert!(lines[2].len() < 50 && lines[2].ends_with("  b"), "{drawn}");
    }

    #[test]
    fn later_rows_are_aligned_with_the_same_header() {
        let screen = Screen { width: None, is_coloured: false };
        let mut table = Table::new(&[("event", 6), ("id", 6)], screen);
        let first = table.draw(&[vec!["booking.updated".into(), "a".into()]]);
        let second = table.draw(&[vec!["x".into(), "b".into()]]);
        assert_eq!(first.lines().count(), 2);
        assert_eq!(second, "x                b\n");
        assert_eq!(first.lines().nth(1).unwrap().find(" a"), second.find(" b"));
    }

    #[test]
    fn no_cell_of_a_table_hides_text_or_controls_the_terminal() {
        for text in ["a\u{1b}[2Jb", "a\u{202e}b", "a\u{2066}b", "a\u{200b}b", "a\u{9b}b", "a\nb"] {
            let screen = Screen { width: Some(80), is_coloured: false };
            let drawn = Table::new(&[("event", 6)], screen).draw(&[vec![text.into()]]);
            assert!(drawn.contains("a\u{fffd}") && drawn.lines().count() == 2, "{drawn:?}");
        }
        assert_eq!(visible("Größe 映画 🎬\t"), "Größe 映画 🎬\t");
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
