//! The table of the manual that is generated from the providers' files.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{fmt::Write as _, fs, path::Path};

use wilco::{Provider, provider};

#[test]
fn the_manual_lists_every_provider() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/providers.md");
    let found = fs::read_to_string(&path).unwrap();
    let (before, rest) = found.split_once(BEGINS).unwrap();
    let (_, after) = rest.split_once(ENDS).unwrap();
    let expected = format!("{before}{BEGINS}{}{ENDS}{after}", table());
    if std::env::var_os("WILCO_BLESS").is_some() {
        fs::write(&path, &expected).unwrap();
        return;
    }
    let again = "WILCO_BLESS=1 cargo test -p wilco --test documentation";
    assert!(found == expected, "docs/providers.md is not what the files say; update it: {again}");
}

#[test]
fn at_least_a_hundred_providers_are_confirmed() {
    assert!(confirmed() >= 100, "{} are confirmed", confirmed());
}

fn confirmed() -> usize {
    provider::all().iter().filter(|provider| provider.unconfirmed.is_none()).count()
}

fn table() -> String {
    let mut all: Vec<_> = provider::all().iter().collect();
    all.sort_unstable_by_key(|provider| &provider.name);
    let mut text = format!(
        "\n{} providers, of which {} are confirmed: their page or library was read. Of the others it says what was \
         not found.\n\n| provider | who | signs with | event | recognised by |\n|---|---|---|---|---|\n",
        all.len(),
        confirmed(),
    );
    for provider in all {
        text.push_str(&row(provider));
    }
    text + "\n"
}

fn row(provider: &Provider) -> String {
    let description = provider.description();
    let (name, title, page) = (&provider.name, &provider.title, &provider.docs);
    let mut signs = format!("{}, in {}", description.signs, cell(&description.signature));
    if !description.covers_body {
        signs.push_str("; the body is not protected");
    }
    if let Some(what) = &provider.unconfirmed {
        write!(signs, "; **unconfirmed**: {what}").unwrap();
    }
    let event = cell(&description.event.join(", "));
    let by = match description.delivery_id.as_deref() {
        Some(id) => cell(id),
        None if provider.keeps_duplicates() => "new".to_owned(),
        None => "content".to_owned(),
    };
    format!("| `{name}` | [{title}]({page}) | {signs} | {event} | {by} |\n")
}

/// `header x-id`, `member a.b of the body` and `constant "x"` in the shorter words of a table.
fn cell(places: &str) -> String {
    let places = places.split(", ").map(|place| match place.split_once(' ') {
        Some(("member", rest)) => format!("`{}`", rest.trim_end_matches(" of the body")),
        Some(("header", rest)) => format!("`{}`", rest.replace(" or ", "` or `")),
        Some(("constant", rest)) => rest.replace('"', "`"),
        _ => place.replace('"', "`"),
    });
    places.collect::<Vec<_>>().join(", ")
}

const BEGINS: &str = "<!-- providers: generated, see CONTRIBUTING.md -->\n";
const ENDS: &str = "<!-- end of what is generated -->\n";
