//! `wilco explain`: says why a signature does not match, and what to do about it.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use console::measure_text_width;
use tokio::time::Instant;
use wilco::{
    Arrival, Secret,
    doctor::{self, Case, Diagnosis},
};

use super::{Failure, json_line, print, request::RequestArgs, verify::find_provider, visible};

/// Say why the signature of a request does not match, and how to fix it
///
/// Tries what usually goes wrong: changed bodies, other forms of the secret and of the signature, other
/// algorithms, other signed parts, wrong clocks; up to three at once. Shows neither signatures nor secrets.
/// Exits with 0 if it finds the reason, and with 1 if not.
#[derive(Args)]
pub(crate) struct Explain {
    /// Who sent it: a name that `wilco providers` lists, or unknown to find out who could have
    #[arg(long, value_name = "NAME")]
    provider: String,
    #[command(flatten)]
    request: RequestArgs,
    /// Give up after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    timeout: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let secrets = self.request.secrets()?;
        let arrival = self.request.arrival()?;
        if self.provider == "unknown" {
            return recognize(&arrival, &secrets);
        }
        let provider = find_provider(&self.provider)?;
        let scheme = &provider.scheme;
        if secrets.is_empty() {
            return Err(Failure::usage(
                "no secret is given: name one with --secret-env or --secret-file",
            ));
        }
        let until = Instant::now() + Duration::from_secs(self.timeout);
        let case = Case { scheme, secrets: &secrets, others: &[], arrival: &arrival };
        let diagnosis = doctor::explain(case, &mut || Instant::now() < until);
        print(&match self.json {
            true => json_line(&as_json(&diagnosis))?,
            false => in_words(&diagnosis),
        })?;
        Ok(if diagnosis.found.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn recognize(arrival: &Arrival, secrets: &[Secret]) -> Result<ExitCode, Failure> {
    let found = doctor::recognize(arrival, secrets);
    let names = |is_match: bool| {
        let found = found.iter().filter(move |(_, matches)| *matches == is_match);
        found.map(|(provider, _)| provider.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (matching, looking) = (names(true), names(false));
    let mut text = String::new();
    if !matching.is_empty() {
        text.push_str(&format!("its signature is valid for {matching}\n"));
    }
    if !looking.is_empty() {
        text.push_str(&format!("it is signed in the way of {looking}\n"));
    }
    if text.is_empty() {
        text.push_str("no provider that wilco knows signs in this way\n");
    }
    print(&text)?;
    Ok(if found.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The diagnosis for programs.
fn as_json(diagnosis: &Diagnosis) -> serde_json::Value {
    let Diagnosis { mismatch, found, tried, is_complete } = diagnosis;
    let changes = found.iter().flat_map(|found| &found.changes);
    let changes = changes.map(
        |change| serde_json::json!({ "id": change.id, "with": change.what, "fix": change.fix }),
    );
    serde_json::json!({
        "refused": mismatch.as_ref().map(ToString::to_string),
        "secret": found.as_ref().map(|found| &found.secret_name),
        "changes": found.is_some().then(|| changes.collect::<Vec<_>>()),
        "tried": tried,
        "complete": is_complete,
    })
}

/// The diagnosis as a person reads it.
pub(crate) fn in_words(diagnosis: &Diagnosis) -> String {
    let Diagnosis { mismatch, found, tried, is_complete } = diagnosis;
    let mut text = match mismatch {
        Some(mismatch) => wrapped(&format!("the request is refused: {mismatch}"), "") + "\n",
        None => "the request is accepted as it is\n".to_owned(),
    };
    match found {
        Some(found) if found.changes.is_empty() => {
            text.push_str(&format!("it is signed with {}\n", visible(&found.secret_name)));
        }
        Some(found) => {
            text.push_str(&format!("its signature matches {} with\n", visible(&found.secret_name)));
            for change in &found.changes {
                text.push_str(&wrapped(&format!("- {}", visible(&change.what)), "  "));
                text.push_str(&wrapped(change.fix, "    "));
            }
        }
        None => text.push_str(&wrapped(NOTHING, "")),
    }
    let unfinished = if *is_complete { "" } else { ", and stopped because the time was up" };
    if *tried > 1 {
        text.push_str(&format!("\ntried {tried} possibilities{unfinished}\n"));
    }
    text
}

/// A paragraph in lines that fit a terminal of 80 columns.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        let length = measure_text_width(word);
        if width > 0 && width + 1 + length > COLUMNS {
            lines.push('\n');
            width = 0;
        }
        lines.push_str(if width == 0 { indent } else { " " });
        width += if width == 0 { indent.len() } else { 1 } + length;
        lines.push_str(word);
    }
    lines + "\n"
}

const COLUMNS: usize = 80;
const NOTHING: &str = "nothing that usually goes wrong explains it, so most likely it was signed with a secret \
                       that is not known here, or its content was changed: compare the secret with the \
                       provider's page, and the body with what the provider says it sent";
