//! Rust sources, as far as imports are concerned: modules, paths, and re-exports.

use std::{collections::BTreeMap, fs, path::Path};

/// The path of a module in its crate; empty for the root.
pub(super) type Module = Vec<String>;

/// The sources of one crate.
pub(super) struct Crate {
    sources: Vec<Source>,
    imports: Vec<Import>,
}

/// One file.
pub(super) struct Source {
    pub(super) file: String,
    pub(super) module: Module,
    /// The text, with comments and literals replaced by blanks.
    pub(super) code: String,
}

/// A path to something in the crate.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) place: String,
    /// The file's module.
    pub(super) from: Module,
    to: Vec<String>,
    /// The module into which `use` imports the last name, and whether it is public there.
    known: Option<(Module, bool)>,
}

impl Crate {
    pub(super) fn read(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        collect(folder, folder, &mut files);
        Self::of(&files.iter().map(|(f, t)| (f.as_str(), t.as_str())).collect::<Vec<_>>())
    }

    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let mut sources = Vec::new();
        for (file, text) in files {
            let path = file.strip_suffix(".rs").unwrap();
            let module = match path {
                "lib" | "main" => Vec::new(),
                path => path.split('/').map(Into::into).collect(),
            };
            sources.push(Source { file: (*file).into(), module, code: blank(text) });
        }
        let imports = sources.iter().flat_map(Source::imports).collect();
        Self { sources, imports }
    }

    pub(super) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Every import and the module that it finally refers to. A name that a module re-exports is
    /// followed if `follow` says so, given whether the name is public.
    pub(super) fn imports_resolved(
        &self,
        follow: impl Fn(bool) -> bool,
    ) -> impl Iterator<Item = (&Import, Module)> {
        self.imports.iter().filter_map(move |import| {
            let target = self.resolve(&import.to, &follow, 0)?;
            Some((import, target))
        })
    }

    fn resolve(
        &self,
        to: &[String],
        follow: &dyn Fn(bool) -> bool,
        depth: usize,
    ) -> Option<Module> {
        let is_module = |path: &[String]| self.sources.iter().any(|s| s.module == path);
        let reach = (0..=to.len()).rev().find(|end| is_module(&to[..*end]))?;
        let (module, rest) = to.split_at(reach);
        let known = rest.first().and_then(|name| {
            self.imports.iter().find(|import| {
                let is_here = import
                    .known
                    .as_ref()
                    .is_some_and(|(at, is_public)| at == module && follow(*is_public));
                is_here && import.to.last() == Some(name) && import.to != to
            })
        });
        match known {
            Some(import) if depth < 8 => self.resolve(&import.to, follow, depth + 1),
            _ => Some(module.to_vec()),
        }
    }
}

impl Source {
    fn imports(&self) -> Vec<Import> {
        let tokens = tokens(&self.code);
        let mut imports = Vec::new();
        // Modules inside this file, with the depth of braces at which they began.
        let mut inline: Vec<(String, usize)> = Vec::new();
        let (mut depth, mut at) = (0, 0);
        while at < tokens.len() {
            let word = |ahead: usize| tokens.get(at + ahead).map_or("", |(_, word)| word.as_str());
            match (word(0), word(1), word(2)) {
                ("mod", name, "{") => inline.push((name.into(), depth)),
                ("{", ..) => depth += 1,
                ("}", ..) => {
                    depth -= 1;
                    inline.pop_if(|(_, began)| *began == depth);
                }
                _ => {}
            }
            let is_start = at == 0 || tokens[at - 1].1 != "::";
            let is_anchor = matches!(word(0), "crate" | "super" | "self");
            let is_use = at > 0 && tokens[at - 1].1 == "use";
            // Tests may import from anywhere, because they are not part of the build.
            let is_test = self.module.iter().chain(inline.iter().map(|(name, _)| name));
            let is_test = is_test.into_iter().any(|name| name == "tests");
            if !is_test
                && is_start
                && ((is_anchor && word(1) == "::") || (is_use && is_name(word(0))))
            {
                let mut here = self.module.clone();
                here.extend(inline.iter().map(|(name, _)| name.clone()));
                let is_public = is_use
                    && (0..at - 1)
                        .rev()
                        .map(|i| tokens[i].1.as_str())
                        .take_while(|word| !matches!(*word, ";" | "}" | "{"))
                        .any(|word| word == "pub");
                let known = (is_use && inline.is_empty()).then(|| (here.clone(), is_public));
                let mut paths = Vec::new();
                at = tree(&tokens, at, &here, &mut paths);
                for (line, to) in paths {
                    let place = format!("{}:{line}", self.file);
                    let from = self.module.clone();
                    imports.push(Import { place, from, to, known: known.clone() });
                }
                continue;
            }
            at += 1;
        }
        imports
    }
}

/// Reads a tree of paths that begins at a token, and returns the token after it.
fn tree(
    tokens: &[(usize, String)],
    mut at: usize,
    prefix: &[String],
    paths: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let mut path = prefix.to_vec();
    while let Some((line, word)) = tokens.get(at) {
        at += 1;
        match word.as_str() {
            "crate" => path.clear(),
            "super" => _ = path.pop(),
            "self" | "*" => {}
            "{" => {
                while tokens.get(at).is_some_and(|(_, word)| word != "}") {
                    at = tree(tokens, at, &path, paths);
                    at += usize::from(tokens.get(at).is_some_and(|(_, word)| word == ","));
                }
                return at + 1;
            }
            name if is_name(name) => path.push(name.into()),
            _ => return at - 1,
        }
        if tokens.get(at).is_none_or(|(_, word)| word != "::") {
            paths.push((*line, path));
            let is_renamed = tokens.get(at).is_some_and(|(_, word)| word == "as");
            return if is_renamed { at + 2 } else { at };
        }
        at += 1;
    }
    at
}

/// Words and punctuation, each with its line.
fn tokens(code: &str) -> Vec<(usize, String)> {
    let mut tokens: Vec<(usize, String)> = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let length = match first {
                c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                c => c.len_utf8(),
            };
            tokens.push((number + 1, rest[..length].into()));
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Replaces comments and literals by blanks, so that they are not read as code. Lines stay.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = literal(rest);
        let gone = if length > 0 { &rest[..length] } else { "" };
        if gone.is_empty() {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// The length of the comment or literal that begins here; 0 if there is none.
fn literal(text: &str) -> usize {
    let until = |end: &str| text[1..].find(end).map_or(text.len(), |at| 1 + at + end.len());
    let quoted = |quote: char| {
        let mut is_escaped = false;
        let end = text.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == quote && !is_escaped;
            is_escaped = *c == '\\' && !is_escaped;
            ends
        });
        end.map_or(text.len(), |(at, c)| at + c.len_utf8())
    };
    let mut chars = text.chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some('/'), Some('/'), _) => text.find('\n').unwrap_or(text.len()),
        (Some('/'), Some('*'), _) => until("*/"),
        (Some('r'), Some('"'), _) => text[2..].find('"').map_or(text.len(), |at| at + 3),
        (Some('r'), Some('#'), _) => raw(text),
        (Some('"'), ..) => quoted('"'),
        (Some('\''), Some('\\'), _) => quoted('\''),
        (Some('\''), Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

/// `r#"…"#`, with any number of hashes, but not a raw identifier.
fn raw(text: &str) -> usize {
    let hashes = text[1..].find(|c| c != '#').unwrap_or(0);
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let from = hashes + 2;
    text[from..].find(&end).map_or(text.len(), |at| from + at + end.len())
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

/// The path of a module as it is written.
pub(super) fn path_of(module: &[String]) -> String {
    module.join("::")
}
