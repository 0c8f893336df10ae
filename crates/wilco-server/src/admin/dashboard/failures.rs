//! The page with what failed, in groups, and delivering a group again.

use std::{cmp::Reverse, sync::Arc};

use askama::Template;
use axum::{Extension, extract::State, response::Response};
use serde_json::Value;
use wilco::EventId;

use super::{
    super::{
        Delivery, EventDetail, FailureGroup, FailureGroupPage, RetriedFailures, RetryFailures,
    },
    Dashboard, Layout, Notice, Parameters, Problem, back_to, plural,
};

#[derive(Template)]
#[template(path = "failures.html")]
struct Failures<'p> {
    layout: &'p Layout,
    query: &'p Parameters,
    /// Those with the most dead deliveries first.
    groups: Vec<Cause<'p>>,
    at_least: bool,
    next: Option<String>,
}

/// Why deliveries of one group failed.
pub(in crate::admin) struct Cause<'f> {
    pub(super) group: &'f FailureGroup,
    /// The last words of what the destination answered to the newest event, or of the output of a program.
    pub(super) said: Option<String>,
}

#[derive(Template)]
#[template(path = "failures-retry.html")]
struct Confirm<'p> {
    layout: &'p Layout,
    query: &'p Parameters,
    would: RetriedFailures,
}

pub(super) async fn list(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    query: Parameters,
) -> Result<Response, Problem> {
    let asked = match query.text("limit") {
        Some(_) => query.clone(),
        None => query.with("limit", GROUPS),
    };
    let page = dashboard.failures(&asked).await?;
    let next = page.next.map(|cursor| query.with("cursor", &cursor).query());
    let mut groups = Vec::new();
    for (at, group) in page.items.iter().enumerate() {
        groups.push(match at {
            0..CAUSES_MAX => dashboard.cause(group).await,
            _ => Cause { group, said: None },
        });
    }
    let (layout, query, at_least) = (&layout, &query, page.at_least);
    Ok(layout.page(&Failures { layout, query, groups, at_least, next }))
}

impl Dashboard {
    /// A page of failures, those with the most dead deliveries first.
    pub(super) async fn failures(&self, query: &Parameters) -> Result<FailureGroupPage, Problem> {
        let path = format!("/api/v1/failures?{}", query.query());
        let mut page: FailureGroupPage = self.get(&path).await?;
        // Groups with the same numbers stay in the order of their names.
        page.items.sort_by_key(|group| Reverse((group.dead, group.retrying)));
        Ok(page)
    }

    pub(super) async fn cause<'f>(&self, group: &'f FailureGroup) -> Cause<'f> {
        // Without it, the error says why.
        let event: Result<EventDetail, _> =
            self.get(&format!("/api/v1/events/{}", group.example)).await;
        let said = event.ok().and_then(|event| {
            let is_meant = |delivery: &&Delivery| {
                delivery.destination == group.destination
                    && delivery.last_error.as_ref() == Some(&group.example_error)
            };
            let delivery = event.summary.deliveries.iter().rfind(is_meant)?;
            last_words(&delivery.history.last()?.output)
        });
        Cause { group, said }
    }
}

/// What a destination said of an error: the message of an answer in JSON, otherwise the last line that has letters
/// and does not close a page of HTML.
pub(in crate::admin) fn last_words(output: &str) -> Option<String> {
    let says = |line: &&str| !line.starts_with('<') && line.contains(char::is_alphabetic);
    let json = serde_json::from_str(output).ok();
    let message = json.and_then(|json| MESSAGES.iter().find_map(|key| message(&json, key)));
    let line = match &message {
        Some(message) => message.trim(),
        None => output.lines().map(str::trim).rfind(says)?,
    };
    let cut: String = line.chars().take(LAST_WORDS_CHARS_MAX).collect();
    Some(if cut.len() < line.len() { cut + "…" } else { cut })
}

/// Says how much would be delivered again.
pub(super) async fn confirm(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    query: Parameters,
) -> Result<Response, Problem> {
    let would = retry_all(&dashboard, &layout, &query, true).await?;
    Ok(layout.page(&Confirm { layout: &layout, query: &query, would }))
}

pub(super) async fn retry(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    Extension(form): Extension<Parameters>,
) -> Result<Response, Problem> {
    let done = retry_all(&dashboard, &layout, &form, false).await?;
    let more = if done.next.is_some() { " There are more: retry again." } else { "" };
    let notice = match done.events {
        0 => Notice::NotDone(format!(
            "Nothing was retried: no route takes these events there now.{more}"
        )),
        events => {
            let events = plural(events as u64, "event");
            Notice::Done(format!("Retrying {events} to {}.{more}", form.get("destination")))
        }
    };
    Ok(back_to("/failures", &notice))
}

async fn retry_all(
    dashboard: &Dashboard,
    layout: &Layout,
    parameters: &Parameters,
    dry_run: bool,
) -> Result<RetriedFailures, Problem> {
    let (mut all, mut after) = (RetriedFailures::default(), None::<EventId>);
    for _ in 0..PARTS_MAX {
        let request = RetryFailures {
            destination: parameters.get("destination").into(),
            error: parameters.text("error"),
            dry_run,
            reason: parameters.text("reason"),
            after,
        };
        let part: RetriedFailures =
            dashboard.post("/api/v1/failures/retry", &request, layout.role).await?;
        all.events += part.events;
        all.deliveries += part.deliveries;
        all.left_out += part.left_out;
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    Ok(RetriedFailures { next: after, ..all })
}

/// Groups on a page: enough that nearly always all are on the first one.
const GROUPS: &str = "200";
/// The first text under this key, at any depth.
fn message(json: &Value, key: &str) -> Option<String> {
    let inner = match json {
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get(key).filter(|text| **text != "") {
                return Some(text.clone());
            }
            fields.values().collect::<Vec<_>>()
        }
        Value::Array(items) => items.iter().collect(),
        _ => return None,
    };
    inner.into_iter().find_map(|inner| message(inner, key))
}

/// Where APIs say in words what is wrong, the most readable first.
const MESSAGES: [&str; 6] = ["message", "detail", "error_description", "error", "title", "reason"];
/// Requests of 500 events that one form makes.
const PARTS_MAX: usize = 20;
/// Groups whose newest event is looked at: each is read as a whole.
pub(in crate::admin) const CAUSES_MAX: usize = 10;
const LAST_WORDS_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_with_letters_says_why() {
        let long = "x".repeat(500);
        let cut = format!("{}…", "x".repeat(200));
        for (output, expected) in [
            ("", None),
            ("{}\n  \n", None),
            ("stock is locked", Some("stock is locked")),
            ("{\n  \"error\": \"locked\"\n}\n", Some("locked")),
            (
                r#"{"error":{"code":"E7","message":"stock is locked"},"trace":"x"}"#,
                Some("stock is locked"),
            ),
            (r#"[{"message":""},{"title":"Not now"}]"#, Some("Not now")),
            ("{\n  \"code\": \"E7\"\n}\n", Some("\"code\": \"E7\"")),
            ("one\ntwo: no space left\n\n", Some("two: no space left")),
            ("<html>\n<center>nginx</center>\n</html>\n", None),
            (long.as_str(), Some(cut.as_str())),
        ] {
            assert_eq!(last_words(output).as_deref(), expected, "{output}");
        }
    }
}
