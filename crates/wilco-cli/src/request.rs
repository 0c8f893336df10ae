//! A request that is given on the command line: to verify it, or to find out why it does not verify.

use std::{
    fs,
    io::{self, Read as _},
    path::PathBuf,
};

use clap::Args;
use jiff::Timestamp;
use wilco::{Arrival, Head, Headers, Secret};
use wilco_server::clock;

use super::{Failure, instant};

/// A request as it was received.
#[derive(Args)]
pub(crate) struct RequestArgs {
    /// Environment variable with a secret; may be given several times
    #[arg(long = "secret-env", value_name = "NAME", help_heading = "Request")]
    secret_env: Vec<String>,
    /// File with a secret; may be given several times
    #[arg(long = "secret-file", value_name = "FILE", help_heading = "Request")]
    secret_file: Vec<PathBuf>,
    /// Header of the request, such as 'X-Freispace-Signature: 6f8326…'; may be given several times
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header, help_heading = "Request")]
    headers: Vec<(String, String)>,
    /// File with headers, one a line; a first line such as POST /webhook HTTP/1.1 is skipped
    #[arg(long, value_name = "FILE", help_heading = "Request")]
    head: Option<PathBuf>,
    /// File with the exact bytes of the body, or - for stdin
    #[arg(long, value_name = "FILE", help_heading = "Request")]
    pub(crate) body: Option<PathBuf>,
    /// URL by which the provider knows the endpoint, where that is signed
    #[arg(
        long = "url",
        value_name = "URL",
        default_value = "",
        hide_default_value = true,
        help_heading = "Request"
    )]
    public_url: String,
    /// Method of the request
    #[arg(long, value_name = "METHOD", default_value = "POST", help_heading = "Request")]
    method: String,
    /// When it was received: seconds since 1970, or a time such as 2026-11-24T14:00 [default: now]
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Request")]
    now: Option<Timestamp>,
}

impl RequestArgs {
    /// The request.
    pub(crate) fn arrival(&self) -> Result<Arrival, Failure> {
        let mut headers = self.headers.clone();
        if let Some(file) = &self.head {
            let text = fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
            for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
                match header(line) {
                    Ok(header) => headers.push(header),
                    // The first line of a request.
                    Err(_) if line.ends_with("HTTP/1.1") || line.ends_with("HTTP/1.0") => {}
                    Err(why) => return Err(Failure::usage(format!("{}: {why}", file.display()))),
                }
            }
        }
        Ok(Arrival {
            received_at: self.now.unwrap_or_else(clock::now),
            head: Head {
                method: self.method.clone().into(),
                url: self.public_url.clone(),
                headers: Headers::from_pairs(headers),
            },
            body: self.read_body()?.into(),
        })
    }

    fn read_body(&self) -> Result<Vec<u8>, Failure> {
        match &self.body {
            Some(file) if file.as_os_str() == "-" => {
                let mut body = Vec::new();
                io::stdin().lock().read_to_end(&mut body)?;
                Ok(body)
            }
            Some(file) => fs::read(file).map_err(|error| unreadable(file, &error)),
            None => Ok(Vec::new()),
        }
    }

    /// The secrets. Of any length: here one can try what `wilco serve` refuses.
    pub(crate) fn secrets(&self) -> Result<Vec<Secret>, Failure> {
        let of_env = self.secret_env.iter().map(|variable| {
            let value = std::env::var_os(variable).ok_or_else(|| {
                Failure::usage(format!(
                    "{variable} is not set; set it to the secret: export {variable}=…"
                ))
            })?;
            Ok((format!("env:{variable}"), value.into_encoded_bytes()))
        });
        let of_file = self.secret_file.iter().map(|file| {
            let bytes = fs::read(file).map_err(|error| unreadable(file, &error))?;
            Ok((format!("file:{}", file.display()), bytes))
        });
        let secrets = of_env.chain(of_file).map(|read: Result<_, Failure>| {
            let (name, bytes) = read?;
            Secret::of_any_length(name, bytes).map_err(|error| Failure::usage(error.to_string()))
        });
        secrets.collect()
    }
}

/// `Name: value`
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').unwrap_or_default();
    let is_name =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    match is_name {
        true => Ok((name.to_ascii_lowercase(), value.trim().to_owned())),
        false => {
            Err("invalid header: expected a name, a colon and a value, such as 'x-signature: 6f83'"
                .into())
        }
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    match text.parse() {
        Ok(seconds) => Timestamp::from_second(seconds).map_err(|error| error.to_string()),
        Err(_) => instant(text),
    }
}

fn unreadable(file: &std::path::Path, error: &io::Error) -> Failure {
    Failure::usage(format!("cannot read {}: {error}", file.display()))
}

pub(crate) const NO_SECRET: &str =
    "no secret is given: name one with --secret-env or --secret-file";
