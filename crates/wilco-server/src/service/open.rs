//! Opens the store, the sockets and the tokens at a start. Nothing runs yet, so that a failure leaves
//! nothing behind.

use std::{io, path::PathBuf, sync::Arc};

use tokio::runtime::Handle;
use tokio_rustls::TlsAcceptor;
use wilco_store::{OpenError, Options, SqliteStore, Store};

use crate::{
    acme::{AcmeClient, Folder, Renewal},
    admin::{self, Access, Tokens},
    clock,
    config::{Acme, Address, Config, Tls},
    inbound::{Certificate, TlsError},
    metrics::Metrics,
    sockets::{BindError, Listener, PassedSockets, Socket},
    threads::Threads,
};

/// Everything that a start opens.
pub(super) struct Opened {
    pub(super) metrics: Arc<Metrics>,
    pub(super) certificate: Option<Arc<Certificate>>,
    pub(super) acceptor: Option<TlsAcceptor>,
    pub(super) threads: Threads,
    pub(super) store: Arc<dyn Store>,
    /// The public sockets, each with its listener.
    pub(super) public: Vec<(Socket, Listener)>,
    /// The socket of the admin listener, with who may use it.
    pub(super) admin: Option<(Socket, Listener, Access)>,
    /// The socket for the challenge http-01, whose listener `renewal` has.
    pub(super) http_socket: Option<Socket>,
    /// What keeps the certificate of an authority in use.
    pub(super) renewal: Option<Renewal>,
}

/// Why wilco could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error("{0}")]
    Store(#[from] OpenError),
    /// The certificate cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The configuration wants a certificate from an authority, and nothing obtains one.
    #[error("tls = \"acme\" needs an ACME client, which this program does not have")]
    NoAcmeClient,
    /// The admin token can neither be read nor created.
    #[error(
        "cannot store the admin token in {path}: {cause}; let the user that runs wilco write there"
    )]
    Token {
        /// Its file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address, and the table of the file if that is not `[listen]`.
        address: String,
        /// Why not.
        cause: BindError,
    },
    /// With `address = "systemd"`, no socket was passed.
    #[error(
        "[listen] address is \"systemd\", but no socket was passed; start wilco by its socket unit, or \
         list the addresses to listen on"
    )]
    NothingPassed,
    /// The system cannot start more threads.
    #[error("cannot start the threads for deliveries: {0}")]
    Threads(io::Error),
}

impl Opened {
    pub(super) async fn open(
        config: &Config,
        certificate: Option<Arc<Certificate>>,
        acme: Option<Arc<dyn AcmeClient>>,
        passed: PassedSockets,
    ) -> Result<Self, StartError> {
        let metrics = Metrics::new(config.listen.tls != Tls::Off);
        let acceptor =
            certificate.as_ref().map(|certificate| certificate.acceptor(config.listen.http2));
        let acceptor = acceptor.transpose()?;
        let acme = match &config.listen.tls {
            Tls::Acme(settings) => {
                let folder = Folder::of(&SqliteStore::path(&config.store.url)?);
                Some((settings.clone(), acme.ok_or(StartError::NoAcmeClient)?, folder))
            }
            _ => None,
        };
        let threads = Threads::start().map_err(StartError::Threads)?;
        let store = open_store(config, &metrics)?;
        let Sockets { public, admin, http } =
            match open_sockets(config, passed, threads.handle()).await {
                Ok(sockets) => sockets,
                Err(error) => {
                    // Close the store that was just opened, so that the failed start leaves no trace.
                    let _ = store.close().await;
                    return Err(error);
                }
            };
        let challenges = certificate.as_ref().and_then(|certificate| {
            Some((Arc::clone(certificate), Arc::clone(certificate.challenges()?)))
        });
        let (http_socket, http) = http.unzip();
        let renewal = acme.zip(challenges);
        let renewal = renewal.map(|((acme, client, folder), (certificate, challenges))| Renewal {
            acme,
            client,
            folder,
            certificate,
            challenges,
            missing: Arc::default(),
            store: store.clone(),
            metrics: Arc::clone(&metrics),
            http,
        });
        Ok(Self {
            metrics,
            certificate,
            acceptor,
            threads,
            store,
            public,
            admin,
            http_socket,
            renewal,
        })
    }
}

