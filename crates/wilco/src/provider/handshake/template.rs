//! What is answered, with values of the request in it: `{"challenge":"{json:challenge}"}`.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{HandshakeSecrets, value_of};
use crate::{
    Arrival,
    path::Path,
    place::{OneOrMore, Place, PlaceText},
};

/// A text with values of the request in it.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Value(Computed, Place),
}

/// What is made of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Computed {
    AsSent,
    HmacHex,
    HmacBase64,
}

impl Template {
    pub(super) fn computes(&self) -> bool {
        let is_computed = |piece: &Piece| {
            matches!(piece, Piece::Value(Computed::HmacHex | Computed::HmacBase64, _))
        };
        self.0.iter().any(is_computed)
    }

    /// The text for this request. `None` if a value is missing, too long, or not text.
    pub(super) fn fill(
        &self,
        arrival: &Arrival,
        secrets: HandshakeSecrets<'_>,
        is_json: bool,
    ) -> Option<String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Value(computed, place) => {
                    let value = value_of(place, arrival)?;
                    if *computed != Computed::AsSent && !is_plain(&value) {
                        return None;
                    }
                    let value = match computed {
                        Computed::AsSent => String::from_utf8(value).ok()?,
                        Computed::HmacHex => {
                            base16ct::lower::encode_string(&secrets.keys.first()?.mac(&value)?)
                        }
                        Computed::HmacBase64 => STANDARD.encode(secrets.keys.first()?.mac(&value)?),
                    };
                    match is_json {
                        true => text.push_str(&escaped(&value)?),
                        false => text.push_str(&value),
                    }
                }
            }
        }
        Some(text)
    }
}

/// Whether this can be a challenge and cannot be a body or a signed message, which no handshake must sign.
fn is_plain(value: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._~+/=-".contains(byte);
    value.len() <= COMPUTED_BYTES_MAX && value.iter().all(is_plain)
}

/// What is between the quotes of this text as JSON.
fn escaped(text: &str) -> Option<String> {
    let quoted = serde_json::to_string(text).ok()?;
    Some(quoted.strip_prefix('"')?.strip_suffix('"')?.to_owned())
}

impl Template {
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Value(_, place) => Some(place),
            Piece::Text(_) => None,
        })
    }
}

impl Template {
    /// Whether it is JSON whatever the values are, which it is if they are between quotes.
    pub(super) fn is_json(&self) -> bool {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Value(..) => "x".to_owned(),
        };
        let sample: String = self.0.iter().map(text).collect();
        serde_json::from_str::<serde::de::IgnoredAny>(&sample).is_ok()
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    /// A brace before a letter begins a value; every other brace is one of the text, as JSON has them.
    fn try_from(text: String) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find('{') {
            let (before, after) = (&rest[..at], &rest[at + 1..]);
            literal.push_str(before);
            rest = after;
            if !after.starts_with(|c: char| c.is_ascii_lowercase()) {
                literal.push('{');
                continue;
            }
            let (inside, after) =
                after.split_once('}').ok_or_else(|| format!("missing }} in {text:?}"))?;
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
            pieces.push(piece(inside)?);
            rest = after;
        }
        literal.push_str(rest);
        pieces.push(Piece::Text(literal));
        Ok(Self(pieces))
    }
}

/// Reads what is between the braces.
fn piece(text: &str) -> Result<Piece, String> {
    let (computed, place) = if let Some(place) = text.strip_prefix("hmac-sha256-hex:") {
        (Computed::HmacHex, place)
    } else if let Some(place) = text.strip_prefix("hmac-sha256-base64:") {
        (Computed::HmacBase64, place)
    } else {
        (Computed::AsSent, text)
    };
    let mut of = PlaceText::default();
    match place.split_once(':') {
        Some(("query", name)) => of.query = Some(name.into()),
        Some(("form", name)) => of.form = Some(name.into()),
        Some(("header", name)) => of.header = Some(OneOrMore::One(name.into())),
        Some(("json", path)) => of.json = Some(Path::try_from(path.to_owned())?),
        _ => return Err(format!("unknown value {{{text}}}: expected one of {KNOWN}")),
    }
    Ok(Piece::Value(computed, Place::try_from(of)?))
}

const KNOWN: &str = "{query:NAME}, {header:NAME}, {json:PATH}, {form:NAME}, \
                     {hmac-sha256-hex:json:PATH}, {hmac-sha256-base64:query:NAME}";
/// Of a value that an answer is computed from.
const COMPUTED_BYTES_MAX: usize = 256;
