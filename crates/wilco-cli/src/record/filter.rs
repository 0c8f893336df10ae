//! Which events a verb is about.

use clap::Args;
use jiff::Timestamp;
use wilco::freispace;
use wilco_server::{
    admin::{DeliveryState, ListEvents},
    config,
};
use wilco_store::{ALERTS, State};

use super::{Record, instant};
use crate::Failure;
use crate::{did_you_mean, known_instead};

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
    /// Only events about this subject; booking/1* matches every subject that begins so
    #[arg(long, value_name = "GLOB")]
    pub(crate) subject: Option<String>,
    /// Only events with this text in their name, subject or body, or with an id that begins with it
    #[arg(long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// Only events with a delivery in this state: pending, running, retrying, delivered, dead, skipped,
    /// superseded or cancelled
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub(crate) state: Option<DeliveryState>,
    /// Only events with a dead delivery that was not replayed; without --destination also damaged
    /// events that have no delivery. The same as --state dead
    #[arg(long, conflicts_with = "state")]
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
            subject: self.subject.clone(),
            search: self.search.clone(),
            state: if self.dead { Some(DeliveryState::Dead) } else { self.state },
            ..ListEvents::default()
        }
    }

    /// Whether only dead deliveries are meant.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead || self.state == Some(DeliveryState::Dead)
    }

    /// Whether it leaves any event out.
    pub(crate) fn is_set(&self) -> bool {
        let Self { source, event, since, until, destination, subject, search, state, dead } = self;
        source.is_some()
            || event.is_some()
            || since.is_some()
            || until.is_some()
            || destination.is_some()
            || subject.is_some()
            || search.is_some()
            || state.is_some()
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

fn state(word: &str) -> Result<DeliveryState, String> {
    let known = || State::ALL.into_iter().map(State::as_str);
    State::parse(word).map(DeliveryState::from).ok_or_else(|| {
        let hint = did_you_mean(word, known());
        let known = known().collect::<Vec<_>>().join(", ");
        format!("expected one of {known}{hint}")
    })
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
        let hint = known_instead(name, known.iter().map(String::as_str));
        Err(Failure::failed(format!("source {name} not found{hint}")))
    }
}