fn open_store(config: &Config, metrics: &Arc<Metrics>) -> Result<Arc<dyn Store>, StartError> {
    let metrics = Arc::clone(metrics);
    let options = Options {
        reserve: config.store.reserve,
        observer: Arc::new(move |events, took| metrics.committed(events, took)),
        ..Options::default()
    };
    Ok(Arc::new(SqliteStore::open(&config.store.url, options, clock::system())?))
}

/// Who may use the admin listener: with the tokens that the configuration names; that of operators is
/// otherwise the one next to the store.
fn admin_access(config: &Config) -> Result<Option<Access>, StartError> {
    let Some(settings) = &config.admin else { return Ok(None) };
    let operator = match &settings.token {
        Some(token) => token.clone(),
        None => {
            let store = SqliteStore::path(&config.store.url)?;
            let wrong = |cause| StartError::Token { path: admin::token_path(&store), cause };
            admin::token_of(&store).map_err(wrong)?
        }
    };
    let tokens = Tokens { operator, reader: settings.reader_token.clone() };
    Ok(Some(Access::new(tokens, settings.hosts.clone())))
}

struct Sockets {
    public: Vec<(Socket, Listener)>,
    admin: Option<(Socket, Listener, Access)>,
    /// For the challenge http-01.
    http: Option<(Socket, Listener)>,
}

/// Opens all sockets, that of the admin listener together with who may use it.
async fn open_sockets(
    config: &Config,
    mut passed: PassedSockets,
    threads: &Handle,
) -> Result<Sockets, StartError> {
    let access = admin_access(config)?;
    let mut public = Vec::new();
    let all = &config.listen.addresses;
    for address in all {
        let refused = |cause| StartError::Listen { address: address.to_string(), cause };
        let socket = Socket::open(address, &mut passed, all, PUBLIC_SOCKET_MODE).await;
        public.push(with_listener(socket.map_err(refused)?)?);
    }
    // The connections of the other two are served by the threads for deliveries.
    let admin = match config.admin.as_ref().zip(access) {
        Some((admin, access)) => {
            let address = &admin.address;
            let refused =
                |cause| StartError::Listen { address: format!("{address} ([admin])"), cause };
            let socket = Socket::open(address, &mut passed, all, ADMIN_SOCKET_MODE).await;
            let _entered = threads.enter();
            let (socket, listener) = with_listener(socket.map_err(refused)?)?;
            Some((socket, listener, access))
        }
        None => None,
    };
    let http = match &config.listen.tls {
        Tls::Acme(Acme { http_address: Some(address), .. }) => {
            let refused =
                |cause| StartError::Listen { address: format!("{address} (http_address)"), cause };
            let address = Address::Tcp(*address);
            let socket = Socket::open(&address, &mut passed, all, PUBLIC_SOCKET_MODE).await;
            let _entered = threads.enter();
            Some(with_listener(socket.map_err(refused)?)?)
        }
        _ => None,
    };
    // What a predecessor has opened for an address that is no longer configured is closed.
    let rest = passed.take_rest().into_iter().filter(Socket::is_passed).collect::<Vec<_>>();
    if config.listen.takes_passed {
        if rest.is_empty() {
            return Err(StartError::NothingPassed);
        }
        for socket in rest {
            public.push(with_listener(socket)?);
        }
    } else {
        for socket in rest {
            let address = socket.address();
            tracing::warn!(%address, "closed a socket that was passed and is not in [listen] address");
        }
    }
    Ok(Sockets { public, admin, http })
}

fn with_listener(socket: Socket) -> Result<(Socket, Listener), StartError> {
    match socket.listener() {
        Ok(listener) => Ok((socket, listener)),
        Err(cause) => Err(StartError::Listen { address: socket.address().to_string(), cause }),
    }
}

/// A proxy in front runs as another user. Senders are authenticated by signatures, not by permissions.
const PUBLIC_SOCKET_MODE: u32 = 0o666;
const ADMIN_SOCKET_MODE: u32 = 0o600;
