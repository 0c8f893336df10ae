//! What handlers take and answer. Each of them describes itself for the OpenAPI document, so that
//! the document follows from the signatures of the handlers.

use std::{borrow::Cow, io, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::{HeaderName, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio::{task::spawn_blocking, time::timeout};

use super::Problem;

/// The parameters of the path.
pub(crate) struct Path<T>(pub(crate) T);

/// The parameters of the query.
pub(crate) struct Query<T>(pub(crate) T);

/// The header with which a client of a stream says which message it got last.
pub(crate) struct LastEventId(pub(crate) Option<String>);

/// A body of JSON: of a request, or of a response.
pub(crate) struct Json<T>(pub(crate) T);

/// A response without a body.
pub(crate) struct NoContent;

/// A response of server-sent events.
pub(crate) struct EventStream(pub(crate) Body);

/// A response of arbitrary bytes, which is sent chunk by chunk.
pub(crate) struct Octets(pub(crate) wilco::Body);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let parameters = RawPathParams::from_request_parts(parts, state).await;
        let parameters = parameters.map_err(|error| Problem::bad_request(error.body_text()))?;
        let texts = parameters.iter().map(|(name, value)| (name.into(), value.into()));
        Ok(Self(from_texts(texts)?))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(from_texts(form_urlencoded::parse(query.as_bytes()))?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for LastEventId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(LAST_EVENT_ID) else { return Ok(Self(None)) };
        let text = value.to_str().map_err(|_| {
            let what = "expected the `id` of a message of this stream";
            Problem::bad_request(format!("invalid last-event-id: {what}"))
        })?;
        Ok(Self(Some(text.to_owned())))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|text| text.to_str().ok()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        // A page in a browser can send any other type to any address without a preflight request.
        if !essence.eq_ignore_ascii_case(JSON) {
            let detail = format!("expected a body of JSON with content-type: {JSON}");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let body = read_body(request.into_body()).await?;
        let read = serde_json::from_slice(&body).map_err(|error| {
            let status = match error.is_data() {
                true => StatusCode::UNPROCESSABLE_ENTITY,
                false => StatusCode::BAD_REQUEST,
            };
            Problem::new(status, format!("invalid body: {error}"))
        });
        Ok(Self(read?))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, JSON)], body).into_response(),
            Err(error) => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Problem::new(status, error.to_string()).into_response()
            }
        }
    }
}

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CACHE_CONTROL, "no-store"),
            // nginx would hold messages back to fill a buffer.
            (HeaderName::from_static("x-accel-buffering"), "no"),
        ];
        (headers, self.0).into_response()
    }
}

impl IntoResponse for Octets {
    fn into_response(self) -> Response {
        // Never the type that the sender gave: a browser would run it.
        let headers = [
            (header::CONTENT_TYPE, "application/octet-stream"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        let length = [(header::CONTENT_LENGTH, self.0.len())];
        let chunks = stream::try_unfold((self.0, 0), |(body, at)| async move {
            if at >= body.len() {
                return Ok(None);
            }
            let read = spawn_blocking(move || (body.read_at(at), body)).await;
            let (chunk, body) = read.map_err(io::Error::other)?;
            let chunk = chunk?;
            let next = at + chunk.len();
            Ok::<_, io::Error>(Some((chunk, (body, next))))
        });
        (headers, length, Body::from_stream(chunks)).into_response()
    }
}

/// Reads the body of a request.
pub(crate) async fn read_body(body: Body) -> Result<Bytes, Problem> {
    match timeout(REQUEST_BODY_TIMEOUT, to_bytes(body, REQUEST_BODY_BYTES_MAX)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => {
            let detail = format!("the body has more than {REQUEST_BODY_BYTES_MAX} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail))
        }
        Err(_) => {
            let detail = format!("the body did not arrive within {REQUEST_BODY_TIMEOUT:?}");
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        }
    }
}

/// Reads parameters, which are all texts, into a struct whose fields are all optional or all from
/// the path.
fn from_texts<'t, T: DeserializeOwned>(
    texts: impl Iterator<Item = (Cow<'t, str>, Cow<'t, str>)>,
) -> Result<T, Problem> {
    let mut fields = Map::new();
    for (name, value) in texts {
        let value = Value::String(value.into_owned());
        if fields.insert(name.clone().into_owned(), value).is_some() {
            return Err(Problem::bad_request(format!("{name} is given twice")));
        }
    }
    serde_json::from_value(Value::Object(fields.clone())).map_err(|error| {
        // The error does not name the parameter, so look for the one that fails by itself.
        let alone = fields.into_iter().find_map(|(name, value)| {
            let field = Value::Object([(name.clone(), value)].into_iter().collect());
            Some((name, serde_json::from_value::<T>(field).err()?))
        });
        Problem::bad_request(match alone {
            Some((name, error)) => format!("invalid {name}: {error}"),
            None => error.to_string(),
        })
    })
}

/// The longest body of a request, in bytes.
const REQUEST_BODY_BYTES_MAX: usize = 64 << 10;
/// From the head of a request to the end of its body. Otherwise a reader could hold every connection.
const REQUEST_BODY_TIMEOUT: Duration = Duration::from_secs(30);
const JSON: &str = "application/json";
const LAST_EVENT_ID: &str = "last-event-id";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::ListEvents;

    #[test]
    fn an_invalid_parameter_is_named() {
        for (query, expected) in [
            ("limit=x", "invalid limit: expected a number from 1 to 1000"),
            ("limit=0", "invalid limit: expected a number from 1 to 1000"),
            ("limit=1001", "invalid limit: expected a number from 1 to 1000"),
            ("state=ended", "invalid state: unknown variant `ended`, expected one of `pending`"),
            ("source=a&nope=1", "invalid nope: unknown field `nope`, expected one of"),
            ("source=a&source=b", "source is given twice"),
            ("after=evt_1", "invalid after: "),
            ("since=yesterday", "invalid since: expected a time such as 2026-11-24T08:00:00Z"),
        ] {
            let texts = form_urlencoded::parse(query.as_bytes());
            let problem = from_texts::<ListEvents>(texts).unwrap_err();
            assert_eq!(problem.status, 400, "{query}");
            assert!(problem.detail.starts_with(expected), "{query}: {}", problem.detail);
        }
    }

    #[test]
    fn the_handler_reads_the_query_that_a_client_writes() {
        let query = ListEvents {
            source: Some("a b&c=d".into()),
            event: Some("booking.*".into()),
            since: Some("2026-11-24T08:00:00Z".parse().unwrap()),
            state: Some(crate::admin::DeliveryState::Dead),
            after: Some("evt_01M89FXQAS000XWFNKEM3JNBGP".parse().unwrap()),
            limit: Some(7),
            ..ListEvents::default()
        };
        let text = crate::admin::query(&query).unwrap();
        let read: ListEvents = from_texts(form_urlencoded::parse(text.as_bytes())).unwrap();
        assert_eq!(read, query, "{text}");
    }
}
