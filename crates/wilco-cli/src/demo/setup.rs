//! The configuration of the demo: an endpoint, a secret, and two handlers.

use std::path::Path;

use wilco::{Event, Secret, freispace, freispace::Change};
use wilco_server::{
    config::{self, Config},
    service::Function,
};

use crate::Failure;

/// Logs what a message to a chat would say, read from the typed event.
pub(super) fn note(event: &Event) -> Result<(), wilco::DataError> {
    let note = match Change::of(event)? {
        Change::Booking(booking) => format!("{} is {:?}", booking.name, booking.period()),
        Change::Project(project) => format!("{} has number {:?}", project.name, project.number),
        Change::Offer(offer) => format!("{} over {:?}", offer.subject, offer.total_sum_gross),
        _ => event.name.clone(),
    };
    tracing::info!(event = event.name, note);
    Ok(())
}

/// Makes a folder for each new project.
pub(super) fn provision(event: &Event, projects: &Path) -> Result<(), std::io::Error> {
    let project: freispace::Project = event.data().map_err(std::io::Error::other)?;
    let number: String =
        project.number.unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect();
    std::fs::create_dir_all(projects.join(number).join("footage"))
}

pub(super) fn config(
    folder: &Path,
    secret: Secret,
    functions: [Function; 2],
) -> Result<Config, Failure> {
    let route = |glob: &str, to: &str| {
        let route = config::Route::new(glob, vec![to.into()]);
        route.ok_or_else(|| Failure::failed(format!("invalid glob {glob:?}")))
    };
    let source = config::Source::new("freispace", "/webhook", None, vec![secret]);
    let source = source.map_err(Failure::failed)?;
    let loopback = config::address("127.0.0.1:0").map_err(Failure::failed)?;
    let mut config = Config::of(source, vec![loopback.clone()]);
    config.admin = Some(config::Admin { address: loopback, ..config::Admin::default() });
    config.listen.tls = config::Tls::SelfSigned { domains: vec!["127.0.0.1".into()] };
    config.store.url = format!("sqlite:{}", folder.join("wilco.db").display());
    config.store.reserve = 0;
    let [note, folders] = functions;
    config.destinations = vec![
        config::DestinationConfig::function("crew-note", note),
        config::DestinationConfig::function("folders", folders),
    ];
    config.routes = vec![route("*", "crew-note")?, route("project.created", "folders")?];
    Ok(config)
}

pub(super) fn made_up_secret() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
