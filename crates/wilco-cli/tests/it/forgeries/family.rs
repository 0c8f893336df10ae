//! How a right request of a scheme looks, and how it is signed: apart from the code that verifies it.

mod signer;

use std::fmt::Write as _;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use form_urlencoded::byte_serialize;
use serde::Deserialize;

pub(crate) use signer::{Signer, hash, mac};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Family {
    pub(crate) name: String,
    provider: Option<String>,
    /// Instead of the name of a provider: its scheme, as the configuration has it.
    scheme: Option<String>,
    public_url: Option<String>,
    pub(crate) algorithm: String,
    #[serde(default)]
    pub(crate) key: String,
    pub(crate) encoding: String,
    /// The name of the claim with the digest of the body.
    pub(crate) claim: Option<String>,
    /// What is before the signature.
    #[serde(default)]
    pub(crate) prefix: String,
    /// What separates several signatures, of which one has to be right.
    pub(crate) list: Option<String>,
    pub(crate) unit: Option<String>,
    /// Whether the time is judged.
    #[serde(default)]
    pub(crate) tolerance: bool,
    #[serde(default)]
    pub(crate) headers: Vec<String>,
    #[serde(default)]
    query: String,
    #[serde(default = "usual_body")]
    body: String,
    #[serde(default = "whole_body")]
    pub(crate) signed: String,
    #[serde(skip)]
    pub(crate) signer: Option<Signer>,
}

/// What is signed, and what it is signed with.
#[derive(Clone, PartialEq)]
pub(crate) struct Facts {
    pub(crate) number: u32,
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) timestamp: String,
    pub(crate) id: String,
    pub(crate) nonce: String,
    pub(crate) secret: Vec<u8>,
    /// Instead of the usual body.
    pub(crate) body: Option<Vec<u8>>,
}

/// A request, before it is written.
#[derive(Clone, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Without line breaks.
    pub(crate) headers: Vec<Vec<u8>>,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn families() -> Vec<Family> {
    #[derive(Deserialize)]
    struct File {
        family: Vec<Family>,
    }
    let file: File = toml::from_str(include_str!("families.toml")).unwrap();
    let mut families = file.family;
    for family in &mut families {
        family.signer = Some(Signer::new(&family.algorithm));
    }
    families
}

impl Family {
    pub(crate) fn signer(&self) -> &Signer {
        self.signer.as_ref().unwrap()
    }

    pub(crate) fn path(&self) -> String {
        format!("/{}", self.name)
    }

    /// The tables that make wilco expect requests of this family.
    pub(crate) fn config(&self, variable: &str) -> String {
        let name = &self.name;
        let mut config = String::new();
        let provider = self.provider.clone().unwrap_or_else(|| format!("own-{name}"));
        if let Some(scheme) = &self.scheme {
            writeln!(config, "[provider.{provider}]\ntitle = \"Own\"\nscheme = {scheme}").unwrap();
            writeln!(config, "envelope = {{ name = [{{ json = \"type\" }}] }}").unwrap();
        }
        writeln!(config, "[source.{name}]\nprovider = {provider:?}\npath = \"/{name}\"").unwrap();
        writeln!(config, "secrets = [{{ env = {variable:?} }}]").unwrap();
        if let Some(url) = &self.public_url {
            writeln!(config, "public_url = {url:?}").unwrap();
        }
        config
    }

    /// What wilco is given as the secret.
    pub(crate) fn secret(&self) -> String {
        let public = self.signer().public_key();
        let text = match (self.signer(), self.key.as_str()) {
            (Signer::Shared, "standard-webhooks") => {
                return format!("whsec_{}", STANDARD.encode(format!("Key of {}", self.name)));
            }
            (Signer::Shared, _) => return format!("Key:of_{}-0123456789", self.name),
            (_, "hex") => hex(public),
            // SendGrid gives its key in DER.
            (Signer::Ecdsa(_), _) => STANDARD.encode([P256, public].concat()),
            _ => STANDARD.encode(public),
        };
        match self.key.as_str() {
            "pem" => {
                format!("-----BEGIN RSA PUBLIC KEY-----\n{text}\n-----END RSA PUBLIC KEY-----")
            }
            _ => text,
        }
    }

    /// A right request about this number, sent at this time.
    pub(crate) fn facts(&self, number: u32, now: jiff::Timestamp) -> Facts {
        let timestamp = match self.unit.as_deref() {
            Some("milliseconds") => now.as_millisecond().to_string(),
            Some("rfc3339") => now.to_string(),
            _ => now.as_second().to_string(),
        };
        let mut facts = Facts {
            number,
            method: "POST".into(),
            url: self.public_url.clone().unwrap_or_default(),
            timestamp,
            id: format!("msg_{number}"),
            nonce: format!("nonce-{number}"),
            secret: self.secret().into_bytes(),
            body: None,
        };
        let query = self.fill(&self.query, &facts, "");
        if !query.is_empty() {
            facts.url = format!("{}?{query}", facts.url);
        }
        facts
    }

    /// What is signed. Nothing if the secret itself is sent.
    pub(crate) fn message(&self, facts: &Facts) -> Vec<u8> {
        if let Some(claim) = &self.claim {
            let at: i64 = facts.timestamp.parse().unwrap_or_default();
            let body = self.body(facts, "");
            let claims = serde_json::json!({ "exp": at + 60, claim: hex(&sha256(&body)) });
            return token(&serde_json::json!({ "alg": "HS256", "typ": "JWT" }), &claims).into();
        }
        if self.algorithm == "token" {
            return Vec::new();
        }
        self.fill_bytes(&self.signed, facts)
    }

