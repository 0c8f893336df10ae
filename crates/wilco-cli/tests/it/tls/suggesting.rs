//! A proxy in front of pebble, which adds what pebble lacks: renewal information (RFC 9773). It suggests to
//! replace every certificate at once.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::Value;

use super::pebble::{ClientStream, Pebble};

/// The proxy, and what it has seen. Its thread ends with the test binary.
pub(crate) struct Suggesting {
    pub(crate) directory: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// The names of the certificates that it was asked about.
    asked: Vec<String>,
    /// The certificates that orders said they replace.
    replaced: Vec<String>,
}

type Connect = dyn Fn() -> ClientStream;
type Stream = StreamOwned<ServerConnection, TcpStream>;

impl Suggesting {
    pub(crate) fn start(pebble: &Pebble) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (cert, key) = (fs::read(pebble.file("cert.pem")), fs::read(pebble.file("key.pem")));
        let chain = vec![CertificateDer::from_pem_slice(&cert.unwrap()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(&key.unwrap()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let config = Arc::new(config);
        let seen = Arc::<Mutex<Seen>>::default();
        let (directory, noted) = (format!("https://{host}/dir"), Arc::clone(&seen));
        // Not pebble itself: the test ends it.
        let connect = pebble.connector();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                let stream = StreamOwned::new(session, stream.unwrap());
                answer(stream, &connect, &host, &noted);
            }
        });
        Self { directory, seen }
    }

    /// Whether an order replaced a certificate that it was asked about before.
    pub(crate) fn was_followed(&self) -> bool {
        let seen = self.seen.lock().unwrap();
        seen.replaced.iter().any(|name| seen.asked.contains(name))
    }
}

/// Answers one request, and closes the connection.
fn answer(mut stream: Stream, connect: &Connect, host: &str, seen: &Mutex<Seen>) {
    let mut reader = BufReader::new(&mut stream);
    let (mut head, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        // A client may close a connection that it does not need.
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim_end().to_owned();
        if let Some((_, value)) =
            line.split_once(": ").filter(|(name, _)| *name == "content-length")
        {
            length = value.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let path = head[0].split(' ').nth(1).unwrap().to_owned();
    let response = match path.strip_prefix("/renewal-info/") {
        Some(name) => {
            seen.lock().unwrap().asked.push(name.to_owned());
            let window = r#"{"suggestedWindow":{"start":"2020-01-01T00:00:00Z","end":"2020-01-02T00:00:00Z"}}"#;
            format!("HTTP/1.0 200 OK\r\nretry-after: 21600\r\n\r\n{window}").into_bytes()
        }
        None => {
            seen.lock().unwrap().replaced.extend(replaced(&body));
            let response = forward(connect(), &head, &body);
            if path == "/dir" { with_renewal_info(&response, host) } else { response }
        }
    };
    stream.write_all(&response).unwrap();
    stream.conn.send_close_notify();
    // The client may have closed it already.
    let _ = stream.flush();
}

/// The certificate that an order says it replaces.
fn replaced(body: &[u8]) -> Option<String> {
    let signed: Value = serde_json::from_slice(body).ok()?;
    let payload = BASE64_URL_SAFE_NO_PAD.decode(signed["payload"].as_str()?).ok()?;
    let payload: Value = serde_json::from_slice(&payload).ok()?;
    Some(payload["replaces"].as_str()?.to_owned())
}

/// What pebble answers. With HTTP/1.0, that is everything until it closes the connection.
fn forward(mut upstream: ClientStream, head: &[String], body: &[u8]) -> Vec<u8> {
    let first = head[0].replace("HTTP/1.1", "HTTP/1.0");
    let request = format!("{first}\r\n{}\r\n\r\n", head[1..].join("\r\n"));
    upstream.write_all(request.as_bytes()).unwrap();
    upstream.write_all(body).unwrap();
    let mut response = Vec::new();
    upstream.read_to_end(&mut response).unwrap();
    response
}

fn with_renewal_info(response: &[u8], host: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(response);
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let mut directory: Value = serde_json::from_str(body).unwrap();
    directory["renewalInfo"] = format!("https://{host}/renewal-info").into();
    format!("HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{directory}").into_bytes()
}
