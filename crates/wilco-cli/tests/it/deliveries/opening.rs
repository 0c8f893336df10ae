//! Opening a destination.

use std::fs;

use super::{RETRY, it, results, shown};
use crate::{
    configuration::certificate::{FILES, Pem},
    world::{World, booking},
};

#[test]
fn a_destination_that_cannot_be_opened_fails_its_attempts_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    Pem::make().write(folder.path());
    let service = World::plan().tls(FILES).start_in(folder);
    let url = format!("https://localhost:{}/webhook", service.address.port());
    let world = World::plan()
        .and(&it(&format!("type = \"http\"\nurl = \"{url}\"\n{RETRY}")))
        .env("SSL_CERT_FILE", "authorities.pem")
        .start();
    let reply = world.send(&booking("b-1", "Grade"));
    assert_eq!(reply.status, 200);
    let log = world.log_with("deliveries fail until the destination can be opened");
    assert!(log.contains("install ca-certificates, or set SSL_CERT_FILE"), "{log}");
    let has_result = |expected: &str| {
        let delivery = shown(&world, &reply)["deliveries"][0].clone();
        results(&delivery).iter().any(|result| result.starts_with(expected))
    };
    let expected = "cannot open it: found no certificate authorities";
    world.eventually("an attempt that failed", |_| has_result(expected));
    fs::copy(service.path("cert.pem"), world.path("authorities.pem")).unwrap();
    // The other wilco answers an unsigned request like this.
    world.eventually("an attempt that arrived", |_| has_result("400 Bad Request"));
}
