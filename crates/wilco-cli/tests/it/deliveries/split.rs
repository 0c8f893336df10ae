//! Routes that split an event: each item of an array in its body is a delivery of its own.

use std::fs;

use serde_json::Value;
use wilco::{Secret, Unsigned, provider};

use super::{BRIEF, RETRY, results, shell, shown};
use crate::{
    catcher::{Act, Catcher, Caught},
    world::{Reply, SECRET, World, sign},
};

/// A source whose body may be an array, signed as freispace signs.
const MAIL: &str = r#"
[provider.mail]
scheme = { family = "hex", signature = { header = "x-signature" } }
envelope = { name = [{ text = "sent" }], content = "any" }
[source.mail]
provider = "mail"
path = "/mail"
secrets = [{ env = "FREISPACE_SECRET" }]
"#;

fn mail(world: &World, body: &str) -> Reply {
    let reply = world.post_to("/mail", body, &[("x-signature", &sign(body.as_bytes()))]);
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply
}

fn http(name: &str, catcher: &Catcher, lines: &str) -> String {
    format!("[destination.{name}]\ntype = \"http\"\nurl = \"{}\"\n{lines}\n", catcher.url())
}

/// The deliveries of an event, once they are in these states: the item and the state of each.
#[track_caller]
fn deliveries(world: &World, reply: &Reply, expected: &[(Option<u64>, &str)]) -> Vec<Value> {
    let look = || shown(world, reply)["deliveries"].as_array().unwrap().clone();
    let is_so = |found: &[Value]| {
        let found = found.iter().map(|d| (d["item"].as_u64(), d["state"].as_str().unwrap()));
        found.eq(expected.iter().copied())
    };
    world.eventually(&format!("{expected:?}, but {:?}", look()), |_| is_so(&look()));
    look()
}

fn id(reply: &Reply) -> &str {
    reply.header("x-wilco-event").unwrap()
}

