//! Tables that fit the terminal.

use std::iter::repeat_n;

use console::{measure_text_width, truncate_str};

use super::output::{BOLD, RED, Screen, styled, visible};

/// A table without lines. The first rows decide which columns it has; later ones may widen them.
pub(crate) struct Table {
    columns: Vec<Column>,
    widths: Vec<usize>,
    screen: Screen,
    is_begun: bool,
}

/// What is in a column, and what becomes of it where the terminal is too narrow for everything.
pub(crate) struct Column {
    title: String,
    /// The width below which it is not shortened.
    shortest: usize,
    /// The width that it has before any row asks for more.
    space: usize,
    kind: Kind,
    is_left_out: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Fixed,
    Name,
    State,
    Wrapped,
    Optional,
    Number,
    Alarm,
}

impl Column {
    /// Text whose end is cut off.
    pub(crate) fn text(title: &str, shortest: usize) -> Self {
        Self::of(Kind::Text, title, shortest)
    }

    /// Text that is useless in part, such as a time.
    pub(crate) fn fixed(title: &str) -> Self {
        Self::of(Kind::Fixed, title, 0)
    }

    /// What people type or compare: names, ids, URLs. It is never cut off, and all other columns give way to
    /// it. If that is not enough, it goes on in the next lines.
    pub(crate) fn name(title: &str) -> Self {
        Self::of(Kind::Name, title, NAME_CHARS_MIN)
    }

    /// As text, with states in colour.
    pub(crate) fn state(title: &str, shortest: usize) -> Self {
        Self::of(Kind::State, title, shortest)
    }

    /// Text that goes on in the next lines.
    pub(crate) fn wrapped(title: &str, shortest: usize) -> Self {
        Self::of(Kind::Wrapped, title, shortest)
    }

    /// Text that is of use only as a whole: without enough space, the table has no such column.
    pub(crate) fn optional(title: &str) -> Self {
        Self::of(Kind::Optional, title, 0)
    }

    pub(crate) fn number(title: &str) -> Self {
        Self::of(Kind::Number, title, 0)
    }

    /// A number that is red unless it is 0.
    pub(crate) fn alarm(title: &str) -> Self {
        Self::of(Kind::Alarm, title, 0)
    }

    /// With space for this much in any case, where later rows may be longer than the first.
    pub(crate) fn with_space_for(self, chars: usize) -> Self {
        Self { space: chars, ..self }
    }

    fn of(kind: Kind, title: &str, shortest: usize) -> Self {
        let title = visible(title);
        Self {
            shortest: shortest.max(measure_text_width(&title)),
            title,
            kind,
            space: 0,
            is_left_out: false,
        }
    }

    fn is_number(&self) -> bool {
        matches!(self.kind, Kind::Number | Kind::Alarm)
    }
}

impl Table {
    pub(crate) fn new(columns: impl IntoIterator<Item = Column>, screen: Screen) -> Self {
        let columns: Vec<_> = columns.into_iter().collect();
        let widths = columns
            .iter()
            .map(|column| measure_text_width(&column.title).max(column.space))
            .collect();
        Self { columns, widths, screen, is_begun: false }
    }

