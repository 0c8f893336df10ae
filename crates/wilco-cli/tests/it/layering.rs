//! Which module may import which. The sources are read as text, and each import in the wrong direction
//! is reported with its place.
//!
//! 1. `wilco` has no I/O and no clock, and `wilco-server` nothing that only a command line needs.
//! 2. In the server, a module imports from the layers below its own ([`LAYERS`]) and from no other.
//! 3. In a folder, no child imports its sibling. What the file of the folder's name re-exports
//!    with `pub use` counts as its own.
//!
//! That `wilco-cli → wilco-server → wilco-destinations → wilco-delivery → {wilco-store, wilco-config} →
//! wilco` never goes back is enforced by the compiler.
//!
//! Modules named `tests` may import from anywhere.

mod sources;

use std::{collections::BTreeSet, fs, path::Path};

use sources::{Crate, path_of};

/// The modules of the server, lowest first.
const LAYERS: &[&[&str]] = &[
    &["clock", "log", "readable", "redaction", "supervise"],
    &["config", "metrics", "threads"],
    &["history", "sockets", "trace"],
    &["inbound", "outbound", "admin", "forecast"],
    &["acme", "backfill", "retention"],
    &["service"],
    &["endpoint"],
];

const CRATES: [&str; 7] = [
    "wilco",
    "wilco-config",
    "wilco-store",
    "wilco-delivery",
    "wilco-destinations",
    "wilco-server",
    "wilco-cli",
];

/// What `wilco` must not use, of other crates or of std.
const FOREIGN_TO_THE_LIBRARY: &[&str] =
    &["tokio", "hyper", "axum", "rusqlite", "std::net", "std::thread", "std::process", "std::fs"];
/// What `wilco-delivery` must not use: its caller passes in time and chance, and does all I/O.
const FOREIGN_TO_DECISIONS: &[&str] =
    &["tokio", "tracing", "getrandom", "std::net", "std::thread", "std::process", "std::fs"];
/// Crates that `wilco-server` must not use.
const FOREIGN_TO_THE_SERVICE: &[&str] = &[
    "ariadne",
    "clap",
    "comfy-table",
    "console",
    "indicatif",
    "instant-acme",
    "mimalloc",
    "rcgen",
    "tracing-subscriber",
];

#[test]
fn the_service_has_no_crate_that_only_a_command_line_needs() {
    let manifest = fs::read_to_string(folder("wilco-server").join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let depends = manifest["dependencies"].as_table().unwrap();
    let found: Vec<_> =
        FOREIGN_TO_THE_SERVICE.iter().filter(|name| depends.contains_key(**name)).collect();
    assert!(found.is_empty(), "{found:?}: who uses the library would compile them for nothing");
}

#[test]
fn the_library_and_the_decisions_have_no_io_and_no_clock() {
    for (name, foreign) in
        [("wilco", FOREIGN_TO_THE_LIBRARY), ("wilco-delivery", FOREIGN_TO_DECISIONS)]
    {
        for source in Crate::read(&folder(name).join("src")).sources() {
            if source.module.iter().any(|module| module == "tests") {
                continue;
            }
            for (line, text) in source.code.lines().enumerate() {
                let found = foreign.iter().find(|word| names(text, word));
                let found = found.or_else(|| text.contains("::now(").then_some(&"a clock"));
                let place = format!("{}:{}", source.file, line + 1);
                assert_eq!(found, None, "{place}: {name} has no I/O, no runtime and no clock");
            }
        }
    }
}

#[test]
fn a_module_of_the_server_imports_from_the_layers_below_it() {
    check_none(&upward(&server(), LAYERS));
}

#[test]
fn no_module_of_a_folder_imports_its_sibling() {
    let mut violations = Vec::new();
    for name in CRATES {
        let found = between_siblings(&Crate::read(&folder(name).join("src")));
        violations.extend(found.into_iter().map(|(_, _, violation)| violation));
    }
    check_none(&violations);
}

#[test]
fn modules_do_not_depend_on_each_other_in_a_circle() {
    for name in CRATES {
        check_none(&circles(&Crate::read(&folder(name).join("src"))));
    }
}

#[test]
fn an_import_in_the_wrong_direction_is_found() {
    let planted = Crate::of(&[
        ("lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\npub use b::Thing;"),
        ("a.rs", "mod one;\nmod two;\nuse crate::{\n    clock,\n    Thing,\n};\nuse two::Two;"),
        ("a/one.rs", "// use super::two::No;\nconst S: &str = \"super::two::No\";\nuse super::A;"),
        ("a/two.rs", "fn f() {}\nmod inner {\n    use super::f;\n    use super::super::one::O;\n}"),
        ("b.rs", "mod x;\nfn f(_: crate::c::C) {}"),
        ("b/x.rs", "use super::{B, y::{self, Y}};"),
        ("b/y.rs", "use crate::b::x;"),
        ("c.rs", "use crate::{d::{Deep, deeper::{Er, Est}}};"),
        ("d.rs", "use crate::c::C;"),
    ]);
    let layers: &[&[&str]] = &[&["b", "c"], &["a"], &["d"]];
    assert_eq!(
        upward(&planted, layers),
        [
            "b.rs:2: b imports c; a module imports from the layers below its own",
            "c.rs:1: c imports d; a module imports from the layers below its own",
        ]
    );
    let pairs: Vec<_> = between_siblings(&planted)
        .into_iter()
        .map(|(from, to, violation)| (from, to, violation.split(": ").next().unwrap().to_owned()))
        .collect();
    let pairs: Vec<_> =
        pairs.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str())).collect();
    assert_eq!(
        pairs,
        [
            ("a::two", "a::one", "a/two.rs:4"),
            ("b::x", "b::y", "b/x.rs:1"),
            ("b::y", "b::x", "b/y.rs:1"),
        ]
    );
    assert_eq!(circles(&planted), ["a circle of modules: c → d → c"]);
}

