//! An endpoint in a Rust program: the same pipeline with functions as destinations.

use std::{
    convert::Infallible,
    fmt,
    future::pending,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tokio::signal::unix::{SignalKind, signal};
use tower_service::Service as TowerService;
use wilco::{Event, Secret};
use wilco_config::url_path;
use wilco_destinations::Function;
use wilco_store::StoreError;

use crate::{
    config::{self, Config},
    inbound::Client,
    service::{PassedSockets, Service, StartError},
};

/// An open endpoint: it verifies, records and acknowledges events, and then passes them to the
/// functions of its [`Builder`].
///
/// It is a [`tower::Service`](TowerService), so it can be mounted in an axum `Router` next to other
/// routes:
///
/// ```no_run
/// # async fn mount() -> wilco_server::Result<()> {
/// use wilco::{Event, Secret};
/// use wilco_server::Endpoint;
///
/// let endpoint = Endpoint::freispace("/webhook", Secret::from_env("FREISPACE_SECRET")?)
///     .on("project.*", async |event: Event| {
///         println!("{} {}", event.id, event.name);
///         wilco_server::Result::Ok(())
///     })
///     .open()
///     .await?;
/// let router: axum::Router = axum::Router::new().route_service("/webhook", endpoint.clone());
/// // … serve the router; at the end of the program:
/// endpoint.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Endpoint {
    service: Arc<Service>,
}

impl Endpoint {
    /// An endpoint for freispace that answers on `path`.
    pub fn freispace(path: &str, secret: Secret) -> Builder {
        Self::of("freispace", path, secret)
    }

    /// An endpoint for a provider, by the name of its preset.
    pub fn of(provider: &str, path: &str, secret: Secret) -> Builder {
        Builder {
            provider: provider.into(),
            path: path.into(),
            public_url: None,
            secrets: vec![secret],
            store: "sqlite:wilco.db".into(),
            admin: None,
            functions: Vec::new(),
            timeout: wilco_destinations::ATTEMPT_TIMEOUT,
        }
    }

    /// The address of the admin listener, if there is one; with the port that the system chose for
    /// port 0.
    pub fn admin_address(&self) -> Option<&config::Address> {
        self.service.admin_address()
    }

    /// Stops accepting events, lets running functions finish, for at most 30 seconds,
    /// and closes the store. An event whose function was cut off is passed to it again at the next
    /// start.
    ///
    /// # Errors
    ///
    /// [`Error`] where the last outcomes could not be written.
    pub async fn close(&self) -> Result<()> {
        Ok(self.service.drain(DRAIN).await?)
    }
}

impl<B> TowerService<Request<B>> for Endpoint
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, std::result::Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inbound = Arc::clone(self.service.inbound());
        Box::pin(async move {
            let request = request.map(Box::pin);
            Ok(inbound.respond(request, Client::Local).await)
        })
    }
}

/// Describes an [`Endpoint`] before it is opened.
#[must_use = "an endpoint does nothing until `serve` or `open`"]
pub struct Builder {
    provider: String,
    path: String,
    public_url: Option<String>,
    secrets: Vec<Secret>,
    store: String,
    admin: Option<String>,
    functions: Vec<(String, Function)>,
    timeout: Duration,
}

impl Builder {
    /// Where events are recorded: `sqlite:` and a path. The default is `sqlite:wilco.db`.
    pub fn store(mut self, url: &str) -> Self {
        self.store = url.into();
        self
    }

    /// The URL that the provider was given, without a query: required for a provider that signs it.
    pub fn public_url(mut self, url: &str) -> Self {
        self.public_url = Some(url.into());
        self
    }

    /// Another secret that is accepted, while the provider changes from one to the other.
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Serves the admin listener at `address`, such as `127.0.0.1:9440` or `unix:admin.sock`, to
    /// look at events and to replay them: with `wilco events --store` and the URL of the store, or
    /// over its API. As for the service, the token is in a file next to the store.
    pub fn admin(mut self, address: &str) -> Self {
        self.admin = Some(address.into());
        self
    }

