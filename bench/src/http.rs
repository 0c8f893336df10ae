//! GET requests to the admin listener. The load does not use them: see [`crate::load`].

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1,
    header::{ACCEPT, AUTHORIZATION, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

/// The status and the body of `http://address/path`.
///
/// # Errors
///
/// No answer, or none in time.
pub(crate) async fn get(address: SocketAddr, path: &str, token: &str) -> io::Result<(u16, String)> {
    let fetch = async { Client::connect(address, token).await?.text(path, false).await };
    timeout(ANSWER_TIME_MAX, fetch).await?.map_err(|error| {
        io::Error::new(error.kind(), format!("GET http://{address}{path}: {error}"))
    })
}

/// A connection that requests are sent on, one after another.
pub(crate) struct Client {
    address: SocketAddr,
    token: String,
    sender: http1::SendRequest<Empty<Bytes>>,
    /// Drives the connection, and ends with it.
    _driver: JoinSet<hyper::Result<()>>,
}

impl Client {
    /// # Errors
    ///
    /// Nobody listens there.
    pub(crate) async fn connect(address: SocketAddr, token: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Ok(Self { address, token: token.into(), sender, _driver: driver })
    }

    /// The response, whose body may have no end. A live page asks for a part of itself with another header.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) async fn get(
        &mut self,
        path: &str,
        is_part: bool,
    ) -> io::Result<Response<Incoming>> {
        self.sender.ready().await.map_err(io::Error::other)?;
        let mut request = Request::get(path);
        if is_part {
            request = request.header("hx-request", "true");
        }
        let request = request
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .header(ACCEPT, "text/html, */*")
            .body(Empty::<Bytes>::new())
            .map_err(io::Error::other)?;
        self.sender.send_request(request).await.map_err(io::Error::other)
    }

    /// The status and the body of the response.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) async fn text(&mut self, path: &str, is_part: bool) -> io::Result<(u16, String)> {
        let response = self.get(path, is_part).await?;
        Ok((response.status().as_u16(), text(response.into_body()).await?))
    }
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
