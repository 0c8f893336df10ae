//! `[provider.NAME]`: a sender of webhooks that wilco does not know, in the language of the providers that
//! it knows.

use std::sync::Arc;

use wilco::{
    Provider,
    provider::{self, ProviderText},
};
use wilco_config::{FileReader, Form, Key, Table, TableReader, ValueType};

pub(super) static TABLE: Table = Table {
    name: "provider",
    form: Form::Named("mine"),
    without: None,
    keys: &[
        Key::new("title", ValueType::Text, "\"Mine\"")
            .absence("its name")
            .doc("its name as people write it"),
        Key::new("docs", ValueType::Text, "\"https://example.com/docs/webhooks\"")
            .doc("the page that says how it signs"),
        Key::new(
            "scheme",
            ValueType::Table("scheme", SCHEME),
            "{ family = \"hex\", signature = { header = \"x-mine-signature\" } }",
        )
        .required()
        .doc("how it [signs](providers.md#scheme)"),
        Key::new(
            "envelope",
            ValueType::Table("envelope", ENVELOPE),
            "{ name = [{ json = \"type\" }] }",
        )
        .required()
        .doc("where its requests name [event and subject](providers.md#envelope)"),
        Key::new("events", ValueType::Table("events", EVENTS), "{ names = [\"file.created\"] }")
            .doc("the [events](providers.md#events) that it documents"),
        Key::new("answers", ValueType::Table("answers", ANSWERS), "{ invalid = 401 }")
            .doc("the [answers](providers.md#answers) that it wants"),
        Key::new(
            "handshake",
            ValueType::ListOf(&ValueType::Table("handshake", HANDSHAKE)),
            HANDSHAKE_EXAMPLE,
        )
        .doc("its requests that are [no events](providers.md#handshakes), each a table"),
        Key::new("vector", ValueType::ListOf(&ValueType::Table("vector", VECTOR)), VECTOR_EXAMPLE)
            .doc("requests as [tests](providers.md#write-your-own) of all this, each a table"),
    ],
};

static SCHEME: &[Key] = &[
    Key::new("family", ValueType::Text, "\"stripe\"").doc("a scheme to build on"),
    Key::new("algorithm", ValueType::Text, "\"hmac-sha256\"")
        .absence("that of the family")
        .doc("how signatures are computed"),
    Key::new("key", ValueType::Text, "\"base64\"")
        .default("\"text\"")
        .doc("how the secret is written"),
    Key::new("signature", PLACE, "{ header = \"x-mine-signature\", prefix = \"v1=\" }")
        .absence("that of the family")
        .doc("the place of the signature"),
    Key::new("encoding", ValueType::Text, "\"base64\"")
        .default("\"hex\"")
        .doc("how the signature is written"),
    Key::new("signed", TEXTS, "[\"{timestamp}.{body}\"]")
        .absence("that of the family")
        .doc("templates of what is signed"),
    Key::new("timestamp", PLACE, "{ header = \"x-mine-time\" }").doc("the place of the time"),
    Key::new("timestamp-unit", ValueType::Text, "\"milliseconds\"")
        .default("\"seconds\"")
        .doc("how the time is written"),
    Key::new("tolerance-secs", ValueType::Integer(0, u32::MAX as u64), "300")
        .absence("not checked")
        .doc("how old a signature may be, in seconds"),
    Key::new("id", PLACE, "{ header = \"x-mine-id\" }").doc("the place of an id that is signed"),
    Key::new("body-sha256", PLACE, "{ claim = \"payload_hash\" }")
        .doc("the place of the digest of the body"),
];

static ENVELOPE: &[Key] = &[
    Key::new("name", ValueType::ListOf(&PLACE), "[{ json = \"type\" }]")
        .required()
        .doc("the places of the event's name"),
    Key::new("subject", ValueType::ListOf(&PLACE), "[{ json = \"data.id\" }]")
        .doc("the places of what the event is about"),
    Key::new("delivery-id", PLACE, "{ json = \"id\" }").doc("the place of the delivery's id"),
    Key::new("content", ValueType::Text, "\"json\"")
        .default("\"object\"")
        .doc("what the body has to be"),
    Key::new("duplicates", ValueType::OneOf(&["suppress", "keep"]), "\"keep\"")
        .default("\"suppress\"")
        .doc("what is done with duplicates, unless the source says that"),
    Key::new("batch", ValueType::Text, "\"events\"")
        .doc("the path of an array of events in one request"),
];

