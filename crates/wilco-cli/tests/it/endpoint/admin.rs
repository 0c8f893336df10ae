//! The admin listener of a program with endpoint functions.

use std::{
    io::{BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
};

use serde_json::Value;
use tokio::runtime::Runtime;
use wilco::Event;
use wilco_server::config::Address;

use super::{Called, endpoint, exchange};
use crate::world::{Reply, booking};

#[test]
fn the_events_of_an_endpoint_are_listed_and_replayed_over_its_admin_listener() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
    let called = Called::default();
    let builder = endpoint(&folder).admin("127.0.0.1:0").on("*", {
        let called = called.clone();
        move |event: Event| {
            called.with(&event.name);
            async { wilco_server::Result::Ok(()) }
        }
    });
    let (address, endpoint) = runtime.block_on(async {
        let endpoint = builder.open().await.unwrap();
        let router = axum::Router::new().route_service("/webhook", endpoint.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await });
        (address, endpoint)
    });
    let Some(Address::Tcp(admin)) = endpoint.admin_address().cloned() else { panic!("no address") };
    let sent = exchange(address, "POST", "/webhook", &booking("b-1", "Grade"));
    let id = sent.header("x-wilco-event").unwrap();
    called.wait_for(&["booking.updated"]);

    let token = std::fs::read_to_string(folder.path().join("wilco.db.token")).unwrap();
    assert_eq!(ask(admin, "x", "GET", "/api/v1/events", "").status, 401);
    assert_eq!(ask(admin, "x", "GET", "/readyz", "").status, 200);
    // A program is configured by its code, so there is no file to read again.
    assert_eq!(ask(admin, token.trim(), "POST", "/api/v1/reload", "").status, 409);
    let ask = |method, path: &str, body: &str| -> Value {
        let reply = ask(admin, token.trim(), method, path, body);
        assert_eq!(reply.status, 200, "{path} {}", reply.body);
        serde_json::from_str(&reply.body).unwrap()
    };
    let listed = ask("GET", "/api/v1/events", "");
    assert_eq!((&listed["items"][0]["id"], &listed["next"]), (&id.into(), &Value::Null));
    let destinations = ask("GET", "/api/v1/destinations", "");
    assert_eq!(destinations["items"][0]["destination"], "on *");
    let replayed = ask("POST", "/api/v1/replay", &format!("{{\"ids\":[\"{id}\"]}}"));
    assert_eq!(replayed["events"][0]["destinations"], serde_json::json!(["on *"]));
    called.wait_for(&["booking.updated", "booking.updated"]);
    runtime.block_on(endpoint.close()).unwrap();
}

/// Asks an admin listener with a token.
fn ask(address: SocketAddr, token: &str, method: &str, path: &str, body: &str) -> Reply {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\nconnection: close\r\n\
         content-type: application/json\r\nauthorization: Bearer {token}\r\n\r\n{body}",
        body.len(),
    );
    stream.write_all(request.as_bytes()).unwrap();
    Reply::read(&mut BufReader::new(stream)).unwrap()
}

#[test]
fn an_endpoint_has_its_admin_listener_on_loopback_or_a_socket() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
    for address in ["0.0.0.0:9440", "192.0.2.1:9440", "localhost:9440", "9440", ""] {
        let failed = runtime.block_on(endpoint(&folder).admin(address).open()).err().unwrap();
        let said = failed.to_string();
        assert!(said.starts_with(&format!("invalid admin address {address:?}: ")), "{said}");
    }
    let path = folder.path().join("admin.sock");
    let address = format!("unix:{}", path.display());
    let endpoint = runtime.block_on(endpoint(&folder).admin(&address).open()).unwrap();
    assert_eq!(endpoint.admin_address(), Some(&Address::Unix(path.clone())));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    assert_eq!(Reply::read(&mut BufReader::new(stream)).unwrap().status, 200);
    runtime.block_on(endpoint.close()).unwrap();
}
