//! Where an event goes, and what becomes of a rule that fails.

use wilco::{Digest, EventId, Headers, Origin, SourceName};

use super::*;
use crate::policy::Policy;

fn route(from: Option<&str>, events: &[&str], to: &[&str]) -> Route {
    Route {
        from: from.map(|name| SourceName::new(name).unwrap()),
        events: events.iter().map(|glob| Glob::new(glob).unwrap().compile_matcher()).collect(),
        split: None,
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
        item: None,
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
    let ordered = Policy { order_by: Some(Rule::new("id").unwrap()), ..Policy::default() };
    let secs = Duration::from_secs;
    let by = |rule| Debounce { by: Rule::new(rule).unwrap(), quiet: secs(30), at_most: secs(300) };
    let burst = Burst { key: "freispace:7f".into(), quiet: secs(30), at_most: secs(300) };
    for (rule, expected) in [("id", Some(burst)), ("data.absent", None)] {
        let debounced = Some(by(rule));
        let route = Route { debounce: debounced, ..route(None, &["*"], &["chat"]) };
        let routes = Routes::new(&[route], [("chat", &ordered)]);
        let target = routes.route(&event("freispace", "booking.updated")).remove(0);
        assert_eq!(target.order_key.as_deref(), Some("freispace:7f"));
        assert_eq!(target.burst, expected, "{rule}");
    }
    let failing = Route { debounce: Some(by("id + 1")), ..route(None, &["*"], &["chat"]) };
    let routes = Routes::new(&[failing], [("chat", &ordered)]);
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

/// An event with this body, whose items a route splits.
fn batch(body: &str) -> Event {
    let (digest, body) = (Digest::of(body.as_bytes()), body.to_owned().into());
    Event { digest, body, ..event("mail", "sent") }
}

fn split(path: &str, to: &[&str]) -> Route {
    Route { split: Some(ArrayPath::try_from(path).unwrap()), ..route(None, &["*"], to) }
}

fn items(targets: &[Target]) -> Vec<(&str, Option<u32>, bool)> {
    let what = |target: &Target| target.item.map(|item| item.number);
    let seen = targets.iter();
    seen.map(|t| (t.destination.as_str(), what(t), t.needs_reevaluation)).collect()
}

#[test]
fn a_route_that_splits_decides_about_each_item_with_the_members_of_the_item() {
    let asked = batch(r#"{"on":1,"events":[{"n":1,"event":"x"},{"n":2},7,{"n":"a"}]}"#);
    for (when, expected) in [
        ("true", &[(0, false), (1, false), (2, false), (3, false)][..]),
        ("n == 2", &[(1, false)]),
        ("on", &[]),
        ("event.item == 3 or body == 7", &[(2, false), (3, false)]),
        ("body.event == 'x' and event.name == 'sent'", &[(0, false)]),
        ("n + 1 == 2", &[(0, false), (2, true), (3, true)]),
        ("n == 9", &[]),
    ] {
        let route = Route { when: Some(Rule::new(when).unwrap()), ..split("events", &["chat"]) };
        let targets = Routes::new(&[route], []).route(&asked);
        let expected: Vec<_> =
            expected.iter().map(|(item, open)| ("chat", Some(*item), *open)).collect();
        assert_eq!(items(&targets), expected, "{when}");
    }
}

#[test]
fn a_destination_gets_each_item_once_and_the_whole_event_where_another_route_says_so() {
    let whole = route(None, &["*"], &["log", "chat"]);
    let routes = [split("", &["chat"]), whole, split(".", &["erp", "chat"])];
    let targets = Routes::new(&routes, []).route(&batch("[1,2]"));
    let expected = [
        ("chat", Some(0), false),
        ("chat", Some(1), false),
        ("log", None, false),
        ("chat", None, false),
        ("erp", Some(0), false),
        ("erp", Some(1), false),
    ];
    assert_eq!(items(&targets), expected);
    assert_eq!(Routes::new(&routes[..1], []).route(&batch("[]")), []);
}

#[test]
fn the_keys_of_an_item_are_its_own() {
    let ordered = Policy { order_by: Some(Rule::new("id").unwrap()), ..Policy::default() };
    let [quiet, at_most] = [Duration::from_secs(30); 2];
    let by = Rule::new("n").unwrap();
    let route = Route { debounce: Some(Debounce { by, quiet, at_most }), ..split("", &["chat"]) };
    let targets =
        Routes::new(&[route], [("chat", &ordered)]).route(&batch(r#"[{"id":"a","n":1},{"n":2}]"#));
    let keys = |target: &Target| {
        (target.order_key.clone(), target.burst.as_ref().map(|burst| burst.key.clone()))
    };
    let expected = [(Some("mail:a".into()), Some("mail:1".into())), (None, Some("mail:2".into()))];
    assert_eq!(targets.iter().map(keys).collect::<Vec<_>>(), expected);
}

#[test]
fn an_event_that_cannot_be_split_is_one_target_whose_attempt_says_why() {
    let many = format!("[{}0]", "0,".repeat(SPLIT_ITEMS_MAX));
    let rows: [(&[&str], &str, &str); 6] = [
        (&["events"], "{}", "the body has no array at \"events\""),
        (&["events"], "a=b", "the body is not JSON"),
        (&["."], "{}", "the body is not an array"),
        (&[""], &many, "the array has 1001 items, more than 1000"),
        (&["a", "b"], r#"{"a":[1],"b":[2]}"#, "split it by different paths"),
        // The configuration has been corrected since.
        (&["a"], r#"{"a":[1]}"#, "replay it to deliver its items"),
    ];
    for (paths, body, expected) in rows {
        let routes: Vec<_> = paths.iter().map(|path| split(path, &["chat"])).collect();
        let routes = Routes::new(&routes, []);
        let asked = batch(body);
        let targets = routes.route(&asked);
        let is_open = items(&targets).contains(&("chat", None, true));
        assert!(is_open || expected.contains("replay"), "{targets:?}");
        let why = routes.takes(&asked, "chat").unwrap_err().to_string();
        assert!(why.contains(expected), "{why}");
    }
    let other = Route { from: Some(SourceName::new("shop").unwrap()), ..split("x", &["chat"]) };
    assert_eq!(Routes::new(&[other], []).takes(&batch("{}"), "chat"), Ok(false));
}

#[test]
fn an_open_decision_about_an_item_is_made_by_the_routes_that_split() {
    let asked = batch("[1,2]");
    let [first, _] = ArrayPath::try_from("").unwrap().items(b"[1,2]", 9).unwrap()[..] else {
        panic!()
    };
    let item = asked.item(first).unwrap();
    let of_one = Route { when: Some(Rule::new("body == 1").unwrap()), ..split("", &["chat"]) };
    for (routes, expected) in [
        (vec![of_one.clone()], true),
        (vec![route(None, &["*"], &["chat"])], false),
        (vec![Route { when: Some(Rule::new("body == 2").unwrap()), ..of_one }], false),
    ] {
        assert_eq!(Routes::new(&routes, []).takes(&item, "chat"), Ok(expected), "{routes:?}");
    }
}

#[test]
fn why_names_what_took_an_event_and_the_values() {
    let asked = event("freispace", "booking.created");
    let held = "data.status == \"Confirmed\"; data.status is \"Confirmed\"";
    for (route, expected) in [
        (route(None, &["*"], &["c"]), "takes every event"),
        (
            route(None, &["offer.*", "booking.*"], &["c"]),
            "takes booking.*; the event is booking.created",
        ),
        (
            when("data.status == \"Confirmed\"", &["c"]),
            &format!("takes every event; holds: {held}"),
        ),
        (when("true", &["c"]), "takes every event; holds: true"),
        (
            when("data.status == \"Off\"", &["c"]),
            "does not hold: data.status == \"Off\"; data.status is \"Confirmed\"",
        ),
    ] {
        let routes = Routes::new(&[route], []);
        let (route, clause) = routes.why(&asked).remove(0);
        assert_eq!(clause.explain(route, &asked), expected);
    }
}

#[test]
fn why_counts_the_items_that_a_route_takes() {
    let asked = batch(r#"[{"n":1},{"n":2},{"n":"a"}]"#);
    let with = |when| Route { when: Some(Rule::new(when).unwrap()), ..split("", &["c"]) };
    for (route, body, expected) in [
        (split("", &["c"]), None, "takes 3 of 3 items"),
        (with("n == 2"), None, "takes 1 of 3 items: n == 2"),
        (with("n == 9"), None, "takes none of 3 items: n == 9"),
        (with("n + 1 == 2"), None, "takes 1 of 3 items: n + 1 == 2; 1 could not be decided"),
        (split("", &["c"]), Some("[]"), "takes nothing: the array is empty"),
        (split("", &["c"]), Some("[{}]"), "takes 1 of 1 item"),
        (split("x", &["c"]), None, "could not be split: the body has no array at \"x\""),
    ] {
        let asked = body.map_or_else(|| asked.clone(), batch);
        let routes = [route];
        let routes = Routes::new(&routes, []);
        let (route, clause) = routes.why(&asked).remove(0);
        assert_eq!(clause.explain(route, &asked), expected);
    }
}
