//! Numbers of things, as messages write them.

use std::fmt::Display;

/// A number of things: `0 bytes`, `1 byte`, `2 bytes`.
#[must_use]
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(
    number: N,
    one: &str,
    many: &str,
) -> String {
    format!("{number} {}", if number == N::from(1) { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_not_in_the_plural() {
        for (number, bytes, deliveries) in [
            (0_u32, "0 bytes", "0 deliveries"),
            (1, "1 byte", "1 delivery"),
            (2, "2 bytes", "2 deliveries"),
        ] {
            assert_eq!(counted(number, "byte", "bytes"), bytes);
            assert_eq!(counted(u64::from(number), "delivery", "deliveries"), deliveries);
        }
    }
}
