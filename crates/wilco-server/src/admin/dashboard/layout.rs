//! What all pages share: who looks at them, how they want them, and what the last action did.

use std::{sync::Arc, time::Duration};

use askama::Template;
use axum::{
    extract::FromRequestParts,
    http::{HeaderValue, header, request::Parts},
    response::{IntoResponse as _, Redirect, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use tokio::time::Instant;

use super::{Dashboard, Problem, Role, clock, cookie};

/// What every template gets.
pub(in crate::admin) struct Layout {
    /// When the page was made.
    pub(super) now: Timestamp,
    begun: Instant,
    /// The store's last commit before the page was read, as [`wilco_store::AdminStore::commits`] counts.
    pub(super) commits: u64,
    /// Path and query of the page.
    pub(super) here: String,
    /// What the viewer may do; `None` for somebody without a session.
    pub(super) role: Option<Role>,
    /// What each form has to carry.
    pub(super) form_token: String,
    /// `auto`, `light` or `dark`.
    pub(super) theme: &'static str,
    /// Whether single letters are shortcuts.
    pub(super) has_shortcuts: bool,
    notice: Option<String>,
}

/// What the page after an action says of it.
pub(in crate::admin) struct Notice(pub(super) String);

impl Layout {
    pub(super) fn of(head: &Parts, dashboard: &Dashboard) -> Self {
        let sessions = &dashboard.sessions;
        let now = clock::now();
        let session = sessions.session_of(&head.headers, now);
        let role = head.extensions.get::<Role>().copied();
        let theme = cookie(&head.headers, THEME_COOKIE);
        let here = head.uri.path_and_query().map_or("/", |here| here.as_str());
        let notice = cookie(&head.headers, NOTICE_COOKIE);
        let notice = notice.and_then(|notice| BASE64_URL_SAFE_NO_PAD.decode(notice).ok());
        Self {
            now,
            begun: Instant::now(),
            commits: *dashboard.store.commits().borrow(),
            here: here.into(),
            role: role.or(session.as_ref().map(|session| session.role)),
            form_token: session.map(|session| sessions.form_token(&session)).unwrap_or_default(),
            theme: THEMES.iter().find(|name| theme == Some(name)).unwrap_or(&THEMES[0]),
            has_shortcuts: cookie(&head.headers, SHORTCUTS_COOKIE) != Some("off"),
            notice: notice.and_then(|notice| String::from_utf8(notice).ok()),
        }
    }

    /// The answer with this page.
    pub(super) fn page(&self, page: &impl Template) -> Response {
        let html = match page.render() {
            Ok(html) => html,
            Err(error) => return Problem::internal(&error).into_response(),
        };
        let mut response = axum::response::Html(html).into_response();
        if self.notice.is_some() {
            // It is shown once.
            let expired = HeaderValue::from_static("wilco_notice=; Path=/; Max-Age=0; HttpOnly");
            response.headers_mut().append(header::SET_COOKIE, expired);
        }
        response
    }

    /// After how many milliseconds a live part of the page may be fetched again: `least`, or more if it took long, so
    /// that an open page costs about a twentieth of a processor at most.
    pub(super) fn live_millis(&self, least: &u128) -> u128 {
        live_millis(*least, self.begun.elapsed())
    }

    /// Whether the viewer may act.
    pub(super) fn may_act(&self) -> bool {
        self.role == Some(Role::Operator)
    }

    /// Whether a link leads to this page or one below it.
    pub(super) fn is_in(&self, section: &str) -> bool {
        let path = self.here.split('?').next().unwrap_or_default();
        path == section || section != "/" && path.starts_with(section)
    }

    pub(super) fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }
}

impl FromRequestParts<Arc<Dashboard>> for Layout {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        dashboard: &Arc<Dashboard>,
    ) -> Result<Self, Problem> {
        Ok(Self::of(parts, dashboard))
    }
}

/// The answer to an action: the page to go to, and what that says of it.
pub(in crate::admin) fn back_to(page: &str, notice: &Notice) -> Response {
    let mut response = Redirect::to(page).into_response();
    let notice: String = notice.0.chars().take(NOTICE_CHARS_MAX).collect();
    let notice = BASE64_URL_SAFE_NO_PAD.encode(notice);
    let cookie = format!("{NOTICE_COOKIE}={notice}; Path=/; Max-Age=60; HttpOnly; SameSite=Strict");
    // Base64 is always valid in a header.
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

fn live_millis(least: u128, took: Duration) -> u128 {
    least.max((took.as_millis() * LIVE_PAUSE_FACTOR).min(LIVE_PAUSE_MILLIS_MAX))
}

/// The pause between two fetches of a live part, in times of what one takes.
const LIVE_PAUSE_FACTOR: u128 = 20;
/// A single slow answer must not stop a page.
const LIVE_PAUSE_MILLIS_MAX: u128 = 10_000;
pub(in crate::admin) const THEME_COOKIE: &str = "wilco_theme";
pub(in crate::admin) const THEMES: [&str; 3] = ["auto", "light", "dark"];
pub(in crate::admin) const SHORTCUTS_COOKIE: &str = "wilco_shortcuts";
const NOTICE_COOKIE: &str = "wilco_notice";
const NOTICE_CHARS_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_takes_long_is_fetched_less_often() {
        for (took_us, expected) in
            [(0, 250), (12_000, 250), (13_000, 260), (100_000, 2_000), (600_000, 10_000)]
        {
            assert_eq!(live_millis(250, Duration::from_micros(took_us)), expected, "{took_us}");
        }
    }
}