    /// How long a function may take for one event; the default is 30 seconds. After that the call
    /// is dropped and counts as failed.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Passes every event whose name matches `events` to `function`, at least once. `events` is a
    /// glob: `booking.*`, `*`.
    ///
    /// An `Err` is retried: within 5 s, then within twice as long each time, up to an hour, until
    /// the waits add up to a day. After ten in a row the circuit breaker pauses the function for
    /// half a minute. A panic counts as an `Err`. An event goes to every function that matches.
    pub fn on<F, R, E>(mut self, events: &str, function: F) -> Self
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output = std::result::Result<(), E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.functions.push((events.into(), Function::new(function)));
        self
    }

    /// Opens the store, resumes unfinished deliveries, and returns a service to mount.
    ///
    /// # Errors
    ///
    /// [`Error`] if the description is invalid or the store cannot be opened.
    pub async fn open(self) -> Result<Endpoint> {
        self.start(Vec::new()).await
    }

    /// Serves the endpoint at `address`, such as `127.0.0.1:8080`, without TLS, until SIGTERM or
    /// Ctrl-C; then answers what is under way and closes the store.
    ///
    /// # Errors
    ///
    /// [`Error`] where the endpoint could not be opened, or the store fails for good.
    pub async fn serve(self, address: &str) -> Result<()> {
        let address: SocketAddr = address.parse().map_err(|_| Error::Address(address.into()))?;
        let endpoint = self.start(vec![config::Address::Tcp(address)]).await?;
        for address in endpoint.service.addresses() {
            tracing::info!(%address, "listening");
        }
        tokio::select! {
            () = asked_to_stop() => endpoint.close().await,
            () = endpoint.service.failed() => {
                endpoint.close().await?;
                Err(Error::StoreFailed)
            }
        }
    }

    async fn start(self, addresses: Vec<config::Address>) -> Result<Endpoint> {
        let config = self.into_config(addresses)?;
        let service = Service::start(config, None, None, None, PassedSockets::default()).await?;
        Ok(Endpoint { service })
    }

    fn into_config(self, addresses: Vec<config::Address>) -> Result<Config> {
        if url_path(&self.path).is_err() {
            return Err(Error::Path(self.path));
        }
        let admin = self.admin.map(|text| match config::address(&text) {
            Ok(address) if address.is_local() => Ok(config::Admin::at(address)),
            Ok(_) | Err(_) => Err(Error::AdminAddress(text)),
        });
        let mut destinations = Vec::new();
        let mut routes = Vec::new();
        for (index, (glob, function)) in self.functions.iter().enumerate() {
            // A delivery is found by this name after a restart, so it stays the same while
            // functions for other events come and go.
            let before = &self.functions[..index];
            let to = match before.iter().filter(|(before, _)| before == glob).count() {
                0 => format!("on {glob}"),
                before => format!("on {glob} ({})", before + 1),
            };
            let route = config::Route::new(glob, vec![to.clone()]);
            routes.push(route.ok_or_else(|| Error::Glob(glob.clone()))?);
            destinations.push(config::DestinationConfig {
                timeout: self.timeout,
                ..config::DestinationConfig::function(&to, function.clone())
            });
        }
        let source = config::Source::new(&self.provider, &self.path, self.public_url, self.secrets);
        let source = source.map_err(|error| match error {
            config::SourceError::Provider(name) => Error::Provider(name),
            config::SourceError::Key(error) => Error::Key(error),
            error @ config::SourceError::NoPublicUrl(_) => Error::Other(error.into()),
        })?;
        let mut config = Config::of(source, addresses);
        config.store.url = self.store;
        config.admin = admin.transpose()?;
        config.destinations = destinations;
        config.routes = routes;
        Ok(config)
    }
}

/// Why an endpoint could not be opened, or stopped. A function can use this type too:
/// [`Error::other`] takes any error. It prints as a sentence with `{}` and `{:?}`, because that is how
/// `main` prints what it gives.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A secret was refused.
    #[error("{0}")]
    Secret(#[from] wilco::SecretError),
    /// A secret is not written as the provider writes its keys.
    #[error("{0}")]
    Key(#[from] wilco::KeyError),
    /// The body of an event does not have the shape that the function expected.
    #[error("{0}")]
    Data(#[from] wilco::DataError),
    /// The store or a listener could not be opened.
    #[error("{0}")]
    Start(String),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The store stopped for good while the endpoint was served.
    #[error("wilco stopped after an error that its log names; start it again")]
    StoreFailed,
    /// wilco has no preset with this name.
    #[error("unknown provider {0:?}")]
    Provider(String),
    /// The address is not IP:PORT.
    #[error("invalid address {0:?}: expected IP:PORT, such as 127.0.0.1:8080")]
    Address(String),
    /// The address of the admin listener is neither IP:PORT on loopback nor a socket.
    #[error(
        "invalid admin address {0:?}: expected IP:PORT on loopback, such as 127.0.0.1:9440, or \
         unix:PATH"
    )]
    AdminAddress(String),
    /// No request can have this path.
    #[error(
        "invalid path {0:?}: expected one that begins with / and has no ? or space, such as /webhook"
    )]
    Path(String),
    /// The glob cannot be read.
    #[error("invalid glob {0:?}: expected one such as booking.*, or * for every event")]
    Glob(String),
    /// Anything else, such as an error of a function.
    #[error("{0}")]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// The result of an endpoint, and of a function.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of a function's own: `value.parse().map_err(Error::other)?`.
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Other(error.into())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<StartError> for Error {
    fn from(error: StartError) -> Self {
        Self::Start(error.to_string())
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.into())
    }
}

/// Waits until the process is asked to stop, by SIGTERM or Ctrl-C. It runs inside a tokio runtime.
pub async fn asked_to_stop() {
    let of = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => signal.recv().await.unwrap_or(()),
            Err(_) => pending().await,
        }
    };
    tokio::select! {
        () = of(SignalKind::terminate()) => {}
        () = of(SignalKind::interrupt()) => {}
    }
}

const DRAIN: Duration = Duration::from_secs(30);
