//! What the requests of a probe have shown.

mod compare;

use http::Uri;
use jiff::Timestamp;
use wilco::counted;
use wilco_server::admin::{Probe, ProbedRequest};

use super::{
    Answer, Exchange, Expected, Finding, Judged, Outcome, Presented, Row, Sent, Untrusted,
};
use crate::visible;
use compare::{added, differences};

/// Whether further requests would only show the same.
pub(super) fn is_hopeless(exchange: &Exchange) -> bool {
    match &exchange.answer {
        Ok(answer) => answer.status == 404 || (300..400).contains(&answer.status),
        Err(_) => true,
    }
}

pub(super) fn judge(
    url: &Uri,
    probe: &Probe,
    exchanges: &[(Sent, Exchange)],
    arrived: &[ProbedRequest],
) -> Judged {
    let mut judged = Judged {
        rows: Vec::new(),
        findings: Vec::new(),
        added: Vec::new(),
        certificates: None,
        connected: Vec::new(),
        took: Vec::new(),
    };
    for (sent, exchange) in exchanges {
        let is_of = |request: &&ProbedRequest| {
            let mut headers = request.headers.iter();
            headers.any(|it| it.name == "x-wilco-probe-case" && it.value == sent.case.name)
        };
        let arrived: Vec<_> = arrived.iter().filter(is_of).collect();
        let (outcome, findings) = one(url, probe, sent, exchange, &arrived);
        for name in arrived.iter().flat_map(|request| added(sent, request)) {
            if !judged.added.iter().any(|known| known == name) {
                judged.added.push(visible(name));
            }
        }
        if let Ok(answer) = &exchange.answer {
            judged.connected.push(exchange.connected);
            if (200..300).contains(&answer.status) {
                judged.took.push(exchange.took);
            }
        }
        judged.rows.push(Row {
            case: sent.case.name,
            outcome,
            status: exchange.answer.as_ref().ok().map(|answer| answer.status),
            took: exchange.took,
            note: findings.first().map_or_else(String::new, |finding| finding.text.clone()),
        });
        for finding in findings {
            if !judged.findings.iter().any(|known| known.about == finding.about) {
                judged.findings.push(finding);
            }
        }
    }
    judged.connected.sort_unstable();
    judged.took.sort_unstable();
    judged
}

/// The outcome of one request. It may have arrived several times, if a proxy repeated it.
fn one(
    url: &Uri,
    probe: &Probe,
    sent: &Sent,
    exchange: &Exchange,
    arrived: &[&ProbedRequest],
) -> (Outcome, Vec<Finding>) {
    let expected = sent.case.expected;
    let answer = match (&exchange.answer, arrived.first()) {
        (Ok(answer), _) => answer,
        // wilco refuses it at once, and the connection may end while the rest is sent.
        (Err(_), Some(first)) if expected == Expected::TooLarge && first.status == 413 => {
            return (Outcome::Ok, Vec::new());
        }
        (Err(error), _) => {
            let fix =
                "look whether the name is that of the public address, and whether its port is open";
            let text = format!("no answer: {}", visible(error));
            return (Outcome::NoAnswer, vec![Finding::new("no answer", text, fix)]);
        }
    };
    let Some(first) = arrived.first() else {
        let is_expected = expected == Expected::TooLarge && answer.status == 413;
        return match is_expected {
            true => (Outcome::Ok, Vec::new()),
            false => (Outcome::Lost, vec![lost(url, sent, answer)]),
        };
    };
    let mut findings = differences(sent, first);
    let mut outcome = if findings.is_empty() { Outcome::Ok } else { Outcome::Changed };
    if arrived.len() > 1 {
        let text = format!("a proxy sent one request {} times", arrived.len());
        let fix = "let the proxy repeat no POST: proxy_next_upstream in nginx, retry in Traefik";
        findings.push(Finding::new("repeated", text, fix));
    }
    if first.status != answer.status {
        let text = format!("wilco answered {}, and the sender got {}", first.status, answer.status);
        let fix =
            "let the proxy pass answers on as they are: providers repeat what was not accepted";
        findings.push(Finding::new("answer", text, fix));
        outcome = Outcome::Changed;
    }
    let is_accepted = (200..300).contains(&first.status);
    match expected {
        Expected::Accepted if !is_accepted && outcome == Outcome::Ok => {
            findings.push(refused(url, probe, first));
            (Outcome::Refused, findings)
        }
        Expected::Refused | Expected::TooLarge if is_accepted => {
            let text = format!("wilco accepted a request that it must refuse: {}", sent.case.name);
            let fix = "please report this, with the output of --json";
            findings.push(Finding::new("accepted", text, fix));
            (Outcome::Accepted, findings)
        }
        _ => (outcome, findings),
    }
}

/// Why wilco refused a request that arrived unchanged.
fn refused(url: &Uri, probe: &Probe, arrived: &ProbedRequest) -> Finding {
    let (path, expected) = (url.path(), visible(&probe.path));
    if path != probe.path {
        let is_slash = path.trim_end_matches('/') == probe.path.trim_end_matches('/');
        let by = if is_slash { " by a slash" } else { "" };
        let text = format!(
            "the path of the URL differs{by} from that of the source: {path} instead of {expected}"
        );
        let fix = "give the provider the URL with exactly the path of the source, or change path in the \
                   configuration";
        return Finding::new("path", text, fix);
    }
    let why = arrived.refused.as_deref().unwrap_or("for an unknown reason");
    let text = format!("wilco refused a request that arrived unchanged: {}", visible(why));
    Finding::new("refused", text, refused_fix(why))
}

