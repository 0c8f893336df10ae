//! Requests that are refused because they are malformed.

/// Each with its status.
pub(super) fn malformed() -> Vec<(Vec<u8>, u16)> {
    let fields = [
        "content-length: 3\r\n",  // no host
        "host: a\r\nhost: a\r\n", // two
        "host: a\r\nhost: b\r\n",
        "host: a\r\nHOST: b\r\n",
        "host: a, b\r\n",
        "host: a b\r\n",
        "host: a/b\r\n",
        "host: user@a\r\n",
        "host: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n",
        "host: a\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n",
        "host: a\r\ncontent-length: 3\r\ncontent-length: 3\r\n",
        "host: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n",
        "host: a\r\ncontent-length: 3\r\nContent-Length: 0\r\n",
        "host: a\r\ncontent-length: 3, 3\r\n",
        "host: a\r\ncontent-length: 3,\r\n",
        "host: a\r\ncontent-length: +3\r\n",
        "host: a\r\ncontent-length: -3\r\n",
        "host: a\r\ncontent-length: 0x3\r\n",
        "host: a\r\ncontent-length: 3.0\r\n",
        "host: a\r\ncontent-length: 3 3\r\n",
        "host: a\r\ncontent-length: 3e0\r\n",
        "host: a\r\ncontent-length: \"3\"\r\n",
        "host: a\r\ncontent-length: \u{663}\r\n",
        "host: a\r\ncontent-length:\r\n",
        "host: a\r\ncontent-length: 18446744073709551613\r\n",
        "host: a\r\ncontent-length: 18446744073709551615\r\n",
        "host: a\r\ncontent-length: 18446744073709551616\r\n",
        "host: a\r\ncontent-length: 99999999999999999999999999\r\n",
        "host: a\r\ncontent-length : 3\r\n",
        "host: a\r\ncontent-length\t: 3\r\n",
        "host: a\r\ntransfer-encoding: gzip\r\n",
        "host: a\r\ntransfer-encoding: gzip, chunked\r\n",
        "host: a\r\ntransfer-encoding: chunked, chunked\r\n",
        "host: a\r\ntransfer-encoding: chunked, identity\r\n",
        "host: a\r\ntransfer-encoding: chunked;q=1\r\n",
        "host: a\r\ntransfer-encoding: xchunked\r\n",
        "host: a\r\ntransfer-encoding: \"chunked\"\r\n",
        "host: a\r\ntransfer-encoding: identity\r\n",
        "host: a\r\ntransfer-encoding:\r\n",
        "host: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "host: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "host: a\r\ntransfer-encoding : chunked\r\n",
        "host: a\r\ntransfer-encoding: chunked\0\r\n",
        "host: a\r\ntransfer-encoding:\r\n chunked\r\n",
        "host: a\r\n folded\r\n",
        "host: a\r\nx: a\r\n folded\r\n",
        "host: a\r\nx: a\r\n\tfolded\r\n",
        " host: a\r\n",
        "host: a\r\nx : a\r\n",
        "host: a\r\nx y: a\r\n",
        "host: a\r\nx\r\n",
        "host: a\r\n: a\r\n",
        "host: a\r\nx(y): a\r\n",
        "host: a\r\nx\u{e9}: a\r\n",
        "host: a\r\nx: a\0\r\n",
        "host: a\r\nx: a\x01\r\n",
        "host: a\r\nx: a\x7f\r\n",
        "host: a\r\nx: a\rb: c\r\n",
        "host: a\r\nx: a\r\r\n",
        "host: a\nx: a\r\n",
        "host: a\r\nx: a\n",
        "host: a\n",
    ];
    let lines = [
        "POST /webhook HTTP/2.0",
        "POST /webhook HTTP/1.2",
        "POST /webhook HTTP/0.9",
        "POST /webhook HTTP/1.10",
        "POST /webhook http/1.1",
        "POST /webhook HTTPS/1.1",
        "POST /webhook HTTP/1.1 ",
        "POST  /webhook HTTP/1.1",
        "POST /webhook  HTTP/1.1",
        "POST\t/webhook HTTP/1.1",
        "POST /web hook HTTP/1.1",
        "POST /webhook",
        "POST HTTP/1.1",
        "POST \\webhook HTTP/1.1",
        "POST /web\0hook HTTP/1.1",
        "POST http:// HTTP/1.1",
        "PO(ST /webhook HTTP/1.1",
        "P\u{d6}ST /webhook HTTP/1.1",
        " POST /webhook HTTP/1.1",
        "\0POST /webhook HTTP/1.1",
        "HTTP/1.1 200 OK",
        "PRI * HTTP/2.0",
    ];
    let of_fields = |fields| format!("POST /webhook HTTP/1.1\r\n{fields}\r\n").into_bytes();
    let of_line = |line| format!("{line}\r\nhost: a\r\n\r\n").into_bytes();
    let tls_hello = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\x00\x01\x02".to_vec();
    let post = "POST /webhook HTTP/1.1\r\nhost: a\r\n";
    let mut rows: Vec<_> = fields.into_iter().map(of_fields).collect();
    rows.extend(lines.into_iter().map(of_line));
    rows.extend([
        b"POST /webhook HTTP/1.1\nhost: a\n\n".to_vec(),
        b"POST /webhook HTTP/1.1\rhost: a\r\r".to_vec(),
        b"\n\nPOST /webhook HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        b"EHLO example.com\r\n".to_vec(),
        b"*1\r\n$4\r\nPING\r\n".to_vec(),
        b"\xef\xbb\xbfPOST /webhook HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
        vec![0; 64],
        vec![0xff; 64],
        tls_hello,
    ]);
    let too_large = [
        format!("{post}x: {}\r\n\r\n", "y".repeat(20_000)),
        format!("{post}x: {}", "y".repeat(20_000)),
        format!("POST /{} HTTP/1.1\r\nhost: a\r\n\r\n", "y".repeat(20_000)),
        format!("{post}{}\r\n", "x: y\r\n".repeat(100)),
        format!("{post}{}\r\n", "x: y\r\n".repeat(1_500)),
    ];
    let with = |status| move |request| (request, status);
    let mut rows: Vec<_> = rows.into_iter().map(with(400)).collect();
    rows.extend(too_large.into_iter().map(String::into_bytes).map(with(431)));
    rows
}
