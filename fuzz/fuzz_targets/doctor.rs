//! A refused request, to what looks for the reason.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wilco::doctor::{Case, explain, recognize};
use wilco_fuzz::{provider_of, request, secrets};

fuzz_target!(|data: &[u8]| {
    let Some((provider, rest)) = provider_of(data) else { return };
    let (arrival, secrets) = (request(rest), secrets());
    let case =
        Case { scheme: &provider.scheme, secrets: &secrets, others: &[], arrival: &arrival };
    let mut left = 300_u32;
    let mut go_on = || {
        left = left.saturating_sub(1);
        left > 0
    };
    let diagnosis = explain(case, &mut go_on);
    assert!(diagnosis.mismatch.is_some(), "accepted without the secret");
    let _ = recognize(&arrival, &secrets);
});
