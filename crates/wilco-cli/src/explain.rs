//! `wilco explain`: says why a signature does not match, and what to do about it.

use std::{process::ExitCode, time::Duration};

use clap::{ArgGroup, Args};
use tokio::time::Instant;
use wilco::{
    Arrival, Secret,
    doctor::{self, Case},
};
use wilco_server::admin::{Explanation, RejectionDetail};

use super::{
    Failure, ReadApi as _, Record, StoreArgs, json_line, print,
    rejections::RejectionRef,
    request::{NO_SECRET, RequestArgs},
    verify::find_provider,
    visible, wrapped,
};

/// Say why the signature of a request does not match, and how to fix it
///
/// The request is a rejection, by its id, or given with --provider, --header and --body. Tries what usually
/// goes wrong: changed bodies, other forms of the secret and of the signature, other algorithms, other signed
/// parts, wrong clocks; up to three at once. Shows neither signatures nor secrets. Exits with 0 if it finds
/// the reason, and with 1 if not.
#[derive(Args)]
#[command(group(ArgGroup::new("explained").args(["id", "provider"]).required(true)))]
pub(crate) struct Explain {
    /// Rejection's id, its first characters, or latest; `wilco rejections list` shows it
    #[arg(value_name = "ID", conflicts_with_all = GIVEN)]
    id: Option<RejectionRef>,
    #[command(flatten)]
    store: StoreArgs,
    /// Who sent it: a name that `wilco providers` lists, or unknown to find out who could have
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    #[command(flatten)]
    request: RequestArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let (explanation, why_refused) = match (&self.id, self.provider.as_deref()) {
            (Some(id), _) => {
                let explained = Record::read(&self.store, async |record| {
                    let path = format!("/api/v1/rejections/{}", id.resolve(record).await?);
                    let rejection: RejectionDetail = record.get(&path).await?;
                    let explanation = record.get(&format!("{path}/explain")).await?;
                    Ok((explanation, rejection.summary.message))
                });
                explained.await?
            }
            (None, Some("unknown")) => {
                return recognize(&self.request.arrival()?, &self.request.secrets()?, self.json);
            }
            (None, provider) => (self.explain_given(provider.unwrap_or_default())?, String::new()),
        };
        print(&match self.json {
            true => json_line(&explanation)?,
            false => in_words(&explanation, &why_refused),
        })?;
        let is_found = explanation.secret_name.is_some();
        Ok(if is_found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn explain_given(&self, provider: &str) -> Result<Explanation, Failure> {
        let provider = find_provider(provider)?;
        let (arrival, secrets) = (self.request.arrival()?, self.request.secrets()?);
        if secrets.is_empty() {
            return Err(Failure::usage(NO_SECRET));
        }
        let scheme = &provider.scheme;
        let until = Instant::now() + TIME_MAX;
        let case = Case { scheme, secrets: &secrets, others: &[], arrival: &arrival };
        Ok(doctor::explain(case, &mut || Instant::now() < until).into())
    }
}

fn recognize(arrival: &Arrival, secrets: &[Secret], is_json: bool) -> Result<ExitCode, Failure> {
    let found = doctor::recognize(arrival, secrets);
    let names = |is_match: bool| {
        let found = found.iter().filter(move |(_, matches)| *matches == is_match);
        found.map(|(provider, _)| provider.name.as_str()).collect::<Vec<_>>()
    };
    let code = if found.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    if is_json {
        let names = serde_json::json!({ "valid_for": names(true), "looks_like": names(false) });
        print(&json_line(&names)?)?;
        return Ok(code);
    }
    let (matching, looking) = (names(true).join(", "), names(false).join(", "));
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
    Ok(code)
}

/// The explanation as a person reads it, given why the request was refused, if it was.
fn in_words(explanation: &Explanation, why_refused: &str) -> String {
    let Explanation { refused, secret_name, changes, tried, complete } = explanation;
    let mut text = match refused {
        Some(why) => wrapped("the request is refused: ", "", &visible(why)) + "\n",
        None => "the signature is valid\n".to_owned(),
    };
    match secret_name {
        Some(name) if changes.is_empty() => {
            text.push_str(&format!("it is made with {}\n", visible(name)));
            if !why_refused.is_empty() {
                text += &wrapped("\nit was refused: ", "", &visible(why_refused));
                text += "if that is put right, `wilco rejections accept` records it\n";
            }
        }
        Some(name) => {
            text.push_str(&format!("its signature matches {} with\n", visible(name)));
            for change in changes {
                text.push_str(&wrapped("  - ", "  ", &visible(&change.what)));
                text.push_str(&wrapped("    ", "    ", &change.fix));
            }
        }
        None => text.push_str(&wrapped("", "", NOTHING)),
    }
    let unfinished = if *complete { "" } else { ", and stopped because the time was up" };
    if *tried > 1 {
        text.push_str(&format!("\ntried {tried} possibilities{unfinished}\n"));
    }
    text
}

/// What describes a request that is given, and says nothing about a rejection.
const GIVEN: [&str; 7] =
    ["provider", "secret_env", "secret_file", "headers", "head", "body", "now"];
/// How long a search may take.
const TIME_MAX: Duration = Duration::from_secs(20);
const NOTHING: &str = "nothing that usually goes wrong explains it, so most likely it was not signed, or with a secret \
                       that is not known here, or its content was changed: compare the secret with the \
                       provider's page, and the body with what the provider says it sent";
