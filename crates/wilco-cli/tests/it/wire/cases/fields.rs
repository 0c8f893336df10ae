//! Header fields: names, values, line ends, hosts, and limits.

use super::Case;

pub(super) fn refused() -> Vec<Case> {
    let line = b"POST / HTTP/1.1\r\n".as_slice();
    let mut cases: Vec<_> = HOSTS
        .iter()
        .map(|hosts| {
            let request = [line, hosts.as_bytes(), b"\r\n"].concat();
            Case::new(format!("{hosts:?}"), request, 400)
        })
        .collect();
    cases.extend(FIELDS.iter().map(|field| {
        let request = [line, b"host: a\r\n", field, b"y: z\r\n\r\n"].concat();
        Case::new(field.escape_ascii().to_string(), request, 400)
    }));
    let large = |name: &str, fields: String| {
        Case::new(name, format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}"), 431)
    };
    cases.extend([
        large("a long value", format!("x: {}\r\n\r\n", "y".repeat(20_000))),
        large("a long name", format!("{}: y\r\n\r\n", "x".repeat(20_000))),
        large("a long host", format!("host: {}\r\n\r\n", "a".repeat(16_384))),
        large("101 fields", format!("{}\r\n", "x: y\r\n".repeat(100))),
        large("many fields", format!("{}\r\n", "x: y\r\n".repeat(1_500))),
        large("many short fields", format!("{}\r\n", "a:\r\n".repeat(5_000))),
        large("a value without end", format!("x: {}", "y".repeat(20_000))),
        large("a name without end", "y".repeat(20_000)),
    ]);
    cases
}

/// RFC 9112, section 3.2: exactly one, and only a host with or without a port.
const HOSTS: &[&str] = &[
    "",
    "hos: a\r\n",
    "x-host: a\r\n",
    "host: a\r\nhost: a\r\n",
    "host: a\r\nhost: b\r\n",
    "host: a\r\nHOST: b\r\n",
    "host: a\r\nhost:\r\n",
    "host:\r\nhost: a\r\n",
    "host: a\r\nx: y\r\nhost: a\r\n",
    "host: a, b\r\n",
    "host: a b\r\n",
    "host: a\tb\r\n",
    "host: a/b\r\n",
    "host: a?b\r\n",
    "host: a#b\r\n",
    "host: a\\b\r\n",
    "host: a\"b\r\n",
    "host: a<b\r\n",
    "host: a|b\r\n",
    "host: user@a\r\n",
    "host: user:password@a\r\n",
    "host: http://a\r\n",
    "host: //a\r\n",
    "host: a:b\r\n",
    "host: a:80:80\r\n",
    "host: a:-1\r\n",
    "host: a:+80\r\n",
    "host: a:80a\r\n",
    "host: a: 80\r\n",
    "host: ::1\r\n",
    "host: [::1\r\n",
    "host: ::1]\r\n",
    "host: []\r\n",
    "host: [a]b\r\n",
    "host: [::1]a\r\n",
    "host: [::1]:a\r\n",
    "host: [::1%eth0]\r\n",
    "host: [[::1]]\r\n",
    "host: [x]\r\n",
    "host: \u{e9}\r\n",
    "host: a\0\r\n",
    "host: a\x7f\r\n",
    "host : a\r\n",
    " host: a\r\n",
    "\thost: a\r\n",
    "host\r\n: a\r\n",
    "host:\r\n a\r\n",
];

/// RFC 9112, section 5, and RFC 9110, section 5.5.
const FIELDS: &[&[u8]] = &[
    // Folded lines.
    b" folded\r\n",
    b"\tfolded\r\n",
    b"x: a\r\n folded\r\n",
    b"x: a\r\n\tfolded\r\n",
    b"x: a\r\n \r\n",
    b"x:\r\n a\r\n",
    // Names.
    b": a\r\n",
    b" : a\r\n",
    b":\r\n",
    b"x : a\r\n",
    b"x\t: a\r\n",
    b"x\x0b: a\r\n",
    b"x\xa0: a\r\n",
    b"x y: a\r\n",
    b" x: a\r\n",
    b"x\r\n",
    b"x\r\n: a\r\n",
    b"x(y): a\r\n",
    b"x,y: a\r\n",
    b"x/y: a\r\n",
    b"x;y: a\r\n",
    b"x<y: a\r\n",
    b"x=y: a\r\n",
    b"x?y: a\r\n",
    b"x@y: a\r\n",
    b"x[y]: a\r\n",
    b"x\\y: a\r\n",
    b"x{y}: a\r\n",
    b"\"x\": a\r\n",
    b"x\xc3\xa9: a\r\n",
    b"x\xff: a\r\n",
    b"x\0: a\r\n",
    b"x\x01: a\r\n",
    b"x\x1f: a\r\n",
    b"x\x7f: a\r\n",
    b"\0x: a\r\n",
    b"\x0bx: a\r\n",
    b"POST /webhook HTTP/1.1\r\n",
    b"=: a\r\n",
    // Values.
    b"x: a\0\r\n",
    b"x: \0\r\n",
    b"x: a\x01\r\n",
    b"x: a\x08\r\n",
    b"x: \x0b\r\n",
    b"x: \x0c\r\n",
    b"x: \x1b[31m\r\n",
    b"x: a\x7f\r\n",
    b"x: a\rb\r\n",
    b"x: a\rb: c\r\n",
    b"x: a\r\r\n",
    b"x: \r\r\n",
    // Line ends.
    b"x: a\n",
    b"x: a\n\n",
    b"x: a\n\r\n",
    b"x: a\n y\r\n",
    b"x: a\nb: c\r\n",
    b"x: a\r",
    b"\n",
    b"\r",
    b"\n\r\n",
    b"\0\r\n",
];
