//! TLS: certificates from files, which can be replaced at runtime, and self-signed ones.

use std::{fs, path::Path, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{GOOD, PRINT, check_manners, text};
use crate::{
    tls::Visitor,
    world::{SECRET, World, wilco},
};

#[test]
fn a_certificate_from_files_is_used_and_reloaded_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = [(); 2].map(|()| Pem::make());
    first.write(folder.path());
    date(&folder.path().join("key.pem"));
    let world = World::plan().tls(FILES).start_in(folder);
    assert!(first.is_shown_by(&world) && !second.is_shown_by(&world));
    assert!(world.metric("wilco_tls_expiry_timestamp_seconds") > 1e9);
    // A certificate is not used before its key is there.
    fs::write(world.path("cert.pem"), &second.certificate).unwrap();
    world.signal("HUP");
    let refused = "does not belong to the certificate";
    world.eventually("the mismatch in the log", |world| world.log().contains(refused));
    assert!(first.is_shown_by(&world));
    second.write(world.folder.path());
    date(&world.path("key.pem"));
    world.eventually("the new certificate", |world| second.is_shown_by(world));
    assert!(!first.is_shown_by(&world));
}

#[test]
fn an_unusable_certificate_is_refused_at_the_start() {
    let [first, second] = [(); 2].map(|()| Pem::make());
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (certificate, key, expected) in [
        (first.certificate.as_str(), second.key.as_str(), "does not belong to the certificate"),
        ("", &first.key, "cert.pem contains no certificate in PEM format"),
        (&first.certificate, "", "key.pem contains no private key in PEM format"),
        (&first.key, &first.certificate, "cert.pem contains no certificate in PEM format"),
        (broken, &first.key, "cert.pem"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        Pem { certificate: certificate.into(), key: key.into(), der: Vec::new() }
            .write(folder.path());
        let files = FILES.replace("FOLDER", &folder.path().display().to_string());
        let file = GOOD.replace("tls = \"off\"", &files);
        fs::write(folder.path().join("wilco.toml"), file).unwrap();
        // Another start may find matching files, so 78 would be wrong.
        for (verb, code) in [("check", 78), ("serve", 1)] {
            let output = wilco(folder.path()).env("S", SECRET).arg(verb).output().unwrap();
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{verb} {said}");
            assert!(said.contains(expected), "{verb} {said}");
            check_manners(&output);
        }
    }
}

#[test]
fn an_unusable_certificate_is_reported_at_its_line_or_that_of_its_key() {
    let [first, second] = [(); 2].map(|()| Pem::make());
    for (certificate, key, place, expected) in [
        (&first.certificate, &second.key, "5:7", "does not belong to the certificate"),
        (&first.certificate, &first.certificate, "5:7", "contains no private key in PEM format"),
        (&first.key, &first.key, "4:15", "contains no certificate in PEM format"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        Pem { certificate: certificate.clone(), key: key.clone(), der: Vec::new() }
            .write(folder.path());
        let files = FILES.replace("FOLDER", &folder.path().display().to_string());
        let file = GOOD.replace("tls = \"off\"", &files);
        fs::write(folder.path().join("wilco.toml"), file).unwrap();
        let output = wilco(folder.path()).env("S", SECRET).arg("check").output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        let start = said.find("Error: ").unwrap_or_else(|| panic!("{said}"));
        let error = &said[start..];
        assert!(error.lines().next().unwrap().contains(expected), "{said}");
        assert!(error.contains(&format!("[ wilco.toml:{place} ]")), "{place} {said}");
        assert!(
            said.contains("no route: its events are recorded"),
            "the other warnings are shown too: {said}"
        );
        check_manners(&output);
    }
}

#[test]
fn a_certificate_that_does_not_name_a_domain_is_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Issued::new("authority", 2020, 2100);
    for (name, domains, expected) in [
        ("hooks.example.com", "[\"hooks.example.com\"]", "wilco.toml is fine"),
        ("*.example.com", "[\"hooks.example.com\"]", "wilco.toml is fine"),
        ("127.0.0.1", "[\"127.0.0.1\"]", "wilco.toml is fine"),
        ("hooks.example.com", "\"other.example.com\"", "does not name other.example.com"),
        (
            "hooks.example.com",
            "[\"hooks.example.com\", \"a.example.com\", \"b.example.com\"]",
            "does not name a.example.com, b.example.com",
        ),
        ("*.example.com", "[\"a.hooks.example.com\"]", "does not name a.hooks.example.com"),
    ] {
        let issued = Issued::new(name, 2020, 2100);
        issued.write(folder.path(), &authority);
        let files = format!(
            "\"files\"\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\ndomains = {domains}"
        );
        let file = format!("{GOOD}{PRINT}").replace("\"off\"", &files);
        fs::write(folder.path().join("wilco.toml"), file).unwrap();
        let output = wilco(folder.path()).env("S", SECRET).arg("check").output().unwrap();
        let said = text(&output.stderr) + &text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains(expected), "{expected}\n{said}");
        assert_eq!(said.contains("[ wilco.toml:4:15 ]"), !expected.contains("fine"), "{said}");
    }
}

