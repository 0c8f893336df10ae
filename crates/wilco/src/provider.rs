//! The providers: how each one signs, and where its requests name the event, subject and delivery.
//!
//! A provider is a data file in `providers/`, which is compiled in. To add a provider, add a file.

mod answers;
mod description;
mod envelope;
mod file;
mod handshake;
mod sample;
mod vector;

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use serde::Deserialize;

use crate::Scheme;
pub(in crate::provider) use answers::check_body;
pub use answers::{Accepted, AnswerType, Answers, RefusedStatus};
pub use description::Description;
pub(in crate::provider) use envelope::EnvelopePlaces;
pub use envelope::{Content, Envelope, EnvelopeError, EqualBodies};
pub use file::ProviderText;
pub use handshake::{Challenge, Handshake, HandshakeMethod, HandshakeSecrets};
pub use sample::{TEST_USER_AGENT, uuid};
pub(in crate::provider) use vector::Vector;

/// Every provider that this version knows.
pub fn all() -> &'static [Arc<Provider>] {
    static PROVIDERS: LazyLock<Vec<Arc<Provider>>> = LazyLock::new(|| {
        #[expect(
            clippy::panic,
            reason = "the files are compiled in and every one is parsed by a test"
        )]
        let parse = |(name, text): &(&str, &str)| {
            let parsed = toml::from_str(text).unwrap_or_else(|why| panic!("{name}.toml: {why}"));
            Arc::new(parsed)
        };
        FILES.iter().map(parse).collect()
    });
    &PROVIDERS
}

/// The provider with this name, which is the word in the configuration.
pub fn find(name: &str) -> Option<&'static Arc<Provider>> {
    all().iter().find(|provider| provider.name == name)
}

/// Every name that the provider uses for the event that it calls `name`, itself among them: for
/// freispace, `offer.finalized` and `quote.finalized` are one event. Names of a provider that this
/// version does not know have no synonyms.
pub fn synonyms<'a>(provider: &str, name: &'a str) -> Vec<&'a str> {
    let mut names = vec![name];
    if let Some(provider) = find(provider) {
        let aliases = &provider.events.aliases;
        let documented = aliases.get(name).map_or(name, String::as_str);
        for (alias, of) in aliases {
            if of == documented {
                names.extend([alias.as_str(), of.as_str()]);
            }
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// A sender of webhooks: its signature scheme, where its requests name event, subject and delivery, and
/// how it wants to be answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "ProviderText")]
pub struct Provider {
    /// The word in the configuration.
    pub name: String,
    /// The name as people write it.
    pub title: String,
    /// The provider's page that says how it signs. Empty for a user's own.
    pub docs: String,
    /// What of the file could not be confirmed.
    pub unconfirmed: Option<String>,
    /// How it signs.
    pub scheme: Scheme,
    /// The answers that it wants, where they are not the usual ones.
    pub answers: Answers,
    /// Requests that ask for an answer and are not recorded, in the order in which they are tried.
    pub handshakes: Vec<Handshake>,
    envelope: EnvelopePlaces,
    events: Events,
}

impl Provider {
    /// The names of all events that the provider documents.
    pub fn events(&self) -> impl Iterator<Item = &str> {
        self.events.names.iter().map(String::as_str)
    }

    /// The path of the array that holds several events in one request: empty if the body itself is that
    /// array, and `None` if each request is one event.
    pub fn batch(&self) -> Option<&str> {
        self.envelope.batch.as_ref().map(|batch| batch.0.as_str())
    }

    /// The documented name of an event: an alias becomes that name, and an event with actions loses
    /// the action. `None` for an event that the provider does not document, which is accepted all
    /// the same.
    pub fn documented<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let name = self.events.aliases.get(name).map_or(name, String::as_str);
        self.events.names.iter().find_map(|known| match known.strip_suffix(".*") {
            // `pull_request.opened`: the body says which action, so they cannot be listed here.
            Some(event) => {
                let rest = name.strip_prefix(event)?;
                (rest.is_empty() || rest.starts_with('.')).then_some(event)
            }
            None => (known == name).then_some(known.as_str()),
        })
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Events {
    names: Vec<String>,
    aliases: BTreeMap<String, String>,
}

/// The name and the text of each file in `providers/`.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/providers.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_parses_and_has_its_own_name() {
        let mut names: Vec<_> = all().iter().map(|provider| &provider.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FILES.len());
    }

    #[test]
    fn names_are_documented_with_their_aliases_and_actions() {
        let freispace = find("freispace").unwrap();
        assert_eq!(freispace.documented("quote.finalized"), Some("offer.finalized"));
        assert_eq!(freispace.documented("offer.finalized"), Some("offer.finalized"));
        assert_eq!(freispace.documented("booking.exploded"), None);
        assert_eq!(freispace.events().count(), 15);
        let github = find("github").unwrap();
        assert_eq!(github.documented("pull_request.opened"), Some("pull_request"));
        assert_eq!(github.documented("pull_request_review"), Some("pull_request_review"));
        assert_eq!(github.documented("push"), Some("push"));
        assert_eq!(github.documented("push.x"), None);
        let both = ["offer.finalized", "quote.finalized"];
        for (provider, name, expected) in [
            ("freispace", "quote.finalized", &both[..]),
            ("freispace", "offer.finalized", &both),
            ("freispace", "push", &["push"]),
            ("github", "offer.finalized", &["offer.finalized"]),
            ("unheard-of", "offer.finalized", &["offer.finalized"]),
        ] {
            assert_eq!(synonyms(provider, name), expected, "{provider} {name}");
        }
    }
}
