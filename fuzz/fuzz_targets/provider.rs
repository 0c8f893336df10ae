//! A provider as somebody describes it, and a request of it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wilco_fuzz::provider(data));
