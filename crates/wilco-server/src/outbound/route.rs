//! Which event goes where.

use std::{cell::OnceCell, collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wilco::{Event, provider};
use wilco_store::{ALERTS, Burst, Leg, Routed, Store, StoreError};

use super::Plan;
use crate::{
    clock, config,
    rules::{Rule, RuleError, View, contained},
};

/// The routes of a configuration.
pub(crate) struct Routes {
    routes: Vec<config::Route>,
    /// What the deliveries of a destination are ordered by.
    order_by: HashMap<String, Rule>,
}

/// What a route says of an event, and which clause said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Clause {
    /// It takes the event.
    Takes,
    /// The event is of another source.
    From,
    /// The event has another name.
    Events,
    /// The condition does not hold.
    When,
    /// The condition failed to run, for this reason: a replay asks again.
    Fails(String),
}

impl Clause {
    /// The clause by its key in the file.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Takes => "takes",
            Self::From => "from",
            Self::Events => "events",
            Self::When | Self::Fails(_) => "when",
        }
    }

    /// In words, for whoever wonders.
    pub(crate) fn explain(&self, route: &config::Route, event: &Event) -> String {
        let when = route.when.as_ref().map_or("", Rule::source);
        match self {
            Self::Takes if when.is_empty() => "takes it".into(),
            Self::Takes => format!("takes it: {when}"),
            Self::From if event.source.as_str() == ALERTS => {
                "an alert goes where [alerts] says, by no route".into()
            }
            Self::From => {
                let from = route.from.as_ref().map_or("", |from| from.as_str());
                format!("it is from {from}, the event from {}", event.source)
            }
            Self::Events => {
                format!("it is for {}, the event is {}", route.globs.join(", "), event.name)
            }
            Self::When => {
                let found = route.when.as_ref().zip(View::of(event).ok());
                let found = found.map_or_else(Vec::new, |(when, view)| when.found(&view));
                let found = if found.is_empty() {
                    String::new()
                } else {
                    format!("; {}", found.join(", "))
                };
                format!("does not hold: {when}{found}")
            }
            Self::Fails(why) => format!("could not be decided: {when}: {why}"),
        }
    }
}

/// An event, looked into when the first rule asks for it.
struct Looked<'e> {
    event: &'e Event,
    view: OnceCell<Result<View, RuleError>>,
}

impl Routes {
    pub(crate) fn new(routes: &[config::Route], destinations: &[config::Destination]) -> Self {
        let ordered = destinations.iter().filter_map(|destination| {
            Some((destination.name.clone(), destination.order_by.clone()?))
        });
        Self { routes: routes.to_vec(), order_by: ordered.collect() }
    }

    /// The ways of an event, one to each destination, in the order of the routes that name them.
    pub(crate) fn route(&self, event: &Event) -> Vec<Leg> {
        let looked = Looked::at(event);
        let mut legs: Vec<Leg> = Vec::new();
        for route in &self.routes {
            let is_sure = match judge(route, &looked) {
                Ok(true) => true,
                Ok(false) => continue,
                Err(_) => false,
            };
            for destination in &route.to {
                let leg = match self.leg(route, destination, &looked) {
                    Ok(leg) if is_sure => leg,
                    _ => Leg { is_doubtful: true, ..Leg::to(destination.as_str()) },
                };
                match legs.iter_mut().find(|before| before.destination == *destination) {
                    None => legs.push(leg),
                    // One route that is sure is enough.
                    Some(before) if before.is_doubtful && !leg.is_doubtful => *before = leg,
                    Some(_) => {}
                }
            }
        }
        legs
    }

    /// Every destination that a route names, with the question open whether the event goes there.
    fn in_doubt(&self, event: &Event) -> Vec<Leg> {
        if event.source.as_str() == ALERTS {
            return Vec::new();
        }
        let mut names: Vec<_> = self.routes.iter().flat_map(|route| &route.to).collect();
        names.sort_unstable();
        names.dedup();
        let names = names.into_iter().map(String::as_str);
        names.map(|name| Leg { is_doubtful: true, ..Leg::to(name) }).collect()
    }

