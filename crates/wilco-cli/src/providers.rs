//! `wilco providers`: lists the providers, and shows what a source of one needs.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use wilco::{
    Provider,
    provider::{self, Description},
};

use super::{
    Column, Failure, ListingArgs, Screen, Table, did_you_mean, json_line, labelled, note, print,
};

/// List the providers that wilco understands, or show how to set one up
#[derive(Args)]
pub(crate) struct Providers {
    /// Show this provider
    name: Option<String>,
    #[command(flatten)]
    listing: ListingArgs,
}

/// A provider as `--json` prints it.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    title: &'a str,
    docs: &'a str,
    unconfirmed: Option<&'a str>,
    #[serde(flatten)]
    description: Description,
}

impl Providers {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let mut chosen: Vec<&Provider> = match &self.name {
            Some(name) => vec![find(name)?],
            None => all(),
        };
        let has_more = self.listing.shorten(&mut chosen);
        let text = match (self.listing.json, &self.name, chosen.as_slice()) {
            (true, _, chosen) => {
                chosen.iter().map(|it| json_line(&Row::of(it))).collect::<Result<_, _>>()?
            }
            (false, Some(_), [provider]) => shown(provider),
            (false, _, chosen) => listed(chosen),
        };
        print(&text)?;
        if has_more {
            self.listing.note_more(chosen.len());
        }
        if self.name.is_none() && !self.listing.json && Screen::stdout().is_terminal() {
            note("`wilco providers NAME` shows what a source of one needs");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// All of them by name.
fn all() -> Vec<&'static Provider> {
    let mut all: Vec<_> = provider::all().iter().map(AsRef::as_ref).collect();
    all.sort_unstable_by_key(|provider: &&Provider| &provider.name);
    all
}

fn find(name: &str) -> Result<&'static Provider, Failure> {
    let unknown = || {
        let near = did_you_mean(name, provider::all().iter().map(|known| known.name.as_str()));
        let hint = if near.is_empty() { "; `wilco providers` lists them" } else { &near };
        Failure::usage(format!("unknown provider {name:?}{hint}"))
    };
    provider::find(name).map(AsRef::as_ref).ok_or_else(unknown)
}

impl<'a> Row<'a> {
    fn of(provider: &'a Provider) -> Self {
        Self {
            name: &provider.name,
            title: &provider.title,
            docs: &provider.docs,
            unconfirmed: provider.unconfirmed.as_deref(),
            description: provider.description(),
        }
    }
}

fn listed(providers: &[&Provider]) -> String {
    let columns = [
        Column::name("provider"),
        Column::text("title", 12),
        Column::text("signs with", 28),
        Column::optional("page"),
    ];
    let rows = providers.iter().map(|provider| {
        let signs = provider.description().signs;
        let signs = match provider.unconfirmed {
            Some(_) => format!("{signs} (unconfirmed)"),
            None => signs,
        };
        let page = provider.docs.trim_start_matches("https://").to_owned();
        vec![provider.name.clone(), provider.title.clone(), signs, page]
    });
    Table::new(columns, Screen::stdout()).draw(&rows.collect::<Vec<_>>())
}

/// Everything that one needs to know to set up a source.
fn shown(provider: &Provider) -> String {
    let description = provider.description();
    let mut lines = vec![
        ("page", provider.docs.clone()),
        ("signs with", description.signs.clone()),
        ("signature", description.signature.clone()),
        ("signed", or(&description.signed.join(", or "), "nothing: the secret itself is sent")),
        ("secret", secret(&description).to_owned()),
    ];
    if !description.covers_body {
        lines.push(("body", "not protected by the signature".into()));
    }
    if let Some(timestamp) = &description.timestamp {
        lines.push(("signed at", timestamp.clone()));
    }
    if let Some(secs) = description.tolerance_secs {
        lines.push(("tolerance", format!("{secs} s, past and future")));
    }
    lines.push(("event", description.event.join(", then ")));
    lines.push(("subject", or(&description.subject.join(", then "), "none")));
    let id = description.delivery_id.clone();
    lines.push((
        "duplicates",
        match id {
            Some(id) => format!("by {id}"),
            None if provider.keeps_duplicates() => "kept: equal bodies are different events".into(),
            None => "by content".into(),
        },
    ));
    lines.extend(description.batch.clone().map(|batch| ("batch", format!("{batch} is a list"))));
    lines.extend(description.handshakes.iter().map(|kind| ("handshake", kind.clone())));
    lines.extend(description.answers.iter().map(|answer| ("answer", answer.clone())));
    if !description.events.is_empty() {
        lines.push(("events", description.events.join(", ")));
    }
    lines.extend(provider.unconfirmed.iter().map(|what| ("unconfirmed", what.clone())));
    let mut text = format!("{}\n\n", provider.title);
    for (label, value) in lines {
        text.push_str(&labelled(label, &value));
    }
    format!("{text}\n{}", example(provider, &description))
}

fn or(text: &str, instead: &str) -> String {
    if text.is_empty() { instead } else { text }.to_owned()
}

/// How the secret is written, for people who copy it from the provider's page.
fn secret(description: &Description) -> &'static str {
    match description.secret {
        "hex" => "in hex",
        "base64" => "in base64",
        "standard-webhooks" => "base64 after whsec_ or whpk_",
        "pem" => "the provider's public key, in PEM",
        _ if description.signs == "user and password" => "user:password",
        _ => "as it is shown",
    }
}

/// The table of a source.
fn example(provider: &Provider, description: &Description) -> String {
    let name = &provider.name;
    let variable = name.to_ascii_uppercase().replace('-', "_");
    let mut lines = vec![format!("[source.{name}]"), format!("provider = {name:?}")];
    lines.push(format!("path = \"/{name}\""));
    if description.teaches_secret {
        lines.push(format!("learned_secret = \"{name}.secret\""));
    } else {
        lines.push(format!("secrets = [{{ env = \"{variable}_SECRET\" }}]"));
    }
    if description.has_verify_token {
        lines.push(format!("verify_token = {{ env = \"{variable}_VERIFY_TOKEN\" }}"));
    }
    if description.signs_url {
        lines.push(format!("public_url = \"https://hooks.example.com/{name}\""));
    }
    lines.join("\n") + "\n"
}
