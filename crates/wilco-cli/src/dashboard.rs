//! `wilco dashboard`: opens the dashboard of the running wilco, signed in.

use std::{
    env,
    process::{Command, ExitCode, Stdio},
};

use clap::{Args, ValueEnum};
use http::Method;
use wilco_server::admin::{LoginLink, Role, SessionRequest};

use super::{ConfigArgs, Failure, Server, note, print, refusal};

/// Open the dashboard of the running wilco in a browser, signed in
///
/// Prints a link that signs in once, within 5 minutes, and opens it if there is a desktop. The session
/// lasts 12 hours. From another machine: ssh -L 9440:127.0.0.1:9440 HOST, and open the link there.
#[derive(Args)]
pub(crate) struct Dashboard {
    /// What the session may do: reader looks, operator also acts
    #[arg(long, value_name = "ROLE", default_value = "operator")]
    role: RoleName,

    /// Only print the link
    #[arg(long)]
    print: bool,

    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    Reader,
    Operator,
}

impl Dashboard {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let server = Server::find(&self.config.places()?)?;
        let role = match self.role {
            RoleName::Reader => Role::Reader,
            RoleName::Operator => Role::Operator,
        };
        let link = login_link(&server, role).await?;
        print(&format!("{link}\n"))?;
        note("This link works once, within 5 minutes.");
        if !self.print
            && let Some(program) = opener()
        {
            let mut command = Command::new(program);
            command.arg(&link).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if let Err(error) = command.spawn() {
                note(&format!("cannot open a browser: {program}: {error}"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A link that begins a session of this wilco.
pub(crate) async fn login_link(server: &Server, role: Role) -> Result<String, Failure> {
    let origin = server.origin().ok_or_else(|| {
        Failure::failed(
            "a browser cannot open the socket of [admin] address; set it to an address such as \
             \"127.0.0.1:9440\"",
        )
    })?;
    let request = serde_json::to_vec(&SessionRequest { role })?;
    let answer = server.ask(Method::POST, "/api/v1/sessions", request.into()).await?;
    if !answer.status.is_success() {
        return Err(refusal(answer.status, &answer.body));
    }
    let link: LoginLink = serde_json::from_slice(&answer.body)?;
    Ok(format!("{origin}{}", link.path))
}

/// What opens a browser; `None` without a desktop.
fn opener() -> Option<&'static str> {
    if cfg!(target_os = "macos") {
        return Some("open");
    }
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    (is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")).then_some("xdg-open")
}
