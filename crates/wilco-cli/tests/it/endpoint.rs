//! Endpoint functions: the pipeline of the server in another program.

mod admin;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use wilco::{
    Event, Secret,
    freispace::{Booking, SAMPLES},
};
use wilco_server::{Builder, Endpoint};

use crate::{
    survival::skip,
    world::{Reply, SECRET, booking, sign},
};

/// The names that a function was called with, in order.
#[derive(Clone, Default)]
struct Called(Arc<Mutex<Vec<String>>>);

impl Called {
    fn with(&self, name: &str) {
        self.0.lock().unwrap().push(name.into());
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.0.lock().unwrap().clone();
        names.sort();
        names
    }

    /// Waits until a function was called with exactly these names, as often as they occur here.
    #[track_caller]
    fn wait_for(&self, names: &[&str]) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.names().len() < names.len() {
            assert!(Instant::now() < until, "{:?} instead of {names:?}", self.names());
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(self.names(), names);
    }
}

fn endpoint(folder: &TempDir) -> Builder {
    let secret = Secret::new("test", SECRET.into()).unwrap();
    let store = format!("sqlite:{}", folder.path().join("wilco.db").display());
    Endpoint::freispace("/webhook", secret).store(&store)
}

/// An address that is currently free.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Sends a request once the address accepts connections, and returns the answer.
fn exchange(address: SocketAddr, method: &str, path: &str, body: &str) -> Reply {
    let until = Instant::now() + Duration::from_secs(20);
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        thread::sleep(Duration::from_millis(10));
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nconnection: close\r\n\
         x-freispace-signature: {}\r\n\r\n{body}",
        body.len(),
        sign(body.as_bytes())
    );
    stream.write_all(request.as_bytes()).unwrap();
    Reply::read(&mut BufReader::new(stream)).unwrap()
}

#[test]
fn an_endpoint_can_listen_by_itself() {
    let (folder, address, runtime) =
        (tempfile::tempdir().unwrap(), free_address(), Runtime::new().unwrap());
    let (named, all) = (Called::default(), Called::default());
    let builder = endpoint(&folder)
        .on("booking.*", {
            let named = named.clone();
            move |event: Event| {
                let named = named.clone();
                async move {
                    let booking: Booking = event.data()?;
                    named.with(&booking.name);
                    wilco_server::Result::Ok(())
                }
            }
        })
        .on("*", {
            let all = all.clone();
            move |event: Event| {
                all.with(&event.name);
                async { wilco_server::Result::Ok(()) }
            }
        });
    let served = runtime.spawn(async move { builder.serve(&address.to_string()).await });
    let mut expected = Vec::new();
    for (event, body) in SAMPLES {
        let reply = exchange(address, "POST", "/webhook", body);
        assert_eq!(
            (reply.status, reply.message().as_str()),
            (200, "Webhook processed successfully")
        );
        expected.push(*event);
    }
    expected.sort_unstable();
    all.wait_for(&expected);
    let bookings = SAMPLES.iter().filter(|(event, _)| event.starts_with("booking."));
    assert_eq!(named.names().len(), bookings.count());
    let tampered = format!(
        "POST /webhook HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\
         x-freispace-signature: {}\r\n\r\n{{}}",
        sign(b"{ }")
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(tampered.as_bytes()).unwrap();
    let reply = Reply::read(&mut BufReader::new(stream)).unwrap();
    assert_eq!((reply.status, reply.message().as_str()), (403, "Invalid signature"));
    assert_eq!(exchange(address, "POST", "/elsewhere", "{}").status, 404);
    assert_eq!(exchange(address, "GET", "/webhook", "").status, 405);
    served.abort();
}

#[test]
fn an_endpoint_can_be_mounted_next_to_other_routes_of_a_router() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
    let called = Called::default();
    let (address, endpoint) = runtime.block_on(async {
        let called = called.clone();
        let endpoint = endpoint(&folder)
            .on("booking.updated", move |event: Event| {
                called.with(event.subject.as_deref().unwrap_or_default());
                async { wilco_server::Result::Ok(()) }
            })
            .open()
            .await
            .unwrap();
        let hello = axum::routing::get(async || "hello");
        let router =
            axum::Router::new().route("/", hello).route_service("/webhook", endpoint.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await });
        (address, endpoint)
    });
    assert_eq!(exchange(address, "GET", "/", "").body, "hello");
    let body = booking("b-1", &"large ".repeat(100_000));
    assert_eq!(exchange(address, "POST", "/webhook", &body).status, 200);
    assert_eq!(exchange(address, "POST", "/webhook", &body).status, 200, "a copy");
    assert_eq!(exchange(address, "POST", "/webhook", "[]").status, 400);
    assert_eq!(exchange(address, "GET", "/webhook", "").status, 405);
    called.wait_for(&["booking/b-1"]);
    runtime.block_on(endpoint.close()).unwrap();
    assert_eq!(exchange(address, "POST", "/webhook", &booking("b-2", "Mix")).status, 503, "closed");
    assert_eq!(exchange(address, "GET", "/", "").body, "hello", "the program continues");
}

