//! `wilco init`: asks a few questions and writes a configuration file with comments.

use std::{
    fs::OpenOptions,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use wilco_server::config;

use super::{Failure, print};

/// Write a first wilco.toml, with comments
///
/// On a terminal, asks for whatever no option answers; elsewhere, uses the defaults.
#[derive(Args)]
pub(crate) struct Init {
    /// File to write
    #[arg(long, value_name = "FILE", default_value = "wilco.toml")]
    output: PathBuf,

    /// Overwrite an existing file
    #[arg(long)]
    force: bool,

    /// acme, files, self-signed, or off if a proxy in front handles TLS
    #[arg(long, value_name = "TLS")]
    tls: Option<String>,

    /// Domain to obtain a certificate for, by ACME
    #[arg(long, value_name = "NAME")]
    domain: Option<String>,

    /// Address to receive webhooks at, such as [::]:443
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,

    /// Environment variable that contains freispace's secret
    #[arg(long, value_name = "NAME")]
    secret_env: Option<String>,

    /// Program that gets each event on stdin
    #[arg(long, value_name = "'CMD ARG'")]
    exec: Option<String>,

    /// HTTP service that gets each event by POST
    #[arg(long, value_name = "URL")]
    forward: Option<String>,
}

impl Init {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        if self.output.exists() && !self.force {
            return Err(self.is_there());
        }
        let answers = self.ask()?;
        // Another process may have created the file while the questions were answered.
        let mut options = OpenOptions::new();
        match self.force {
            true => options.write(true).create(true).truncate(true),
            false => options.write(true).create_new(true),
        };
        let file = match options.open(&self.output) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(self.is_there());
            }
            file => file,
        };
        let path = self.output.display();
        file.and_then(|mut file| file.write_all(answers.to_toml().as_bytes()))
            .map_err(|error| Failure::failed(format!("cannot write {path}: {error}")))?;
        print(&format!(
            "wrote {path}\n\nNext:\n  export {}=…        # from freispace, Integrations, Webhooks\n  \
             wilco check\n  wilco serve\n",
            answers.secret_env
        ))?;
        Ok(ExitCode::SUCCESS)
    }

    fn is_there(&self) -> Failure {
        let path = self.output.display();
        Failure::failed(format!(
            "{path} already exists; overwrite it with --force, or name another with --output FILE"
        ))
    }

    fn ask(&self) -> Result<Answers, Failure> {
        let question = "TLS: acme (wilco obtains a certificate), files (you have one), self-signed, or off \
                        (a proxy handles it)?";
        let given = self.tls.as_deref().or(self.domain.as_ref().map(|_| "acme"));
        let tls = ask(question, given, "self-signed", |text| match text {
            "acme" | "files" | "self-signed" | "off" => Ok(text.to_owned()),
            _ => Err(format!("invalid tls {text:?}: expected acme, files, self-signed or off")),
        })?;
        let (domain, listen) = match tls.as_str() {
            "acme" => {
                let question = "Domain name of this machine?";
                let domain = ask(question, self.domain.as_deref(), "", |text| match text {
                    "" => {
                        Err("a certificate needs a domain, such as --domain hooks.example.com"
                            .into())
                    }
                    name => config::domain(name),
                })?;
                (domain, "[::]:443")
            }
            _ if self.domain.is_some() => {
                return Err(Failure::usage("--domain is for --tls acme; leave one of them out"));
            }
            _ => (String::new(), "0.0.0.0:8443"),
        };
        let question = "Address to receive webhooks at?";
        let address = |text: &str| config::address(text).map(|_| text.to_owned());
        let listen = ask(question, self.listen.as_deref(), listen, address)?;
        let question = "Environment variable with freispace's secret?";
        let variable = |text: &str| match config::is_variable_name(text) {
            true => Ok(text.to_owned()),
            false => {
                Err("invalid name of an environment variable: expected letters, digits and _"
                    .into())
            }
        };
        let secret_env = ask(question, self.secret_env.as_deref(), "FREISPACE_SECRET", variable)?;
        let question = "Program to run for each event (empty for none)?";
        let command = ask(question, self.exec.as_deref(), "", |text| match text {
            "" => Ok(Vec::new()),
            line => config::command_line(line),
        })?;
        let question = "URL to POST each event to (empty for none)?";
        let forward = ask(question, self.forward.as_deref(), "", |text| match text {
            "" => Ok(String::new()),
            url => config::url(url).map(|_| url.to_owned()),
        })?;
        Ok(Answers { listen, tls, domain, secret_env, command, forward })
    }
}

