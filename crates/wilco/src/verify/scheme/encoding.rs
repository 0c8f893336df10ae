//! How the bytes of a signature are written as text.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

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
            Self::Base64 if text.ends_with(b"=") => STANDARD.decode(text).ok(),
            Self::Base64 => STANDARD_NO_PAD.decode(text).ok(),
            Self::Base64Url => URL_SAFE_NO_PAD.decode(text).ok(),
            Self::Text => Some(text.to_vec()),
        }
    }

    pub(super) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex | Self::HexLower => base16ct::lower::encode_string(bytes),
            Self::Base64 => STANDARD.encode(bytes),
            Self::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
            Self::Text => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_its_padding_or_none() {
        for (text, is_right) in [
            ("AAAAAA==", true),
            ("AAAAAA", true),
            ("AAAAAA=", false),
            ("AAAAAA===", false),
            ("AAAA", true),
            ("AAAA=", false),
            ("AA==AAAA", false),
            ("AAAAAB==", false),
        ] {
            assert_eq!(Encoding::Base64.decode(text.as_bytes()).is_some(), is_right, "{text}");
        }
    }
}
