//! The manual: its links have targets, and its commands exist.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Every page for people: at the root, in `docs`, and next to what it describes.
pub(crate) fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let folders = ["", "bench", "docs", "docs/decisions", "docs/examples", "examples/handlers"];
    let files = folders.iter().flat_map(|folder| fs::read_dir(root.join(folder)).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    let pages: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    assert!(pages.len() > 20, "{}", pages.len());
    pages
}

/// The lines of a page outside or inside its fenced blocks.
pub(crate) fn lines<'a>(page: &'a str, language: Option<&'a str>) -> impl Iterator<Item = &'a str> {
    let mut block = None;
    page.lines().filter(move |line| {
        if let Some(fence) = line.trim_start().strip_prefix("```") {
            block = block.is_none().then_some(fence);
            return false;
        }
        block == language
    })
}

/// What GitHub makes of a heading: `## What it's for` is `#what-its-for`.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn has_anchor(page: &str, name: &str) -> bool {
    let headings = lines(page, None).filter(|line| line.starts_with('#'));
    headings.map(|line| line.trim_start_matches('#').trim()).any(|line| anchor(line) == name)
}

#[test]
fn every_link_in_the_manual_has_a_target() {
    let mut broken = Vec::new();
    for (path, page) in pages() {
        let text = lines(&page, None).collect::<Vec<_>>().join("\n");
        let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let by_name = text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
        for link in inline.chain(by_name.map(|(_, link)| link)) {
            if link.contains("://") {
                continue;
            }
            let (file, name) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            let is_there = match fs::read_to_string(&target) {
                Ok(page) => name.is_empty() || has_anchor(&page, name),
                // A folder or a picture.
                Err(_) => target.exists() && name.is_empty(),
            };
            if !is_there {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_book_has_every_page() {
    let pages = pages();
    let (summary, text) = pages.iter().find(|(path, _)| path.ends_with("docs/SUMMARY.md")).unwrap();
    let named = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let named: Vec<_> =
        named.map(|link| summary.with_file_name(link).canonicalize().unwrap()).collect();
    let missing = pages.iter().map(|(path, _)| path);
    let missing: Vec<_> =
        missing.filter(|path| *path != summary && !named.contains(path)).collect();
    assert!(missing.is_empty(), "add to docs/SUMMARY.md: {missing:?}");
}

#[test]
fn every_command_in_the_manual_exists() {
    let mut commands = 0;
    for (path, page) in pages() {
        for line in lines(&page, Some("sh")) {
            let line = line.split(" # ").next().unwrap_or(line);
            let parts = line.split("&&").flat_map(|part| part.split([';', '&', '>', '<']));
            for part in parts.filter_map(|part| {
                let part = part.trim();
                let as_user = ["sudo -u wilco ", "as_wilco "].iter();
                let part =
                    as_user.filter_map(|user| part.strip_prefix(user)).next().unwrap_or(part);
                part.strip_prefix("wilco ")
            }) {
                let script = format!("exec \"$0\" {part} --help");
                let wilco = env!("CARGO_BIN_EXE_wilco");
                let output = Command::new("sh").args(["-fc", &script, wilco]).output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{}: wilco {part}\n{said}", path.display());
                commands += 1;
            }
        }
    }
    assert!(commands > 20, "{commands}");
}

#[test]
fn every_bound_in_the_manual_has_the_name_that_it_has_in_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/bounds.md")).unwrap();
    let mut sources = String::new();
    let mut folders = vec![root.join("crates")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true if !path.ends_with("tests") => folders.push(path),
                false if path.extension().is_some_and(|end| end == "rs") => {
                    sources += &fs::read_to_string(&path).unwrap();
                }
                _ => {}
            }
        }
    }
    let words: std::collections::BTreeSet<_> =
        sources.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let is_constant = |name: &str| name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let mut names = Vec::new();
    for row in lines(&page, None).filter(|line| line.starts_with("| `")) {
        let first = row.split(" | ").next().unwrap();
        names.extend(first.split('`').skip(1).step_by(2).filter(|name| !name.contains(".rs")));
        names.extend(row.split('`').skip(1).step_by(2).filter(|name| is_constant(name)));
    }
    assert!(names.len() > 60, "{}", names.len());
    let last = |name: &str| name.rsplit(['.', ' ', '-']).next().unwrap_or_default().to_owned();
    names.retain(|name| !words.contains(last(name).as_str()));
    assert!(names.is_empty(), "docs/bounds.md names what the code does not: {names:?}");
}