#[test]
fn a_failed_call_is_tried_again_even_after_a_restart() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
    let open = |called: &Called, is_broken: bool| {
        let called = called.clone();
        let builder = endpoint(&folder).timeout(Duration::from_millis(300)).on("*", {
            move |event: Event| {
                let called = called.clone();
                called.with(&event.name);
                if is_broken && event.name == "unwinds" {
                    std::panic::resume_unwind(Box::new("before there is a future"));
                }
                async move {
                    match event.name.as_str() {
                        "fails" if is_broken => return Err("not now".to_owned()),
                        "panics" if is_broken => {
                            std::panic::resume_unwind(Box::new("while it runs"))
                        }
                        "hangs" if is_broken => std::future::pending().await,
                        _ => {}
                    }
                    Ok(())
                }
            }
        });
        runtime.block_on(builder.open()).unwrap()
    };
    let names = ["fails", "hangs", "panics", "unwinds", "works"];
    let before = Called::default();
    let endpoint = open(&before, true);
    for name in names {
        let body = format!(r#"{{"id":"{name}","type":"t","event":"{name}"}}"#);
        let request = http::Request::post("/webhook")
            .header("x-freispace-signature", sign(body.as_bytes()))
            .body(http_body_util::Full::new(bytes::Bytes::from(body)))
            .unwrap();
        let mut service = endpoint.clone();
        let answer = runtime.block_on(tower_service::Service::call(&mut service, request)).unwrap();
        assert_eq!(answer.status(), 200);
    }
    before.wait_for(&names);
    runtime.block_on(endpoint.close()).unwrap();
    let count = |condition: &str| -> i64 {
        let store = rusqlite::Connection::open(folder.path().join("wilco.db")).unwrap();
        let query = format!("SELECT count(*) FROM delivery WHERE {condition}");
        store.query_row(&query, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count("state = 'retrying' AND attempts > 0"), 4, "each ended by itself");

    let after = Called::default();
    let endpoint = open(&after, false);
    after.wait_for(&["fails", "hangs", "panics", "unwinds"]);
    runtime.block_on(endpoint.close()).unwrap();
    assert_eq!(count("state <> 'delivered'"), 0);
}

#[test]
fn an_event_whose_function_returned_err_is_tried_again() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
    let calls = Arc::new(AtomicU32::new(0));
    let address = free_address();
    let counted = Arc::clone(&calls);
    let builder = endpoint(&folder).on("booking.*", move |_: Event| {
        let is_first = counted.fetch_add(1, Ordering::Relaxed) == 0;
        async move { if is_first { Err("not now") } else { Ok(()) } }
    });
    runtime.spawn(async move { builder.serve(&address.to_string()).await });
    assert_eq!(exchange(address, "POST", "/webhook", &booking("b-1", "Grade")).status, 200);
    let until = Instant::now() + Duration::from_secs(20);
    while calls.load(Ordering::Relaxed) < 2 {
        assert!(Instant::now() < until, "it is not tried again");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_invalid_description_is_refused_with_a_reason() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
    let secret = || Secret::new("test", SECRET.into()).unwrap();
    let path = folder.path().join("wilco.db");
    let store = format!("sqlite:{}", path.display());
    let opened = |builder: Builder| {
        let opened = runtime.block_on(builder.store(&store).open());
        opened.map(|_| ()).unwrap_err().to_string()
    };
    let does = |_: Event| async { wilco_server::Result::Ok(()) };
    for (builder, expected) in [
        (
            Endpoint::freispace("webhook", secret()),
            "invalid path \"webhook\": expected one that begins with / and has no ? or space, such as \
             /webhook",
        ),
        (
            Endpoint::freispace("/webhook?x", secret()),
            "invalid path \"/webhook?x\": expected one that begins with / and has no ? or space, such \
             as /webhook",
        ),
        (Endpoint::of("nobody", "/webhook", secret()), "unknown provider \"nobody\""),
        (
            Endpoint::freispace("/webhook", secret()).on("[", does),
            "invalid glob \"[\": expected one such as booking.*, or * for every event",
        ),
    ] {
        assert_eq!(opened(builder), expected);
    }
    let served = runtime.block_on(endpoint(&folder).serve("localhost"));
    let expected = "invalid address \"localhost\": expected IP:PORT, such as 127.0.0.1:8080";
    assert_eq!(served.unwrap_err().to_string(), expected);
    assert!(!path.exists(), "nothing was made");
}

#[test]
fn the_example_prints_what_was_booked_and_ends_at_sigterm() {
    let Some(program) = example() else {
        return skip("the example is not built: cargo build --examples");
    };
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    let mut example = Running(
        Command::new(program)
            .arg(address.to_string())
            .current_dir(&folder)
            .env_clear()
            .env("FREISPACE_SECRET", SECRET)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let said = BufReader::new(example.0.stdout.take().unwrap());
    let (tell_line, lines) = mpsc::channel();
    thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|l| tell_line.send(l)));
    let next = || lines.recv_timeout(Duration::from_secs(20)).ok();
    let first = next().unwrap_or_default();
    assert!(first.contains("listening"), "{first}");
    let (_, body) = SAMPLES.iter().find(|(event, _)| *event == "booking.created").unwrap();
    assert_eq!(exchange(address, "POST", "/webhook", body).status, 200);
    let mut said = std::iter::from_fn(next);
    assert!(said.any(|line| line == "booked: Viewing, part one"));
    Command::new("kill").arg(example.0.id().to_string()).status().unwrap();
    assert!(example.0.wait().unwrap().success());
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It fails if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The binary of the example, next to the folder of this test.
fn example() -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/endpoint");
    program.exists().then_some(program)
}

