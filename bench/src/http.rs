//! A GET request to the admin listener. The load does not use it: see [`crate::load`].

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request,
    body::Incoming,
    client::conn::http1,
    header::{AUTHORIZATION, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

/// The status and the body of `http://address/path`.
///
/// # Errors
///
/// No answer, or none in time.
pub(crate) async fn get(address: SocketAddr, path: &str, token: &str) -> io::Result<(u16, String)> {
    timeout(ANSWER_TIME_MAX, fetch(address, path, token)).await?.map_err(|error| {
        io::Error::new(error.kind(), format!("GET http://{address}{path}: {error}"))
    })
}

async fn fetch(address: SocketAddr, path: &str, token: &str) -> io::Result<(u16, String)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Driven concurrently with the request, and ended with it.
    let mut driver = JoinSet::new();
    driver.spawn(connection);

    let request = Request::get(path)
        .header(HOST, address.to_string())
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status().as_u16();
    Ok((status, text(response.into_body()).await?))
}

async fn text(mut body: Incoming) -> io::Result<String> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(chunk) = frame.map_err(io::Error::other)?.into_data() {
            bytes.extend_from_slice(&chunk);
        }
    }
    String::from_utf8(bytes).map_err(io::Error::other)
}

const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
