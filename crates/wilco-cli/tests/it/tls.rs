//! TLS as a sender sees it: versions, the key exchange, and certificates that are replaced under load.

mod acme;
mod pebble;
mod suggesting;

use std::{
    fs, io,
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, NamedGroup, RootCertStore, StreamOwned,
    crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs, aws_lc_rs::kx_group},
};

use crate::{
    configuration::certificate::{FILES, Pem},
    world::World,
};

#[test]
fn tls_1_2_and_1_3_are_served_and_nothing_older() {
    let world = World::plan().tls("tls = \"self-signed\"").start();
    let address = world.address.to_string();
    for (version, is_served) in
        [("-tls1_3", true), ("-tls1_2", true), ("-tls1_1", false), ("-tls1", false)]
    {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", &address, version, "-cipher", "ALL:@SECLEVEL=0"]);
        let output = client.stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.success(), is_served, "{version} {output:?}");
    }
}

#[test]
fn the_strongest_cipher_suite_that_the_client_can_is_chosen() {
    let world = World::plan().tls("tls = \"self-signed\"").start();
    let address = world.address.to_string();
    let (strong, weaker) = ("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256");
    for (offered, expected) in [
        (format!("{weaker}:{strong}"), strong),
        (format!("{strong}:{weaker}"), strong),
        (weaker.into(), weaker),
    ] {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", &address, "-tls1_2", "-cipher", &offered]);
        let output = client.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(&format!("Cipher is {expected}")), "{offered} {said}");
    }
}

#[test]
fn the_key_exchange_is_post_quantum_with_clients_that_prefer_that() {
    let pem = Pem::make();
    let world = start_with(&pem);
    use NamedGroup as Group;
    for (offered, expected) in [
        (&[kx_group::X25519MLKEM768, kx_group::X25519][..], Group::X25519MLKEM768),
        (&[kx_group::X25519, kx_group::X25519MLKEM768], Group::X25519),
        (&[kx_group::SECP256R1], Group::secp256r1),
    ] {
        let visitor = Visitor::trusting(&[&pem.der]).offering(offered);
        let seen = visitor.visit(world.address, "localhost").unwrap();
        assert_eq!(seen.group, expected, "offered {offered:?}");
    }
}

#[test]
fn no_handshake_fails_while_certificates_are_replaced() {
    let reloads = std::env::var("WILCO_RELOADS").map_or(20, |count| count.parse().unwrap());
    let pems = [(); 2].map(|()| Pem::make());
    let world = start_with(&pems[0]);
    let visitor = Visitor::trusting(&[&pems[0].der, &pems[1].der]);
    let (visits, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let failed = thread::scope(|scope| {
        let visit_until_over = || {
            let mut failed = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                visits.fetch_add(1, Ordering::Relaxed);
                failed.extend(visitor.visit(world.address, "localhost").err());
            }
            failed
        };
        let visitors: Vec<_> = (0..4).map(|_| scope.spawn(visit_until_over)).collect();
        for (number, pem) in (0..reloads).zip(pems.iter().rev().cycle()) {
            replace(&world, "cert.pem", &pem.certificate);
            if number % 5 == 0 {
                // The key is still that of the other one, or broken: what was in use stays in use.
                world.signal("HUP");
                replace(&world, "key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA");
                world.signal("HUP");
            }
            replace(&world, "key.pem", &pem.key);
            world.signal("HUP");
            world.eventually("the new certificate", |world| pem.is_shown_by(world));
        }
        is_over.store(true, Ordering::Relaxed);
        visitors.into_iter().flat_map(|visitor| visitor.join().unwrap()).collect::<Vec<_>>()
    });
    let visits = visits.into_inner();
    assert_eq!(failed.len(), 0, "of {visits} handshakes: {:?}", failed.first());
    assert!(visits > reloads, "{visits} handshakes in {reloads} reloads");
}

pub(crate) fn start_with(pem: &Pem) -> World {
    let folder = tempfile::tempdir().unwrap();
    pem.write(folder.path());
    World::plan().tls(FILES).start_in(folder)
}

/// Moves a file into place, as tools that renew certificates do.
fn replace(world: &World, name: &str, text: &str) {
    let new = world.path("new.pem");
    fs::write(&new, text).unwrap();
    fs::rename(&new, world.path(name)).unwrap();
}

/// A client that makes one handshake and closes the connection.
pub(crate) struct Visitor {
    roots: RootCertStore,
    provider: CryptoProvider,
    protocols: Vec<String>,
}

/// What a visitor saw.
pub(crate) struct Seen {
    pub(crate) group: NamedGroup,
    /// The certificate, in DER.
    pub(crate) certificate: Vec<u8>,
    /// The protocol that was agreed on.
    pub(crate) protocol: Option<Vec<u8>>,
}

impl Visitor {
    /// One that trusts these certificates, in DER.
    pub(crate) fn trusting(roots: &[&[u8]]) -> Self {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.to_vec().into()).unwrap();
        }
        Self { roots: store, provider: aws_lc_rs::default_provider(), protocols: Vec::new() }
    }

    fn offering(mut self, groups: &[&'static dyn SupportedKxGroup]) -> Self {
        self.provider.kx_groups = groups.to_vec();
        self
    }

    /// Offers these application protocols (ALPN).
    pub(crate) fn speaking(mut self, protocols: &[&str]) -> Self {
        self.protocols = protocols.iter().map(ToString::to_string).collect();
        self
    }

    /// Makes a handshake for this name, up to the first bytes after it.
    pub(crate) fn visit(&self, address: SocketAddr, name: &str) -> io::Result<Seen> {
        let protocols: Vec<_> = self.protocols.iter().map(String::as_str).collect();
        let stream = self.connect(TcpStream::connect(address)?, name, &protocols)?;
        let session = &stream.conn;
        Ok(Seen {
            group: session.negotiated_key_exchange_group().unwrap().name(),
            certificate: session.peer_certificates().unwrap()[0].to_vec(),
            protocol: session.alpn_protocol().map(<[u8]>::to_vec),
        })
    }

    /// Makes a handshake for this name over this connection, and offers these protocols.
    pub(crate) fn connect(
        &self,
        mut stream: TcpStream,
        name: &str,
        protocols: &[&str],
    ) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(self.provider.clone()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = name.to_owned().try_into().unwrap();
        let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        session.complete_io(&mut stream)?;
        Ok(StreamOwned::new(session, stream))
    }
}