fn refused_fix(why: &str) -> &'static str {
    match why {
        why if why.contains("allow_from") => {
            "this machine is not one of the senders: run the probe without allow_from, and set \
             trusted_proxies, so that the address is that of the sender and not that of the proxy"
        }
        why if why.contains("X-Forwarded-For") => {
            "let the proxy set X-Forwarded-For to addresses: proxy_set_header X-Forwarded-For \
             $proxy_add_x_forwarded_for in nginx"
        }
        _ => "compare the clocks of this machine and of wilco, and public_url with the URL",
    }
}

/// Why a request was answered and did not arrive.
fn lost(url: &Uri, sent: &Sent, answer: &Answer) -> Finding {
    let status = answer.status;
    if let Some(location) = answer.location.as_deref().filter(|_| (300..400).contains(&status)) {
        return redirected(url, status, location);
    }
    let by = answer.server.as_deref().map(|it| format!(" (server: {})", visible(it)));
    let by = by.unwrap_or_default();
    if status == 413 {
        let bytes = counted(sent.case.body.len(), "byte", "bytes");
        let text = format!("a proxy{by} refuses a body of {bytes}, which wilco accepts");
        let fix = "raise its limit to that of wilco: client_max_body_size in nginx, request_body \
                   max_size in Caddy, maxRequestBodyBytes of the buffering middleware in Traefik";
        return Finding::new("cut", text, fix);
    }
    let is_from_wilco = OF_WILCO.iter().any(|message| answer.body.contains(message));
    if is_from_wilco {
        let text = format!(
            "wilco answered {status} as to any sender: the header x-wilco-probe was dropped on the way"
        );
        let fix = "let the proxy pass on all headers: signatures are in headers too";
        return Finding::new("dropped", text, fix);
    }
    if status == 404 {
        let text = format!("nothing is at {}: 404{by}", url.path());
        let fix = "compare the URL with path of the source, also whether it ends with a slash: wilco \
                   compares it exactly; and see whether the proxy forwards this path";
        return Finding::new("not found", text, fix);
    }
    let text =
        format!("something else than wilco answered {status}{by}; the request did not arrive");
    let fix = match status {
        200..300 => {
            "another program answers at this address and path, or the proxy does itself: \
                     forward the path to wilco"
        }
        401 => {
            "the proxy asks for a login: exempt this path from auth_basic or auth_request in nginx, \
                basic_auth in Caddy, forwardAuth in Traefik, Access in Cloudflare"
        }
        403 | 429 | 503 => {
            "a firewall or a protection against bots refuses it: exempt this path, such as \
                            with a skip rule in Cloudflare, or lift its limit on requests"
        }
        502 | 504 | 520..=530 => {
            "the proxy cannot reach wilco: compare its upstream with address in \
                                  [listen]"
        }
        _ => "look into the log of the proxy",
    };
    Finding::new("answered", text, fix)
}

fn redirected(url: &Uri, status: u16, location: &str) -> Finding {
    let to: Uri = location.parse().unwrap_or_default();
    let (before, after) = (url.path(), to.path());
    let shown = visible(location);
    let text = if format!("{before}/") == after {
        format!("the path gets a slash by a redirect: {status} to {shown}")
    } else if before == format!("{after}/") {
        format!("the path loses its slash by a redirect: {status} to {shown}")
    } else {
        format!("the address redirects: {status} to {shown}")
    };
    let fix = "providers do not follow redirects: give the provider the URL that it redirects to, and let \
               path of the source be exactly the same, or let the proxy forward this path without one";
    Finding::new("redirect", text, fix)
}

/// What is wrong with the certificates.
pub(super) fn certificates(
    presented: &Presented,
    is_insecure: bool,
    now: Timestamp,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(untrusted) = presented.untrusted.as_ref().filter(|_| !is_insecure) {
        let (text, fix) = match untrusted {
            Untrusted::SelfSigned => (
                "the certificate is self-signed, and providers refuse it".to_owned(),
                "use one of a certificate authority, such as Let's Encrypt; --insecure accepts it here",
            ),
            Untrusted::NoIntermediate => (
                "the intermediate certificate is missing: only the first certificate is sent"
                    .to_owned(),
                "send the whole chain: fullchain.pem instead of cert.pem of certbot, in ssl_certificate \
                 of nginx or certificate in [listen]",
            ),
            Untrusted::UnknownAuthority => (
                "no certificate authority of this system has issued the certificate".to_owned(),
                "use one of a public authority; --insecure accepts it here",
            ),
            Untrusted::Expired => ("the certificate has expired".to_owned(), RENEW),
            Untrusted::OtherName => (
                "the certificate is for other names than that of the URL".to_owned(),
                "request one for this name; see whether the proxy has a server of this name",
            ),
            Untrusted::NoAuthorities => (
                "this system has no certificate authorities, so the certificate was not checked"
                    .to_owned(),
                "install ca-certificates, or set SSL_CERT_FILE",
            ),
            Untrusted::Other(why) => {
                (format!("the certificate is not valid: {}", visible(why)), RENEW)
            }
        };
        findings.push(Finding::new("certificate", text, fix));
    }
    let soonest = presented.chain.iter().map(|it| it.days_left(now)).min();
    if let Some(days) = soonest.filter(|days| (0..DAYS_LEFT_MIN).contains(days)) {
        findings.push(Finding::new(
            "ends soon",
            format!("a certificate ends in {}", counted(days, "day", "days")),
            RENEW,
        ));
    }
    findings
}

const RENEW: &str = "renew it, and see that what renews it runs: systemctl list-timers";
/// A certificate that ends earlier should have been renewed.
const DAYS_LEFT_MIN: i64 = 10;
/// The messages to senders that wilco does not know.
const OF_WILCO: [&str; 3] = ["Missing signature", "Invalid signature", "Address not allowed"];
