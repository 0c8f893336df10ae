//! The listener for the challenge http-01, which answers nothing else.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    inbound::Challenges,
    sockets::{Listener, Stream},
};

/// Answers until it is dropped.
pub(crate) async fn serve(listener: Listener, challenges: Arc<Challenges>) {
    let mut open = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((Stream::Unix(_), _)) => {}
            Ok((Stream::Tcp(stream), _)) => {
                while open.try_join_next().is_some() {}
                if open.len() < CONNECTIONS_MAX {
                    open.spawn(timeout(TIME_MAX, answer(stream, Arc::clone(&challenges))));
                }
            }
            Err(error) => {
                // Usually the file descriptors have run out, and other connections will end.
                tracing::warn!(%error, "a connection for http-01 could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, challenges: Arc<Challenges>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let found = token(&head).and_then(|token| challenges.key_authorization(token));
    let (status, body) = match found {
        Some(key_authorization) => ("200 OK", key_authorization),
        None => ("404 Not Found", "only ACME challenges are answered here\n".into()),
    };
    let length = body.len();
    let response = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

/// The token that a request asks for (RFC 8555, section 8.3).
fn token(head: &[u8]) -> Option<&str> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let mut words = str::from_utf8(line).ok()?.split(' ');
    match (words.next()?, words.next()?) {
        ("GET", path) => path.strip_prefix("/.well-known/acme-challenge/"),
        _ => None,
    }
}

/// Connections that are answered at a time; one more is closed at once.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may take.
const TIME_MAX: Duration = Duration::from_secs(10);
const HEAD_BYTES_MAX: usize = 8 << 10;
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
