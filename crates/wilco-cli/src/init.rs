//! `wilco init`: a file to begin with, commented, for what it asks.

use std::{
    fs::OpenOptions,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use wilco_server::config;

use super::{Failure, print};

/// Writes a commented wilco.toml for what it asks
///
/// On a terminal it asks for what no option says; elsewhere it takes the defaults.
#[derive(Args)]
pub(crate) struct Init {
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
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        if self.output.exists() && !self.force {
            return Err(self.is_there());
        }
        let answers = self.ask()?;
        // Somebody else may have written one while the questions were answered.
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
            "{path} is there already; --force writes over it, --output FILE names another"
        ))
    }

    fn ask(&self) -> Result<Answers, Failure> {
        let address = |text: &str| config::address(text).map(|_| text.to_owned());
        let listen =
            ask("Where do webhooks come in?", self.listen.as_deref(), "0.0.0.0:8443", address)?;
        let tls = "Who ends TLS: files, self-signed, or off?";
        let tls = ask(tls, self.tls.as_deref(), "self-signed", |text| match text {
            "files" | "self-signed" | "off" => Ok(text.to_owned()),
            _ => Err(format!("no such tls: {text}; files, self-signed or off")),
        })?;
        let question = "Which environment variable has freispace's secret?";
        let variable = |text: &str| match config::is_variable(text) {
            true => Ok(text.to_owned()),
            false => Err("not the name of an environment variable: letters, digits and _".into()),
        };
        let secret_env = ask(question, self.secret_env.as_deref(), "FREISPACE_SECRET", variable)?;
        let question = "A command for each event (empty for none)?";
        let command = ask(question, self.exec.as_deref(), "", |text| match text {
            "" => Ok(Vec::new()),
            line => config::command_line(line),
        })?;
        let question = "A URL for each event (empty for none)?";
        let forward = ask(question, self.forward.as_deref(), "", |text| match text {
            "" => Ok(String::new()),
            url => config::url(url).map(|_| url.to_owned()),
        })?;
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

/// What an option says, else what a person answers, else the default. A person is asked until the
/// answer is right.
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

/// A text as TOML writes it: its escapes are those of JSON.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
