//! The head of a request and its body, to each provider: nothing is accepted without the secret.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wilco::{SourceName, verify};
use wilco_fuzz::{keys, provider_of, request};

fuzz_target!(|data: &[u8]| {
    let Some((provider, rest)) = provider_of(data) else { return };
    let keys = keys(&provider.scheme);
    let source = SourceName::new("fuzz").unwrap();
    let refused = verify(&provider.scheme, &source, &keys, request(rest)).unwrap_err();
    assert_eq!(refused.arrival.body, request(rest).body);
});
