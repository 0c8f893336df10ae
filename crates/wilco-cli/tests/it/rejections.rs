//! Rejected requests: what is shown of them, and how they are accepted once their signature is right.

use std::fs;

use serde_json::Value;

use crate::world::{World, booking, sign_with};

const RIGHT: &str = "the-right-made-up-secret";
const MISTYPED: &str = "the-rihgt-made-up-secret";

/// A wilco with a second source at `/files`, with a mistyped secret in the file `secret`.
fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), MISTYPED).unwrap();
    World::plan()
        .and(
            "[source.files]\nprovider = \"freispace\"\npath = \"/files\"\n\
             secrets = [{ file = \"FOLDER/secret\" }]\n",
        )
        .start_in(folder)
}

fn send(world: &World, body: &str, headers: &[(&str, &str)]) -> u16 {
    let signature = sign_with(RIGHT, body.as_bytes());
    let signed = [&[("x-freispace-signature", &*signature)], headers].concat();
    world.post_to("/files", body, &signed).status
}

fn correct_the_secret(world: &World) {
    fs::write(world.path("secret"), RIGHT).unwrap();
    let output = world.run_verb(&["reload"]);
    assert!(output.status.success(), "{output:?}");
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The rejections, oldest first.
fn rejections(world: &World) -> Vec<Value> {
    let page = json(&world.get("/api/v1/rejections?oldest_first=true&limit=1000").body);
    page["items"].as_array().unwrap().clone()
}

/// Has these requests refused, and waits until they are kept.
fn reject(world: &World, bodies: &[String]) -> Vec<Value> {
    for body in bodies {
        assert_eq!(send(world, body, &[]), 403);
    }
    world.eventually("the rejections", |world| rejections(world).len() == bodies.len());
    rejections(world)
}

fn bodies(count: usize) -> Vec<String> {
    (0..count).map(|number| booking(&format!("b-{number}"), "Grade")).collect()
}

fn accept(world: &World, id: &Value, body: &str) -> (u16, Value) {
    let path = format!("/api/v1/rejections/{}/accept", id.as_str().unwrap());
    let authorization = world.authorization();
    let headers = [("authorization", &*authorization), ("content-type", "application/json")];
    let reply = world.ask("POST", &path, &headers, body);
    (reply.status, json(&reply.body))
}

#[test]
fn the_api_shows_a_rejection_without_its_secrets_and_its_body_to_the_byte() {
    let world = world();
    let body = booking("b-1", "Gräde");
    assert_eq!(
        send(&world, &body, &[("authorization", "Bearer canary"), ("x-plain", "seen")]),
        403
    );
    assert_eq!(world.post_to("/files?token=canary", "{}", &[("cookie", "canary")]).status, 400);
    world.eventually("two rejections", |world| rejections(world).len() == 2);
    let [wrong, missing] = &rejections(&world)[..] else { panic!() };
    assert_eq!(wrong["source"], "files");
    assert_eq!(wrong["provider"], "freispace");
    assert_eq!(
        (&wrong["reason"], &missing["reason"]),
        (&"wrong_signature".into(), &"missing_signature".into())
    );
    assert_eq!((&wrong["complete"], &missing["complete"]), (&true.into(), &false.into()));
    assert_eq!((&wrong["client"], &wrong["method"]), (&"127.0.0.1".into(), &"POST".into()));
    assert_eq!(wrong["bytes"], body.len());
    let id = wrong["id"].as_str().unwrap();
    assert!(id.starts_with("rej_"), "{id}");
    let shown = world.get(&format!("/api/v1/rejections/{id}")).body;
    let detail = json(&shown);
    assert_eq!(detail["body"], body);
    assert!(shown.contains("seen") && shown.contains("x-freispace-signature"), "{shown}");
    let other = world.get(&format!("/api/v1/rejections/{}", missing["id"].as_str().unwrap())).body;
    let listed = world.get("/api/v1/rejections").body;
    assert!(other.contains("/files?token=(blanked)"), "{other}");
    assert!(!format!("{shown}{other}{listed}{}", world.log()).contains("canary"), "{shown}{other}");
    assert_eq!(world.get(&format!("/api/v1/rejections/{id}/body")).body, body);
    let unknown = "/api/v1/rejections/rej_01M89FXQAS000XWFNKEM3JNBGP";
    assert_eq!(world.get(unknown).status, 404);
    assert_eq!(
        json(&world.get("/api/v1/rejections?source=freispace").body)["items"],
        Value::Array(vec![])
    );
}

#[test]
fn a_rejection_is_accepted_only_once_its_signature_is_right() {
    let world = world();
    let kept = reject(&world, &bodies(2));
    let (status, problem) = accept(&world, &kept[0]["id"], "{}");
    assert_eq!(status, 409, "{problem}");
    assert!(
        problem["detail"].as_str().unwrap().contains("no secret of this source matches"),
        "{problem}"
    );
    assert_eq!(rejections(&world).len(), 2);
    correct_the_secret(&world);
    let (status, answer) = accept(&world, &kept[0]["id"], "{\"dry_run\": true}");
    assert_eq!(
        (status, &answer["event"], &answer["event_id"]),
        (200, &"booking.updated".into(), &Value::Null)
    );
    assert_eq!(world.recorded(), 0);
    let (status, answer) = accept(&world, &kept[0]["id"], "{}");
    assert_eq!(status, 200, "{answer}");
    let event =
        json(&world.get(&format!("/api/v1/events/{}", answer["event_id"].as_str().unwrap())).body);
    assert_eq!(event["received_at"], kept[0]["received_at"]);
    assert_eq!(event["sha256"], kept[0]["sha256"]);
    assert_eq!(accept(&world, &kept[0]["id"], "{}").0, 404);
    // The provider has sent the other one again meanwhile.
    assert_eq!(send(&world, &bodies(2)[1], &[]), 200);
    let (status, answer) = accept(&world, &kept[1]["id"], "{}");
    assert_eq!((status, &answer["duplicate"]), (200, &true.into()), "{answer}");
    assert_eq!(world.recorded(), 2);
    assert_eq!(rejections(&world), [] as [Value; 0]);
}
