//! `wilco rejections show`: one rejected request, and why it was refused.

use bytes::Bytes;
use clap::Args;
use http::Method;
use wilco::counted;
use wilco_server::admin::RejectionDetail;

use super::{Record, RejectionRef};
use crate::{
    Failure, ReadApi as _, ShowArgs, StoreArgs, Times, json_line, print_bytes, visible, wrapped,
};

/// Show one rejected request: why it was refused, its headers and its body
///
/// Values of headers and URL parameters that are credentials are not shown.
#[derive(Args)]
pub(super) struct Show {
    #[command(flatten)]
    store: StoreArgs,
    /// Rejection id, its first characters, or latest
    #[arg(value_name = "ID")]
    id: RejectionRef,
    #[command(flatten)]
    form: ShowArgs,
}

impl Show {
    pub(super) async fn run(self) -> Result<(), Failure> {
        print_bytes(&Record::read(&self.store, async |record| self.show(record).await).await?)
    }

    async fn show(&self, record: &Record) -> Result<Vec<u8>, Failure> {
        let path = format!("/api/v1/rejections/{}", self.id.resolve(record).await?);
        if self.form.raw {
            return Ok(record
                .ask(Method::GET, &format!("{path}/body"), Bytes::new())
                .await?
                .into());
        }
        let shown: RejectionDetail = record.get(&path).await?;
        let text =
            if self.form.json { json_line(&shown)? } else { picture(&shown, &self.store.times()) };
        Ok(text.into_bytes())
    }
}

fn picture(shown: &RejectionDetail, times: &Times) -> String {
    let rejection = &shown.summary;
    let client = rejection.client.map_or_else(|| "-".into(), |client| client.to_string());
    let kept = match rejection.complete {
        true => "completely; once it is right: wilco rejections accept",
        false => "in part, so that it cannot be accepted",
    };
    let indent = " ".repeat("  received   ".len());
    let reason = wrapped("  reason     ", &indent, &visible(&rejection.message));
    let mut text = format!("{}\n{reason}", rejection.id);
    for (name, value) in [
        ("source", format!("{} ({})", rejection.source, visible(&rejection.provider))),
        ("received", times.full(rejection.received_at)),
        ("client", client),
        ("request", format!("{} {}", visible(&rejection.method), visible(&rejection.url))),
        ("body", counted(rejection.bytes, "byte", "bytes")),
        ("sha256", rejection.sha256.clone()),
        ("kept", kept.into()),
    ] {
        text.push_str(&format!("  {name:<9}  {value}\n"));
    }
    text.push_str("\nheaders\n");
    for header in &shown.headers {
        text.push_str(&format!("  {}: {}\n", visible(&header.name), visible(&header.value)));
    }
    text.push_str("\nbody\n");
    match &shown.body {
        Some(body) => {
            body.lines().for_each(|line| text.push_str(&format!("  {}\n", visible(line))));
        }
        None => text.push_str("  not text; see it with --raw\n"),
    }
    text
}
