//! A certificate authority on loopback: `pebble`, with the DNS of `pebble-challtestsrv`, which finds every
//! name at 127.0.0.1.

use std::{
    fs,
    io::{BufReader, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustls::{
    ClientConnection, StreamOwned,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tempfile::TempDir;

use super::Visitor;
use crate::{
    configuration::certificate::{Issued, pem},
    listener::free_port,
    survival::skip,
    world::{Plan, Reply, World},
};

/// An authority, and the ports of the wilco that it validates.
pub(crate) struct Pebble {
    folder: TempDir,
    own_root: Vec<u8>,
    directory_port: u16,
    management_port: u16,
    _dns: Server,
    dns_port: u16,
    running: Option<Server>,
    pub(crate) tls_port: u16,
    pub(crate) http_port: u16,
}

/// A process that is ended with the test.
pub(crate) struct Server(pub(crate) Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It fails if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Pebble {
    /// An authority that does not run yet; `None` if it is not installed.
    pub(crate) fn prepare() -> Option<Self> {
        if Command::new("pebble").arg("-help").output().is_err() {
            skip("no pebble");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut root = Issued::new("pebble's own root", 2020, 2100);
        root.parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let own = Issued::new("127.0.0.1", 2020, 2100);
        fs::write(folder.path().join("ca.pem"), root.by(&root)).unwrap();
        fs::write(folder.path().join("cert.pem"), own.by(&root)).unwrap();
        let key = pem("PRIVATE KEY", &own.key.serialize_der());
        fs::write(folder.path().join("key.pem"), key).unwrap();
        let own_root = fs::read(folder.path().join("ca.pem")).unwrap();
        let own_root = CertificateDer::from_pem_slice(&own_root).unwrap().to_vec();
        let dns_port = free_port();
        let mut dns = Command::new("pebble-challtestsrv");
        dns.args(["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]);
        dns.args(["-dns01", &format!("127.0.0.1:{dns_port}")]);
        dns.args(["-management", &format!("127.0.0.1:{}", free_port())]);
        dns.stdout(Stdio::null()).stderr(Stdio::null());
        let dns = Server(dns.spawn().unwrap());
        let (directory_port, management_port) = (free_port(), free_port());
        let (tls_port, http_port) = (free_port(), free_port());
        Some(Self {
            folder,
            own_root,
            directory_port,
            management_port,
            _dns: dns,
            dns_port,
            running: None,
            tls_port,
            http_port,
        })
    }

    /// As [`Pebble::prepare`], and it runs.
    pub(crate) fn start() -> Option<Self> {
        let mut pebble = Self::prepare()?;
        pebble.run(157_766_400, &[]);
        Some(pebble)
    }

    /// Runs it with these variables, which plant faults. It issues certificates that are valid for this many
    /// seconds. It has forgotten every account, and has a new root.
    pub(crate) fn run(&mut self, valid_secs: u64, faults: &[(&str, &str)]) {
        self.stop();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.directory_port),
            "managementListenAddress": format!("127.0.0.1:{}", self.management_port),
            "certificate": "cert.pem",
            "privateKey": "key.pem",
            "httpPort": self.http_port,
            "tlsPort": self.tls_port,
            "certificateValidityPeriod": valid_secs,
        }});
        fs::write(self.folder.path().join("pebble.json"), config.to_string()).unwrap();
        let mut command = Command::new("pebble");
        command.current_dir(self.folder.path()).args(["-config", "pebble.json"]);
        command.args(["-dnsserver", &format!("127.0.0.1:{}", self.dns_port)]);
        command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
        for (name, value) in faults {
            match *value {
                "" => command.env_remove(name),
                value => command.env(name, value),
            };
        }
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.running = Some(Server(command.spawn().unwrap()));
        let until = Instant::now() + Duration::from_secs(20);
        for port in [self.directory_port, self.management_port] {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                assert!(Instant::now() < until, "pebble does not listen:\n{}", self.log());
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    pub(crate) fn stop(&mut self) {
        self.running = None;
    }

    pub(crate) fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.directory_port)
    }

    /// A file with the root that its own certificate is checked with.
    pub(crate) fn ca(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    /// What it did so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// A file in its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What connects to its directory.
    pub(crate) fn connector(&self) -> impl Fn() -> ClientStream + Send + use<> {
        let (root, port) = (self.own_root.clone(), self.directory_port);
        move || connect(&root, port)
    }

    /// The root of what it issues, in DER.
    pub(crate) fn root(&self) -> Vec<u8> {
        let mut stream = connect(&self.own_root, self.management_port);
        stream.write_all(b"GET /roots/0 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let root = Reply::read(&mut BufReader::new(stream)).unwrap().body;
        CertificateDer::from_pem_slice(root.as_bytes()).unwrap().to_vec()
    }

    /// A wilco with a certificate of this authority for these domains, and further keys of `acme`.
    pub(crate) fn plan(&self, domains: &str, more: &str) -> Plan {
        self.plan_with(&self.directory(), domains, more)
    }

    /// As [`Pebble::plan`], with another directory.
    pub(crate) fn plan_with(&self, directory: &str, domains: &str, more: &str) -> Plan {
        let ca = self.ca();
        World::plan().address(&format!("\"127.0.0.1:{}\"", self.tls_port)).tls(&format!(
            "tls = \"acme\"\ndomains = {domains}\n\
             acme = {{ directory = {directory:?}, ca = {ca:?}{more} }}"
        ))
    }
}

pub(crate) type ClientStream = StreamOwned<ClientConnection, TcpStream>;

fn connect(root: &[u8], port: u16) -> ClientStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    Visitor::trusting(&[root]).connect(stream, "127.0.0.1", &[]).unwrap()
}
