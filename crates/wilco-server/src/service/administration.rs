//! How the admin API sees the configuration: its routes and destinations.

use std::sync::Arc;

use axum::http::StatusCode;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use wilco_delivery::Routes;
use wilco_store::AdminStore;

use crate::{
    admin::{
        Api, Backend, Header, Probe, ProbeRequest, ProbedBody, ProbedRequest, Probing, Problem,
        Reload, Routing, RunBackfill, Running, SendTest, SentTest,
    },
    backfill::Trigger,
    config::{Config, Outline},
    inbound::{self, Inbound, ProbeError, TestError},
    outbound::Plan,
};

/// The admin API over a store that this process has opened and that no service uses. The configuration
/// is read when it is needed; an error says what is wrong with it. `outline` needs no secret, `whole` needs all.
pub fn api(
    store: Arc<dyn AdminStore>,
    outline: impl Fn() -> Result<Outline, String> + Send + Sync + 'static,
    whole: impl Fn() -> Result<Config, String> + Send + Sync + 'static,
) -> Api {
    let routing = move || {
        let Outline { routes, destinations } = outline()?;
        let destinations = destinations.iter();
        let destinations = destinations.map(|(name, kind, policy)| (name.as_str(), *kind, policy));
        let routes =
            Routes::new(&routes, destinations.clone().map(|(name, _, policy)| (name, policy)));
        Ok(Routing::new(Arc::new(routes), destinations))
    };
    let sources = move || Ok(whole()?.sources.into_iter().map(Arc::new).collect());
    let (routing, sources) = (Box::new(routing), Box::new(sources));
    Api::new(Backend {
        store,
        routing,
        sources,
        reload: None,
        began_at: None,
        probing: None,
        backfill: None,
        send_test: None,
        running: None,
        actions: TaskTracker::new(),
    })
}

/// The admin API of the running service, over its store and what it uses at the moment.
pub(super) fn api_of(
    inbound: &Arc<Inbound>,
    store: Arc<dyn AdminStore>,
    plan: watch::Receiver<Arc<Plan>>,
    reload: Option<Reload>,
    trigger: Arc<Trigger>,
    running: Running,
    actions: TaskTracker,
) -> Api {
    let configured = Arc::clone(inbound);
    Api::new(Backend {
        store,
        routing: Box::new(move || Ok(routing(&plan.borrow()))),
        sources: Box::new(move || Ok(configured.sources())),
        reload,
        began_at: Some(inbound.began_at()),
        probing: Some(Arc::clone(inbound) as Arc<dyn Probing>),
        backfill: Some(backfill(trigger)),
        send_test: Some(send_test(Arc::clone(inbound))),
        running: Some(running),
        actions,
    })
}

fn routing(plan: &Plan) -> Routing {
    let destinations = plan.destinations.iter();
    let destinations = destinations.map(|to| (to.name.as_str(), to.settings.kind(), &to.policy));
    Routing::new(Arc::clone(&plan.routes), destinations)
}

/// Asks for a round of backfill.
fn backfill(trigger: Arc<Trigger>) -> RunBackfill {
    Box::new(move || {
        let trigger = Arc::clone(&trigger);
        Box::pin(async move { trigger.round().await })
    })
}

fn send_test(inbound: Arc<Inbound>) -> SendTest {
    Box::new(move |source, event, body| {
        let inbound = Arc::clone(&inbound);
        Box::pin(async move {
            let sent = inbound.send_test(&source, &event, body).await;
            let receipt = sent.map_err(|error| {
                let status = match &error {
                    TestError::Unsigned(_) => StatusCode::CONFLICT,
                    TestError::Refused { status, .. } if status.is_server_error() => *status,
                    TestError::Refused { .. } | TestError::Handshake => {
                        StatusCode::UNPROCESSABLE_ENTITY
                    }
                };
                Problem::new(status, error.to_string())
            })?;
            Ok(SentTest { event_id: receipt.event_id(), duplicate: !receipt.is_first() })
        })
    })
}

impl Probing for Inbound {
    fn open(&self, request: ProbeRequest) -> Result<Probe, Problem> {
        let ProbeRequest { source, path, plain } = request;
        let opened = self.open_probe(source.as_deref(), path.as_deref(), plain);
        let opened = opened.map_err(|error| {
            let status = match error {
                ProbeError::Busy(_) => StatusCode::CONFLICT,
                ProbeError::UnknownSource { .. } | ProbeError::UnknownPath(..) => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
                ProbeError::Key(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            Problem::new(status, error.to_string())
        })?;
        Ok(Probe {
            id: opened.id,
            source: opened.source.to_string(),
            path: opened.path,
            public_url: opened.public_url,
            provider: opened.provider,
            signer: opened.signer,
            secret: opened.secret,
            max_body: opened.max_body as u64,
            ends_at: opened.ends_at,
        })
    }

    fn requests(&self, id: &str) -> Option<Vec<ProbedRequest>> {
        Some(self.probe_requests(id)?.into_iter().map(ProbedRequest::from).collect())
    }

    fn close(&self, id: &str) -> bool {
        self.close_probe(id)
    }
}

impl From<inbound::ProbeRequest> for ProbedRequest {
    fn from(request: inbound::ProbeRequest) -> Self {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers = request.headers.iter();
        let headers = headers.map(|(name, value)| Header { name: name.into(), value: text(value) });
        let body = request.body.map(|body| ProbedBody {
            bytes: body.bytes as u64,
            sha256: body.digest.to_string(),
            start_base64: BASE64_STANDARD.encode(&body.start),
        });
        Self {
            received_at: request.received_at,
            method: request.method,
            url: request.url,
            headers: headers.collect(),
            body,
            status: request.status,
            refused: request.refused,
        }
    }
}
