//! Who may do what on the admin listener.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    middleware::Next,
    response::Response,
};

use super::{Admin, Problem, Role, Sessions, Tokens};
use crate::clock;

/// Who may use the admin listener.
pub(crate) struct Access {
    /// Every request needs one of them, or a session.
    tokens: Tokens,
    pub(crate) sessions: Arc<Sessions>,
    /// Names by which a browser may reach the dashboard, besides `localhost` and addresses.
    hosts: Vec<String>,
}

impl Access {
    pub(crate) fn new(tokens: Tokens, hosts: Vec<String>) -> Self {
        Self { sessions: Arc::new(Sessions::new(&tokens.operator)), tokens, hosts }
    }
}

/// Lets a request through whose token or session gives the role that it needs, and notes the [`Role`] and the
/// [`Session`](super::Session) with it.
///
/// On loopback, health and metrics need no token, but a page in a browser must not read the metrics: it can
/// send requests here, with a host name that it chose and with its own origin.
pub(super) async fn guard(
    State(admin): State<Arc<Admin>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let path = request.uri().path();
    if path == "/login" || path.starts_with("/assets/") {
        return Ok(next.run(request).await);
    }
    let refused = match identify(&admin.access, &mut request)? {
        Some(role) => lacks_role(role, &request),
        None => lacks_token(&admin, &request),
    };
    match refused {
        Some((status, why)) => Err(Problem::new(status, why)),
        None => Ok(next.run(request).await),
    }
}

/// Whom the token of the request makes its caller, or its session.
fn identify(access: &Access, request: &mut Request) -> Result<Option<Role>, Problem> {
    let headers = request.headers();
    let role = if let Some(role) = access.tokens.role_of(headers) {
        role
    } else if let Some(session) = access.sessions.session_of(headers, clock::now()) {
        if !has_known_host(headers, &access.hosts) {
            let why = "the host must be localhost, an IP address or one of [admin] hosts";
            return Err(Problem::new(StatusCode::FORBIDDEN, why));
        }
        if !is_from_here(request) {
            return Err(Problem::new(StatusCode::FORBIDDEN, OTHER_ORIGIN));
        }
        let role = session.role;
        request.extensions_mut().insert(session);
        role
    } else {
        return Ok(None);
    };
    request.extensions_mut().insert(role);
    Ok(Some(role))
}

fn lacks_role(role: Role, request: &Request) -> Option<(StatusCode, &'static str)> {
    let is_enough = role >= Role::needed_for(request.method());
    let only_concerns_the_browser = ["/logout", "/settings"].contains(&request.uri().path());
    (!is_enough && !only_concerns_the_browser).then_some((StatusCode::FORBIDDEN, OPERATOR_NEEDED))
}

fn lacks_token(admin: &Admin, request: &Request) -> Option<(StatusCode, &'static str)> {
    let (headers, path) = (request.headers(), request.uri().path());
    if !(admin.is_local && OPEN.contains(&path)) {
        Some((StatusCode::UNAUTHORIZED, "the token is required: Authorization: Bearer …"))
    } else if path != "/metrics" {
        None
    } else if !has_known_host(headers, &[]) {
        Some((StatusCode::FORBIDDEN, "the host must be localhost or an IP address"))
    } else if headers.contains_key(header::ORIGIN) {
        Some((StatusCode::FORBIDDEN, OTHER_ORIGIN))
    } else {
        None
    }
}

/// Whether a page of this listener sent the request, or it changes nothing. A browser that says neither
/// is old; the token of its form decides then, and the API has no forms.
fn is_from_here(request: &Request) -> bool {
    let text = |name: HeaderName| request.headers().get(name).map(|value| value.as_bytes());
    if request.method().is_safe() {
        return true;
    }
    match (text(HeaderName::from_static("sec-fetch-site")), text(header::ORIGIN)) {
        (Some(site), _) => site == b"same-origin",
        (None, Some(origin)) => {
            let host = text(header::HOST).unwrap_or_default();
            let of = |scheme: &[u8]| origin.strip_prefix(scheme).is_some_and(|of| of == host);
            of(b"http://") || of(b"https://")
        }
        (None, None) => !request.uri().path().starts_with("/api/"),
    }
}

fn has_known_host(headers: &HeaderMap, hosts: &[String]) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let authority: Option<http::uri::Authority> = host.parse().ok();
    // After an address in brackets, only a port may follow.
    let authority = authority.filter(|authority| {
        let port = authority.as_str().strip_prefix(authority.host()).unwrap_or("?");
        port.is_empty() || port.starts_with(':')
    });
    let name = authority.as_ref().map_or("", |authority| authority.host());
    name == "localhost"
        || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
        || hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}

/// What needs no token on loopback.
const OPEN: [&str; 4] = ["/livez", "/readyz", "/healthz", "/metrics"];
const OPERATOR_NEEDED: &str = "this needs the role operator, and the token or the session gives the role reader; \
                               use the token of [admin] token, or `wilco dashboard`";
const OTHER_ORIGIN: &str = "requests from another origin are refused";
