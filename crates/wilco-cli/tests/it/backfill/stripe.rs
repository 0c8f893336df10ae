//! Stripe: `GET /v1/events`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use wilco::{Secret, Unsigned, provider};

use super::{backfill, expect_missed, plan, status};
use crate::{
    catcher::{Act, Catcher, Caught},
    world::{SECRET, World},
};

/// The events of an account, oldest first: the number, the time, and whether it was delivered.
#[derive(Default)]
struct Account {
    events: Vec<(u32, i64, bool)>,
}

type Shared = Arc<Mutex<Account>>;

impl Account {
    /// Something happens, some minutes ago.
    fn happen(&mut self, minutes_ago: i64) -> u32 {
        let number = u32::try_from(self.events.len()).unwrap();
        let at = Timestamp::now().as_second() - 60 * minutes_ago;
        self.events.push((number, at, false));
        number
    }

    fn delivered(&mut self, number: u32) {
        self.events[number as usize].2 = true;
    }

    fn answer(&self, request: &Caught) -> Act {
        assert_eq!(request.header("authorization"), "Bearer a-made-up-token");
        let (path, query) = request.path.split_once('?').unwrap();
        assert_eq!((request.method.as_str(), path), ("GET", "/v1/events"));
        let query: BTreeMap<_, _> = query.split('&').map(|p| p.split_once('=').unwrap()).collect();
        assert_eq!(query["delivery_success"], "false");
        let time = |name: &str| query[name].parse::<i64>().unwrap();
        let span = time("created%5Bgte%5D")..=time("created%5Blte%5D");
        let newest_first = self.events.iter().rev();
        let after = query.get("starting_after").map(|id| number(id));
        let listed = newest_first
            .filter(|(number, at, is_delivered)| {
                // The cursor is an event, whether it would still be listed or not.
                after.is_none_or(|after| *number < after) && span.contains(at) && !is_delivered
            })
            .map(|(number, at, _)| event(*number, *at, 1));
        let mut listed: Vec<_> = listed.collect();
        let has_more = listed.len() > PAGE;
        listed.truncate(PAGE);
        let list = json!({
            "object": "list", "url": "/v1/events", "has_more": has_more, "data": listed,
        });
        Act::Body(200, "content-type: application/json\r\n", list.to_string())
    }
}

const PAGE: usize = 4;

fn event(number: u32, at: i64, pending_webhooks: u32) -> Value {
    json!({
        "id": format!("evt_{number}"), "object": "event", "type": "invoice.paid", "created": at,
        "data": { "object": { "id": "in_1", "object": "invoice" } },
        "pending_webhooks": pending_webhooks,
    })
}

fn number(id: &str) -> u32 {
    id.strip_prefix("evt_").unwrap().parse().unwrap()
}

/// Sends the webhook of an event, as Stripe writes it: not as it is in the list.
fn send(world: &World, account: &Shared, number: u32) {
    let at = account.lock().unwrap().events[number as usize].1;
    let body = serde_json::to_string_pretty(&event(number, at, 0)).unwrap();
    let secret = Secret::new("test", SECRET.into()).unwrap();
    let request = Unsigned::post(body.as_bytes(), Timestamp::now());
    let signed = provider::find("stripe").unwrap().scheme.sign(&secret, &request).unwrap();
    let headers: Vec<_> = signed.iter().map(|(n, v)| (n.as_ref(), v.as_ref())).collect();
    assert_eq!(world.post_to("/in", &body, &headers).status, 200);
    account.lock().unwrap().delivered(number);
}

fn start(
    act: impl Fn(&Shared, usize, &Caught) -> Option<Act> + Send + Sync + 'static,
) -> (Shared, Catcher) {
    let account = Shared::default();
    let of_api = Arc::clone(&account);
    let api = Catcher::start(move |place, request| {
        act(&of_api, place, request).unwrap_or_else(|| of_api.lock().unwrap().answer(request))
    });
    (account, api)
}

