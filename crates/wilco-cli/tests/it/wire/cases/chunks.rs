//! Chunked bodies: sizes, line ends, extensions and trailers.

use super::{BODY, Case, signature};

pub(super) fn refused() -> Vec<Case> {
    let bad = |name: &str, chunks: &str| case(name, "", chunks, 400);
    let sized = |size: &str| format!("{size}\r\n{{B}}\r\n0\r\n\r\n");
    let with_trailer = |fields: &str| format!("{{N}}\r\n{{B}}\r\n0\r\n{fields}\r\n");
    let mut cases: Vec<_> = SIZES.iter().map(|size| bad(size, &sized(size))).collect();
    cases.extend(BODIES.iter().map(|chunks| bad(chunks, chunks)));
    cases.extend(TRAILERS.iter().map(|fields| bad(fields, &with_trailer(fields))));
    cases.extend([
        bad("a long extension", &sized(&format!("{{N}};a={}", "b".repeat(17_000)))),
        bad("a long size", &sized(&"1".repeat(5_000))),
        bad("101 trailers", &with_trailer(&"x: y\r\n".repeat(101))),
        bad("a long trailer", &with_trailer(&format!("x: {}\r\n", "y".repeat(17_000)))),
        bad("many extensions", &"1;abcdefgh\r\nx\r\n".repeat(3_000)),
    ]);
    cases
}

pub(super) fn answered() -> Vec<Case> {
    RIGHT.iter().map(|chunks| case(chunks, &signature(), chunks, 200)).collect()
}

/// `{N}` is the right size, `{B}` the body.
fn case(name: &str, fields: &str, chunks: &str, status: u16) -> Case {
    let head = "POST /webhook HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n";
    let chunks = chunks.replace("{N}", "2").replace("{B}", BODY);
    Case::new(format!("{name:?}"), format!("{head}{fields}\r\n{chunks}"), status)
}

const SIZES: &[&str] = &[
    "",
    " {N}",
    "\t{N}",
    "+{N}",
    "-{N}",
    "-0",
    "0x{N}",
    "0X{N}",
    "x{N}",
    "{N}h",
    "{N}g",
    "{N}.0",
    "{N},",
    "{N},{N}",
    "{N} {N}",
    "{N}\t{N}",
    "{N} a",
    "\"{N}\"",
    "{N}:",
    "{N}=",
    "{N}\0",
    "\0{N}",
    "{N}\x0b",
    "{N}\u{a0}",
    "\u{664}\u{665}",
    "1_0",
    "g",
    "10000000000000000",
    "10000000000000000{N}",
    "ffffffffffffffffff",
    "{N}\r",
    "{N}\r\r",
    "\r\n{N}",
    "{N};a=\rb",
    "{N};a=\nb",
    "{N};\n",
    "{N};a=b\n{N}",
];

const BODIES: &[&str] = &[
    // Line ends.
    "{N}\n{B}\r\n0\r\n\r\n",
    "{N}\r{B}\r\n0\r\n\r\n",
    "{N}\r\n{B}\n0\r\n\r\n",
    "{N}\r\n{B}\r0\r\n\r\n",
    "{N}\r\n{B}0\r\n\r\n",
    "{N}\r\n{B}\r\n0\n\r\n",
    "{N}\r\n{B}\r\n0\n\n",
    "{N}\r\n{B}\r\n0\r\n\rx",
    "{N}\n{B}\n0\n\n",
    "{N};a=b\n{B}\r\n0\r\n\r\n",
    "{N}\r\n{B}\r\n0;a=b\n\r\n",
    // Sizes that do not fit.
    "1\r\n{B}\r\n0\r\n\r\n",
    "{N}\r\n{B}x\r\n0\r\n\r\n",
    "{N}\r\n{B}\r\n\r\n0\r\n\r\n",
    "{N}\r\n{B}\r\n-1\r\n\r\n",
    "{N}\r\n{B}\r\n0x0\r\n\r\n",
    "{N}\r\n{B}\r\n+0\r\n\r\n",
    "{N}\r\n{B}\r\n 0\r\n\r\n",
    "{N}\r\n{B}\r\nx\r\n\r\n",
    "{N}\r\n{B}\r\n\r\n\r\n",
    "0\n\n",
    "{B}",
    "\r\n\r\n",
];

const TRAILERS: &[&str] = &[
    "x\r\n",
    " x: y\r\n",
    "\tx: y\r\n",
    "x : y\r\n",
    "x\t: y\r\n",
    ": y\r\n",
    "x y: z\r\n",
    "x: y\r\n folded\r\n",
    "x: y\0\r\n",
    "x: y\rz\r\n",
    "x: y\x7f\r\n",
    "x\0: y\r\n",
    "x(: y\r\n",
    "\u{e9}: y\r\n",
    "0\r\n",
    "POST /webhook HTTP/1.1\r\n",
];

const RIGHT: &[&str] = &[
    "{N}\r\n{B}\r\n0\r\n\r\n",
    "0{N}\r\n{B}\r\n0\r\n\r\n",
    "0000000000000000{N}\r\n{B}\r\n0\r\n\r\n",
    "{N}\r\n{B}\r\n000\r\n\r\n",
    "{N};a\r\n{B}\r\n0\r\n\r\n",
    "{N};a=b\r\n{B}\r\n0\r\n\r\n",
    "{N};a=\"b c\";d\r\n{B}\r\n0;e\r\n\r\n",
    "{N} ;a=b\r\n{B}\r\n0\r\n\r\n",
    // A trailer is not signed, and nothing is taken from it.
    "{N}\r\n{B}\r\n0\r\nx: y\r\n\r\n",
    "{N}\r\n{B}\r\n0\r\nx: y\r\nz:\r\n\r\n",
    "{N}\r\n{B}\r\n0\r\ncontent-length: 5\r\n\r\n",
    "{N}\r\n{B}\r\n0\r\ntransfer-encoding: chunked\r\n\r\n",
    "{N}\r\n{B}\r\n0\r\nhost: b\r\n\r\n",
    "{N}\r\n{B}\r\n0\r\nconnection: keep-alive\r\n\r\n",
    "{N}\r\n{B}\r\n0\r\nx-freispace-signature: 00\r\n\r\n",
    // hyper takes this line feed for a line end. Nothing that follows is read.
    "{N}\r\n{B}\r\n0\r\nx: y\n\r\n\r\n",
];