    /// Asks again whether an event goes to a destination.
    pub(super) fn takes(&self, event: &Event, destination: &str) -> Result<bool, RuleError> {
        let looked = Looked::at(event);
        let mut failure = None;
        for route in self.routes.iter().filter(|route| route.to.iter().any(|to| to == destination))
        {
            let judged = judge(route, &looked).and_then(|takes| {
                if takes { self.leg(route, destination, &looked).map(|_| true) } else { Ok(false) }
            });
            match judged {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(false), Err)
    }

    /// What each route says of an event, in the order of the file.
    pub(crate) fn why(&self, event: &Event) -> Vec<(&config::Route, Clause)> {
        let looked = Looked::at(event);
        self.routes.iter().map(|route| (route, clause(route, &looked))).collect()
    }

    fn leg(
        &self,
        route: &config::Route,
        destination: &str,
        looked: &Looked<'_>,
    ) -> Result<Leg, RuleError> {
        // Two sources may number what they send alike.
        let of_source = |key: String| format!("{}:{key}", looked.event.source);
        let order_by = self.order_by.get(destination);
        let key = |rule: &Rule| rule.key(looked.view()?);
        let order_key = order_by.map(key).transpose()?.flatten();
        let burst_key = route.debounce.as_ref().map(|d| key(&d.by)).transpose()?.flatten();
        let burst = burst_key.zip(route.debounce.as_ref()).map(|(key, debounce)| Burst {
            key: of_source(key),
            quiet: debounce.quiet,
            at_most: debounce.at_most,
        });
        let order_key = order_key.map(of_source);
        Ok(Leg { order_key, burst, ..Leg::to(destination) })
    }
}

impl<'e> Looked<'e> {
    fn at(event: &'e Event) -> Self {
        Self { event, view: OnceCell::new() }
    }

