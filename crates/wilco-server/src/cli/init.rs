//! `wilco init`: a file to begin with, commented, for what it asks.

use std::{
    fs::OpenOptions,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use super::{Failure, print};
use crate::config;

/// Writes a commented wilco.toml for what it asks
///
/// On a terminal it asks for what no option says; elsewhere it takes the defaults.
#[derive(Args)]
pub(super) struct Init {
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "wilco.toml")]
    output: PathBuf,

    /// Writes over a file that is there
    #[arg(long)]
    force: bool,

    /// Where webhooks come in
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,

    /// files, self-signed, or off where a proxy in front ends TLS
    #[arg(long, value_name = "TLS")]
    tls: Option<String>,

    /// The environment variable that has freispace's secret
    #[arg(long, value_name = "NAME")]
    secret_env: Option<String>,

    /// A command that gets each event on stdin
    #[arg(long, value_name = "'CMD ARG'")]
    exec: Option<String>,

    /// An HTTP service that gets each event by POST
    #[arg(long, value_name = "URL")]
    forward: Option<String>,
}

impl Init {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        if self.output.exists() && !self.force {
            let path = self.output.display();
            return Err(Failure::failed(format!(
                "{path} is there already; --force writes over it, --output FILE names another"
            )));
        }
        let answers = self.ask()?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&self.output);
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

    fn ask(&self) -> Result<Answers, Failure> {
        let listen = ask("Where do webhooks come in?", &self.listen, "0.0.0.0:8443")?;
        config::address(&listen).map_err(Failure::usage)?;
        let tls = ask("Who ends TLS: files, self-signed, or off?", &self.tls, "self-signed")?;
        if !["files", "self-signed", "off"].contains(&tls.as_str()) {
            return Err(Failure::usage(format!("no such tls: {tls}; files, self-signed or off")));
        }
        let question = "Which environment variable has freispace's secret?";
        let secret_env = ask(question, &self.secret_env, "FREISPACE_SECRET")?;
        let exec = ask("A command for each event (empty for none)?", &self.exec, "")?;
        let command = match exec.as_str() {
            "" => Vec::new(),
            line => config::command_line(line).map_err(Failure::usage)?,
        };
        let forward = ask("A URL for each event (empty for none)?", &self.forward, "")?;
        if !forward.is_empty() {
            config::url(&forward).map_err(Failure::usage)?;
        }
        Ok(Answers { listen, tls, secret_env, command, forward })
    }
}

struct Answers {
    listen: String,
    tls: String,
    secret_env: String,
    command: Vec<String>,
    forward: String,
}

impl Answers {
    fn to_toml(&self) -> String {
        let tls = match self.tls.as_str() {
            "files" => {
                "tls = \"files\"\ncertificate = \"/etc/wilco/cert.pem\"  # read again when it changes\n\
                 key = \"/etc/wilco/key.pem\"\n"
            }
            "off" => {
                "tls = \"off\"                             # a proxy in front ends TLS\n\
                 # trusted_proxies = [\"127.0.0.1\"]        # whose X-Forwarded-For is believed\n"
            }
            _ => {
                "tls = \"self-signed\"                     # for trying out: freispace demands a \
                 certificate\n                                        # that is valid, so put one in \
                 with tls = \"files\"\n"
            }
        };
        let mut text = format!(
            "# wilco: verify, record, acknowledge, then act. `wilco check` tells what is wrong with \
             this file.\n\n[listen]\naddress = {}\n{tls}# max_body = \"1 MiB\"\n\n[store]\nurl = \
             \"sqlite:wilco.db\"\n# reserve = \"256 MiB\"                  # free space below which \
             nothing is taken\n\n[admin]\naddress = \"127.0.0.1:9440\"             # metrics, health, \
             and what `wilco events` asks\n\n[source.freispace]\nprovider = \"freispace\"\npath = \
             \"/webhook\"\nsecrets = [{{ env = {} }}]   # also {{ file = \"…\" }}, {{ credential = \
             \"…\" }}\n# duplicates = \"suppress\"              # or \"keep\"\n# duplicate_window = \
             \"24 h\"\n",
            quote(&self.listen),
            quote(&self.secret_env),
        );
        let mut names = Vec::new();
        if !self.command.is_empty() {
            let words: Vec<_> = self.command.iter().map(|word| quote(word)).collect();
            text.push_str(&format!(
                "\n# Gets the body on stdin. Exit 0: done; 65: never again; anything else: tried again.\n\
                 [destination.command]\ntype = \"command\"\ncommand = [{}]\ntimeout = \"2 min\"\n\
                 # environment = {{ PROJECTS_ROOT = \"/srv/projects\" }}\n\
                 # concurrency = 1\n\
                 # order_by = \"id\"                       # about one thing one after another\n\
                 # retry = {{ first = \"5 s\", factor = 2.0, max = \"1 h\", give_up_after = \"24 h\" }}\n",
                words.join(", ")
            ));
            names.push("command");
        }
        if !self.forward.is_empty() {
            text.push_str(&format!(
                "\n[destination.forward]\ntype = \"http\"\nurl = {}\n\
                 # secret = {{ env = \"FORWARD_SECRET\" }}  # signs what is forwarded\n",
                quote(&self.forward)
            ));
            names.push("forward");
        }
        if names.is_empty() {
            text.push_str("\n[destination.print]\ntype = \"print\"                         # a line of JSON on stdout\n");
            names.push("print");
        }
        let names: Vec<_> = names.iter().map(|name| quote(name)).collect();
        text.push_str(&format!(
            "\n[[route]]\nfrom = \"freispace\"\n# events = [\"booking.*\", \"project.created\"]   # left \
             out: all\n# when = 'data.status.name == \"Confirmed\"'    # by what is in them\n\
             # debounce = {{ by = \"id\", quiet = \"30 s\" }}  # of a burst only the last\nto = [{}]\n\
             \n# What dies, or goes silent, is told to a destination.\n# [alerts]\n# to = \
             \"name-of-a-destination\"\n",
            names.join(", ")
        ));
        text
    }
}

/// What an option says, else what a person answers, else the default.
fn ask(question: &str, given: &Option<String>, default: &str) -> Result<String, Failure> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Ok(default.into());
    }
    let hint = if default.is_empty() { String::new() } else { format!(" [{default}]") };
    print(&format!("{question}{hint} "))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(match answer.trim() {
        "" => default.into(),
        answer => answer.into(),
    })
}

/// A text as TOML writes it: its escapes are those of JSON.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
