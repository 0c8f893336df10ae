//! The list of events: filters, states, pages, and the replay of all that match.

use super::{act, form_token, sign_in, visit, with_destination};
use crate::world::{World, booking};

#[test]
fn filters_combine_and_live_in_the_url() {
    let world = with_destination().start();
    for (id, name) in [("b-1", "Grade"), ("b-2", "Mix <i>"), ("b-3", "Grade")] {
        assert_eq!(world.send(&booking(id, name)).status, 200);
    }
    world.eventually("the deliveries", |world| {
        world.count("SELECT count(*) FROM delivery WHERE state = 'delivered'") == 3
    });
    let cookie = sign_in(&world, "operator");
    for (query, expected) in [
        ("", 3),
        ("search=grade", 2),
        ("search=grade&event=booking.*&source=freispace&destination=out&state=delivered", 2),
        ("search=grade&state=dead", 0),
        ("event=offer.*", 0),
        ("destination=other", 0),
        ("range=1h", 3),
        ("until=2020-01-01T00:00:00Z", 0),
        ("source=&event=&range=&search=", 3),
    ] {
        let page = visit(&world, &format!("/events?{query}"), &[("cookie", &cookie)]);
        assert_eq!(page.status, 200, "{query} {}", page.body);
        assert_eq!(page.body.matches("data-row>").count(), expected, "{query}");
        assert_eq!(page.body.contains("No events match"), expected == 0, "{query}");
    }
    let path = "/events?search=grade&state=delivered&destination=out";
    let page = visit(&world, path, &[("cookie", &cookie)]).body;
    for text in [
        "value=\"grade\"",
        "<option selected>out</option>",
        "aria-current=\"page\" class=\"chip delivered\"",
        "href=\"/events?search=grade&#38;destination=out&#38;state=dead\"",
        "<span class=\"chip-count\">2</span>",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let unknown = visit(&world, "/events?state=nonsense", &[("cookie", &cookie)]);
    assert_eq!(unknown.status, 400);
}

#[test]
fn all_that_match_are_replayed_as_the_page_before_says() {
    let world = with_destination().start();
    for id in ["b-1", "b-2", "b-3"] {
        assert_eq!(world.send(&booking(id, if id == "b-2" { "Mix" } else { "Grade" })).status, 200);
    }
    let made = |count| move |world: &World| world.count("SELECT count(*) FROM delivery") == count;
    world.eventually("the deliveries", made(3));
    let cookie = sign_in(&world, "operator");
    let path = "/events/replay?search=grade";
    let page = visit(&world, path, &[("cookie", &cookie)]).body;
    assert!(
        page.contains("Replay 2 events?") && page.contains("<dt>out</dt><dd>2 events"),
        "{page}"
    );
    assert!(made(3)(&world), "nothing has happened yet");
    let ids = page.split("name=\"ids\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    // What comes in between is not part of what was confirmed.
    assert_eq!(world.send(&booking("b-4", "Grade")).status, 200);
    world.eventually("the delivery", made(4));
    let token = form_token(&world, &cookie);
    let form = format!("token={token}&ids={ids}&reason=the+disk+was+full");
    let page = act(&world, &cookie, path, &form).body;
    assert!(page.contains("Replayed 2 events: 2 new deliveries made."), "{page}");
    assert!(page.contains("value=\"grade\""), "it is the list from before: {page}");
    assert!(made(6)(&world));
    let reason = "SELECT count(*) FROM delivery WHERE reason = 'replay: the disk was full'";
    assert_eq!(world.count(reason), 2);
    let nothing = visit(&world, "/events/replay?search=nothing", &[("cookie", &cookie)]).body;
    assert!(nothing.contains("Nothing to replay"), "{nothing}");
    let reader = sign_in(&world, "reader");
    let token = form_token(&world, &reader);
    let headers = [("cookie", &*reader), ("content-type", "application/x-www-form-urlencoded")];
    let refused = world.ask("POST", path, &headers, &format!("token={token}&ids={ids}"));
    assert_eq!((refused.status, made(6)(&world)), (403, true));
}

#[test]
fn pages_of_the_list_follow_each_other() {
    let world = World::plan().start();
    for n in 0..3 {
        assert_eq!(world.send(&booking(&format!("b-{n}"), "Grade")).status, 200);
    }
    let cookie = sign_in(&world, "reader");
    let mut path = "/events?limit=2&event=booking.*".to_owned();
    let mut rows = Vec::new();
    loop {
        let page = visit(&world, &path, &[("cookie", &cookie)]).body;
        rows.push(page.matches("data-row>").count());
        let is_first = rows.len() == 1;
        assert_eq!(page.contains("id=\"live\" class=\"stack\" data-live"), is_first, "{path}");
        let Some((_, rest)) = page.split_once("rel=\"next\" href=\"") else { break };
        path = rest.split('"').next().unwrap().replace("&#38;", "&");
    }
    assert_eq!(rows, [2, 1]);
}

#[test]
fn what_needs_attention_comes_first_among_the_deliveries_of_an_event() {
    let names = ["one", "two", "three", "four", "folders"];
    let prints = names[..4].iter().map(|name| format!("[destination.{name}]\ntype = \"print\"\n"));
    let folders =
        "[destination.folders]\ntype = \"command\"\ncommand = [\"sh\", \"-c\", \"exit 65\"]\n";
    let tables = format!("{}{folders}[[route]]\nto = {names:?}\n", prints.collect::<String>());
    let world = World::plan().and(&tables).start();
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
    let done = "SELECT count(*) FROM delivery WHERE state IN ('dead', 'delivered')";
    world.eventually("all attempts", |world| world.count(done) == 5);
    let page = visit(&world, "/events", &[("cookie", &sign_in(&world, "reader"))]).body;
    let place = |text| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
    assert!(place("<li class=\"dead\">") < place("<li class=\"delivered\">"), "{page}");
    assert!(page.contains("and 1 more") && !page.contains("four<span"), "{page}");
}
