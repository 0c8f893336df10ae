//! Senders at a steady rate, each request as soon as it is due, whatever became of those before.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    runtime,
    task::JoinSet,
    time::{self, MissedTickBehavior},
};

use crate::world::{booking, sign};

#[derive(Clone, Copy, Debug)]
pub(super) enum Client {
    /// A connection for each request.
    ConnectsEachTime,
    /// As HTTP clients do: connections are kept, and a request whose kept connection was closed before
    /// any byte of an answer is sent once more.
    KeepsConnections,
}

/// Senders that run until they are asked to end.
pub(super) struct Load {
    is_over: Arc<AtomicBool>,
    running: JoinHandle<Vec<Sent>>,
    client: Client,
}

/// What became of a request.
struct Sent {
    result: io::Result<String>,
    took: Duration,
}

/// All requests.
pub(super) struct Results(Vec<Sent>);

impl Load {
    pub(super) fn start(address: SocketAddr, client: Client, rate: u32) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let running = thread::spawn(move || {
            let mut runtime = runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async move {
                match client {
                    Client::ConnectsEachTime => connect_each_time(address, rate, &until).await,
                    Client::KeepsConnections => keep_connections(address, rate, &until).await,
                }
            })
        });
        Self { is_over, running, client }
    }

    /// Ends it, and prints how long the answers took.
    pub(super) fn end(self, what: &str) -> Results {
        self.is_over.store(true, Ordering::Relaxed);
        let mut sent = self.running.join().unwrap();
        sent.sort_by_key(|sent| sent.took);
        let at = |share: usize| sent[(sent.len() - 1) * share / 1_000].took;
        // It fails if nobody reads the output.
        let _ = writeln!(
            io::stdout(),
            "{what}, {:?}: {} requests, p50 {:?}, p99 {:?}, p99.9 {:?}, max {:?}",
            self.client,
            sent.len(),
            at(500),
            at(990),
            at(999),
            at(1_000)
        );
        Results(sent)
    }
}

impl Results {
    /// How many there were, if each got a 200.
    pub(super) fn all_acknowledged(self) -> i64 {
        let is_good = |sent: &Sent| sent.result.as_ref().is_ok_and(|status| status == "200");
        let bad: Vec<_> = self.0.iter().filter(|sent| !is_good(sent)).collect();
        let shown: Vec<_> = bad.iter().take(5).map(|sent| (&sent.result, sent.took)).collect();
        assert!(bad.is_empty(), "{} of {}: {shown:?}", bad.len(), self.0.len());
        i64::try_from(self.0.len()).unwrap()
    }
}

async fn connect_each_time(address: SocketAddr, rate: u32, is_over: &AtomicBool) -> Vec<Sent> {
    let mut interval = time::interval(Duration::from_secs(1) / rate);
    interval.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut sending, mut number) = (JoinSet::new(), 0);
    while !is_over.load(Ordering::Relaxed) {
        interval.tick().await;
        number += 1;
        let request = request(number, "close");
        sending.spawn(async move {
            let began = Instant::now();
            let result = async { exchange(&mut connect(address, number).await?, &request).await };
            Sent { result: result.await, took: began.elapsed() }
        });
    }
    sending.join_all().await
}

async fn keep_connections(address: SocketAddr, rate: u32, is_over: &AtomicBool) -> Vec<Sent> {
    let numbers = AtomicI64::new(0);
    let client = async || {
        let mut interval = time::interval(Duration::from_secs(1) * CLIENTS / rate);
        let (mut kept, mut sent) = (None, Vec::new());
        while !is_over.load(Ordering::Relaxed) {
            interval.tick().await;
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            let request = request(number, "keep-alive");
            let began = Instant::now();
            let result = send_kept(address, number, &mut kept, &request).await;
            sent.push(Sent { result, took: began.elapsed() });
        }
        sent
    };
    let clients = (0..CLIENTS).map(|_| client());
    futures_util::future::join_all(clients).await.into_iter().flatten().collect()
}

async fn send_kept(
    address: SocketAddr,
    number: i64,
    kept: &mut Option<TcpStream>,
    request: &str,
) -> io::Result<String> {
    if let Some(mut stream) = kept.take()
        && let Ok(status) = exchange(&mut stream, request).await
    {
        *kept = Some(stream);
        return Ok(status);
    }
    let mut stream = connect(address, number).await?;
    let status = exchange(&mut stream, request).await?;
    *kept = Some(stream);
    Ok(status)
}

/// Connects from one of several addresses, because the connections from each are limited.
async fn connect(address: SocketAddr, number: i64) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let last = u8::try_from(number.rem_euclid(SENDERS)).unwrap() + 1;
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
    socket.connect(address).await
}

/// Sends a request and returns the status of its answer, which has a short body.
async fn exchange(stream: &mut TcpStream, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        if stream.read_buf(&mut answer).await? == 0 {
            let what = format!("the end after {} bytes", answer.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    Ok(answer.split(' ').nth(1).unwrap_or_default().to_owned())
}

fn request(number: i64, connection: &str) -> String {
    let body = booking(&format!("b-{number}"), "A");
    format!(
        "POST /webhook HTTP/1.1\r\nhost: a\r\nconnection: {connection}\r\n\
         x-freispace-signature: {}\r\ncontent-length: {}\r\n\r\n{body}",
        sign(body.as_bytes()),
        body.len()
    )
}

/// Addresses of senders.
const SENDERS: i64 = 16;
/// Clients with a kept connection each.
const CLIENTS: u32 = 16;
