//! A refused request, to what looks for the reason.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wilco_fuzz::doctor(data));
