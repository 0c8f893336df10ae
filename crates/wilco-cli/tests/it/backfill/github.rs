//! GitHub: the deliveries of a webhook, and sending them again.

use std::{
    collections::BTreeMap,
    io::{BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use wilco::{Secret, Unsigned, provider};

use super::{backfill, expect_missed, plan, status};
use crate::{
    catcher::{Act, Catcher, Caught},
    world::{Reply, SECRET, World},
};

const HOOK: &str = "/repos/crew/site/hooks/7";
const MORE: &str = ", hook = \"repos/crew/site/hooks/7\"";
const PAGE: usize = 4;

/// A webhook of GitHub: its attempts, oldest first, with the delivery, the time and the status.
#[derive(Default)]
struct Hook {
    attempts: Vec<(u32, Timestamp, u16)>,
    endpoint: Option<SocketAddr>,
}

type Shared = Arc<Mutex<Hook>>;

fn guid(number: u32) -> String {
    format!("72d3162e-cc78-11e3-81ab-{number:012}")
}

/// Attempts to deliver, signed as always.
fn deliver(hook: &Shared, number: u32) {
    let endpoint = hook.lock().unwrap().endpoint;
    let status = endpoint.and_then(|endpoint| post(endpoint, number)).unwrap_or(502);
    hook.lock().unwrap().attempts.push((number, Timestamp::now(), status));
}

fn post(endpoint: SocketAddr, number: u32) -> Option<u16> {
    let body = format!(r#"{{"repository":{{"full_name":"crew/site"}},"n":{number}}}"#);
    let secret = Secret::new("test", SECRET.into()).unwrap();
    let request = Unsigned::post(body.as_bytes(), Timestamp::now());
    let signed = provider::find("github").unwrap().scheme.sign(&secret, &request).unwrap();
    let mut head = format!(
        "POST /in HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\
         x-github-event: push\r\nx-github-delivery: {}\r\n",
        body.len(),
        guid(number)
    );
    for (name, value) in signed {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = TcpStream::connect(endpoint).ok()?;
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).ok()?;
    Reply::read(&mut BufReader::new(stream)).ok().map(|reply| reply.status)
}

fn answer(hook: &Shared, request: &Caught) -> Act {
    assert_eq!(request.header("authorization"), "Bearer a-made-up-token");
    let rest = request.path.strip_prefix(&format!("{HOOK}/deliveries")).unwrap();
    if request.method == "POST" {
        let id = rest.strip_prefix('/').unwrap().strip_suffix("/attempts").unwrap();
        let place: usize = id.parse().unwrap();
        let (hook, number) = (Arc::clone(hook), hook.lock().unwrap().attempts[place].0);
        // GitHub accepts, and delivers a little later.
        thread::spawn(move || deliver(&hook, number));
        return Act::Body(202, "", "{}".into());
    }
    let query: BTreeMap<_, _> =
        rest.strip_prefix('?').unwrap().split('&').map(|p| p.split_once('=').unwrap()).collect();
    let hook = hook.lock().unwrap();
    let before = query
        .get("cursor")
        .map_or(hook.attempts.len(), |cursor| cursor.strip_prefix("v1_").unwrap().parse().unwrap());
    let first = before.saturating_sub(PAGE);
    let newest_first = (first..before).rev();
    let list: Vec<_> = newest_first
        .map(|place| {
            let (number, at, status) = hook.attempts[place];
            json!({
                "id": place, "guid": guid(number), "delivered_at": at.to_string(),
                "redelivery": false, "duration": 0.1, "status_code": status, "event": "push",
                "status": if status == 200 { "OK" } else { "failed to connect to host" },
                "action": null, "installation_id": null, "repository_id": 1, "throttled_at": null,
            })
        })
        .collect();
    let body = serde_json::to_string(&list).unwrap();
    match first {
        0 => Act::Body(200, "", body),
        // The address in the link is not where the token may go.
        _ => {
            let to = "http://127.0.0.1:9/elsewhere?per_page=100";
            let link = format!("link: <{to}&cursor=v1_{first}>; rel=\"next\"\r\n");
            Act::Body(200, Box::leak(link.into_boxed_str()), body)
        }
    }
}

fn start(act: impl Fn(usize, &Caught) -> Option<Act> + Send + Sync + 'static) -> (Shared, Catcher) {
    let hook = Shared::default();
    let of_api = Arc::clone(&hook);
    let api = Catcher::start(move |place, request| {
        act(place, request).unwrap_or_else(|| answer(&of_api, request))
    });
    (hook, api)
}

/// Deliveries that failed in the last ten minutes.
fn fail(hook: &Shared, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let at = Timestamp::now() - SignedDuration::from_mins(10)
            + SignedDuration::from_secs(number.into());
        hook.lock().unwrap().attempts.push((number, at, 502));
    }
}

fn posts(api: &Catcher) -> usize {
    api.caught().iter().filter(|request| request.method == "POST").count()
}

fn recorded(world: &World) -> i64 {
    let twice = "SELECT count(*) FROM (SELECT 1 FROM event WHERE source = 'in' \
                 GROUP BY delivery_id HAVING count(*) > 1)";
    assert_eq!(world.count(twice), 0, "none twice");
    world.count("SELECT count(*) FROM event WHERE source = 'in'")
}

#[test]
fn after_an_outage_github_is_asked_for_what_is_missing_and_sends_it_signed() {
    let (hook, api) = start(|_, _| None);
    let world = plan("github", &api, MORE).start();
    hook.lock().unwrap().endpoint = Some(world.address);
    for number in 0..3 {
        deliver(&hook, number);
    }
    let mut world = world;
    world.stop();
    fail(&hook, 3..20);
    // The listener is another one after the start, and what is sent before it is known fails again.
    let world = world.restart_stopped();
    hook.lock().unwrap().endpoint = Some(world.address);
    world.eventually("all", |world| {
        backfill(world);
        recorded(world) == 20
    });
    let events: Vec<_> = world.events().into_iter().filter(|e| e["source"] == "in").collect();
    let backfilled = events.iter().filter(|event| event["backfilled"] == true).count();
    assert_eq!(backfilled, 17);
    assert!(events.iter().all(|event| event["secret_name"] == "env:FREISPACE_SECRET"));
    assert!(events.iter().all(|event| event.get("fetched").is_none()), "{events:?}");
    expect_missed(&world, 17);
    assert_eq!(status(&world)["gaps"][0]["taken_in"], 17);
    let asked = posts(&api);
    backfill(&world);
    assert_eq!((posts(&api), recorded(&world)), (asked, 20), "nothing is missing any more");
}

#[test]
fn what_was_answered_and_is_not_in_the_store_is_asked_for_too() {
    let (hook, api) = start(|_, _| None);
    let world = plan("github", &api, MORE).start();
    hook.lock().unwrap().endpoint = Some(world.address);
    // The store is older than this delivery, which it had accepted.
    hook.lock().unwrap().attempts.push((0, Timestamp::now(), 200));
    backfill(&world);
    expect_missed(&world, 1);
}

#[test]
fn a_delivery_that_the_endpoint_refuses_is_asked_for_a_limited_number_of_times() {
    let (hook, api) = start(|_, _| None);
    fail(&hook, 0..1);
    let mut world = plan("github", &api, MORE).start();
    // The endpoint is not known, so that every attempt fails, and a restart changes nothing.
    for round in 0..22 {
        if round == 11 {
            world = world.kill_and_restart();
        }
        backfill(&world);
    }
    world.log_with("delivery given up, because it never arrived");
    assert_eq!(posts(&api), 20);
    backfill(&world);
    assert_eq!(posts(&api), 20);
    let status = status(&world);
    assert_eq!((&status["awaited"], &status["given_up"]), (&json!(0), &json!(1)));
    let shown = world.run_verb(&["backfill", "--status"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("given up") && shown.contains("1 delivery, asked"), "{shown}");
}

#[test]
fn what_was_asked_for_before_a_restart_is_marked_when_it_comes_after_it() {
    let posts_before = Mutex::new(0);
    // After three requests to deliver again the API is gone, so that none is made after the restart.
    let (hook, api) = start(move |_, request| {
        let mut posts = posts_before.lock().unwrap();
        let is_gone = *posts == 3;
        *posts += u32::from(request.method == "POST");
        is_gone.then_some(Act::Answer(503))
    });
    fail(&hook, 0..3);
    let world = plan("github", &api, MORE).start();
    world.eventually("three requests", |_| posts(&api) == 3);
    let world = world.kill_and_restart();
    for number in 0..3 {
        assert_eq!(post(world.address, number), Some(200));
    }
    expect_missed(&world, 3);
    assert_eq!(posts(&api), 3);
}

#[test]
fn a_round_that_was_cut_off_asks_for_the_rest_at_the_next_start() {
    let posts_before = Mutex::new(0);
    let (hook, api) = start(move |_, request| {
        let mut posts = posts_before.lock().unwrap();
        *posts += u32::from(request.method == "POST");
        (request.method == "POST" && *posts == 3).then_some(Act::Hang)
    });
    fail(&hook, 0..6);
    let world = plan("github", &api, MORE).start();
    hook.lock().unwrap().endpoint = Some(world.address);
    world.eventually("a request that is not answered", |_| posts(&api) == 3);
    let world = world.kill_and_restart();
    hook.lock().unwrap().endpoint = Some(world.address);
    world.eventually("all", |world| {
        backfill(world);
        recorded(world) == 6
    });
}

#[test]
fn a_delivery_that_github_cannot_send_again_does_not_keep_the_others_from_it() {
    let (hook, api) = start(|_, request| {
        request.path.ends_with("/0/attempts").then_some(Act::Body(422, "", "{}".into()))
    });
    let world = plan("github", &api, MORE).start();
    hook.lock().unwrap().endpoint = Some(world.address);
    fail(&hook, 0..4);
    world.run_verb(&["backfill"]);
    world.eventually("the others", |world| recorded(world) == 3);
}