#[test]
fn a_function_that_blocks_its_thread_delays_no_acknowledgement() {
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    // If the halves were not separate, both would share the only thread of the program.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (began, ended) = (Called::default(), Called::default());
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let builder = endpoint(&folder).on("*", {
        let (began, ended) = (began.clone(), ended.clone());
        move |event: Event| {
            began.with(&event.name);
            let _ = released.lock().unwrap().recv_timeout(Duration::from_secs(20));
            ended.with(&event.name);
            async { wilco_server::Result::Ok(()) }
        }
    });
    let served = runtime.spawn(async move { builder.serve(&address.to_string()).await });
    let (event, body) = SAMPLES.first().unwrap();
    assert_eq!(exchange(address, "POST", "/webhook", body).status, 200);
    began.wait_for(&[event]);
    for (_, body) in SAMPLES.iter().skip(1) {
        assert_eq!(exchange(address, "POST", "/webhook", body).status, 200);
    }
    assert!(ended.names().is_empty(), "they were answered while the function was blocking");
    drop(release);
    served.abort();
}

#[test]
fn a_dropped_endpoint_stops_and_releases_its_store() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
    let called = Called::default();
    let hanging = |called: &Called| {
        let called = called.clone();
        endpoint(&folder).on("*", move |event: Event| {
            called.with(&event.name);
            async { std::future::pending::<wilco_server::Result<()>>().await }
        })
    };
    let (address, (event, body)) = (free_address(), SAMPLES.first().unwrap());
    let builder = hanging(&called);
    let served = runtime.spawn(async move { builder.serve(&address.to_string()).await });
    assert_eq!(exchange(address, "POST", "/webhook", body).status, 200);
    called.wait_for(&[event]);
    served.abort();
    for times in 2..4 {
        let opened = runtime.block_on(hanging(&called).open());
        let opened = opened.unwrap_or_else(|error| panic!("still in use: {error}"));
        called.wait_for(&vec![*event; times]);
        drop(opened);
    }
}

#[test]
fn an_error_prints_as_a_sentence_where_main_prints_it() {
    let own = "x".parse::<u32>().map_err(wilco_server::Error::other).unwrap_err();
    assert_eq!(format!("{own:?}"), "invalid digit found in string");
    let missing = wilco::Secret::from_env("NO_SUCH_VARIABLE").unwrap_err();
    let missing = wilco_server::Error::from(missing);
    assert_eq!(format!("{missing:?}"), missing.to_string());
}
