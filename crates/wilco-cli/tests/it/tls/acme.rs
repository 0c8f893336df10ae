//! Certificates that wilco obtains and renews by ACME, from a real authority on loopback.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use super::{
    Visitor,
    pebble::{Pebble, Server},
    suggesting::Suggesting,
};
use crate::world::{SECRET, World, wilco};

const NAME: &str = "hooks.example.com";

#[test]
fn a_certificate_is_obtained_and_a_restart_asks_nobody() {
    let Some(mut pebble) = Pebble::start() else { return };
    let world = pebble.plan(&format!("{NAME:?}"), ", contact = \"ops@example.com\"").start();
    let visitor = Visitor::trusting(&[&pebble.root()]);
    let obtained = wait_for_certificate(&world, &visitor, NAME);
    assert_eq!(world.ask("GET", "/readyz", &[], "").status, 200);
    assert!(world.metric("wilco_tls_expiry_timestamp_seconds") > 1e9);
    // It is used at once, and stored then.
    world.log_with("certificate obtained");
    for (name, mode) in [("", 0o700), ("account.json", 0o600), ("certificate.pem", 0o600)] {
        let found = fs::metadata(world.path("acme").join(name)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{name}");
    }
    let said = said(&world, &["check", "--connect"], 0);
    let from =
        format!("certificate for {NAME} from {} by tls-alpn-01: it ends at", pebble.directory());
    assert!(said.contains(&from), "{said}");
    assert!(
        said.lines().any(|line| line.starts_with("[listen]") && line.contains(" ok ")),
        "{said}"
    );
    pebble.stop();
    let world = world.kill_and_restart();
    let seen = visitor.visit(world.address, NAME).unwrap();
    assert_eq!(seen.certificate, obtained, "the first handshake finds the stored certificate");
    assert_eq!(world.ask("GET", "/readyz", &[], "").status, 200);
    assert!(!world.log().contains("obtaining a certificate"), "{}", world.log());
}

#[test]
fn several_domains_are_validated_by_http_01_where_an_address_is_given() {
    let Some(pebble) = Pebble::start() else { return };
    let domains = "[\"b.example.com\", \"A.example.com\", \"B.example.com\"]";
    let more = format!(", http_address = \"127.0.0.1:{}\"", pebble.http_port);
    let world = pebble.plan(domains, &more).start();
    let visitor = Visitor::trusting(&[&pebble.root()]);
    let obtained = wait_for_certificate(&world, &visitor, "a.example.com");
    assert_eq!(visitor.visit(world.address, "b.example.com").unwrap().certificate, obtained);
    assert!(pebble.log().contains("validate w/ HTTP"), "{}", pebble.log());
    let visitor = visitor.speaking(&["acme-tls/1"]);
    assert!(visitor.visit(world.address, "a.example.com").is_err(), "no challenge is open");
}

#[test]
fn only_a_connection_that_offers_nothing_else_is_a_challenge() {
    let Some(pebble) = Pebble::start() else { return };
    let world = pebble.plan(&format!("{NAME:?}"), "").start();
    let visitor = Visitor::trusting(&[&pebble.root()]);
    wait_for_certificate(&world, &visitor, NAME);
    let visitor = visitor.speaking(&["acme-tls/1", "http/1.1"]);
    let seen = visitor.visit(world.address, NAME).unwrap();
    assert_eq!(seen.protocol.as_deref(), Some(&b"http/1.1"[..]));
    let visitor = visitor.speaking(&["acme-tls/1"]);
    assert!(visitor.visit(world.address, NAME).is_err(), "no challenge is open");
    world.eventually("the reason", |world| {
        world.metric("wilco_tls_handshake_failures_total{reason=\"no_certificate\"}") >= 1.0
    });
}

#[test]
fn an_authority_that_is_down_rejects_nonces_and_is_slow_still_issues_in_the_end() {
    let Some(mut pebble) = Pebble::prepare() else { return };
    let tables =
        "[alerts]\nto = \"file\"\n[destination.file]\ntype = \"file\"\npath = \"FOLDER/alerts\"";
    let world = pebble.plan(&format!("{NAME:?}"), "").and(tables).start();
    let ready = || world.ask("GET", "/readyz", &[], "");
    wait("the reason", 30, || ready().body.contains("the next attempt is at"));
    assert_eq!(ready().status, 503);
    assert!(world.metric("wilco_acme_last_failure_timestamp_seconds") > 1e9);
    assert_eq!(world.metric("wilco_tls_expiry_timestamp_seconds"), 0.0);
    let nobody = Visitor::trusting(&[]);
    assert!(nobody.visit(world.address, NAME).is_err());
    world.log_with("the certificate is still missing");
    let said = said(&world, &["check", "--connect"], 1);
    assert!(said.contains("by tls-alpn-01: it is obtained at the start"), "{said}");
    let is_failure =
        |line: &str| line.starts_with("[listen]") && line.contains("Connection refused");
    assert!(said.lines().any(is_failure), "{said}");
    wait("an alert", 60, || {
        fs::read_to_string(world.path("alerts")).unwrap_or_default().contains("alert.certificate")
    });
    let slow = ("PEBBLE_VA_SLEEPTIME", "3");
    pebble.run(157_766_400, &[("PEBBLE_VA_NOSLEEP", ""), slow, ("PEBBLE_WFE_NONCEREJECT", "20")]);
    let visitor = Visitor::trusting(&[&pebble.root()]);
    // Two attempts come within this time: by chance, all repetitions of a request can be refused in one of them.
    wait("a certificate", 420, || visitor.visit(world.address, NAME).is_ok());
    assert_eq!(ready().status, 200);
    world.eventually("no failure", |world| {
        world.metric("wilco_acme_last_failure_timestamp_seconds") == 0.0
    });
}

#[test]
fn a_refused_challenge_is_reported_with_what_the_authority_found() {
    let Some(mut pebble) = Pebble::prepare() else { return };
    let listens = pebble.tls_port;
    pebble.tls_port = pebble.http_port;
    pebble.run(157_766_400, &[]);
    pebble.tls_port = listens;
    let world = pebble.plan(&format!("{NAME:?}"), "").start();
    let log = world.log_with("cannot obtain a certificate");
    let found = format!("{NAME}: Failed to connect to 127.0.0.1");
    assert!(log.contains(&found), "{log}");
    wait("the reason", 30, || world.ask("GET", "/readyz", &[], "").body.contains(&found));
}

#[test]
fn a_certificate_is_renewed_in_time_and_one_that_cannot_be_stays_in_use() {
    let Some(mut pebble) = Pebble::prepare() else { return };
    pebble.run(15, &[]);
    let world = pebble.plan(&format!("{NAME:?}"), "").start();
    let visitor = Visitor::trusting(&[&pebble.root()]);
    let first = wait_for_certificate(&world, &visitor, NAME);
    let mut last = Vec::new();
    wait("the next certificate", 60, || {
        last = visitor.visit(world.address, NAME).unwrap().certificate;
        last != first
    });
    pebble.stop();
    wait("a failure", 60, || world.metric("wilco_acme_last_failure_timestamp_seconds") > 0.0);
    world.eventually("the end of the certificate", |world| {
        let visit = visitor.visit(world.address, NAME);
        visit.is_err_and(|error| error.to_string().contains("expired"))
    });
    let log = world.log_with("cannot obtain a certificate");
    assert!(log.contains("in_use_until"), "{log}");
    pebble.run(157_766_400, &[]);
    let visitor = Visitor::trusting(&[&pebble.root()]);
    wait("a certificate of a new account", 120, || visitor.visit(world.address, NAME).is_ok());
}

#[test]
fn a_certificate_is_replaced_when_the_authority_suggests_it() {
    let Some(mut pebble) = Pebble::prepare() else { return };
    // By itself, it would be renewed after 200 s, and because of the suggestion after 30 s.
    pebble.run(300, &[]);
    let suggesting = Suggesting::start(&pebble);
    let world = pebble.plan_with(&suggesting.directory, &format!("{NAME:?}"), "").start();
    let visitor = Visitor::trusting(&[&pebble.root()]);
    let first = wait_for_certificate(&world, &visitor, NAME);
    wait("the next certificate", 150, || {
        visitor.visit(world.address, NAME).unwrap().certificate != first
    });
    assert!(suggesting.was_followed(), "the order says which certificate it replaces");
}

#[test]
fn a_certificate_for_other_domains_is_used_until_the_right_one_is_there() {
    let Some(mut pebble) = Pebble::start() else { return };
    let world = pebble.plan(&format!("{NAME:?}"), "").start();
    let before = Visitor::trusting(&[&pebble.root()]);
    wait_for_certificate(&world, &before, NAME);
    pebble.stop();
    let mut world = world;
    assert!(world.stop().success());
    world.reconfigure(|text| text.replace(NAME, "other.example.com"));
    let world = world.restart_stopped();
    before.visit(world.address, NAME).unwrap();
    world.log_with("cannot obtain a certificate");
    pebble.run(157_766_400, &[]);
    let visitor = Visitor::trusting(&[&pebble.root()]);
    wait("the right one", 120, || visitor.visit(world.address, "other.example.com").is_ok());
}

#[test]
fn a_reload_changes_neither_the_authority_nor_the_domains() {
    let tls = format!(
        "tls = \"acme\"\ndomains = {NAME:?}\nacme = {{ directory = \"https://127.0.0.1:1/\" }}"
    );
    let world = World::plan().tls(&tls).start();
    for (before, after, key) in [
        (NAME, "other.example.com", "[listen] domains changed"),
        ("127.0.0.1:1/", "127.0.0.1:2/", "[listen] acme changed"),
        ("\"acme\"", "\"self-signed\"", "[listen] tls changed"),
    ] {
        world.reconfigure(|text| text.replacen(before, after, 1));
        world.signal("HUP");
        world.log_with(key);
        world.reconfigure(|text| text.replacen(after, before, 1));
    }
}

#[test]
fn what_no_authority_can_issue_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    for (lines, expected) in [
        ("", "[listen] needs domains"),
        (
            "domains = \"*.example.com\"",
            "invalid domain \"*.example.com\": a wildcard is validated in the DNS",
        ),
        ("domains = [\"a.example.com\", \"192.0.2.1\"]", "invalid domain \"192.0.2.1\""),
        ("domains = \"local_host.example.com\"", "invalid domain \"local_host.example.com\""),
        ("domains = \"https://a.example.com\"", "invalid domain \"https://a.example.com\""),
        (
            "domains = \"a.example.com\"\nacme = { directory = \"http://a.example/\" }",
            "ACME requires https",
        ),
        ("domains = \"a.example.com\"\nacme = { directory = \"stagin\" }", "invalid"),
        ("domains = \"a.example.com\"\nacme = { contact = \"ops\" }", "invalid contact \"ops\""),
        ("domains = \"a.example.com\"\nacme = { http_address = \"80\" }", "expected IP:PORT"),
        (
            "domains = \"a.example.com\"\nacme = { ca = \"/nowhere/ca.pem\" }",
            "cannot read /nowhere/ca.pem",
        ),
        (
            "domains = \"a.example.com\"\nacme = { ca = \"wilco.toml\" }",
            "wilco.toml contains no certificate",
        ),
    ] {
        let file = format!(
            "[listen]\naddress = \"127.0.0.1:443\"\ntls = \"acme\"\n{lines}\n\
             [source.a]\nprovider = \"freispace\"\npath = \"/\"\nsecrets = [{{ env = \"S\" }}]\n"
        );
        fs::write(folder.path().join("wilco.toml"), file).unwrap();
        let output = wilco(folder.path()).env("S", SECRET).arg("check").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{lines} {said}");
        assert!(said.contains(expected), "{lines} {said}");
    }
}

