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
    /// How many deliveries were given up and not replayed.
    pub(super) dead: u64,
    notice: Option<Notice>,
}

/// What the page after an action says of it.
pub(in crate::admin) enum Notice {
    Done(String),
    /// Why the action changed nothing.
    NotDone(String),
}

impl Notice {
    fn to_cookie(&self) -> String {
        let (kind, text) = match self {
            Self::Done(text) => (DONE, text),
            Self::NotDone(text) => (NOT_DONE, text),
        };
        let text: String = text.chars().take(NOTICE_CHARS_MAX).collect();
        BASE64_URL_SAFE_NO_PAD.encode(format!("{kind}{text}"))
    }

    fn from_cookie(cookie: &str) -> Option<Self> {
        let text = BASE64_URL_SAFE_NO_PAD.decode(cookie).ok()?;
        let text = str::from_utf8(&text).ok()?;
        if let Some(text) = text.strip_prefix(DONE) {
            return Some(Self::Done(text.into()));
        }
        text.strip_prefix(NOT_DONE).map(|text| Self::NotDone(text.into()))
    }
}

impl Layout {
    pub(super) fn of(head: &Parts, dashboard: &Dashboard) -> Self {
        let sessions = &dashboard.sessions;
        let now = clock::now();
        let session = sessions.session_of(&head.headers, now);
        let role = head.extensions.get::<Role>().copied();
        let theme = cookie(&head.headers, THEME_COOKIE);
        let here = head.uri.path_and_query().map_or("/", |here| here.as_str());
        Self {
            now,
            begun: Instant::now(),
            commits: *dashboard.store.commits().borrow(),
            here: here.into(),
            role: role.or(session.as_ref().map(|session| session.role)),
            form_token: session.map(|session| sessions.form_token(&session)).unwrap_or_default(),
            theme: THEMES.iter().find(|name| theme == Some(name)).unwrap_or(&THEMES[0]),
            has_shortcuts: cookie(&head.headers, SHORTCUTS_COOKIE) != Some("off"),
            dead: 0,
            notice: cookie(&head.headers, NOTICE_COOKIE).and_then(Notice::from_cookie),
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

    pub(super) fn notice(&self) -> Option<&Notice> {
        self.notice.as_ref()
    }
}

impl FromRequestParts<Arc<Dashboard>> for Layout {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        dashboard: &Arc<Dashboard>,
    ) -> Result<Self, Problem> {
        let mut layout = Self::of(parts, dashboard);
        layout.dead = dashboard.dead().await?;
        Ok(layout)
    }
}

/// The answer to an action: the page to go to, and what that says of it.
pub(in crate::admin) fn back_to(page: &str, notice: &Notice) -> Response {
    let mut response = Redirect::to(page).into_response();
    let notice = notice.to_cookie();
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
/// What the cookie of a notice begins with.
const DONE: char = '+';
const NOT_DONE: char = '-';

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
