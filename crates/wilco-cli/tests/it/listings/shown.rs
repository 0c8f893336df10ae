//! Output that is the same on each run.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};

use console::{measure_text_width, strip_ansi_codes};

use crate::{
    commands::{on_terminals, text},
    generated::check_file,
};

/// What a command prints, to be compared with what it printed before.
pub(crate) struct Output {
    title: String,
    command: Command,
    /// After how many lines it is stopped.
    lines_max: usize,
    /// Whether nothing may be wider than the terminal.
    is_table: bool,
}

impl Output {
    pub(crate) fn table(title: &str, command: Command, lines_max: usize) -> Self {
        Self { title: title.into(), command, lines_max, is_table: true }
    }

    /// A page has lines that are as long as what somebody sent.
    pub(crate) fn page(title: &str, command: Command) -> Self {
        Self { title: title.into(), command, lines_max: usize::MAX, is_table: false }
    }

    /// In terminals, with colours, and in a pipe. What is the same in several of them is there once.
    fn drawn(self) -> String {
        let mut parts: Vec<(String, String)> = Vec::new();
        let mut add = |place: String, text: String| match parts.last_mut() {
            Some((places, same)) if *same == text => *places += &format!(", {place}"),
            _ => parts.push((place, text)),
        };
        let terminals = [80, 120, 200].map(|columns| [(columns, true), (columns, false)]);
        let terminals = terminals.as_flattened();
        let environment = [("TERM", "xterm")];
        let outputs = on_terminals(&self.command, terminals, &environment, self.lines_max);
        let outputs: Vec<_> = outputs.iter().map(|output| with_fixed_values(output)).collect();
        for (pair, terminals) in outputs.chunks(2).zip(terminals.chunks(2)) {
            let (coloured, columns) = (&pair[0], terminals[0].0);
            let plain = strip_ansi_codes(coloured);
            assert_eq!(pair[1], plain, "colours move nothing");
            check_plurals(&plain);
            for line in plain.lines().filter(|line| self.is_table && !line.starts_with("evt_")) {
                assert!(measure_text_width(line) <= columns, "{columns} {line}");
            }
            add(format!("{columns} columns"), as_written(coloured));
        }
        let piped = self.in_pipe();
        assert!(!piped.contains('\u{1b}'), "{piped}");
        add("in a pipe".into(), piped);
        let mut drawn = String::new();
        for (places, text) in parts {
            writeln!(drawn, "# {}: {places}\n{text}", self.title).unwrap();
        }
        drawn
    }

    fn in_pipe(&self) -> String {
        let mut command = Command::new(self.command.get_program());
        command.args(self.command.get_args()).env_clear();
        command.current_dir(self.command.get_current_dir().unwrap());
        let set = self.command.get_envs();
        command.envs(set.filter_map(|(name, value)| Some((name, value?))));
        if self.lines_max == usize::MAX {
            let output = command.output().unwrap();
            return with_fixed_values(&(text(&output.stdout) + &text(&output.stderr)));
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Without rows it has only a remark to print, which is not part of the output.
        let lines = lines.take(if self.lines_max == 1 { 0 } else { self.lines_max });
        let printed: String = lines.map(|line| line.unwrap() + "\n").collect();
        child.kill().unwrap();
        child.wait().unwrap();
        with_fixed_values(&printed)
    }
}

/// Compares the outputs with the files that have these names.
pub(crate) fn check(files: Vec<(&str, Vec<Output>)>) {
    let files = Mutex::new(files.into_iter());
    let drawn = Mutex::new(Vec::new());
    // They wait for each other's processes.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((name, outputs)) = { files.lock().unwrap().next() } {
                    let text: String = outputs.into_iter().map(Output::drawn).collect();
                    drawn.lock().unwrap().push((name, text));
                }
            });
        }
    });
    for (name, text) in drawn.into_inner().unwrap() {
        check_file(&format!("crates/wilco-cli/tests/it/listings/{name}.txt"), &text);
    }
}

/// One thing is not in the plural: `1 events`.
#[track_caller]
fn check_plurals(text: &str) {
    let words: Vec<_> = text.split(|c: char| c.is_whitespace() || c == '(').collect();
    for pair in words.windows(2).filter(|pair| pair[0] == "1") {
        let thing = pair[1].trim_matches(|c: char| !c.is_alphabetic());
        let is_plural = thing.len() > 3 && thing.ends_with('s') && !thing.ends_with("ss");
        assert!(!is_plural, "{pair:?}");
    }
}

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
pub(crate) fn with_fixed_values(drawn: &str) -> String {
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
