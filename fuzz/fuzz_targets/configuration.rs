//! A configuration file, to what reads it. What it only names is not looked up.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wilco_fuzz::configuration(data));
