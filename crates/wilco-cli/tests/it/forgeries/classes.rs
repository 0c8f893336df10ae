//! Ways to get a signature wrong. Each is tried on every family that it makes a difference for.

mod sent;
mod signature;
mod signed;

pub(super) use sent::{BODIES, LINES, WHOLE};
pub(super) use signature::{BYTES, TEXTS};
pub(super) use signed::{MESSAGE, OUT_OF_TIME, SIGNED, TIMES};

/// A name, and what is changed.
pub(super) type Rows<T> = &'static [(&'static str, T)];

pub(super) type ChangeBytes = fn(&[u8]) -> Vec<u8>;

pub(super) const CLOSE: &str = "connection: close\r\n";

fn flipped(bytes: &[u8], at: usize, bit: u8) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= bit;
    Some(bytes)
}

fn inside(text: &str, more: &str) -> String {
    let (left, right) = text.split_at(text.len() / 2);
    format!("{left}{more}{right}")
}
