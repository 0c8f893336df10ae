//! The head of a request and its body, to each provider: nothing is accepted without the secret.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wilco_fuzz::signature(data));
