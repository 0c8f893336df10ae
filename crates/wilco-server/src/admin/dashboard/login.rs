//! Signing in and out, and what a viewer chooses for one browser.

use std::sync::Arc;

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use tokio::time::Instant;

use super::{Dashboard, Parameters, Problem, SHORTCUTS_COOKIE, THEME_COOKIE, THEMES, clock};

/// Begins the session of a one-time code.
pub(super) async fn login(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    query: Parameters,
) -> Result<Response, Problem> {
    let sessions = &dashboard.sessions;
    let Some(session) = sessions.begin(query.get("code"), Instant::now(), clock::now())? else {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "the link is not valid any more"));
    };
    let is_https = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let cookie = sessions.cookie(&session, is_https);
    // The URL of this page has the code.
    Ok((
        [(header::SET_COOKIE, cookie.as_str()), (header::REFERRER_POLICY, "no-referrer")],
        Redirect::to("/"),
    )
        .into_response())
}

/// Makes the browser forget its session.
pub(super) async fn logout(State(dashboard): State<Arc<Dashboard>>) -> Response {
    ([(header::SET_COOKIE, dashboard.sessions.expired_cookie())], Redirect::to("/")).into_response()
}

/// Changes how this browser shows the pages.
pub(super) async fn settings(Extension(form): Extension<Parameters>) -> Result<Response, Problem> {
    let mut response = Redirect::to(form.back()).into_response();
    for (cookie, name, choices) in
        [(THEME_COOKIE, "theme", &THEMES[..]), (SHORTCUTS_COOKIE, "shortcuts", &["on", "off"])]
    {
        let Some(value) = choices.iter().find(|choice| **choice == form.get(name)) else {
            continue;
        };
        let cookie = format!("{cookie}={value}; Path=/; Max-Age=31536000; SameSite=Strict");
        let cookie = HeaderValue::from_str(&cookie).map_err(|error| Problem::internal(&error))?;
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
