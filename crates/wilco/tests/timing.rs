//! The time that a verification takes must not depend on the secret: where a wrong signature differs from
//! the right one, or which of several secrets matches. Measured as dudect does (Reparaz and others, 2016):
//! requests of two classes in random order, and Welch's t-test of their times.
//!
//! Whatever else the machine does meets both classes alike, so that |t| is small however busy it is. The
//! usual threshold is 4.5; the small run of each test allows 10, so that it never fails by chance.
//! `WILCO_TIMINGS=1000000 cargo test --release -p wilco --test timing -- --nocapture` is the long one.

#![expect(clippy::unwrap_used, reason = "a test")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::print_stdout, reason = "the result is a number")]

use std::{env, hint::black_box, time::Instant};

use jiff::Timestamp;
use wilco::{Arrival, Head, Headers, Key, Scheme, Secret, SourceName, Unsigned, provider, verify};

const BODY: &[u8] = br#"{"action":"opened","repository":{"full_name":"nordlicht/cut"}}"#;
const HEADER: &str = "x-hub-signature-256";

#[test]
fn the_time_does_not_depend_on_where_a_wrong_signature_differs() {
    let right = signature("secret-number-1");
    let (first, last) = (changed(&right, 7), changed(&right, right.len() - 1));
    check(|is_second, _| if is_second { last.clone() } else { first.clone() });
}

#[test]
fn the_time_does_not_depend_on_the_bytes_of_a_wrong_signature() {
    let fixed = changed(&signature("secret-number-1"), 7);
    check(|is_second, random| {
        // Made for both classes, so that they differ in nothing else.
        let number = u64::from(random).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let random = format!("sha256={}", format!("{number:016x}").repeat(4));
        [fixed.as_str(), random.as_str()][usize::from(is_second)].to_owned()
    });
}

#[test]
fn the_time_does_not_depend_on_which_secret_matches() {
    let (first, last) = (signature("secret-number-1"), signature("secret-number-4"));
    let times = times(|is_second, _| if is_second { last.clone() } else { first.clone() });
    // Afterwards the name of the secret is copied, from one place or another. Only a sender with a right
    // signature could see that, and so this test allows a part of the time.
    let share = times.difference_nanos().abs() / times.means[0];
    assert!(share < 0.01, "{times:?}");
}

/// The control: this test can fail.
#[test]
fn a_comparison_that_stops_at_the_first_difference_is_found() {
    let right = signature("secret-number-1").into_bytes();
    let (first, last) = (changed_bytes(&right, 7), changed_bytes(&right, right.len() - 1));
    let times = Times::of(|is_second, _| {
        let claimed = if is_second { last.clone() } else { first.clone() };
        let right = &right;
        move || black_box(right).iter().zip(black_box(&claimed)).all(|(a, b)| black_box(a) == b)
    });
    assert!(times.t().abs() > 4.5, "{times:?}");
}

fn check(signature: impl Fn(bool, u32) -> String) {
    let times = times(signature);
    let most = if env::var_os("WILCO_TIMINGS").is_some() { 4.5 } else { 10.0 };
    assert!(times.t().abs() < most, "{times:?}");
}

/// The times that requests with these signatures take.
fn times(signature: impl Fn(bool, u32) -> String) -> Times {
    let scheme: &Scheme = &provider::find("github").unwrap().scheme;
    let names = ["secret-number-1", "secret-number-2", "secret-number-3", "secret-number-4"];
    let keys: Vec<Key> = names.iter().map(|name| scheme.key(&secret(name)).unwrap()).collect();
    let source = SourceName::new("source").unwrap();
    Times::of(|is_second, random| {
        let headers = Headers::from_pairs([(HEADER, signature(is_second, random))]);
        let head = Head { headers, ..Head::default() };
        let arrival = Arrival { received_at: Timestamp::UNIX_EPOCH, head, body: BODY.into() };
        let (keys, source) = (&keys, &source);
        move || verify(scheme, source, keys, arrival)
    })
}

/// The times of two classes, without the slowest tenth, in which others interrupt.
#[derive(Debug)]
struct Times {
    /// In nanoseconds.
    means: [f64; 2],
    /// Of the means.
    variances: [f64; 2],
}

impl Times {
    fn of<F: FnOnce() -> T, T>(prepare: impl Fn(bool, u32) -> F) -> Self {
        let count = env::var("WILCO_TIMINGS").map_or(20_000, |it| it.parse().unwrap());
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut times: Vec<(bool, u32)> = Vec::with_capacity(count);
        for _ in 0..count {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let is_second = state & (1 << 40) != 0;
            let run = prepare(is_second, u32::try_from(state >> 32).unwrap());
            let began = Instant::now();
            let result = black_box(run());
            let took = began.elapsed();
            drop(result);
            times.push((is_second, u32::try_from(took.as_nanos()).unwrap_or(u32::MAX)));
        }
        let mut sorted: Vec<u32> = times.iter().map(|(_, nanos)| *nanos).collect();
        sorted.sort_unstable();
        let most = sorted[count * 9 / 10];
        times.retain(|(_, nanos)| *nanos <= most);
        let classes = [false, true].map(|is_second| {
            let class = times.iter().filter(|(class, _)| *class == is_second);
            let nanos: Vec<f64> = class.map(|(_, nanos)| f64::from(*nanos)).collect();
            let number = f64::from(u32::try_from(nanos.len()).unwrap());
            let mean = nanos.iter().sum::<f64>() / number;
            let variance = nanos.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (number - 1.0);
            (mean, variance / number)
        });
        let times = Self { means: classes.map(|it| it.0), variances: classes.map(|it| it.1) };
        println!("{:.1} ns and {:.1} ns: t = {:.1}", times.means[0], times.means[1], times.t());
        times
    }

    fn difference_nanos(&self) -> f64 {
        self.means[0] - self.means[1]
    }

    /// Welch's t: the difference in units of what chance explains.
    fn t(&self) -> f64 {
        self.difference_nanos() / self.variances.iter().sum::<f64>().sqrt()
    }
}

fn secret(name: &str) -> Secret {
    Secret::new(name, name.into()).unwrap()
}

fn signature(name: &str) -> String {
    let scheme = &provider::find("github").unwrap().scheme;
    let request = Unsigned::post(BODY, Timestamp::UNIX_EPOCH);
    scheme.sign(&secret(name), &request).unwrap().pop().unwrap().1
}

fn changed(text: &str, at: usize) -> String {
    String::from_utf8(changed_bytes(text.as_bytes(), at)).unwrap()
}

/// Another hex digit at this place.
fn changed_bytes(text: &[u8], at: usize) -> Vec<u8> {
    let mut text = text.to_vec();
    text[at] = if text[at] == b'0' { b'1' } else { b'0' };
    text
}
