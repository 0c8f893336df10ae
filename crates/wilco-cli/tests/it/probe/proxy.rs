//! A stand-in for a reverse proxy that changes what it forwards.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// A proxy that runs until the test ends.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    is_over: Arc<AtomicBool>,
}

/// A request that is about to be forwarded.
pub(super) struct Forwarded {
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// What the proxy does with a request.
pub(super) enum Act {
    Forward,
    Twice,
    /// An answer of its own: status and further headers.
    Answer(u16, &'static str),
}

impl Forwarded {
    pub(super) fn remove(&mut self, name: &str) {
        self.headers.retain(|(header, _)| header != name);
    }

    pub(super) fn add(&mut self, name: &str, value: &str) {
        self.headers.push((name.into(), value.into()));
    }
}

impl Proxy {
    /// Forwards each request as `change` leaves it.
    pub(super) fn start(
        upstream: SocketAddr,
        change: impl Fn(&mut Forwarded) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (is_over, change) = (Arc::new(AtomicBool::new(false)), Arc::new(change));
        let over = Arc::clone(&is_over);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let change = Arc::clone(&change);
                thread::spawn(move || {
                    // If a connection fails, the client notices.
                    let _ = forward(&stream, upstream, change.as_ref());
                });
            }
        });
        Self { address, is_over }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn forward(
    mut client: &TcpStream,
    upstream: SocketAddr,
    change: &dyn Fn(&mut Forwarded) -> Act,
) -> std::io::Result<()> {
    let mut request = read(&mut BufReader::new(client))?;
    let times = match change(&mut request) {
        Act::Answer(status, fields) => {
            let answer = format!("HTTP/1.1 {status} So\r\n{fields}content-length: 2\r\n\r\nno");
            return client.write_all(answer.as_bytes());
        }
        Act::Forward => 1,
        Act::Twice => 2,
    };
    let mut head = format!("POST {} HTTP/1.1\r\n", request.target);
    for (name, value) in &request.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\nconnection: close\r\n\r\n", request.body.len());
    let mut answer = Vec::new();
    for _ in 0..times {
        answer.clear();
        let mut server = TcpStream::connect(upstream)?;
        // wilco may refuse the request before all of it is sent.
        let _ = server.write_all(&[head.as_bytes(), &request.body].concat());
        let _ = server.read_to_end(&mut answer);
    }
    client.write_all(&answer)
}

fn read(reader: &mut impl std::io::BufRead) -> std::io::Result<Forwarded> {
    let target = line(reader)?.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut headers, mut length, mut is_chunked) = (Vec::new(), 0, false);
    while let Some((name, value)) = line(reader)?.split_once(": ") {
        match name {
            "content-length" => length = value.parse().unwrap(),
            "transfer-encoding" => is_chunked = true,
            "connection" => {}
            _ => headers.push((name.to_owned(), value.to_owned())),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if is_chunked {
        loop {
            let mut chunk = vec![0; usize::from_str_radix(&line(reader)?, 16).unwrap()];
            reader.read_exact(&mut chunk)?;
            line(reader)?;
            if chunk.is_empty() {
                break;
            }
            body.extend(chunk);
        }
    }
    Ok(Forwarded { target, headers, body })
}

fn line(reader: &mut impl std::io::BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}
