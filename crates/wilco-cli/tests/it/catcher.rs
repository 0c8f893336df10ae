//! An HTTP service that wilco delivers to. It records every request and answers as the test says,
//! even incorrectly.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// A service that runs until the test ends.
pub(crate) struct Catcher {
    pub(crate) address: SocketAddr,
    caught: Arc<Mutex<Vec<Caught>>>,
    is_over: Arc<AtomicBool>,
}

/// A request that arrived completely.
#[derive(Clone, Debug)]
pub(crate) struct Caught {
    pub(crate) at: Instant,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// What the service does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Answer(u16),
    /// A status and further headers.
    With(u16, &'static str),
    /// Closes the connection without an answer.
    Reset,
    /// Writes these bytes and closes the connection.
    Write(&'static str),
    /// Sends `100 Continue` as long as the client reads.
    Interim,
    /// Never answers.
    Hang,
    /// Sends an endless answer, a byte every 50 ms.
    Drip,
    /// 200, followed by a gigabyte.
    Flood,
    /// A status, further headers, and a body.
    Body(u16, &'static str, String),
}

impl Catcher {
    /// Treats the requests in this order, and further ones as the last.
    pub(crate) fn of(acts: &[Act]) -> Self {
        let acts = acts.to_vec();
        Self::start(move |number, _| acts[number.min(acts.len() - 1)].clone())
    }

    /// Answers every request with 200.
    pub(crate) fn new() -> Self {
        Self::of(&[Act::Answer(200)])
    }

    /// Asks `act` what to do with each request, given how many came before.
    pub(crate) fn start(act: impl Fn(usize, &Caught) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let caught: Arc<Mutex<Vec<Caught>>> = Arc::default();
        let is_over = Arc::new(AtomicBool::new(false));
        let (list, over, act) = (Arc::clone(&caught), Arc::clone(&is_over), Arc::new(act));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (list, over, act) = (Arc::clone(&list), Arc::clone(&over), Arc::clone(&act));
                thread::spawn(move || {
                    // If a connection fails, the client notices.
                    let _ = converse(&stream, &list, &over, act.as_ref());
                });
            }
        });
        Self { address, caught, is_over }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?a=1", self.address)
    }

    pub(crate) fn caught(&self) -> Vec<Caught> {
        self.caught.lock().unwrap().clone()
    }

    /// Waits until `count` requests have arrived, and returns them.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Caught> {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let caught = self.caught();
            if caught.len() >= count {
                return caught;
            }
            assert!(Instant::now() < until, "{} of {count} came", caught.len());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Catcher {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Caught {
    /// The value of a header that was sent once.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().filter(|(field, _)| field == name);
        let found: Vec<_> = found.map(|(_, value)| value.as_str()).collect();
        assert_eq!(found.len(), 1, "{name}: {:?}", self.headers);
        found[0]
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(field, _)| field == name)
    }
}

fn converse(
    mut stream: &TcpStream,
    list: &Mutex<Vec<Caught>>,
    over: &AtomicBool,
    act: &(impl Fn(usize, &Caught) -> Act + ?Sized),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(caught) = read(&mut reader)? {
        let number = {
            let mut list = list.lock().unwrap();
            list.push(caught.clone());
            list.len() - 1
        };
        match act(number, &caught) {
            Act::Answer(status) => answer(stream, status, "")?,
            Act::With(status, fields) => answer(stream, status, fields)?,
            Act::Body(status, fields, body) => {
                let head =
                    format!("HTTP/1.1 {status} So\r\n{fields}content-length: {}", body.len());
                stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes())?;
            }
            Act::Reset => return Ok(()),
            Act::Write(bytes) => return stream.write_all(bytes.as_bytes()),
            Act::Interim => {
                let part = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
                while !over.load(Ordering::Relaxed) {
                    stream.write_all(&part)?;
                }
            }
            Act::Hang => {
                while !over.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(20));
                }
                return Ok(());
            }
            Act::Drip => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")?;
                while !over.load(Ordering::Relaxed) {
                    stream.write_all(b".")?;
                    thread::sleep(Duration::from_millis(50));
                }
            }
            Act::Flood => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n")?;
                let part = vec![b'x'; 1 << 20];
                for _ in 0..1_024 {
                    stream.write_all(&part)?;
                }
            }
        }
    }
    Ok(())
}

fn answer(mut stream: &TcpStream, status: u16, fields: &str) -> std::io::Result<()> {
    let body = if status == 204 { "" } else { "content-length: 4\r\n\r\nsaid" };
    let end = if body.is_empty() { "\r\n" } else { body };
    stream.write_all(format!("HTTP/1.1 {status} So\r\n{fields}{end}").as_bytes())
}

fn read(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Option<Caught>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let (method, path) = (method.to_owned(), path.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
    reader.read_exact(&mut body)?;
    Ok(Some(Caught { at: Instant::now(), method, path, headers, body }))
}