    fn view(&self) -> Result<&View, RuleError> {
        self.view.get_or_init(|| View::of(self.event)).as_ref().map_err(Clone::clone)
    }
}

fn judge(route: &config::Route, looked: &Looked<'_>) -> Result<bool, RuleError> {
    match clause_or_error(route, looked)? {
        Clause::Takes => Ok(true),
        Clause::From | Clause::Events | Clause::When | Clause::Fails(_) => Ok(false),
    }
}

fn clause(route: &config::Route, looked: &Looked<'_>) -> Clause {
    clause_or_error(route, looked).unwrap_or_else(|error| Clause::Fails(error.what))
}

fn clause_or_error(route: &config::Route, looked: &Looked<'_>) -> Result<Clause, RuleError> {
    let event = looked.event;
    // What wilco itself has to say has its destination already.
    let is_alert = event.source.as_str() == ALERTS;
    if is_alert || route.from.as_ref().is_some_and(|from| *from != event.source) {
        return Ok(Clause::From);
    }
    let is_named = |name: &String| route.events.is_match(name);
    if !provider::synonyms(&event.name).iter().any(|name| is_named(&name.to_string())) {
        return Ok(Clause::Events);
    }
    match &route.when {
        Some(when) if !when.holds(looked.view()?)? => Ok(Clause::When),
        _ => Ok(Clause::Takes),
    }
}

/// Holds whatever was recorded against the routes, oldest first, until `stop`.
pub(super) async fn run(
    store: Arc<dyn Store>,
    plan: watch::Receiver<Arc<Plan>>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let plan = Arc::clone(&plan.borrow());
        let wait = match route_some(store.as_ref(), &plan.routes).await {
            Ok(0) => LOOK_AGAIN,
            Ok(_) => continue,
            Err(StoreError::Closed | StoreError::Latched(_)) => return,
            Err(error) => {
                tracing::warn!(%error, "events wait to be routed");
                PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = store.bells().recorded().notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn route_some(store: &dyn Store, routes: &Routes) -> Result<usize, StoreError> {
    let events = store.unrouted(BATCH).await?;
    let routed: Vec<_> = events
        .iter()
        .map(|event| {
            let legs = legs(routes, event, Routes::route);
            tracing::debug!(event = %event.id, name = event.name, ?legs, "routed");
            Routed { event_id: event.id, legs }
        })
        .collect();
    if routed.is_empty() {
        return Ok(0);
    }
    if routed.iter().all(|routed| routed.legs.is_empty()) {
        // Nobody waits for it, so others may join: each fan-out is a commit.
        tokio::time::sleep(UNHURRIED).await;
    }
    store.fan_out(routed, clock::now()).await?;
    Ok(events.len())
}

/// The ways of an event. Where routing itself panics over it, every destination stays open, and each is
/// asked again in an attempt of its own: the loop goes on, and nothing is lost.
fn legs(routes: &Routes, event: &Event, route: fn(&Routes, &Event) -> Vec<Leg>) -> Vec<Leg> {
    contained(|| Ok(route(routes, event))).unwrap_or_else(|_| routes.in_doubt(event))
}

/// Events that are routed in one transaction.
const BATCH: usize = 1_024;
const UNHURRIED: Duration = Duration::from_millis(10);
/// Nothing is missed while the bell works; this is for the day when it does not.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use globset::{Glob, GlobSet};
    use wilco::{Digest, EventId, Headers, SourceName};

    use super::*;
    use crate::config::{Debounce, Destination, Kind};

    fn globs(globs: &[&str]) -> GlobSet {
        GlobSet::new(globs.iter().map(|glob| Glob::new(glob).unwrap())).unwrap()
    }

    fn route(from: Option<&str>, events: &[&str], to: &[&str]) -> config::Route {
        config::Route {
            from: from.map(|name| SourceName::new(name).unwrap()),
            events: globs(events),
            globs: events.iter().map(ToString::to_string).collect(),
            when: None,
            debounce: None,
            to: to.iter().map(ToString::to_string).collect(),
        }
    }

    fn when(rule: &str, to: &[&str]) -> config::Route {
        config::Route { when: Some(Rule::new(rule).unwrap()), ..route(None, &["*"], to) }
    }

    fn event(source: &str, name: &str) -> Event {
        let body = br#"{"id":"7f","data":{"status":"Confirmed"}}"#;
        Event {
            id: EventId::from_bits(1),
            source: SourceName::new(source).unwrap(),
            name: name.into(),
            subject: None,
            received_at: jiff::Timestamp::UNIX_EPOCH,
            secret: String::new(),
            digest: Digest::of(body),
            conflict: false,
            headers: Headers::default(),
            body: body[..].into(),
        }
    }

    fn names(legs: &[Leg]) -> Vec<&str> {
        legs.iter().map(|leg| leg.destination.as_str()).collect()
    }

    #[test]
    fn an_event_goes_once_to_each_destination_that_its_routes_name() {
        let routes = [
            route(Some("freispace"), &["booking.*"], &["chat", "erp"]),
            route(None, &["*.created"], &["erp", "log"]),
            route(Some("freispace"), &["offer.*"], &["offers"]),
            route(Some("freispace"), &["quote.finalized"], &["quotes"]),
        ];
        let routes = Routes::new(&routes, &[]);
        for (source, name, expected) in [
            ("freispace", "booking.updated", &["chat", "erp"][..]),
            ("freispace", "booking.created", &["chat", "erp", "log"]),
            ("github", "booking.created", &["erp", "log"]),
            ("github", "push", &[]),
            ("freispace", "offer.finalized", &["offers", "quotes"]),
            ("freispace", "quote.finalized", &["offers", "quotes"]),
            ("freispace", "quote.status_updated", &["offers"]),
            ("freispace", "bookings.created", &["erp", "log"]),
            ("wilco", "booking.created", &[]),
        ] {
            let legs = routes.route(&event(source, name));
            assert_eq!(names(&legs), expected, "{source} {name}");
            assert!(legs.iter().all(|leg| *leg == Leg::to(leg.destination.as_str())));
        }
    }

    #[test]
    fn a_condition_decides_and_one_that_fails_leaves_it_open() {
        let routes = [
            when("data.status == 'Confirmed'", &["sure"]),
            when("data.status == 'Draft'", &["never"]),
            when("data.status + 1", &["open", "both"]),
            when("id == '7f'", &["both"]),
        ];
        let legs = Routes::new(&routes, &[]).route(&event("freispace", "booking.updated"));
        let seen: Vec<_> =
            legs.iter().map(|leg| (leg.destination.as_str(), leg.is_doubtful)).collect();
        assert_eq!(seen, [("sure", false), ("open", true), ("both", false)]);
    }

    #[test]
    fn what_was_left_open_is_asked_again() {
        let asked = event("freispace", "booking.updated");
        for (rule, expected) in [("id == '7f'", Ok(true)), ("id == '8'", Ok(false))] {
            let routes = Routes::new(&[when(rule, &["chat"])], &[]);
            assert_eq!(routes.takes(&asked, "chat"), expected, "{rule}");
            assert_eq!(routes.takes(&asked, "erp"), Ok(false), "{rule}");
        }
        let routes = Routes::new(&[when("data.status + 1", &["chat"])], &[]);
        assert!(routes.takes(&asked, "chat").is_err());
    }

    #[test]
    fn an_event_that_routing_panics_over_is_left_to_an_attempt_at_each_destination() {
        let routes = [
            route(Some("freispace"), &["booking.*"], &["chat", "erp"]),
            route(None, &["*"], &["erp"]),
        ];
        let routes = Routes::new(&routes, &[]);
        let planted = |source| {
            let event = event(source, "booking.updated");
            legs(&routes, &event, |_, _| panic!("planted"))
        };
        let open = ["chat", "erp"].map(|name| Leg { is_doubtful: true, ..Leg::to(name) });
        assert_eq!(planted("freispace"), open);
        assert_eq!(planted(ALERTS), [], "an alert has its delivery already");
    }

    #[test]
    fn keys_are_taken_from_the_event_and_are_its_sources_own() {
        let mut destination = Destination::new("chat", Kind::Print);
        destination.order_by = Some(Rule::new("id").unwrap());
        let secs = Duration::from_secs;
        let by =
            |rule| Debounce { by: Rule::new(rule).unwrap(), quiet: secs(30), at_most: secs(300) };
        let burst = Burst { key: "freispace:7f".into(), quiet: secs(30), at_most: secs(300) };
        for (rule, expected) in [("id", Some(burst)), ("data.absent", None)] {
            let debounced = Some(by(rule));
            let route = config::Route { debounce: debounced, ..route(None, &["*"], &["chat"]) };
            let routes = Routes::new(&[route], std::slice::from_ref(&destination));
            let leg = routes.route(&event("freispace", "booking.updated")).remove(0);
            assert_eq!(leg.order_key.as_deref(), Some("freispace:7f"));
            assert_eq!(leg.burst, expected, "{rule}");
        }
        let failing =
            config::Route { debounce: Some(by("id + 1")), ..route(None, &["*"], &["chat"]) };
        let routes = Routes::new(&[failing], &[destination]);
        let leg = routes.route(&event("freispace", "booking.updated")).remove(0);
        assert_eq!(leg, Leg { is_doubtful: true, ..Leg::to("chat") });
    }

    #[test]
    fn why_names_the_clause_that_decided() {
        let routes = [
            route(Some("github"), &["*"], &["a"]),
            route(None, &["offer.*"], &["b"]),
            when("data.status == 'Draft'", &["c"]),
            when("data.status + 1", &["d"]),
            route(None, &["*"], &["e"]),
        ];
        let routes = Routes::new(&routes, &[]);
        let asked = event("freispace", "booking.updated");
        let clauses: Vec<_> = routes.why(&asked).into_iter().map(|(_, clause)| clause).collect();
        assert_eq!(clauses[..3], [Clause::From, Clause::Events, Clause::When]);
        assert!(matches!(&clauses[3], Clause::Fails(why) if why.contains("unsupported types")));
        assert_eq!(clauses[4], Clause::Takes);
    }
}
