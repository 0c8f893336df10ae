//! `wilco verify` and `wilco explain`: a request without a running wilco.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Output, Stdio},
};

use super::text;
use crate::world::{SECRET, booking, sign, wilco};

/// Runs one of both with the secret, a signature and a body that comes on stdin.
fn run(folder: &Path, verb: &str, more: &[&str], signature: &str, body: &str) -> Output {
    let header = format!("X-Freispace-Signature: {signature}");
    let mut command = wilco(folder);
    command.args([verb, "--provider", "freispace", "--secret-env", "IT", "--header", &header]);
    command.args(["--body", "-"]).args(more).env("IT", SECRET);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_request_is_verified_without_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let body = booking("b-1", "Grade");
    let right = run(folder.path(), "verify", &[], &sign(body.as_bytes()), &body);
    let said = text(&right.stdout);
    assert_eq!(right.status.code(), Some(0), "{right:?}");
    assert_eq!(said, "valid: signed with env:IT; the event is booking.updated about booking/b-1\n");

    let wrong = run(folder.path(), "verify", &[], &sign(b"other"), &body);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    assert!(
        text(&wrong.stdout).starts_with("not valid: no secret of this source matches"),
        "{wrong:?}"
    );
    assert!(text(&wrong.stderr).contains("`wilco explain` with the same arguments"), "{wrong:?}");
}

#[test]
fn the_reason_of_a_refusal_and_its_remedy_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let body = booking("b-1", "Grade");
    let signature = sign(body.as_bytes());
    for (signature, body, expected) in [
        (signature.clone(), format!("{body}\n"), "the body without the line break at its end"),
        (
            signature.to_uppercase(),
            body.clone(),
            "the header x-freispace-signature, read as hexadecimal",
        ),
        (format!("sha256={signature}"), body.clone(), "part of the header x-freispace-signature"),
    ] {
        let output = run(folder.path(), "explain", &[], &signature, &body);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(said.contains("its signature matches env:IT with\n"), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains(SECRET) && !said.contains(&sign(body.as_bytes())), "{said}");
        assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
        let output = run(folder.path(), "explain", &["--json"], &signature, &body);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["secret_name"], "env:IT", "{json}");
        assert_eq!(json["changes"].as_array().unwrap().len(), 1, "{json}");
    }
    let output = run(folder.path(), "explain", &[], &"0".repeat(64), &body);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stdout).contains("nothing that usually goes wrong explains it"));
}

#[test]
fn the_sender_of_an_unknown_request_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let body = booking("b-1", "Grade");
    fs::write(folder.path().join("body"), &body).unwrap();
    fs::write(folder.path().join("secret"), SECRET).unwrap();
    let head = format!(
        "POST /x HTTP/1.1\r\nhost: a.example\r\nx-freispace-signature: {}\r\n",
        sign(body.as_bytes())
    );
    fs::write(folder.path().join("head"), head).unwrap();
    let args = ["explain", "--provider", "unknown", "--head", "head", "--body", "body"];
    let output =
        wilco(folder.path()).args(args).args(["--secret-file", "secret"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        text(&output.stdout).starts_with("its signature is valid for freispace\n"),
        "{output:?}"
    );
    let output = wilco(folder.path()).args(args).output().unwrap();
    assert!(text(&output.stdout).contains("it is signed in the way of freispace"), "{output:?}");
    let output = wilco(folder.path()).args(args).arg("--json").output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json["looks_like"].as_array().unwrap().contains(&"freispace".into()), "{json}");
    let output = wilco(folder.path()).args(["explain", "--provider", "unknown"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn a_request_that_cannot_be_read_is_a_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    for (args, expected) in [
        (
            &["verify", "--provider", "freispac"][..],
            "provider freispac not found; did you mean freispace?",
        ),
        (&["explain"], "<ID|--provider <NAME>>"),
        (&["explain", "latest", "--provider", "freispace"], "cannot be used with"),
        (&["explain", "latest", "--secret-env", "IT"], "cannot be used with"),
        (&["rejections", "accept"], "<ID|--all>"),
        (&["rejections", "accept", "latest", "--all"], "cannot be used with"),
        (&["verify", "--provider", "freispace"], "no secret is given: name one with --secret-env"),
        (&["verify", "--provider", "freispace", "--secret-env", "IT"], "IT is not set"),
        (&["explain", "--provider", "freispace", "--body", "none"], "cannot read none"),
        (
            &["explain", "--provider", "freispace", "--header", "nothing"],
            "expected a name, a colon and a value",
        ),
    ] {
        let output = wilco(folder.path()).args(args).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}
