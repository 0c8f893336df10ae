//! The types of a webhook: what arrives, the event that it becomes, and their names.

mod id;
mod origin;

use std::{borrow::Cow, fmt, sync::Arc};

use aws_lc_rs::digest;
use bytes::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::{Body, Item};

pub use id::{EventId, EventIdError, RejectionId, RejectionIdError};
pub use origin::Origin;

/// A request that is not verified: anybody may have sent it.
///
/// Its `Debug` shows the length of the body and nothing of its content.
#[derive(Clone)]
pub struct Arrival {
    /// When the whole body had been received, by the receiver's clock.
    pub received_at: Timestamp,
    /// Its method, URL and headers.
    pub head: Head,
    /// The body, byte for byte as it came.
    pub body: Body,
}

/// The head of a request.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// `POST`.
    pub method: Cow<'static, str>,
    /// The URL by which the provider knows this endpoint, with scheme, host and query. Empty if the
    /// scheme does not sign it.
    pub url: String,
    /// The header fields.
    pub headers: Headers,
}

impl Head {
    /// What follows the `?` of the URL.
    pub(crate) fn query(&self) -> &str {
        self.url.split_once('?').map(|(_, query)| query).unwrap_or_default()
    }
}

/// A verified webhook that was recorded: what destinations and endpoint functions see.
///
/// Its `Debug` shows the length of the body and nothing of its content.
#[derive(Clone, PartialEq)]
pub struct Event {
    /// Unique, and the same in every attempt to deliver it.
    pub id: EventId,
    /// The source that it came to.
    pub source: SourceName,
    /// The name of the provider that sent it. Event names have the meaning that it gives them.
    pub provider: String,
    /// What happened, in the provider's words: `booking.updated`. `unknown` if the body does not
    /// name an event.
    pub name: String,
    /// What it is about: for freispace `booking/<uuid>`. `None` if the body does not say.
    pub subject: Option<String>,
    /// When its last byte had been received.
    pub received_at: Timestamp,
    /// The name of the secret that matched, such as `env:FREISPACE_SECRET`, or of the token with which the
    /// event was fetched.
    pub secret_name: String,
    /// SHA-256 of the body.
    pub digest: Digest,
    /// Set if the provider sent the same delivery id before, with another body.
    pub conflict: bool,
    /// How it got here.
    pub origin: Origin,
    /// The headers that came with it.
    pub headers: Headers,
    /// The body, byte for byte as it was signed, or as it was in the list that it was fetched from; of an
    /// item only that item.
    pub body: Body,
    /// The number of the item, if this is one of those that a route splits an event into.
    pub item: Option<u32>,
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bodies contain customers' data, which must not get into logs.
        let Self { received_at, head, body } = self;
        f.debug_struct("Arrival")
            .field("received_at", received_at)
            .field("head", head)
            .field("body_bytes", &body.len())
            .finish()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            source,
            provider,
            name,
            subject,
            received_at,
            secret_name,
            digest,
            conflict,
            origin,
            headers,
            body,
            item,
        } = self;
        f.debug_struct("Event")
            .field("id", id)
            .field("source", source)
            .field("provider", provider)
            .field("name", name)
            .field("subject", subject)
            .field("received_at", received_at)
            .field("secret_name", secret_name)
            .field("digest", digest)
            .field("conflict", conflict)
            .field("origin", origin)
            .field("headers", headers)
            .field("body_bytes", &body.len())
            .field("item", item)
            .finish()
    }
}

impl Event {
    /// The id by which a destination knows it: `evt_…`, and of an item `evt_…_0`.
    pub fn delivered_id(&self) -> String {
        match self.item {
            Some(number) => format!("{}_{number}", self.id),
            None => self.id.to_string(),
        }
    }

    /// One of its items as an event, with the bytes of that item in memory of their own; `None` if the body
    /// does not reach that far.
    pub fn item(&self, item: Item) -> Option<Self> {
        let body = self.body.part(item.start..item.end)?;
        let (digest, item) = (Digest::of(&body), Some(item.number));
        Some(Self { digest, body: body.into(), item, ..self.clone() })
    }

    /// Reads the member `data` of the JSON body as a `T`: a type of [`freispace`](crate::freispace)
    /// or one of your own.
    ///
    /// # Errors
    ///
    /// [`DataError`] if the body has no `data`, or if its shape is another.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, DataError> {
        #[derive(serde::Deserialize)]
        struct Data<T> {
            data: T,
        }
        match serde_json::from_slice::<Data<T>>(&self.body.contiguous()) {
            Ok(Data { data }) => Ok(data),
            Err(cause) => Err(DataError { event: self.name.clone(), cause }),
        }
    }
}

/// The body of an event does not have the shape that the function expects.
#[derive(Debug, thiserror::Error)]
#[error("data of {event} does not have the expected shape: {cause}")]
pub struct DataError {
    event: String,
    cause: serde_json::Error,
}

/// The name of a source in the configuration. It appears in logs, metrics and variables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(Arc<str>);

