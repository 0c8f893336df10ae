//! Reads a provider from its file, or from a table of the configuration.

use serde::Deserialize;

use super::{Answers, EnvelopePlaces, Events, Handshake, Provider, Vector};
use crate::{Algorithm, Scheme};

/// A provider as files write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderText {
    name: Option<String>,
    title: Option<String>,
    docs: Option<String>,
    unconfirmed: Option<String>,
    scheme: Scheme,
    envelope: EnvelopePlaces,
    #[serde(default)]
    events: Events,
    #[serde(default)]
    answers: Answers,
    #[serde(default)]
    handshake: Vec<Handshake>,
    /// Requests as tests of all this. Those of a provider that wilco knows are checked by wilco's own tests.
    #[serde(default)]
    vector: Vec<Vector>,
}

impl ProviderText {
    /// The provider that a user describes, which is named by its table.
    ///
    /// # Errors
    ///
    /// What contradicts itself, and the first vector that fails.
    pub fn named(mut self, name: &str) -> Result<Provider, String> {
        if self.name.as_ref().is_some_and(|own| own != name) {
            return Err("the name of a provider is that of its table: remove \"name\"".into());
        }
        if !self.events.aliases.is_empty() {
            return Err(
                "only a provider that wilco knows has aliases: name both in the route".into()
            );
        }
        let title = self.title.clone().unwrap_or_else(|| name.to_owned());
        let vectors = std::mem::take(&mut self.vector);
        let provider = self.checked(name.to_owned(), title)?;
        vectors.iter().try_for_each(|vector| vector.check(&provider))?;
        Ok(provider)
    }

    fn checked(self, name: String, title: String) -> Result<Provider, String> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(is_plain) {
            return Err(format!(
                "invalid name {name:?}: expected lower-case letters, digits and `-`"
            ));
        }
        let Self { docs, unconfirmed, scheme, envelope, events, answers, handshake, .. } = self;
        envelope.check()?;
        let computes = handshake.iter().any(Handshake::computes);
        if computes && scheme.algorithm() != Algorithm::HmacSha256 {
            return Err("an answer with {hmac-sha256-…} needs a scheme with hmac-sha256".into());
        }
        // What a stranger has signed this way is never a body: that has a brace or a bracket.
        let is_body_signed = scheme.signs_body() && envelope.is_json();
        if handshake.iter().any(Handshake::computes_for_anyone) && !is_body_signed {
            return Err("what an unsigned request brought would be signed for anyone: \
                        {hmac-sha256-…} needs is-signed = true, or events whose body is JSON and is \
                        signed"
                .into());
        }
        Ok(Provider {
            name,
            title,
            docs: docs.unwrap_or_default(),
            unconfirmed,
            scheme,
            answers,
            handshakes: handshake,
            envelope,
            events,
        })
    }
}

impl TryFrom<ProviderText> for Provider {
    type Error = String;

    fn try_from(text: ProviderText) -> Result<Self, String> {
        let name = text.name.clone().ok_or("expected \"name\"")?;
        let title = text.title.clone().ok_or("expected \"title\", the name as people write it")?;
        if text.docs.is_none() {
            return Err("expected \"docs\", the page that says how the provider signs".into());
        }
        text.checked(name, title)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "name = \"x\"\ntitle = \"X\"\ndocs = \"https://x.example\"\n\
        scheme = { family = \"hex\", signature = { header = \"x-signature\" } }\n";

    #[test]
    fn a_provider_that_contradicts_itself_is_refused() {
        let name = "envelope = { name = [{ json = \"type\" }]";
        for (lines, expected) in [
            ("envelope = { name = [] }", "at least one place"),
            (&format!("{name}, content = \"any\" }}"), "is not read as JSON"),
            (&format!("{name}, batch = \"\" }}"), "expected content = \"json\""),
            (&format!("{name}, batch = \"a..b\" }}"), "invalid path"),
            (&format!("{name}, delivery-id = {{ text = \"x\" }} }}"), "a duplicate of the first"),
            (&format!("{name}, subject = [{{ claim = \"x\" }}] }}"), "unexpected claim"),
            (&format!("{name} }}\nanswers.accepted.status = 302"), "200 to 299"),
            (&format!("{name} }}\nanswers.accepted = {{ status = 204, body = \"x\" }}"), "no body"),
            (
                &format!(
                    "{name} }}\nanswers.accepted = {{ status = 200, content-type = \"text/html\" }}"
                ),
                "unknown variant `text/html`",
            ),
            (
                "envelope = { name = [{ query = \"t\" }], content = \"any\" }\n[[handshake]]\n\
                 when = [{ query = \"a\" }]\nmethod = \"GET\"\n\
                 answer.body = \"{hmac-sha256-hex:query:a}\"",
                "would be signed for anyone",
            ),
            (&format!("{name} }}\nanswers.missing = 200"), "400 to 599"),
            (&format!("{name} }}\n[answer]"), "unknown field `answer`"),
        ] {
            let error = toml::from_str::<Provider>(&format!("{REST}{lines}")).unwrap_err();
            assert!(error.to_string().contains(expected), "{lines}: {error}");
        }
        for (line, without) in
            [("title", "title = \"X\"\n"), ("docs", "docs = \"https://x.example\"\n")]
        {
            let text = format!("{}{name} }}", REST.replace(without, ""));
            let error = toml::from_str::<Provider>(&text).unwrap_err().to_string();
            assert!(error.contains(&format!("expected \"{line}\"")), "{error}");
        }
    }
}
