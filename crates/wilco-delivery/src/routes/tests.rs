//! Where an event goes, and what becomes of a rule that fails.

use wilco::{Digest, EventId, Headers, Origin, SourceName};

use super::*;

fn route(from: Option<&str>, events: &[&str], to: &[&str]) -> Route {
    Route {
        from: from.map(|name| SourceName::new(name).unwrap()),
        events: events.iter().map(|glob| Glob::new(glob).unwrap().compile_matcher()).collect(),
        when: None,
        debounce: None,
        to: to.iter().map(ToString::to_string).collect(),
    }
}

fn when(rule: &str, to: &[&str]) -> Route {
    Route { when: Some(Rule::new(rule).unwrap()), ..route(None, &["*"], to) }
}

fn event(source: &str, name: &str) -> Event {
    let body = br#"{"id":"7f","data":{"status":"Confirmed"}}"#;
    Event {
        id: EventId::from_bits(1),
        source: SourceName::new(source).unwrap(),
        provider: source.into(),
        name: name.into(),
        subject: None,
        received_at: jiff::Timestamp::UNIX_EPOCH,
        secret_name: String::new(),
        digest: Digest::of(body),
        conflict: false,
        origin: Origin::Webhook,
        headers: Headers::default(),
        body: body[..].into(),
    }
}

fn names(targets: &[Target]) -> Vec<&str> {
    targets.iter().map(|target| target.destination.as_str()).collect()
}

#[test]
fn an_event_goes_once_to_each_destination_that_its_routes_name() {
    let routes = [
        route(Some("freispace"), &["booking.*"], &["chat", "erp"]),
        route(None, &["*.created"], &["erp", "log"]),
        route(Some("freispace"), &["offer.*"], &["offers"]),
        route(Some("freispace"), &["quote.finalized"], &["quotes"]),
    ];
    let routes = Routes::new(&routes, []);
    for (source, name, expected) in [
        ("freispace", "booking.updated", &["chat", "erp"][..]),
        ("freispace", "booking.created", &["chat", "erp", "log"]),
        ("github", "booking.created", &["erp", "log"]),
        ("github", "push", &[]),
        ("github", "offer.finalized", &[]),
        ("freispace", "offer.finalized", &["offers", "quotes"]),
        ("freispace", "quote.finalized", &["offers", "quotes"]),
        ("freispace", "quote.status_updated", &["offers"]),
        ("freispace", "bookings.created", &["erp", "log"]),
        ("wilco", "booking.created", &[]),
    ] {
        let targets = routes.route(&event(source, name));
        assert_eq!(names(&targets), expected, "{source} {name}");
        assert!(targets.iter().all(|target| *target == Target::to(target.destination.as_str())));
    }
}

#[test]
fn a_condition_decides_and_a_failing_one_leaves_the_decision_open() {
    let routes = [
        when("data.status == 'Confirmed'", &["sure"]),
        when("data.status == 'Draft'", &["never"]),
        when("data.status + 1", &["open", "both"]),
        when("id == '7f'", &["both"]),
    ];
    let targets = Routes::new(&routes, []).route(&event("freispace", "booking.updated"));
    let seen: Vec<_> = targets
        .iter()
        .map(|target| (target.destination.as_str(), target.needs_reevaluation))
        .collect();
    assert_eq!(seen, [("sure", false), ("open", true), ("both", false)]);
}

#[test]
fn an_open_decision_is_made_again_at_the_attempt() {
    let asked = event("freispace", "booking.updated");
    for (rule, expected) in [("id == '7f'", Ok(true)), ("id == '8'", Ok(false))] {
        let routes = Routes::new(&[when(rule, &["chat"])], []);
        assert_eq!(routes.takes(&asked, "chat"), expected, "{rule}");
        assert_eq!(routes.takes(&asked, "erp"), Ok(false), "{rule}");
    }
    let routes = Routes::new(&[when("data.status + 1", &["chat"])], []);
    assert!(routes.takes(&asked, "chat").is_err());
}

#[test]
fn an_event_that_routing_panics_over_is_left_to_an_attempt_at_each_destination() {
    let routes =
        [route(Some("freispace"), &["booking.*"], &["chat", "erp"]), route(None, &["*"], &["erp"])];
    let routes = Routes::new(&routes, []);
    let planted = |source| {
        let event = event(source, "booking.updated");
        contained_targets(&routes, &event, |_, _| panic!("planted"))
    };
    let open = ["chat", "erp"].map(|name| Target { needs_reevaluation: true, ..Target::to(name) });
    assert_eq!(planted("freispace"), open);
    assert_eq!(planted(ALERTS), [], "an alert has its delivery already");
}

#[test]
fn keys_are_taken_from_the_event_and_are_separate_for_each_source() {
    let order_by = [("chat".to_owned(), Rule::new("id").unwrap())];
    let secs = Duration::from_secs;
    let by = |rule| Debounce { by: Rule::new(rule).unwrap(), quiet: secs(30), at_most: secs(300) };
    let burst = Burst { key: "freispace:7f".into(), quiet: secs(30), at_most: secs(300) };
    for (rule, expected) in [("id", Some(burst)), ("data.absent", None)] {
        let debounced = Some(by(rule));
        let route = Route { debounce: debounced, ..route(None, &["*"], &["chat"]) };
        let routes = Routes::new(&[route], order_by.clone());
        let target = routes.route(&event("freispace", "booking.updated")).remove(0);
        assert_eq!(target.order_key.as_deref(), Some("freispace:7f"));
        assert_eq!(target.burst, expected, "{rule}");
    }
    let failing = Route { debounce: Some(by("id + 1")), ..route(None, &["*"], &["chat"]) };
    let routes = Routes::new(&[failing], order_by);
    let target = routes.route(&event("freispace", "booking.updated")).remove(0);
    assert_eq!(target, Target { needs_reevaluation: true, ..Target::to("chat") });
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
    let routes = Routes::new(&routes, []);
    let asked = event("freispace", "booking.updated");
    let clauses: Vec<_> = routes.why(&asked).into_iter().map(|(_, clause)| clause).collect();
    assert_eq!(clauses[..3], [Clause::From, Clause::Events, Clause::When]);
    assert!(matches!(&clauses[3], Clause::Fails(why) if why.contains("unsupported types")));
    assert_eq!(clauses[4], Clause::Takes);
}
