//! Files and parts of pages that tests generate: they are compared, or written with `WILCO_BLESS=1`.

use std::{fs, path::PathBuf};

/// Compares a file with what is generated.
#[track_caller]
pub(crate) fn check_file(name: &str, expected: &str) {
    if std::env::var_os("WILCO_BLESS").is_some() {
        fs::write(root(name), expected).unwrap();
    }
    let found = fs::read_to_string(root(name)).unwrap_or_default();
    let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    let (is, generated) = differs.unwrap_or(("its end", "another end"));
    assert!(
        found == expected,
        "{name} is not what is generated; if that is intended, run this test with WILCO_BLESS=1\n\
         file      {is}\ngenerated {generated}"
    );
}

/// Compares the output of a command in a page of the manual, the block below
/// `<!-- output of NAME: generated, see CONTRIBUTING.md -->`, with what the command printed.
#[track_caller]
pub(crate) fn check_output(page: &str, name: &str, printed: &str) {
    let begins = format!("<!-- output of {name}: generated, see CONTRIBUTING.md -->\n```text\n");
    let text = fs::read_to_string(root(page)).unwrap();
    assert!(text.contains(&begins), "{page} has no block {begins}");
    let (before, rest) = text.split_once(&begins).unwrap();
    let (_, after) = rest.split_once("```\n").unwrap();
    let lines: Vec<_> = printed.trim_end().lines().map(str::trim_end).collect();
    check_file(page, &format!("{before}{begins}{}\n```\n{after}", lines.join("\n")));
}

/// A file of the repository.
pub(crate) fn root(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}