static EVENTS: &[Key] =
    &[Key::new("names", TEXTS, "[\"file.created\", \"file.deleted\"]").doc("their names")];

static ANSWERS: &[Key] = &[
    Key::new("accepted", ValueType::Table("accepted", ACCEPTED), "{ status = 204 }")
        .doc("the answer to an event"),
    Key::new("missing", ValueType::Integer(400, 599), "401")
        .default("400")
        .doc("the status if the signature is missing"),
    Key::new("invalid", ValueType::Integer(400, 599), "401")
        .default("403")
        .doc("the status if the signature is wrong"),
];

static ACCEPTED: &[Key] = &[
    Key::new("status", ValueType::Integer(200, 299), "204").required().doc("the status"),
    Key::new("body", ValueType::Text, "\"[accepted]\"").doc("the body"),
    Key::new("content-type", ValueType::Text, "\"text/plain\"").doc("the type of the body"),
];

static HANDSHAKE: &[Key] = &[
    Key::new("method", ValueType::OneOf(&["POST", "GET", "HEAD", "OPTIONS"]), "\"GET\"")
        .default("\"POST\"")
        .doc("the method"),
    Key::new(
        "when",
        ValueType::ListOf(&ValueType::Table("condition", CONDITION)),
        "[{ json = \"type\", is = \"ping\" }]",
    )
    .required()
    .doc("the conditions"),
    Key::new("is-signed", ValueType::Boolean, "false").doc("whether the signature must be right"),
    Key::new("answer", ValueType::Table("answer", ANSWER), "{ status = 204 }")
        .required()
        .doc("the answer"),
    Key::new("learn-secret", PLACE, "{ header = \"x-hook-secret\" }")
        .doc("the place of the secret that it brings"),
];

static ANSWER: &[Key] = &[
    Key::new("status", ValueType::Integer(200, 299), "204").default("200").doc("the status"),
    Key::new("content-type", ValueType::Text, "\"application/json\"").doc("the type of the body"),
    Key::new("body", ValueType::Text, "\"{query:challenge}\"").doc("the body"),
    Key::new("headers", ValueType::MapOf(&ValueType::Text), "{ x-hook-secret = \"{header:x}\" }")
        .doc("further headers"),
];

static VECTOR: &[Key] = &[
    Key::new("name", ValueType::Text, "\"finished\"").required().doc("what errors call it"),
    Key::new("source", ValueType::Text, "\"https://example.com/docs/webhooks\"")
        .doc("where the request was found"),
    Key::new("is-valid", ValueType::Boolean, "true").required().doc("whether it is accepted"),
    Key::new("now-secs", ValueType::Integer(0, u32::MAX as u64), "1700000000")
        .absence("required if the scheme has a tolerance")
        .doc("when it is received, in seconds since 1970"),
    Key::new("secret", ValueType::Text, "\"a-made-up-secret\"")
        .required()
        .secret()
        .doc("the secret that it is checked with; never a real one"),
    Key::new("method", ValueType::Text, "\"POST\"").default("\"POST\"").doc("the method"),
    Key::new("url", ValueType::Text, "\"https://hooks.example.com/in\"").doc("the URL"),
    Key::new("headers", ValueType::MapOf(&ValueType::Text), "{ x-mine-signature = \"00\" }")
        .required()
        .doc("the headers"),
    Key::new("body", ValueType::Text, "\"{}\"")
        .absence("required, or `body-base64`")
        .doc("the body"),
    Key::new("body-base64", ValueType::Text, "\"e30=\"").doc("a body that is not text"),
    Key::new("event", ValueType::Text, "\"file.created\"")
        .doc("the event that it is, if it is valid"),
    Key::new("subject", ValueType::Text, "\"file/7\"").doc("its subject"),
    Key::new("delivery-id", ValueType::Text, "\"d-1\"").doc("its delivery id"),
];

const VECTOR_EXAMPLE: &str = "[{ name = \"refused\", is-valid = false, secret = \"made-up\", \
                              headers = { x-mine-signature = \"00\" }, body = \"{}\" }]";