/// The ids of the recorded events, in their order, from their bodies.
fn recorded(world: &World) -> Vec<String> {
    let store = rusqlite::Connection::open(world.path("wilco.db")).unwrap();
    let mut query =
        store.prepare("SELECT delivery_id FROM event WHERE source = 'in' ORDER BY seq").unwrap();
    let ids = query.query_map([], |row| row.get(0)).unwrap();
    ids.map(Result::unwrap).collect()
}

#[test]
fn after_an_outage_every_event_is_there_once_whether_its_webhook_comes_later_or_not() {
    let (account, api) = start(|_, _, _| None);
    let world = plan("stripe", &api, "").start();
    for _ in 0..3 {
        let number = account.lock().unwrap().happen(0);
        send(&world, &account, number);
    }
    // Nobody is there for ten minutes, in which these happen.
    for number in 0..22 {
        let minutes_ago = if number < 20 { 11 - number / 2 } else { 0 };
        account.lock().unwrap().happen(minutes_ago);
    }
    let world = world.kill_and_restart();
    expect_missed(&world, 20);
    let expected: Vec<_> = (0..23).map(|number| format!("evt_{number}")).collect();
    assert_eq!(recorded(&world), expected, "in the order in which they happened");
    let of_gap = &status(&world)["gaps"][0];
    assert_eq!((&of_gap["taken_in"], of_gap["closed_at"].is_string()), (&json!(20), true));
    for number in 3..23 {
        send(&world, &account, number);
    }
    for event in &mut account.lock().unwrap().events {
        *event = (event.0, event.1 - 60, false);
    }
    backfill(&world);
    let world = world.kill_and_restart();
    backfill(&world);
    let ids = recorded(&world);
    let different: BTreeSet<_> = ids.iter().collect();
    assert_eq!((ids.len(), different.len()), (25, 25), "two had happened only just now");
    let fetched: Vec<_> = world.events().iter().map(|e| e["fetched"] == true).collect();
    assert_eq!(fetched.iter().filter(|fetched| **fetched).count(), 22);
    assert!(world.events().iter().all(|e| (e["backfilled"] == true) == (e["fetched"] == true)));
    let event = &world.events()[5];
    assert_eq!(event["secret_name"], "env:TOKEN");
    let show = |arguments: &[&str]| String::from_utf8(world.run_verb(arguments).stdout).unwrap();
    let shown = show(&["events", "show", event["id"].as_str().unwrap()]);
    assert!(shown.contains("fetched    env:TOKEN") && shown.contains("backfilled"), "{shown}");
    let table = show(&["backfill", "--status"]);
    assert_eq!(table.matches(" gap ").count(), 2, "{table}");
}

#[test]
fn a_list_that_grows_while_it_is_read_loses_nothing() {
    let (account, api) = start(|account, _, request| {
        let mut account = account.lock().unwrap();
        if request.path.contains("starting_after") && account.events.len() < 11 {
            account.happen(5);
        }
        None
    });
    {
        let mut account = account.lock().unwrap();
        for _ in 0..9 {
            account.happen(6);
        }
    }
    let world = plan("stripe", &api, "").start();
    backfill(&world);
    assert!(recorded(&world).len() >= 9);
    backfill(&world);
    let ids: BTreeSet<_> = recorded(&world).into_iter().collect();
    assert_eq!((ids.len(), recorded(&world).len()), (11, 11));
}

#[test]
fn a_round_that_was_cut_off_is_done_at_the_next_start() {
    let (account, api) = start(|_, place, _| (place == 2).then_some(Act::Hang));
    for _ in 0..9 {
        account.lock().unwrap().happen(6);
    }
    let world = plan("stripe", &api, "").start();
    api.wait_for(3);
    let world = world.kill_and_restart();
    expect_missed(&world, 9);
    assert_eq!(recorded(&world).len(), 9);
}

#[test]
fn a_provider_that_asks_for_patience_is_asked_again_later() {
    let (account, api) =
        start(|_, place, _| (place == 1).then_some(Act::With(429, "retry-after: 1\r\n")));
    for _ in 0..6 {
        account.lock().unwrap().happen(6);
    }
    let world = plan("stripe", &api, "").start();
    expect_missed(&world, 6);
    assert!(status(&world).get("error").is_none());
}