struct Answers {
    listen: String,
    tls: String,
    /// Empty unless a certificate is obtained for it.
    domain: String,
    secret_env: String,
    command: Vec<String>,
    forward: String,
}

impl Answers {
    fn to_toml(&self) -> String {
        let tls = match self.tls.as_str() {
            "acme" => format!(
                "tls = \"acme\"                            # obtained and renewed by wilco\n\
                 domains = [{}]\n",
                quote(&self.domain)
            ),
            "files" => TLS_FILES.into(),
            "off" => TLS_OFF.into(),
            _ => TLS_SELF_SIGNED.into(),
        };
        let (listen, secret) = (quote(&self.listen), quote(&self.secret_env));
        let mut text = format!(
            r#"# wilco: verify, record, acknowledge, then act. Run `wilco check` after each change.

[listen]
address = {listen}
{tls}# max_body = "1 MiB"

[store]
url = "sqlite:wilco.db"
# reserve = "256 MiB"                   # with less free space, nothing is recorded

[admin]
address = "127.0.0.1:9440"              # metrics, health, and what `wilco events` asks

[source.freispace]
provider = "freispace"
path = "/webhook"
secrets = [{{ env = {secret} }}]   # also {{ file = "…" }}, {{ credential = "…" }}
# duplicates = "suppress"               # or "keep"
# duplicate_window = "24 h"
"#
        );
        let mut names = Vec::new();
        if !self.command.is_empty() {
            let words: Vec<_> = self.command.iter().map(|word| quote(word)).collect();
            text.push_str(&COMMAND.replace("WORDS", &words.join(", ")));
            names.push("command");
        }
        if !self.forward.is_empty() {
            text.push_str(&FORWARD.replace("URL", &quote(&self.forward)));
            names.push("forward");
        }
        if names.is_empty() {
            text.push_str(PRINT);
            names.push("print");
        }
        let names: Vec<_> = names.iter().map(|name| quote(name)).collect();
        text + &ROUTE.replace("NAMES", &names.join(", "))
    }
}

/// The value of an option, else a person's answer, else the default. Repeats the question until the
/// answer is valid.
fn ask<T>(
    question: &str,
    given: Option<&str>,
    default: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    let has_person = io::stdin().is_terminal() && io::stdout().is_terminal();
    if given.is_some() || !has_person {
        return read(given.unwrap_or(default)).map_err(Failure::usage);
    }
    let hint = if default.is_empty() { String::new() } else { format!(" [{default}]") };
    loop {
        print(&format!("{question}{hint} "))?;
        let mut answer = String::new();
        let has_ended = io::stdin().read_line(&mut answer)? == 0;
        let answer = if answer.trim().is_empty() { default } else { answer.trim() };
        match read(answer) {
            Err(why) if has_ended => return Err(Failure::usage(why)),
            Err(why) => print(&format!("  {why}\n"))?,
            Ok(answer) => return Ok(answer),
        }
    }
}

/// Quotes a text for TOML, whose escapes are those of JSON.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

const TLS_FILES: &str = r#"tls = "files"
certificate = "/etc/wilco/cert.pem"     # read again when it changes
key = "/etc/wilco/key.pem"
"#;

const TLS_OFF: &str = r#"tls = "off"                             # a proxy in front handles TLS
# trusted_proxies = ["127.0.0.1"]       # whose X-Forwarded-For is believed
"#;

const TLS_SELF_SIGNED: &str = r#"tls = "self-signed"                     # for trying out; freispace requires a valid
                                        # certificate: tls = "acme" or "files"
"#;

const COMMAND: &str = r#"
# Gets the body on stdin. Exit 0: delivered; 65: given up at once; anything else: retried.
[destination.command]
type = "command"
command = [WORDS]
timeout = "2 min"
# environment = { PROJECTS_ROOT = "/srv/projects" }
# concurrency = 1
# order_by = "id"                       # events with the same id stay in order
# retry = { first = "5 s", factor = 2.0, max = "1 h", give_up_after = "24 h" }
"#;

const FORWARD: &str = r#"
[destination.forward]
type = "http"
url = URL
# secret = { env = "FORWARD_SECRET" }   # signs what is forwarded
"#;

const PRINT: &str = r#"
[destination.print]
type = "print"                          # a line of JSON on stdout
"#;

const ROUTE: &str = r#"
[[route]]
from = "freispace"
# events = ["booking.*"]                # omitted: every event
# when = 'data.status.name == "Confirmed"'
# debounce = { by = "id", quiet = "30 s" }   # only the last event of a burst
to = [NAMES]

# To get alerts about failures, name a destination.
# [alerts]
# to = "name-of-a-destination"
"#;