const PLACE: ValueType = ValueType::Table(
    "place",
    &[
        Key::new("header", TEXTS, "\"x-name\"").doc("a header, or any of several"),
        Key::new("json", ValueType::Text, "\"data.items[0].id\"").doc("a path in the body"),
        Key::new("form", ValueType::Text, "\"name\"").doc("a field of a form"),
        Key::new("query", ValueType::Text, "\"name\"").doc("a parameter of the URL"),
        Key::new("text", ValueType::Text, "\"ping\"").doc("a constant"),
        Key::new("claim", ValueType::Text, "\"payload_hash\"").doc("a claim of the token"),
        Key::new("split", ValueType::Text, "\",\"").doc("what separates the items of a list"),
        Key::new("prefix", ValueType::Text, "\"v1=\"").doc("what the value begins with"),
    ],
);

static CONDITION: &[Key] = &[
    Key::new("header", TEXTS, "\"x-name\"").doc("a header, or any of several"),
    Key::new("json", ValueType::Text, "\"type\"").doc("a path in the body"),
    Key::new("form", ValueType::Text, "\"name\"").doc("a field of a form"),
    Key::new("query", ValueType::Text, "\"name\"").doc("a parameter of the URL"),
    Key::new("prefix", ValueType::Text, "\"v1=\"").doc("what the value begins with"),
    Key::new("is", ValueType::Text, "\"ping\"").doc("what the value is"),
    Key::new("is-secret", ValueType::Boolean, "true")
        .doc("whether it is the source's `verify_token`"),
];

const TEXTS: ValueType = ValueType::ListOf(&ValueType::Text);
const HANDSHAKE_EXAMPLE: &str =
    "[{ when = [{ json = \"type\", is = \"ping\" }], answer = { status = 204 } }]";

/// The providers that sources can name: those of the file, and those that wilco knows.
pub(super) struct Providers {
    own: Vec<Arc<Provider>>,
    /// Also of those that could not be read, which was reported.
    names: Vec<String>,
}

impl Providers {
    pub(super) fn read(file: &FileReader<'_>) -> Self {
        let own = file.tables_by_name(&TABLE, read).into_iter().filter_map(|(_, own)| own);
        Self { own: own.map(Arc::new).collect(), names: file.names(&TABLE) }
    }

    pub(super) fn find(&self, name: &str) -> Option<&Arc<Provider>> {
        self.own.iter().find(|own| own.name == name).or_else(|| provider::find(name))
    }

    /// Whether there is a provider of this name, even if it could not be read.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name) || provider::find(name).is_some()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let known = provider::all().iter().map(|known| known.name.as_str());
        self.names.iter().map(String::as_str).chain(known)
    }
}

fn read(keys: &mut TableReader<'_>) -> Option<Provider> {
    let name = keys.name().to_owned();
    if provider::find(&name).is_some() {
        let message = format!("wilco knows a provider {name:?}");
        keys.error_here(&message, "give this one another name");
    }
    let text: ProviderText = keys.deserialize()?;
    let named = text.named(&name);
    named.map_err(|why| keys.error_here(&why, "see the manual: Providers, Write your own")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_the_keys_of_the_language() {
        let ValueType::Table(_, place) = PLACE else { panic!("a place is a table") };
        for (text, keys) in [
            ("unheard-of = 1".to_owned(), TABLE.keys),
            ("scheme.unheard-of = 1".into(), SCHEME),
            ("scheme.signature.unheard-of = 1".into(), place),
            ("envelope.unheard-of = 1".into(), ENVELOPE),
            ("answers.unheard-of = 1".into(), ANSWERS),
            ("answers.accepted.unheard-of = 1".into(), ACCEPTED),
            ("[[handshake]]\nunheard-of = 1".into(), HANDSHAKE),
            ("[[handshake]]\nanswer.unheard-of = 1".into(), ANSWER),
            ("[[handshake]]\nwhen = [{ unheard-of = 1 }]".into(), CONDITION),
            ("[[vector]]\nunheard-of = 1".into(), VECTOR),
        ] {
            let error = toml::from_str::<ProviderText>(&text).map(drop).unwrap_err().to_string();
            let (_, known) = error.split_once("expected one of ").expect(&error);
            let mut known: Vec<_> =
                known.trim().split(", ").map(|key| key.trim_matches('`')).collect();
            known.retain(|key| {
                !["name", "unconfirmed"].contains(key) || keys.as_ptr() != TABLE.keys.as_ptr()
            });
            let mut rows: Vec<_> = keys.iter().map(|key| key.name).collect();
            known.sort_unstable();
            rows.sort_unstable();
            assert_eq!(known, rows, "{text}");
        }
    }
}