impl SourceName {
    /// Takes 1 to 64 of `a`–`z`, `A`–`Z`, `0`–`9`, `-` and `_`.
    ///
    /// # Errors
    ///
    /// [`NameError`] if the name has another length or another character.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
            return Err(NameError(name.chars().take(80).collect()));
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text cannot name a source.
#[derive(Debug, thiserror::Error)]
#[error("invalid name {0:?}: expected 1 to {NAME_BYTES_MAX} letters, digits, `-` and `_`")]
pub struct NameError(String);

/// SHA-256 of a body. Prints as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(body: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(body);
        Self::finish(context)
    }

    /// The digest of this body.
    pub fn of_body(body: &Body) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        body.chunks().for_each(|chunk| context.update(chunk));
        Self::finish(context)
    }

    /// The digest of what a context for SHA-256 was given.
    pub(crate) fn finish(context: digest::Context) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The header fields of a request in the order in which they arrived, fields of one name together.
///
/// They are kept as HTTP sends them, one `name: value` per line, each ended by CR LF, because this
/// form can hold any bytes (a value need not be UTF-8, RFC 9110 section 5.5), takes one allocation,
/// and can be read by anyone who opens the store. Names are lower case.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Bytes);

impl Headers {
    /// From names and values. Names become lower case; a line break within a value, which HTTP does
    /// not allow, becomes a space.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<[u8]>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut block = Vec::with_capacity(512);
        for (name, value) in pairs {
            let start = block.len();
            block.extend_from_slice(name.as_ref().as_bytes());
            block[start..].make_ascii_lowercase();
            block.extend_from_slice(b": ");
            let start = block.len();
            block.extend_from_slice(value.as_ref());
            for byte in &mut block[start..] {
                if matches!(byte, b'\r' | b'\n') {
                    *byte = b' ';
                }
            }
            block.extend_from_slice(b"\r\n");
        }
        Self(block.into())
    }

    /// From the form that [`as_bytes`](Self::as_bytes) returns.
    pub const fn from_block(block: Bytes) -> Self {
        Self(block)
    }

    /// The block of lines.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.split(|&b| b == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r")?;
            let colon = line.iter().position(|&b| b == b':')?;
            let name = std::str::from_utf8(&line[..colon]).ok()?;
            Some((name, line.get(colon + 2..).unwrap_or_default()))
        })
    }

    /// All values of one field. `name` is lower case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(field, _)| *field == name).map(|(_, value)| value)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be credentials: a debug print shows the names only.
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

const NAME_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_survives_its_text_and_sorts_by_time() {
        let [early, late] = [1_u128 << 80, 2 << 80].map(EventId::from_bits);
        assert_eq!(early.to_string().parse::<EventId>().unwrap(), early);
        assert!(early.to_string() < late.to_string());
        assert_eq!(early.to_string().len(), 30);
    }

    #[test]
    fn an_invalid_event_id_is_refused_with_an_example() {
        for text in [
            "",
            "evt_",
            "01JQ8ZK4N3W8T1V5R7Y9ABCDEF",
            "evt_01JQ",
            "evt_01JQ8ZK4N3W8T1V5R7Y9ABCDEFG",
        ] {
            let error = text.parse::<EventId>().unwrap_err().to_string();
            assert!(error.contains("expected one like evt_"), "{error}");
        }
    }

    #[test]
    fn headers_keep_order_repeats_and_bytes_that_are_not_text() {
        let pairs: [(&str, &[u8]); 4] =
            [("Host", b"a"), ("X-Odd", b"\xff\xfe: y"), ("x-empty", b""), ("host", b"b")];
        let headers = Headers::from_block(Headers::from_pairs(pairs).0);
        let read: Vec<_> = headers.iter().collect();
        assert_eq!(
            read,
            [("host", &b"a"[..]), ("x-odd", b"\xff\xfe: y"), ("x-empty", b""), ("host", b"b")]
        );
        assert_eq!(headers.all("host").count(), 2);
    }

    #[test]
    fn a_line_break_in_a_value_cannot_make_a_second_header() {
        let headers = Headers::from_pairs([("a", "b\r\nc: d")]);
        assert_eq!(headers.iter().count(), 1);
    }

    #[test]
    fn a_debug_print_of_headers_shows_no_value() {
        let headers = Headers::from_pairs([("authorization", "Bearer canary")]);
        assert_eq!(format!("{headers:?}"), r#"["authorization"]"#);
    }

    #[test]
    fn a_debug_print_of_an_event_or_an_arrival_shows_no_body() {
        let (received_at, body) = (Timestamp::UNIX_EPOCH, Body::from(&b"canary"[..]));
        let headers = Headers::from_pairs([("cookie", "canary")]);
        let event = Event {
            id: EventId::from_bits(1),
            source: SourceName::new("office").unwrap(),
            provider: "freispace".into(),
            name: "booking.updated".into(),
            subject: None,
            received_at,
            secret_name: "env:X".into(),
            digest: Digest::of(&body.contiguous()),
            conflict: false,
            origin: Origin::Webhook,
            item: None,
            headers: headers.clone(),
            body: body.clone(),
        };
        let head = Head { headers, ..Head::default() };
        let arrival = Arrival { received_at, head, body };
        for printed in [format!("{event:#?}"), format!("{arrival:?}")] {
            // Neither as text nor as the numbers of its bytes.
            assert!(!printed.contains("canary") && !printed.contains("99, 97"), "{printed}");
            assert!(printed.contains("body_bytes: 6"), "{printed}");
        }
    }

    #[test]
    fn a_source_name_can_be_used_in_a_label_and_in_a_variable() {
        for bad in ["", "a b", "a\"b", "ü", "a/b", &"x".repeat(65)] {
            assert!(SourceName::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(SourceName::new("freispace-2_b").unwrap().as_str(), "freispace-2_b");
    }
}