    /// The signature of a message.
    pub(crate) fn sign(&self, message: &[u8], secret: &[u8]) -> Vec<u8> {
        if let Some(signature) = self.signer().sign(&self.algorithm, message) {
            return signature;
        }
        match self.algorithm.as_str() {
            "token" => secret.to_vec(),
            "sha1" | "sha256" => hash(&self.algorithm, message),
            _ => mac(&self.algorithm, &self.key_bytes(secret), message),
        }
    }

    /// The text of a signature.
    pub(crate) fn text(&self, signature: &[u8], message: &[u8]) -> String {
        if self.claim.is_some() {
            let message = String::from_utf8_lossy(message);
            return format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
        }
        match self.encoding.as_str() {
            "hex" | "hex-lower" => hex(signature),
            "base64" => STANDARD.encode(signature),
            "base64-url" => URL_SAFE_NO_PAD.encode(signature),
            _ => String::from_utf8_lossy(signature).into_owned(),
        }
    }

    pub(crate) fn signed_text(&self, facts: &Facts) -> String {
        let message = self.message(facts);
        self.text(&self.sign(&message, &facts.secret), &message)
    }

    /// The request that says these facts, with this text as its signature.
    pub(crate) fn request(&self, facts: &Facts, signature: &str) -> Request {
        let encoded: String = byte_serialize(signature.as_bytes()).collect();
        let mut target = self.path();
        if !self.query.is_empty() {
            target = format!("{target}?{}", self.fill(&self.query, facts, &encoded));
        }
        let headers = self.headers.iter().map(|line| self.fill(line, facts, signature).into());
        Request {
            method: "POST".into(),
            target,
            headers: headers.collect(),
            body: self.body(facts, signature),
        }
    }

    fn body(&self, facts: &Facts, signature: &str) -> Vec<u8> {
        let quoted = serde_json::Value::from(signature).to_string();
        match &facts.body {
            Some(body) => body.clone(),
            None => self.fill(&self.body, facts, &quoted[1..quoted.len() - 1]).into_bytes(),
        }
    }

    /// Whether a changed body makes the signature wrong.
    pub(crate) fn covers_body(&self) -> bool {
        let is_text = |text: &str| self.signed.contains(text) || self.query.contains(text);
        self.algorithm != "token"
            && ["{body}", "{body-sha256}", "{form}"].iter().any(|it| is_text(it))
    }

    pub(crate) fn key_bytes(&self, secret: &[u8]) -> Vec<u8> {
        match self.key.as_str() {
            "standard-webhooks" => {
                let text = secret.strip_prefix(b"whsec_").unwrap_or(secret);
                STANDARD.decode(text).unwrap_or_else(|_| secret.to_vec())
            }
            _ => secret.to_vec(),
        }
    }

    fn fill_bytes(&self, template: &str, facts: &Facts) -> Vec<u8> {
        let mut filled = Vec::new();
        for piece in template.split_inclusive("{body}") {
            let (before, has_body) = match piece.strip_suffix("{body}") {
                Some(before) => (before, true),
                None => (piece, false),
            };
            // The secret is the only other value that may be any bytes.
            for (at, text) in before.split("{secret}").enumerate() {
                if at > 0 {
                    filled.extend(&facts.secret);
                }
                filled.extend(self.fill(text, facts, "").into_bytes());
            }
            if has_body {
                filled.extend(self.body(facts, ""));
            }
        }
        filled
    }

    fn fill(&self, template: &str, facts: &Facts, signature: &str) -> String {
        let mut filled = template.to_owned();
        // Of what depends on the body, only what is asked for: the body itself is filled in here.
        if template.contains("{body-sha256}") {
            filled = filled.replace("{body-sha256}", &hex(&sha256(&self.body(facts, ""))));
        }
        if template.contains("{form}") {
            let body = self.body(facts, "");
            let mut pairs: Vec<_> = form_urlencoded::parse(&body).into_owned().collect();
            pairs.sort();
            let pairs: String = pairs.into_iter().map(|(name, value)| name + &value).collect();
            filled = filled.replace("{form}", &pairs);
        }
        let path = facts.url.splitn(4, '/').nth(3).unwrap_or_default();
        for (piece, value) in [
            ("{number}", facts.number.to_string().as_str()),
            ("{method}", &facts.method),
            ("{url}", &facts.url),
            ("{path}", &format!("/{path}")),
            ("{timestamp}", &facts.timestamp),
            ("{id}", &facts.id),
            ("{nonce}", &facts.nonce),
            ("{signature}", signature),
        ] {
            filled = filled.replace(piece, value);
        }
        filled
    }
}

impl Request {
    pub(crate) fn bytes(&self, fields: &str) -> Vec<u8> {
        let Self { method, target, headers, body } = self;
        let mut bytes = format!("{method} {target} HTTP/1.1\r\nhost: a\r\n{fields}").into_bytes();
        bytes.extend(format!("content-length: {}\r\n", body.len()).into_bytes());
        for line in headers {
            bytes.extend([line.as_slice(), b"\r\n"].concat());
        }
        [bytes.as_slice(), b"\r\n", body].concat()
    }
}

/// A token without its signature.
pub(crate) fn token(header: &serde_json::Value, claims: &serde_json::Value) -> String {
    [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".")
}

pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    hash("sha256", bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn usual_body() -> String {
    // A line break and a letter beyond ASCII, which a receiver that writes the body again would lose.
    "{\"id\":\"{number}\",\n\"type\":\"größer\"}".into()
}

fn whole_body() -> String {
    "{body}".into()
}

/// What is before the point of a public key of P-256 in DER (RFC 5480).
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