#[test]
fn a_module_without_a_layer_is_reported() {
    let planted = Crate::of(&[("lib.rs", "mod a;\nmod util;"), ("a.rs", ""), ("util.rs", "")]);
    assert_eq!(upward(&planted, &[&["a"]]), ["util.rs: util has no layer; give it one in LAYERS"]);
}

#[test]
fn a_parents_pub_use_is_its_own_and_its_imports_are_not() {
    for (parent, expected) in [("pub(crate) use two::Two;", 0), ("use two::Two;", 1)] {
        let planted = Crate::of(&[
            ("lib.rs", "mod a;"),
            ("a.rs", &format!("mod one;\nmod two;\n{parent}")),
            ("a/one.rs", "use super::Two;"),
            ("a/two.rs", ""),
        ]);
        assert_eq!(between_siblings(&planted).len(), expected, "{parent}");
    }
}

/// Imports that are not from a lower layer.
fn upward(tree: &Crate, layers: &[&[&str]]) -> Vec<String> {
    let layer = |name: &str| layers.iter().position(|layer| layer.contains(&name));
    let mut violations = Vec::new();
    for source in tree.sources() {
        let [name] = source.module.as_slice() else { continue };
        if layer(name).is_none() {
            let file = &source.file;
            violations.push(format!("{file}: {name} has no layer; give it one in LAYERS"));
        }
    }
    for (import, target) in tree.imports_resolved(|_| true) {
        let (Some(from), Some(to)) = (import.from.first(), target.first()) else { continue };
        if from != to && layer(from) <= layer(to) {
            let place = &import.place;
            violations.push(format!(
                "{place}: {from} imports {to}; a module imports from the layers below its own"
            ));
        }
    }
    violations.dedup();
    violations
}

/// Imports from one child of a folder by another: the importing module, the import, and the violation.
fn between_siblings(tree: &Crate) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for (import, target) in tree.imports_resolved(|is_public| !is_public) {
        let shared = import.from.iter().zip(&target).take_while(|(a, b)| a == b).count();
        if shared > 0 && shared < import.from.len() && shared < target.len() {
            let (from, to) = (path_of(&import.from), path_of(&target));
            let parent = path_of(&target[..shared]);
            let violation = format!(
                "{}: {from} names its sibling {to}; what both need belongs to {parent}",
                import.place
            );
            found.push((from, to, violation));
        }
    }
    found.dedup();
    found
}

/// Circles among the modules directly under the root.
fn circles(tree: &Crate) -> Vec<String> {
    let mut edges = BTreeSet::new();
    for (import, target) in tree.imports_resolved(|_| true) {
        if let (Some(from), Some(to)) = (import.from.first(), target.first())
            && from != to
        {
            edges.insert((from.clone(), to.clone()));
        }
    }
    // A module that imports nothing or that nothing imports is in no circle: remove such until none is left.
    loop {
        let before = edges.len();
        let sources: BTreeSet<_> = edges.iter().map(|(from, _)| from.clone()).collect();
        let targets: BTreeSet<_> = edges.iter().map(|(_, to)| to.clone()).collect();
        edges.retain(|(from, to)| targets.contains(from) && sources.contains(to));
        if edges.len() == before {
            break;
        }
    }
    let Some((first, _)) = edges.first() else { return Vec::new() };
    let mut way = vec![first];
    while let Some((_, next)) = edges.iter().find(|(from, _)| Some(&from) == way.last()) {
        if let Some(again) = way.iter().position(|name| *name == next) {
            way.drain(..again);
            way.push(next);
            break;
        }
        way.push(next);
    }
    let way: Vec<_> = way.into_iter().map(String::as_str).collect();
    vec![format!("a circle of modules: {}", way.join(" → "))]
}

fn server() -> Crate {
    Crate::read(&folder("wilco-server").join("src"))
}

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(name)
}

/// Whether this line of code contains the path, and not just a longer word.
fn names(line: &str, path: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(path).any(|(at, _)| {
        !line[..at].ends_with(is_word) && !line[at + path.len()..].starts_with(is_word)
    })
}

#[track_caller]
fn check_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}