    /// The rows as text; the first time with the header.
    pub(crate) fn draw(&mut self, rows: &[Vec<String>]) -> String {
        // A tab has no width of its own.
        let cell = |cell: &String| visible(cell).replace('\t', " ");
        let rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = measure_text_width(cell).max(*width);
            }
        }
        match self.screen.width {
            Some(screen) => self.fit(screen),
            // One long name must not push all others aside.
            None => self.widths.iter_mut().for_each(|width| *width = (*width).min(PAD_CHARS_MAX)),
        }
        let mut text = String::new();
        if !self.is_begun {
            let titles: Vec<_> = self.columns.iter().map(|column| column.title.clone()).collect();
            // A style without text would keep the spaces before it at the end of the line.
            let is_bold = |title: &str| self.screen.is_coloured && !title.is_empty();
            text.push_str(&self.row(&titles, |_, title| match is_bold(title) {
                true => styled(BOLD, title),
                false => title.to_owned(),
            }));
            self.is_begun = true;
        }
        for row in &rows {
            text.push_str(&self.row(row, |column, cell| match column.kind {
                Kind::State => self.screen.painted(cell),
                Kind::Alarm if self.screen.is_coloured && cell != "0" => styled(RED, cell),
                _ => cell.to_owned(),
            }));
        }
        text
    }

    /// Leaves out optional columns, then makes the widest columns narrower until the row fits the screen, names
    /// last, or until no column can be narrower. Text that goes on in the next line loses nothing, so an
    /// optional column stays if there is space for it once that is as narrow as it may be.
    fn fit(&mut self, screen: usize) {
        while !self.is_begun && self.total() - self.breakable() > screen {
            let shown = self.columns.iter_mut().rev().filter(|column| !column.is_left_out);
            let mut optional = shown.filter(|column| column.kind == Kind::Optional);
            let Some(column) = optional.next() else { break };
            column.is_left_out = true;
        }
        for are_names in [false, true] {
            while self.total() > screen {
                let shown = self.columns.iter().zip(&mut self.widths);
                let can_give = shown.filter(|(column, width)| {
                    let is_name = column.kind == Kind::Name;
                    let is_fixed = column.kind == Kind::Fixed || column.is_number();
                    is_name == are_names
                        && !is_fixed
                        && !column.is_left_out
                        && **width > column.shortest
                });
                let Some((_, width)) = can_give.max_by_key(|(_, width)| **width) else { break };
                *width -= 1;
            }
        }
    }

    /// By how much wrapped columns can be narrower.
    fn breakable(&self) -> usize {
        let wrapped = self.columns.iter().zip(&self.widths);
        let wrapped = wrapped.filter(|(column, _)| column.kind == Kind::Wrapped);
        wrapped.map(|(column, width)| width.saturating_sub(column.shortest)).sum()
    }

    /// The width of a whole row.
    fn total(&self) -> usize {
        let shown = self.columns.iter().zip(&self.widths).filter(|(column, _)| !column.is_left_out);
        shown.map(|(_, width)| width + GAP).sum::<usize>().saturating_sub(GAP)
    }

    /// A row with its line break. It has as many lines as its highest cell.
    fn row(&self, cells: &[String], paint: impl Fn(&Column, &str) -> String) -> String {
        let columns = self.columns.iter().zip(&self.widths).zip(cells);
        let cells: Vec<_> = columns
            .filter(|((column, _), _)| !column.is_left_out)
            .map(|((column, &width), cell)| (column, width, self.lines(column, width, cell)))
            .collect();
        let height = cells.iter().map(|(_, _, lines)| lines.len()).max().unwrap_or(0);
        let mut row = String::new();
        for number in 0..height {
            for (column, width, lines) in &cells {
                let line = lines.get(number).map_or("", String::as_str);
                let padding = width.saturating_sub(measure_text_width(line));
                let before = if column.is_number() { padding } else { 0 };
                row.extend(repeat_n(' ', before));
                if !line.is_empty() {
                    row.push_str(&paint(column, line));
                }
                row.extend(repeat_n(' ', padding - before + GAP));
            }
            row.truncate(row.trim_end_matches(' ').len());
            row.push('\n');
        }
        row
    }

    fn lines(&self, column: &Column, width: usize, cell: &str) -> Vec<String> {
        match (self.screen.width, column.kind) {
            (None, _) => vec![cell.to_owned()],
            (_, Kind::Wrapped | Kind::Name) => wrapped_cell(cell, width),
            _ => vec![truncate_str(cell, width, "…").into_owned()],
        }
    }
}