#[test]
fn a_domain_is_all_that_a_start_without_a_file_needs() {
    let Some(pebble) = Pebble::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], pebble.tls_port));
    let start = || {
        let mut command = wilco(folder.path());
        command.env("FREISPACE_SECRET", SECRET).env("SSL_CERT_FILE", pebble.ca());
        command.args(["serve", "--domain", NAME, "--acme-directory", &pebble.directory()]);
        command.args(["--listen", &address.to_string()]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Server(command.spawn().unwrap())
    };
    let visitor = Visitor::trusting(&[&pebble.root()]);
    let mut server = start();
    wait("a certificate", 120, || {
        if server.0.try_wait().unwrap().is_some() {
            // The port of the admin listener is fixed, and another test may have it.
            server = start();
        }
        visitor.visit(address, NAME).is_ok()
    });
    let stored = folder.path().join("acme/certificate.pem");
    wait("the file next to the store", 30, || stored.exists());
}

/// What a command says that ends with this code.
#[track_caller]
fn said(world: &World, arguments: &[&str], code: i32) -> String {
    let output = world.run_verb(arguments);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        output.status.code(),
        Some(code),
        "{said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

/// Waits for a certificate for this name, and returns it.
#[track_caller]
fn wait_for_certificate(world: &World, visitor: &Visitor, name: &str) -> Vec<u8> {
    let mut found = None;
    wait("a certificate", 60, || {
        found = visitor.visit(world.address, name).ok();
        found.is_some()
    });
    found.unwrap().certificate
}

/// Waits at most this many seconds.
#[track_caller]
fn wait(what: &str, secs: u64, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(secs);
    while !is_so() {
        assert!(Instant::now() < until, "{what} did not come");
        thread::sleep(Duration::from_millis(50));
    }
}
