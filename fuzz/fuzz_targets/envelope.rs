//! A signed request, to what reads its event, its subject and its id, and to the handshakes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wilco::{Arrival, Headers, SourceName, provider, provider::HandshakeSecrets, verify};
use wilco_fuzz::{SECRET, keys, provider_of, request, secrets};

fuzz_target!(|data: &[u8]| {
    let Some((provider, rest)) = provider_of(data) else { return };
    let mut arrival = request(rest);
    let fields = arrival.head.headers.iter().filter(|(name, _)| *name != "authorization");
    let bearer = format!("Bearer {SECRET}");
    let fields = fields.chain([("authorization", bearer.as_bytes())]);
    arrival.head.headers = Headers::from_pairs(fields);
    let token = &provider::find("bearer-token").unwrap().scheme;
    let source = SourceName::new("fuzz").unwrap();
    let verified = verify(token, &source, &keys(token), arrival).unwrap();
    if let Ok(envelope) = provider.envelope(&verified) {
        assert!(!envelope.name.is_empty());
    }
    let (keys, secrets) = (keys(&provider.scheme), secrets());
    let handshake = HandshakeSecrets { verify_tokens: &secrets, keys: &keys };
    let arrival: &Arrival = verified.arrival();
    for is_signed in [true, false] {
        if let Some(challenge) = provider.challenge(arrival, is_signed, handshake) {
            assert_eq!(challenge.status / 100, 2);
            for (_, value) in &challenge.headers {
                assert!(value.bytes().all(|byte| (b' '..0x7f).contains(&byte)), "{value:?}");
            }
        }
    }
});