/// Text in lines of a width, broken at spaces, and words that are too long for a line between their parts.
fn wrapped_cell(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut columns = 0;
    for word in text.split_inclusive(' ') {
        let is_too_long = measure_text_width(word.trim_end()) > width;
        let parts: Vec<_> = match is_too_long {
            true => word.split_inclusive(['-', '_', '.', '/', ':']).collect(),
            false => vec![word],
        };
        for part in parts {
            if columns > 0 && columns + measure_text_width(part.trim_end()) > width {
                lines.push(String::new());
                columns = 0;
            }
            for c in part.chars() {
                let char_columns = measure_text_width(c.encode_utf8(&mut [0; 4]));
                if columns + char_columns > width && c != ' ' {
                    lines.push(String::new());
                    columns = 0;
                }
                if let Some(line) = lines.last_mut() {
                    line.push(c);
                }
                columns += char_columns;
            }
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

const GAP: usize = 2;
/// If nothing is shortened, columns are aligned up to this width.
const PAD_CHARS_MAX: usize = 40;
/// The width at which names begin to go on in the next line.
const NAME_CHARS_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Screen = Screen { width: Some(80), is_coloured: false };
    const PIPE: Screen = Screen { width: None, is_coloured: false };

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_table_fits_the_screen_and_shortens_its_widest_columns() {
        let long = "x".repeat(90);
        let rows = [
            row(&["2026-11-25 14:04:49", "booking.updated", &long]),
            row(&["2026-11-25 14:04:50", "映画祭映画祭映画祭映画祭", "delivered"]),
        ];
        for width in [40, 50, 80, 120, 200] {
            let screen = Screen { width: Some(width), is_coloured: false };
            let columns = [("received", 19), ("event", 6), ("about", 6)]
                .map(|(title, w)| Column::text(title, w));
            let drawn = Table::new(columns, screen).draw(&rows);
            let widest = drawn.lines().map(measure_text_width).max().unwrap();
            assert!(widest <= width, "{width}: {widest}\n{drawn}");
            assert!(drawn.contains("2026-11-25 14:04:49  "), "{drawn}");
            assert_eq!(drawn.contains('…'), width < 130, "{width}\n{drawn}");
        }
    }

    #[test]
    fn without_a_terminal_nothing_is_shortened_and_a_long_name_does_not_widen_its_column() {
        let rows = [row(&[&"x".repeat(300), "a"]), row(&["y", "b"])];
        let drawn =
            Table::new([Column::text("event", 6), Column::text("about", 6)], PIPE).draw(&rows);
        let lines: Vec<_> = drawn.lines().collect();
        assert_eq!(lines[1], format!("{}  a", "x".repeat(300)));
        assert!(lines[2].len() < 50 && lines[2].ends_with("  b"), "{drawn}");
    }

    #[test]
    fn later_rows_are_aligned_with_the_same_header() {
        let mut table = Table::new([Column::text("event", 6), Column::text("id", 6)], PIPE);
        let first = table.draw(&[row(&["booking.updated", "a"])]);
        let second = table.draw(&[row(&["x", "b"])]);
        assert_eq!(first.lines().count(), 2);
        assert_eq!(second, "x                b\n");
        assert_eq!(first.lines().nth(1).unwrap().find(" a"), second.find(" b"));
    }

    #[test]
    fn no_cell_of_a_table_breaks_its_line() {
        for text in ["a\u{1b}[2Jb", "a\nb", "a\tb"] {
            let mut table = Table::new([Column::text("event", 6), Column::text("id", 6)], PLAIN);
            let drawn = table.draw(&[row(&[text, "x"])]);
            let column = |line: &str, of: &str| measure_text_width(line.split(of).next().unwrap());
            let lines: Vec<_> = drawn.lines().collect();
            assert_eq!(
                (lines.len(), column(lines[0], "id")),
                (2, column(lines[1], "x")),
                "{drawn:?}"
            );
            assert!(!drawn.contains(['\t', '\u{1b}']), "{drawn:?}");
        }
    }

    #[test]
    fn a_number_is_aligned_at_its_end_and_a_state_is_coloured_but_not_what_a_sender_wrote() {
        let columns = [Column::text("about", 6), Column::state("state", 6), Column::alarm("dead")];
        let screen = Screen { is_coloured: true, ..PLAIN };
        let rows = [row(&["dead failed", "dead", "12"]), row(&["ok", "delivered", "0"])];
        let drawn = Table::new(columns, screen).draw(&rows);
        assert_eq!(
            drawn.replace("\u{1b}[", "<"),
            "<1mabout<0m        <1mstate<0m      <1mdead<0m\n\
             dead failed  <31mdead<0m         <31m12<0m\n\
             ok           <32mdelivered<0m     0\n"
        );
    }

    #[test]
    fn an_optional_column_is_there_as_a_whole_or_not_at_all() {
        let columns =
            || [Column::text("name", 4), Column::optional("page"), Column::text("title", 5)];
        let rows = [row(&["a", &"p".repeat(60), "a title"])];
        for (width, has_page) in [(80, true), (70, false), (30, false)] {
            let screen = Screen { width: Some(width), is_coloured: false };
            let drawn = Table::new(columns(), screen).draw(&rows);
            assert_eq!(
                drawn.contains("page") && drawn.contains(&"p".repeat(60)),
                has_page,
                "{drawn}"
            );
            assert!(drawn.contains("a title") && !drawn.contains('…'), "{drawn}");
        }
    }

    #[test]
    fn a_name_is_never_cut_off() {
        let name = "provision-storage-of-projects";
        let title = "Salt Roads, the second season";
        for (width, expected) in [
            (63, "provision-storage-of-projects  Salt Roads, the second season  3\n"),
            (50, "provision-storage-of-projects  Salt Roads, the…  3\n"),
            (42, "provision-storage-of-projects  Salt Ro…  3\n"),
            (32, "provision-storage-   Salt Ro…  3\nof-projects\n"),
            (10, "provision-        Salt Ro…  3\nstorage-of-\nprojects\n"),
        ] {
            let columns = [Column::name("to"), Column::text("about", 8), Column::number("n")];
            let screen = Screen { width: Some(width), is_coloured: false };
            let drawn = Table::new(columns, screen).draw(&[row(&[name, title, "3"])]);
            assert_eq!(drawn.split_once('\n').unwrap().1, expected, "{width}");
        }
    }

    #[test]
    fn a_wrapped_cell_goes_on_below_itself() {
        for (text, width, expected) in [
            ("", 5, &[""][..]),
            ("one two three", 20, &["one two three"]),
            ("one two three", 8, &["one two", "three"]),
            ("one two three", 7, &["one two", "three"]),
            ("abcdefgh ij", 4, &["abcd", "efgh", "ij"]),
            ("a storage-of-projects", 12, &["a storage-", "of-projects"]),
            ("storage-of-projects", 3, &["sto", "rag", "e-", "of-", "pro", "jec", "ts"]),
            ("映画祭", 5, &["映画", "祭"]),
        ] {
            assert_eq!(wrapped_cell(text, width), expected, "{text} {width}");
        }
        let columns = [Column::text("route", 5), Column::wrapped("because", 8)];
        let screen = Screen { width: Some(17), is_coloured: false };
        let drawn = Table::new(columns, screen).draw(&[row(&["1", "takes only project"])]);
        assert_eq!(drawn, "route  because\n1      takes only\n       project\n");
    }
}
