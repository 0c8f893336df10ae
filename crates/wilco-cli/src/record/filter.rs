//! Which events a verb is about.

use clap::Args;
use jiff::Timestamp;
use wilco::freispace;
use wilco_server::{admin::ListEvents, config};
use wilco_store::ALERTS;

use super::{Record, did_you_mean, instant};
use crate::Failure;

/// Which events.
#[derive(Args, Clone, Default)]
pub(crate) struct Filter {
    /// Only events of this source
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Only events with this name; booking.* matches every event about bookings
    #[arg(long, value_name = "GLOB")]
    pub(crate) event: Option<String>,
    /// Only events from this time on: 2026-11-24, 14:00, yesterday, 2h (ago), 2026-11-24T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) since: Option<Timestamp>,
    /// Only events before this time
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) until: Option<Timestamp>,
    /// Only events with a delivery to this destination
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    /// Only events with a dead delivery that was not replayed; without --destination also damaged
    /// events that have no delivery
    #[arg(long)]
    pub(crate) dead: bool,
}

impl Filter {
    /// The first page of the events, newest first.
    pub(crate) fn query(&self) -> ListEvents {
        ListEvents {
            source: self.source.clone(),
            event: self.event.clone(),
            since: self.since,
            until: self.until,
            destination: self.destination.clone(),
            dead: self.dead,
            ..ListEvents::default()
        }
    }

    /// Whether it leaves any event out.
    pub(crate) fn is_set(&self) -> bool {
        let Self { source, event, since, until, destination, dead } = self;
        source.is_some()
            || event.is_some()
            || since.is_some()
            || until.is_some()
            || destination.is_some()
            || *dead
    }

    /// An error if nothing matched the filter because a name in it is not known.
    pub(crate) async fn check_names(&self, record: &Record) -> Result<(), Failure> {
        if let Some(name) = &self.destination {
            record.check_destination(name).await?;
        }
        if let Some(glob) = &self.event {
            check_event(glob)?;
        }
        record.check_source(self.source.as_deref())
    }
}

fn check_event(glob: &str) -> Result<(), Failure> {
    let known = || freispace::SAMPLES.iter().map(|(name, _)| *name);
    let prefix = glob.trim_end_matches('*');
    let matches = |name: &str| match glob.ends_with('*') {
        true => name.starts_with(prefix),
        false => name == glob,
    };
    if known().any(matches) {
        return Ok(());
    }
    let kinds = known().filter_map(|name| name.split_once('.'));
    let kinds: Vec<_> = kinds.map(|(kind, _)| format!("{kind}.*")).collect();
    let hint = did_you_mean(glob, known().chain(kinds.iter().map(String::as_str)));
    Err(Failure::failed(format!("no event is named {glob}{hint}")))
}

impl Record {
    /// An error if there is no such source, with the most similar name.
    pub(crate) fn check_source(&self, name: Option<&str>) -> Result<(), Failure> {
        let Some(name) = name else { return Ok(()) };
        let mut known = match self.config.find() {
            Some(path) => config::source_names(&path),
            None => vec!["freispace".into()],
        };
        known.push(ALERTS.into());
        if known.iter().any(|known| known == name) {
            return Ok(());
        }
        let hint = did_you_mean(name, known.iter().map(String::as_str));
        Err(Failure::failed(format!("source {name} not found{hint}")))
    }
}