#[test]
fn a_self_signed_certificate_is_made_at_the_start() {
    let world = World::plan().tls("tls = \"self-signed\"\ndomains = [\"localhost\"]").start();
    let to = format!("https://{}/webhook", world.address);
    let mut command = wilco(world.folder.path());
    command.env("FREISPACE_SECRET", SECRET).args(["send", "booking.created", "--to", &to]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(world.recorded(), 1);
    assert!(!Pem::make().is_shown_by(&world));
}

/// Changes the modification time of a file to a later one, as a copy that keeps times can.
fn date(path: &Path) {
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000)).unwrap();
}

/// A certificate for localhost, and its key.
pub(crate) struct Pem {
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) der: Vec<u8>,
}

impl Pem {
    pub(crate) fn make() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self {
            certificate: pem("CERTIFICATE", made.cert.der()),
            key: pem("PRIVATE KEY", &made.signing_key.serialize_der()),
            der: made.cert.der().to_vec(),
        }
    }

    pub(crate) fn write(&self, folder: &Path) {
        fs::write(folder.join("cert.pem"), &self.certificate).unwrap();
        fs::write(folder.join("key.pem"), &self.key).unwrap();
    }

    /// Whether the handshake of a client that trusts only this certificate succeeds.
    pub(crate) fn is_shown_by(&self, world: &World) -> bool {
        Visitor::trusting(&[&self.der]).visit(world.address, "localhost").is_ok()
    }
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let base64 = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

pub(crate) const FILES: &str =
    "tls = \"files\"\ncertificate = \"FOLDER/cert.pem\"\nkey = \"FOLDER/key.pem\"";

#[test]
fn a_certificate_that_senders_refuse_is_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Issued::new("authority", 2020, 2100);
    let long_ago = Issued::new("localhost", 2020, 2021);
    let not_yet = Issued::new("localhost", 2098, 2100);
    let issued = Issued::new("localhost", 2020, 2100);
    for (issued, issuer, expected) in [
        (&long_ago, Some(&authority), "the certificate expired "),
        (&not_yet, Some(&authority), "the certificate is valid only in "),
        (&issued, None, "the certificate is self-signed"),
        (&issued, Some(&authority), "wilco.toml is fine"),
    ] {
        issued.write(folder.path(), issuer.unwrap_or(issued));
        let files = "\"files\"\ncertificate = \"cert.pem\"\nkey = \"key.pem\"";
        let file = format!("{GOOD}{PRINT}").replace("\"off\"", files);
        fs::write(folder.path().join("wilco.toml"), file).unwrap();
        let output = wilco(folder.path()).env("S", SECRET).arg("check").output().unwrap();
        let said = text(&output.stderr) + &text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    let mut openssl = std::process::Command::new("openssl");
    openssl.current_dir(folder.path()).args(["pkcs8", "-topk8", "-in", "key.pem"]);
    let made = openssl.args(["-out", "locked.pem", "-passout", "pass:word"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let file = fs::read_to_string(folder.path().join("wilco.toml")).unwrap();
    let file = file.replace("key.pem", "locked.pem");
    fs::write(folder.path().join("wilco.toml"), file).unwrap();
    let output = wilco(folder.path()).env("S", SECRET).arg("check").output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("locked.pem is encrypted; write it without a passphrase"), "{said}");
}

/// A name, a key, and the years from and to.
pub(crate) struct Issued {
    pub(crate) parameters: rcgen::CertificateParams,
    pub(crate) key: rcgen::KeyPair,
}

impl Issued {
    pub(crate) fn new(name: &str, from: i32, to: i32) -> Self {
        let mut parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(to, 1, 1);
        Self { parameters, key: rcgen::KeyPair::generate().unwrap() }
    }

    /// Writes the files of [`FILES`].
    pub(crate) fn write(&self, folder: &Path, issuer: &Self) {
        fs::write(folder.join("cert.pem"), self.by(issuer)).unwrap();
        let key = pem("PRIVATE KEY", &self.key.serialize_der());
        fs::write(folder.join("key.pem"), key).unwrap();
    }

    pub(crate) fn by(&self, issuer: &Self) -> String {
        let issuer = rcgen::Issuer::from_params(&issuer.parameters, &issuer.key);
        pem("CERTIFICATE", self.parameters.signed_by(&self.key, &issuer).unwrap().der())
    }
}