fn said(world: &World, arguments: &[&str]) -> String {
    let output = world.run_verb(arguments);
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

fn bodies(caught: &[Caught]) -> Vec<String> {
    caught.iter().map(|caught| String::from_utf8(caught.body.clone()).unwrap()).collect()
}

#[test]
fn each_destination_gets_the_bytes_of_each_item_and_an_id_of_its_own() {
    let catcher = Catcher::new();
    let script = "cat > \"$OUT/$WILCO_EVENT_ID\"; echo \"$WILCO_ITEM\" >> \"$OUT/items\"";
    let folder = tempfile::tempdir().unwrap();
    let tables = format!(
        "{MAIL}{}[destination.run]\n{}\nconcurrency = 1\n\
         environment = {{ OUT = \"FOLDER\" }}\n\
         [destination.log]\ntype = \"file\"\npath = \"FOLDER/log.jsonl\"\n\
         [[route]]\nfrom = \"mail\"\nsplit = \"\"\nto = [\"web\", \"run\", \"log\"]\n",
        http("web", &catcher, "concurrency = 1"),
        shell(script),
    );
    let world = World::plan().and(&tables).start_in(folder);
    let items =
        [r#"{"n":12345678901234567890123,"n":1.50e+2}"#, "{ \"s\" :\t\"\\ud83d\\u00e4ä\" }"];
    let reply = mail(&world, &format!("[{},\r\n{}\r\n]\r\n", items[0], items[1]));
    deliveries(&world, &reply, &[0, 0, 0, 1, 1, 1].map(|item| (Some(item), "delivered")));
    assert_eq!(bodies(&catcher.caught()), items);
    for (number, caught) in catcher.caught().iter().enumerate() {
        assert_eq!(caught.header("webhook-id"), format!("{}_{number}", id(&reply)));
        assert_eq!(caught.header("x-wilco-item"), number.to_string());
        assert_eq!(caught.header("content-type"), "application/json");
        let given = fs::read_to_string(world.path(&format!("{}_{number}", id(&reply)))).unwrap();
        assert_eq!(given, items[number]);
    }
    assert_eq!(fs::read_to_string(world.path("items")).unwrap(), "0\n1\n");
    let log = fs::read_to_string(world.path("log.jsonl")).unwrap();
    let line = format!("{{\"id\":\"{}_1\",\"item\":1,\"source\":\"mail\"", id(&reply));
    assert!(log.lines().nth(1).unwrap().starts_with(&line), "{log}");
    let text = said(&world, &["events", "show", &format!("{}_1", id(&reply))]);
    assert!(text.contains("web, item 1: delivered"), "{text}");
    let text = said(&world, &["events", "list"]);
    assert!(text.contains("web delivered (2 items), run delivered (2 items)"), "{text}");
}

#[test]
fn the_published_request_of_sendgrid_is_split_without_its_line_break() {
    let catcher = Catcher::new();
    let vectors = include_str!("../../../../wilco/providers/sendgrid.toml");
    let file: toml::Table = vectors.parse().unwrap();
    let vector = &file["vector"][0];
    let body = vector["body"].as_str().unwrap();
    let tables = format!(
        "[source.sendgrid]\nprovider = \"sendgrid\"\npath = \"/sendgrid\"\n\
         secrets = [{{ env = \"KEY\" }}]\n{}\
         [[route]]\nfrom = \"sendgrid\"\nsplit = \".\"\n\
         when = 'body.event == \"dropped\" and event.name == \"dropped\"'\nto = [\"web\"]\n",
        http("web", &catcher, ""),
    );
    let plan = World::plan().and(&tables).env("KEY", vector["secret"].as_str().unwrap());
    let world = plan.start();
    let headers = vector["headers"].as_table().unwrap().iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
    let headers: Vec<_> = headers.collect();
    let reply = world.post_to("/sendgrid", body, &headers);
    deliveries(&world, &reply, &[(Some(0), "delivered")]);
    assert_eq!(bodies(&catcher.caught()), [&body[1..body.len() - 3]]);
}

#[test]
fn a_condition_and_a_template_see_the_item_and_why_counts_them() {
    let catcher = Catcher::new();
    let template = "body = '{\"who\": {{ objectId }}, \"item\": {{ event.item }}, \"id\": {{ event.id | tojson }}}'";
    let tables = format!(
        "[source.hubspot]\nprovider = \"hubspot\"\npath = \"/hubspot\"\n\
         public_url = \"https://a.example/hubspot\"\nsecrets = [{{ env = \"FREISPACE_SECRET\" }}]\n{}\
         [[route]]\nfrom = \"hubspot\"\nsplit = \"\"\n\
         when = 'subscriptionType == \"contact.creation\"'\nto = [\"web\"]\n",
        http("web", &catcher, &format!("concurrency = 1\n{template}")),
    );
    let world = World::plan().and(&tables).start();
    let body = r#"[{"subscriptionType":"contact.creation","objectId":1},
        {"subscriptionType":"contact.deletion","objectId":2},
        {"subscriptionType":"contact.creation","objectId":90071992547409931}]"#;
    let secret = Secret::new("test", SECRET.into()).unwrap();
    let url = "https://a.example/hubspot";
    let request = Unsigned { url, ..Unsigned::post(body.as_bytes(), jiff::Timestamp::now()) };
    let signed = provider::find("hubspot").unwrap().scheme.sign(&secret, &request).unwrap();
    let headers: Vec<_> = signed.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let reply = world.post_to("/hubspot", body, &headers);
    deliveries(&world, &reply, &[(Some(0), "delivered"), (Some(2), "delivered")]);
    let expected = [(1, 0), (90_071_992_547_409_931_u64, 2)].map(|(who, item)| {
        format!(r#"{{"who": {who}, "item": {item}, "id": "{}_{item}"}}"#, id(&reply))
    });
    assert_eq!(bodies(&catcher.caught()), expected);
    let text = said(&world, &["events", "why", id(&reply)]);
    assert!(text.contains("takes 2 of 3 items: subscriptionType == "), "{text}");
}

#[test]
fn the_items_of_one_key_stay_in_order_and_delay_no_other() {
    let catcher = Catcher::start(|_, caught| {
        let is_first = String::from_utf8_lossy(&caught.body).contains("\"step\":1,");
        match caught.header("x-wilco-attempt") {
            "1" | "2" if is_first => Act::Answer(500),
            _ => Act::Answer(200),
        }
    });
    let lines = format!("order_by = \"resource.gid\"\nconcurrency = 8\n{RETRY}");
    let tables = format!(
        "[source.asana]\nprovider = \"asana\"\npath = \"/asana\"\n\
         secrets = [{{ env = \"FREISPACE_SECRET\" }}]\n{}\
         [[route]]\nfrom = \"asana\"\nsplit = \"events\"\nto = [\"web\"]\n",
        http("web", &catcher, &lines),
    );
    let world = World::plan().and(&tables).start();
    let event = |step: u32, gid: &str| {
        format!(r#"{{"step":{step},"action":"changed","resource":{{"gid":"{gid}"}}}}"#)
    };
    let events = [event(1, "a"), event(2, "b"), event(3, "a"), event(4, "a")];
    let body = format!(r#"{{"events":[{}]}}"#, events.join(", "));
    let reply = world.post_to("/asana", &body, &[("x-hook-signature", &sign(body.as_bytes()))]);
    deliveries(&world, &reply, &[0, 1, 2, 3].map(|item| (Some(item), "delivered")));
    let caught = bodies(&catcher.caught());
    let of_a: Vec<_> = caught.iter().filter(|body| body.contains("\"a\"")).collect();
    assert_eq!(of_a, [&events[0], &events[0], &events[0], &events[2], &events[3]]);
    let place = |event: &String| caught.iter().position(|body| body == event);
    assert!(place(&events[1]) < place(&events[2]), "another key does not wait: {caught:?}");
}

#[test]
fn a_dead_item_is_replayed_alone_with_the_same_id() {
    let catcher =
        Catcher::start(|number, caught| match caught.body == b"{\"n\":1}" && number < 3 {
            true => Act::Answer(410),
            false => Act::Answer(200),
        });
    let tables = format!(
        "{MAIL}{}[[route]]\nfrom = \"mail\"\nsplit = \"items\"\nto = [\"web\"]\n",
        http("web", &catcher, &format!("concurrency = 1\n{BRIEF}")),
    );
    let mut world = World::plan().and(&tables).start();
    let reply = mail(&world, r#"{"items":[{"n":0},{"n":1},{"n":2}]}"#);
    let states = [(Some(0), "delivered"), (Some(1), "dead"), (Some(2), "delivered")];
    deliveries(&world, &reply, &states);
    world = world.kill_and_restart();
    let text = said(&world, &["events", "replay", "--dead", "--destination", "web"]);
    assert!(text.contains("1 event replayed in 1 new delivery"), "{text}");
    let found = deliveries(&world, &reply, &[&states[..], &[(Some(1), "delivered")]].concat());
    assert_eq!(found[1]["replaced_by"], id(&reply));
    let ids = catcher.caught().into_iter().filter(|caught| caught.body == b"{\"n\":1}");
    let ids: Vec<_> = ids.map(|caught| caught.header("webhook-id").to_owned()).collect();
    assert_eq!(ids, [format!("{}_1", id(&reply)), format!("{}_1", id(&reply))]);
    let text = said(&world, &["events", "replay", id(&reply)]);
    assert!(text.contains("1 event replayed in 3 new deliveries"), "{text}");
    assert_eq!(said(&world, &["events", "list", "--dead"]), "no events that match\n");
}

#[test]
fn an_event_that_cannot_be_split_is_dead_with_the_reason_until_the_route_is_corrected() {
    let catcher = Catcher::new();
    let tables = format!(
        "{MAIL}{}[[route]]\nfrom = \"mail\"\nsplit = \"evnts\"\nto = [\"web\"]\n",
        http("web", &catcher, ""),
    );
    let world = World::plan().and(&tables).start();
    let many = format!("{{\"evnts\":[{}0]}}", "0,".repeat(1_000));
    for (body, expected) in [
        ("a=b&c=d", "the body is not JSON"),
        (many.as_str(), "the array has 1001 items, more than 1000"),
        (r#"{"events":[1,2]}"#, "the body has no array at \"evnts\""),
    ] {
        let reply = mail(&world, body);
        let dead = deliveries(&world, &reply, &[(None, "dead")]).remove(0);
        assert_eq!(results(&dead).len(), 1, "{dead}");
        assert!(results(&dead)[0].contains(expected), "{dead}");
        let text = said(&world, &["events", "why", id(&reply)]);
        assert!(text.contains(&format!("could not be split: {expected}")), "{text}");
    }
    let empty = mail(&world, r#"{"evnts":[]}"#);
    world.eventually("routed", |world| shown(world, &empty)["routed"] == true);
    deliveries(&world, &empty, &[]);
    let reply = mail(&world, r#"{"events":[1,2,3]}"#);
    deliveries(&world, &reply, &[(None, "dead")]);
    assert!(catcher.caught().is_empty());
    world.reconfigure(|text| text.replace("evnts", "events"));
    assert_eq!(said(&world, &["reload"]), "reloaded\n");
    let text = said(&world, &["events", "replay", id(&reply), "--dead"]);
    assert!(text.contains("1 event replayed in 3 new deliveries"), "{text}");
    let items = [0, 1, 2].map(|item| (Some(item), "delivered"));
    let found = deliveries(&world, &reply, &[&[(None, "dead")], &items[..]].concat());
    assert_eq!(found[0]["replaced_by"], id(&reply));
}
