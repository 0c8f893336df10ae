//! GitLab: the events of a webhook, and sending them again.

use std::{
    collections::BTreeMap,
    io::{BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{backfill, expect_missed, plan};
use crate::{
    catcher::{Act, Catcher, Caught},
    world::{Reply, SECRET, World},
};

const HOOK: &str = "/projects/42/hooks/7";
const MORE: &str = ", hook = \"projects/42/hooks/7\"";
const PAGE: usize = 4;

/// A webhook of GitLab: its attempts, oldest first, with the event, the time and the status.
#[derive(Default)]
struct Hook {
    attempts: Vec<(u32, Timestamp, u16)>,
    endpoint: Option<SocketAddr>,
    /// Whose body GitLab has not kept.
    oversize: Option<u32>,
}

type Shared = Arc<Mutex<Hook>>;

fn key(number: u32) -> String {
    format!("f5e5f430-f57b-4e6e-9fac-{number:012}")
}

/// Attempts to deliver, with the secret token, which is all that proves who sends.
fn deliver(hook: &Shared, number: u32) {
    let endpoint = hook.lock().unwrap().endpoint;
    let status = endpoint.and_then(|endpoint| post(endpoint, number)).unwrap_or(500);
    hook.lock().unwrap().attempts.push((number, Timestamp::now(), status));
}

fn post(endpoint: SocketAddr, number: u32) -> Option<u16> {
    let body = format!(
        r#"{{"object_kind":"push","project":{{"path_with_namespace":"c/s"}},"n":{number}}}"#
    );
    let head = format!(
        "POST /in HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\
         x-gitlab-event: Push Hook\r\nidempotency-key: {}\r\nx-gitlab-token: {SECRET}\r\n",
        body.len(),
        key(number)
    );
    let mut stream = TcpStream::connect(endpoint).ok()?;
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).ok()?;
    Reply::read(&mut BufReader::new(stream)).ok().map(|reply| reply.status)
}

fn answer(hook: &Shared, request: &Caught) -> Act {
    assert_eq!(request.header("authorization"), "Bearer a-made-up-token");
    let rest = request.path.strip_prefix(&format!("{HOOK}/events")).unwrap();
    if request.method == "POST" {
        let id = rest.strip_prefix('/').unwrap().strip_suffix("/resend").unwrap();
        let place: usize = id.parse().unwrap();
        let number = hook.lock().unwrap().attempts[place].0;
        // GitLab delivers before it answers.
        deliver(hook, number);
        return Act::Body(201, "", r#"{"response_status":200}"#.into());
    }
    let query: BTreeMap<_, _> =
        rest.strip_prefix('?').unwrap().split('&').map(|p| p.split_once('=').unwrap()).collect();
    assert_eq!(query["per_page"], "20");
    let page: usize = query["page"].parse().unwrap();
    let hook = hook.lock().unwrap();
    let before = hook.attempts.len().saturating_sub((page - 1) * PAGE);
    let first = before.saturating_sub(PAGE);
    let newest_first = (first..before).rev();
    let list: Vec<_> = newest_first
        .map(|place| {
            let (number, at, status) = hook.attempts[place];
            let data = match hook.oversize == Some(number) {
                true => json!({ "oversize": true }),
                false => json!({ "object_kind": "push" }),
            };
            json!({
                "id": place, "url": "https://example.net/", "trigger": "push_hooks",
                "request_headers": {
                    "Content-Type": "application/json", "Idempotency-Key": key(number),
                    "X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": "[REDACTED]",
                },
                "request_data": data, "response_headers": {}, "response_body": "",
                "execution_duration": 0.3, "response_status": status.to_string(),
                "created_at": at.to_string(),
            })
        })
        .collect();
    let next = if first == 0 { String::new() } else { (page + 1).to_string() };
    let headers = format!("x-page: {page}\r\nx-next-page: {next}\r\n");
    Act::Body(200, Box::leak(headers.into_boxed_str()), serde_json::to_string(&list).unwrap())
}

fn start() -> (Shared, Catcher) {
    let hook = Shared::default();
    let of_api = Arc::clone(&hook);
    let api = Catcher::start(move |_, request| answer(&of_api, request));
    (hook, api)
}

/// Events that failed in the last ten minutes.
fn fail(hook: &Shared, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let at = Timestamp::now() - SignedDuration::from_mins(10)
            + SignedDuration::from_secs(number.into());
        hook.lock().unwrap().attempts.push((number, at, 500));
    }
}

fn posts(api: &Catcher) -> usize {
    api.caught().iter().filter(|request| request.method == "POST").count()
}

fn recorded(world: &World) -> i64 {
    world.count("SELECT count(*) FROM event WHERE source = 'in'")
}

#[test]
fn after_an_outage_gitlab_is_asked_for_what_is_missing() {
    let (hook, api) = start();
    let world = plan("gitlab", &api, MORE).start();
    hook.lock().unwrap().endpoint = Some(world.address);
    for number in 0..3 {
        deliver(&hook, number);
    }
    let mut world = world;
    world.stop();
    // Five requests a minute are allowed, and the sixth would wait.
    fail(&hook, 3..8);
    hook.lock().unwrap().endpoint = None;
    let world = world.restart_stopped();
    hook.lock().unwrap().endpoint = Some(world.address);
    world.eventually("all", |world| {
        backfill(world);
        recorded(world) == 8
    });
    expect_missed(&world, 5);
    let asked = posts(&api);
    backfill(&world);
    assert_eq!((posts(&api), recorded(&world)), (asked, 8), "nothing is missing any more");
}

#[test]
fn an_event_whose_body_gitlab_has_not_kept_is_not_asked_for() {
    let (hook, api) = start();
    fail(&hook, 0..2);
    hook.lock().unwrap().oversize = Some(1);
    let world = plan("gitlab", &api, MORE).start();
    hook.lock().unwrap().endpoint = Some(world.address);
    world.eventually("the other", |world| {
        backfill(world);
        recorded(world) == 1
    });
    world.log_with("GitLab has not kept the body");
    assert_eq!(world.count("SELECT count(*) FROM awaited"), 0);
}
