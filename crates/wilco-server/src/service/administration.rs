//! How the admin API sees the configuration: its routes and destinations.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use tokio::sync::watch;
use wilco::Event;
use wilco_delivery::{Clause, Debounce, Policy, Route, Routes};
use wilco_store::{AdminStore, Target};

use crate::{
    admin::{
        Api, Backend, ConfiguredDebounce, ConfiguredDestination, ConfiguredRoute, Header, Probe,
        ProbeReport, ProbeRequest, ProbedBody, ProbedRequest, Probing, Problem, Reload,
        RouteClause, RouteDecision, Routing, RunBackfill, Running, SendTest, SentTest,
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
    let routing = move || Ok(Arc::new(Outlined::new(outline()?)) as Arc<dyn Routing>);
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
) -> Api {
    let configured = Arc::clone(inbound);
    Api::new(Backend {
        store,
        routing: Box::new(move || Ok(Arc::clone(&plan.borrow()) as Arc<dyn Routing>)),
        sources: Box::new(move || Ok(configured.sources())),
        reload,
        began_at: Some(inbound.began_at()),
        probing: Some(Arc::clone(inbound) as Arc<dyn Probing>),
        backfill: Some(backfill(trigger)),
        send_test: Some(send_test(Arc::clone(inbound))),
        running: Some(running),
    })
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
                ProbeError::UnknownSource(..) | ProbeError::UnknownPath(..) => {
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

    fn report(&self, id: &str) -> Option<ProbeReport> {
        let requests = self.probe_requests(id)?.into_iter().map(ProbedRequest::from).collect();
        Some(ProbeReport { requests })
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

impl Routing for Plan {
    fn targets(&self, event: &Event) -> Vec<Target> {
        self.routes.route(event)
    }

    fn decisions(&self, event: &Event) -> Vec<RouteDecision> {
        decisions(&self.routes, event)
    }

    fn routes(&self) -> Vec<ConfiguredRoute> {
        self.routes.configured().iter().zip(1..).map(route).collect()
    }

    fn destinations(&self) -> Vec<ConfiguredDestination> {
        let destinations = self.destinations.iter();
        destinations.map(|to| configured(&to.name, to.settings.kind(), &to.policy)).collect()
    }
}

/// The routes and destinations of a configuration that nothing runs with.
struct Outlined {
    routes: Routes,
    destinations: Vec<(String, &'static str, Policy)>,
}

impl Outlined {
    fn new(Outline { routes, destinations }: Outline) -> Self {
        let order_by = destinations.iter();
        let order_by =
            order_by.filter_map(|(name, _, policy)| Some((name.clone(), policy.order_by.clone()?)));
        Self { routes: Routes::new(&routes, order_by), destinations }
    }
}

impl Routing for Outlined {
    fn targets(&self, event: &Event) -> Vec<Target> {
        self.routes.route(event)
    }

    fn decisions(&self, event: &Event) -> Vec<RouteDecision> {
        decisions(&self.routes, event)
    }

    fn routes(&self) -> Vec<ConfiguredRoute> {
        self.routes.configured().iter().zip(1..).map(route).collect()
    }

    fn destinations(&self) -> Vec<ConfiguredDestination> {
        let destinations = self.destinations.iter();
        destinations.map(|(name, kind, policy)| configured(name, kind, policy)).collect()
    }
}

fn decisions(routes: &Routes, event: &Event) -> Vec<RouteDecision> {
    let clauses = routes.why(event).into_iter().zip(1..);
    let decisions = clauses.map(|((route, clause), number)| RouteDecision {
        route: number,
        to: route.to.clone(),
        takes: matches!(clause, Clause::Takes | Clause::Splits { takes: 1.., .. }),
        failed: match clause {
            Clause::Fails(_) | Clause::Unsplit(_) => true,
            Clause::Splits { takes, fails, .. } => takes == 0 && fails > 0,
            Clause::Takes | Clause::From | Clause::Events | Clause::When => false,
        },
        clause: match clause {
            Clause::Takes | Clause::Splits { takes: 1.., .. } => None,
            Clause::Unsplit(_) | Clause::Splits { of: 0, .. } => Some(RouteClause::Split),
            Clause::From => Some(RouteClause::From),
            Clause::Events => Some(RouteClause::Events),
            Clause::When | Clause::Splits { .. } | Clause::Fails(_) => Some(RouteClause::When),
        },
        why: clause.explain(route, event),
    });
    decisions.collect()
}

fn route((route, number): (&Route, usize)) -> ConfiguredRoute {
    let millis = |time: Duration| time.as_millis().try_into().unwrap_or(u64::MAX);
    let debounce = |debounce: &Debounce| ConfiguredDebounce {
        by: debounce.by.source().to_owned(),
        quiet_ms: millis(debounce.quiet),
        at_most_ms: millis(debounce.at_most),
    };
    ConfiguredRoute {
        route: number,
        from: route.from.as_ref().map(ToString::to_string),
        events: route.events.iter().map(|glob| glob.glob().glob().to_owned()).collect(),
        split: route.split.as_ref().map(ToString::to_string),
        when: route.when.as_ref().map(|when| when.source().to_owned()),
        debounce: route.debounce.as_ref().map(debounce),
        to: route.to.clone(),
    }
}

fn configured(name: &str, kind: &'static str, policy: &Policy) -> ConfiguredDestination {
    ConfiguredDestination { name: name.into(), kind, failures_max: policy.breaker.failures }
}
