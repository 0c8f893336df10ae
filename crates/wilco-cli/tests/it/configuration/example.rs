//! The commented example: its tables are written by hand, and what else they can have comes from the rows.

use std::{collections::HashSet, fs};

use wilco_config::{Key, Schema};
use wilco_server::{config, service::KINDS};

use crate::generated::{check_file, root};

#[test]
fn the_commented_example_has_every_key_that_its_tables_can_have() {
    let schema = config::schema(KINDS);
    let example = fs::read_to_string(root(EXAMPLE)).unwrap();
    let mut shown = HashSet::new();
    let blocks = blocks(&example);
    let generated: String =
        blocks.iter().map(|block| complete(block, &schema, &mut shown)).collect();
    check_file(EXAMPLE, &format!("{}\n", generated.trim_end()));
    for table in schema.tables {
        let is_there =
            shown.contains(table.name) || example.contains(&format!("# [{}", table.name));
        assert!(is_there, "{EXAMPLE} has no table {}", table.heading());
    }
}

/// The lines before the first table, and then those of each, which begin with the comment above it.
fn blocks(example: &str) -> Vec<Vec<&str>> {
    let mut blocks = vec![Vec::new()];
    for line in example.lines() {
        let last: &mut Vec<&str> = blocks.last_mut().unwrap();
        let comment = last.iter().rev().take_while(|line| line.starts_with("# ")).count();
        let comment = last.len() - comment;
        // A table that is commented out as a whole is one block with those in it.
        let is_part = last[comment..].iter().any(|line| line.starts_with("# ["));
        if line.starts_with('[') || line.starts_with("# [") && !is_part {
            let comment = last.split_off(comment);
            blocks.push(comment);
        }
        blocks.last_mut().unwrap().push(line);
    }
    blocks
}

/// A block with a line for each key that it does not have and that no table before it had either.
fn complete<'s>(block: &[&str], schema: &'s Schema, shown: &mut HashSet<&'s str>) -> String {
    let is_generated = |line: &str| {
        line.starts_with(' ') || line.starts_with('#') && !line.starts_with("# ") && line != "#"
    };
    let mut by_hand: Vec<_> = block.iter().filter(|line| !is_generated(line)).copied().collect();
    while by_hand.last().is_some_and(|line| line.is_empty()) {
        by_hand.pop();
    }
    let mut text = by_hand.join("\n") + "\n";
    let heading = block.iter().find(|line| line.starts_with('['));
    if let Some(heading) = heading {
        let name = heading.trim_start_matches('[').split(['.', ']']).next().unwrap();
        let table = schema.table(name).unwrap();
        let content: toml::Table = text.split_once(*heading).unwrap().1.parse().unwrap();
        let of_type = |name: &str| schema.variants.iter().find(|variant| variant.name == name);
        let variant = content.get("type").and_then(|kind| of_type(kind.as_str().unwrap()));
        let of_kind = variant.filter(|kind| shown.insert(kind.name)).into_iter();
        let of_kind = of_kind.flat_map(|kind| kind.keys);
        let is_first = shown.insert(table.name);
        let of_table = table.keys.iter().filter(|_| is_first);
        let keys: Vec<_> =
            of_kind.chain(of_table).filter(|key| !content.contains_key(key.name)).collect();
        let has_paragraphs =
            text.contains("\n\n") && !by_hand.last().is_some_and(|line| line.starts_with("# "));
        if has_paragraphs && !keys.is_empty() {
            text.push('\n');
        }
        text.extend(keys.into_iter().map(commented_out));
    }
    text + "\n"
}

/// `#key = value    # what it does`, with its default or, if it has none, an example.
fn commented_out(key: &Key) -> String {
    for inner in key.keys() {
        assert!(
            key.example.contains(inner.name),
            "the example of {} has no {}",
            key.name,
            inner.name
        );
    }
    let assignment = format!("#{} = {}", key.name, key.default.unwrap_or(key.example));
    // The rest of a description, or where more is said, is in the manual.
    let doc = key.doc.split(". ").next().unwrap().split("; [").next().unwrap();
    let mut comment = plain(doc);
    if let Some(absence) = key.absence.filter(|_| key.keys().is_empty()) {
        let word = if absence.starts_with("required") { "" } else { "default: " };
        comment += &format!(" ({word}{})", plain(absence));
    }
    let mut lines = vec![assignment];
    if lines[0].len() > COLUMN - 2 {
        lines.push(String::new());
    }
    for word in comment.split(' ') {
        let line = lines.last().unwrap();
        if line.contains(" # ") && line.len() + 1 + word.len() > WIDTH {
            lines.push(String::new());
        }
        let line = lines.last_mut().unwrap();
        match line.contains(" # ") {
            true => *line += &format!(" {word}"),
            false => *line = format!("{line:<width$}  # {word}", width = COLUMN - 2),
        }
    }
    lines.join("\n") + "\n"
}

/// Markdown as plain text: without the marks of code and the addresses of links.
fn plain(markdown: &str) -> String {
    let mut text = markdown.replace('`', "");
    while let Some((before, after)) = text.split_once("](") {
        let (before, words) = before.rsplit_once('[').unwrap();
        text = format!("{before}{words}{}", after.split_once(')').unwrap().1);
    }
    text
}

const EXAMPLE: &str = "examples/wilco.toml";
/// Where comments begin.
const COLUMN: usize = 42;
const WIDTH: usize = 110;
