//! The fuzz targets, with inputs that a generator makes of their seeds. libFuzzer finds more, and takes hours;
//! this takes seconds in each run of the tests, and the inputs are the same each time.

#![expect(clippy::unwrap_used, reason = "a test panics if something is wrong")]

#[expect(unreachable_pub, reason = "it is also a crate")]
#[path = "../../../fuzz/src/lib.rs"]
mod targets;

use std::{collections::BTreeSet, env, panic, path::Path};

use targets::{
    TARGETS,
    seeds::{self, Seed},
};

#[test]
fn no_changed_seed_makes_a_fuzz_target_panic() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let seeds = seeds::all(&repository).unwrap();
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("WILCO_SEED").unwrap_or(1);
    for (target, run) in TARGETS {
        let seeds: Vec<_> = seeds.iter().filter(|seed| seed.target == target).collect();
        let names: BTreeSet<_> = seeds.iter().map(|seed| &seed.name).collect();
        assert!(!names.is_empty(), "{target} has no seed");
        assert_eq!(names.len(), seeds.len(), "seeds of {target} are files of their own names");
        let usual = if target == "doctor" { 100 } else { 2_000 };
        for seed in first..first + number("WILCO_INPUTS").unwrap_or(usual) {
            let data = input(&seeds, seed);
            if panic::catch_unwind(|| run(&data)).is_err() {
                let shown = data.escape_ascii();
                panic!("{target} fails (WILCO_SEED={seed} WILCO_INPUTS=1) with: {shown}");
            }
        }
    }
}

/// A seed with some changes; the same for the same number.
fn input(seeds: &[&Seed], number: u64) -> Vec<u8> {
    let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut data = seeds[random.below(seeds.len())].data.clone();
    for _ in 0..random.below(6) {
        let at = random.below(data.len() + 1);
        let end = at + random.below((data.len() - at).min(64) + 1);
        match random.below(6) {
            0 => drop(data.drain(at..end)),
            1 => data.truncate(at),
            2 => drop(data.splice(at..at, [random.byte()])),
            3 if at < data.len() => data[at] = random.byte(),
            4 => {
                let other = &seeds[random.below(seeds.len())].data;
                let from = random.below(other.len() + 1);
                let to = from + random.below((other.len() - from).min(64) + 1);
                drop(data.splice(at..end, other[from..to].iter().copied()));
            }
            _ => {
                let piece = PIECES[random.below(PIECES.len())].bytes();
                drop(data.splice(at..end, piece));
            }
        }
    }
    data
}

/// xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[4]
    }
}

const PIECES: &[&str] = &[
    "\n",
    "\n\n",
    ": ",
    "\"",
    "'",
    "\"\"\"",
    "{",
    "}",
    "[",
    "]",
    "[[",
    "]]",
    "=",
    ".",
    ",",
    "\\u0000",
    "\u{e9}",
    "\u{1f4c5}",
    "-1",
    "1e999",
    "9223372036854775808",
    "true",
    "{{",
    "}}",
    "{%",
    "| ",
    "\\",
    "null",
    "[source.x]\n",
    "[destination.x]\n",
    "[[route]]\n",
    "type = ",
    "when = '",
    "env = ",
];
