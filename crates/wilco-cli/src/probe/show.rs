//! The result of a probe, for people and as JSON.

use std::time::Duration;

use http::Uri;
use serde_json::json;
use wilco::counted;
use wilco_server::{admin::Probe, clock};

use super::{Judged, Presented};
use crate::{Column, Failure, Screen, Table, json_line, labelled, readable, visible, wrapped};

pub(super) fn text(url: &Uri, probe: &Probe, judged: &Judged) -> String {
    let mut text = format!("{url}: source {}, provider {}\n\n", probe.source, probe.provider);
    let columns = [
        Column::text("request", 15),
        Column::state("result", 9),
        Column::text("time", 7),
        Column::wrapped("", 10),
    ];
    let rows = judged.rows.iter().map(|row| {
        let (took, note) = (readable(row.took), row.note.clone());
        vec![row.case.to_owned(), row.outcome.as_str().to_owned(), took, note]
    });
    text += &Table::new(columns, Screen::stdout()).draw(&rows.collect::<Vec<_>>());
    text.push('\n');
    if let Some(presented) = &judged.certificates {
        text += &certificates(presented);
    }
    if let (Some(connect), Some(answer)) = (times(&judged.connected), times(&judged.took)) {
        text += &labelled("connect", &connect);
        text += &labelled("answer", &answer);
    }
    if !judged.added.is_empty() {
        text += &labelled("added", &format!("headers {}", judged.added.join(", ")));
    }
    if probe.signer != probe.provider {
        let remark = format!(
            "that of {} was not tested, because it cannot be made here; the requests were signed as {}",
            probe.provider, probe.signer
        );
        text += &labelled("signature", &remark);
    }
    if judged.findings.is_empty() {
        return text + "\nEverything arrived as it was sent.\n";
    }
    for finding in &judged.findings {
        text += &format!("\n{}", wrapped("✗ ", "  ", &finding.text));
        text += &wrapped("  ", "  ", &finding.fix);
    }
    text
}

fn certificates(presented: &Presented) -> String {
    let mut text = String::new();
    let now = clock::now();
    for (number, certificate) in presented.chain.iter().enumerate() {
        let label = if number == 0 { "certificate" } else { "issued by" };
        let day = certificate.valid_until.strftime("%Y-%m-%d");
        let days = certificate.days_left(now);
        let mut parts = vec![certificate.subject.clone()];
        if !certificate.names.is_empty() {
            parts.push(format!("for {}", certificate.names.join(", ")));
        }
        if number + 1 == presented.chain.len() {
            parts.push(format!("issued by {}", certificate.issuer));
        }
        parts.push(format!("valid until {day}, {} left", counted(days, "day", "days")));
        text += &labelled(label, &visible(&parts.join("; ")));
    }
    let verified = match &presented.untrusted {
        None => "complete, verified with the certificate authorities of this system",
        Some(_) => "not valid for the certificate authorities of this system",
    };
    text + &labelled("chain", verified)
}

pub(super) fn json(url: &Uri, probe: &Probe, judged: &Judged) -> Result<String, Failure> {
    let millis = |time: &Duration| time.as_secs_f64() * 1e3;
    let times = |times: &[Duration]| {
        let (min, max) = (times.first().map(millis), times.last().map(millis));
        json!({ "min": min, "median": times.get(times.len() / 2).map(millis), "max": max })
    };
    let rows = judged.rows.iter().map(|row| {
        json!({
            "request": row.case,
            "result": row.outcome,
            "status": row.status,
            "took_ms": millis(&row.took),
            "note": row.note,
        })
    });
    json_line(&json!({
        "url": url.to_string(),
        "source": probe.source,
        "provider": probe.provider,
        "signed_as": probe.signer,
        "requests": rows.collect::<Vec<_>>(),
        "findings": judged.findings,
        "added_headers": judged.added,
        "certificates": judged.certificates,
        "connect_ms": times(&judged.connected),
        "answer_ms": times(&judged.took),
    }))
}

/// `min 1.2 ms, median 1.4 ms, max 3.0 ms`; `None` without any.
fn times(times: &[Duration]) -> Option<String> {
    let (min, max) = (times.first()?, times.last()?);
    let median = times.get(times.len() / 2)?;
    let (min, median, max) = (readable(*min), readable(*median), readable(*max));
    Some(format!("min {min}, median {median}, max {max}"))
}
