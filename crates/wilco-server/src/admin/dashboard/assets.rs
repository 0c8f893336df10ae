//! The style sheet, the scripts and the icon. They are in the binary, and compressed once.

use std::{io::Write as _, sync::LazyLock};

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};

use super::Problem;

/// An asset as it is served.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    plain: &'static [u8],
    gzip: Vec<u8>,
    /// The start of the digest of its bytes.
    version: String,
}

/// Where the asset of this version is, for ever.
pub(super) fn url(name: &str) -> String {
    let version = find(name).map_or("", |asset| &asset.version);
    format!("/assets/{name}?v={version}")
}

pub(super) async fn asset(
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asset = find(&name).ok_or_else(|| Problem::not_found("there is no such asset"))?;
    let etag = format!("\"{}\"", asset.version);
    let of_asset = [
        (header::CONTENT_TYPE, asset.content_type),
        // The URL has the version.
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::VARY, "accept-encoding"),
    ];
    let of_version = [(header::ETAG, etag.as_str())];
    let is = |name, wanted: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(',').any(|one| one.split(';').next().unwrap_or_default().trim() == wanted)
    };
    if is(header::IF_NONE_MATCH, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, of_asset, of_version).into_response());
    }
    if is(header::ACCEPT_ENCODING, "gzip") {
        let encoding = [(header::CONTENT_ENCODING, "gzip")];
        return Ok((of_asset, of_version, encoding, asset.gzip.as_slice()).into_response());
    }
    Ok((of_asset, of_version, asset.plain).into_response())
}

fn find(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

static ASSETS: LazyLock<[Asset; 5]> = LazyLock::new(|| {
    let (style, script, svg) =
        ("text/css; charset=utf-8", "text/javascript; charset=utf-8", "image/svg+xml");
    [
        ("wilco.css", style, &include_bytes!("../../../assets/wilco.css")[..]),
        ("wilco.js", script, include_bytes!("../../../assets/wilco.js")),
        ("htmx.min.js", script, include_bytes!("../../../assets/htmx.min.js")),
        ("wilco.svg", svg, include_bytes!("../../../assets/wilco.svg")),
        ("wilco-alarm.svg", svg, include_bytes!("../../../assets/wilco-alarm.svg")),
    ]
    .map(|(name, content_type, plain)| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory does not fail.
        let _ = gzip.write_all(plain);
        let gzip = gzip.finish().unwrap_or_default();
        let version = digest(&SHA256, plain);
        let version = version.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Asset { name, content_type, plain, gzip, version }
    })
});
