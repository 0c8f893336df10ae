//! A provider as somebody describes it, and a request of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wilco::{
    SourceName,
    provider::{HandshakeSecrets, ProviderText},
    verify,
};
use wilco_fuzz::{keys, request, secrets};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, rest) = text.split_once("\n---\n").unwrap_or((text, ""));
    let Ok(text) = toml::from_str::<ProviderText>(file) else { return };
    let Ok(provider) = text.named("fuzz") else { return };
    let _ = provider.description();
    let (keys, secrets) = (keys(&provider.scheme), secrets());
    let handshake = HandshakeSecrets { verify_tokens: &secrets, keys: &keys };
    let arrival = request(rest.as_bytes());
    let _ = provider.challenge(&arrival, true, handshake);
    let source = SourceName::new("fuzz").unwrap();
    let verified = verify(&provider.scheme, &source, &keys, arrival);
    assert!(verified.is_err(), "accepted without the secret");
});
