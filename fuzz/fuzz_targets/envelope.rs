//! A signed request, to what reads its event, its subject and its id, and to the handshakes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wilco_fuzz::envelope(data));
