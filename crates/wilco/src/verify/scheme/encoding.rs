//! How the bytes of a signature are written as text.

use base64::{Engine as _, engine::general_purpose};

use super::without_padding;
use crate::words::words;

words! {
    /// How a signature is written.
    pub enum Encoding {
        /// In upper or lower case.
        Hex = "hex",
        /// Only in lower case, because receivers of the provider compare the text.
        HexLower = "hex-lower",
        /// With or without padding.
        Base64 = "base64",
        /// The URL-safe alphabet, without padding.
        Base64Url = "base64-url",
        /// The bytes themselves: a token.
        Text = "text",
    }
}

impl Encoding {
    pub(super) fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Hex => base16ct::mixed::decode_vec(text).ok(),
            Self::HexLower => base16ct::lower::decode_vec(text).ok(),
            Self::Base64 => general_purpose::STANDARD_NO_PAD.decode(without_padding(text)).ok(),
            Self::Base64Url => general_purpose::URL_SAFE_NO_PAD.decode(text).ok(),
            Self::Text => Some(text.to_vec()),
        }
    }

    pub(super) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex | Self::HexLower => base16ct::lower::encode_string(bytes),
            Self::Base64 => general_purpose::STANDARD.encode(bytes),
            Self::Base64Url => general_purpose::URL_SAFE_NO_PAD.encode(bytes),
            Self::Text => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}
