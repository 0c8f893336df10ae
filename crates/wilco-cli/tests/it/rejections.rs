//! Rejected requests: what is shown of them, and how they are accepted once their signature is right.

use std::{fs, process::Stdio, thread, time::Duration};

use serde_json::Value;

use crate::world::{SECRET, World, booking, sign_with};

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

/// The digests of the bodies of all events, in the order in which they were recorded.
fn recorded(world: &World) -> Vec<Value> {
    let page =
        json(&world.get("/api/v1/events?after=evt_00000000000000000000000000&limit=1000").body);
    page["items"].as_array().unwrap().iter().map(|event| event["sha256"].clone()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
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
    assert!(other.contains("/files?token=(redacted)"), "{other}");
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

#[test]
fn requests_that_a_mistyped_secret_refused_are_all_delivered_in_order_even_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), MISTYPED).unwrap();
    let mut world = World::plan()
        .and(
            "[source.files]\nprovider = \"freispace\"\npath = \"/files\"\n\
             secrets = [{ file = \"FOLDER/secret\" }]\n\
             [destination.out]\ntype = \"file\"\npath = \"FOLDER/out\"\norder_by = \"type\"\n\
             [[route]]\nto = [\"out\"]\n",
        )
        .start_in(folder);
    let kept = reject(&world, &bodies(20));
    correct_the_secret(&world);
    let mut accepting = world
        .verb(&["rejections", "accept", "--all"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It is killed wherever the other one is then.
    while world.recorded() < 7 {
        thread::sleep(Duration::from_millis(1));
    }
    world = world.kill_and_restart();
    accepting.wait().unwrap();
    let output = world.run_verb(&["rejections", "accept", "--all"]);
    assert!(output.status.success(), "{output:?}");
    assert!(rejections(&world).is_empty());
    let order: Vec<_> = kept.iter().map(|rejection| rejection["sha256"].clone()).collect();
    assert_eq!(recorded(&world), order, "in the order of their receipt, none lost and none twice");
    let delivered = "SELECT count(*) FROM delivery WHERE state = 'delivered'";
    world.eventually("all deliveries", |world| world.count(delivered) == 20);
    let lines = fs::read_to_string(world.path("out")).unwrap();
    let place = |number: usize| lines.find(&format!("\"b-{number}\"")).unwrap();
    assert!((0..20).map(place).is_sorted(), "{lines}");
}

#[test]
fn rejections_are_listed_shown_and_accepted_with_and_without_a_running_wilco() {
    let mut world = world();
    assert_eq!(world.post_to("/files", "{}", &[]).status, 400);
    world.eventually("it", |world| rejections(world).len() == 1);
    for body in bodies(2) {
        assert_eq!(send(&world, &body, &[("cookie", "canary")]), 403);
    }
    world.eventually("the rejections", |world| rejections(world).len() == 3);
    let run = |world: &World, arguments: &[&str]| {
        let output = world.run_verb(&[&["rejections"], arguments].concat());
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let id = rejections(&world)[1]["id"].as_str().unwrap().to_owned();
    for is_running in [true, false] {
        if !is_running {
            assert!(world.stop().success());
        }
        let (code, listed, _) = run(&world, &["list"]);
        assert_eq!((code, listed.lines().count()), (0, 4), "{listed}");
        assert!(listed.contains("wrong signature") && listed.contains(&id), "{listed}");
        let (_, listed, noted) = run(&world, &["list", "--json", "--limit", "1"]);
        assert_eq!(json(&listed)["reason"], "wrong_signature", "{noted}");
        let (_, _, noted) = run(&world, &["list", "--limit", "1"]);
        assert!(noted.contains("there are more: --limit 2 "), "{noted}");
        assert_eq!(run(&world, &["list", "--source", "freispace"]).1, "no rejections that match\n");
        let (code, _, said) = run(&world, &["list", "--source", "fils"]);
        assert!(code == 1 && said.contains("did you mean files"), "{said}");
        let (_, shown, _) = run(&world, &["show", &id[..29]]);
        assert!(shown.contains("no secret of this source matches"), "{shown}");
        assert!(shown.contains("cookie: (redacted)") && !shown.contains("canary"), "{shown}");
        assert_eq!(run(&world, &["show", &id, "--raw"]).1, bodies(2)[0]);
        let (code, said, why) = run(&world, &["accept", "--all", "--source", "files"]);
        assert_eq!((code, &*said), (1, "0 requests accepted\n"), "{why}");
        assert!(why.contains("2 requests are still refused: no secret of this"), "{why}");
        let (code, _, why) = run(&world, &["accept", "rej_01M89FXQAS000XWFNKEM3JNBGP"]);
        assert!(code == 1 && why.contains("not found"), "{why}");
    }
    assert_eq!(run(&world, &["accept"]).0, 2);
    fs::write(world.path("secret"), RIGHT).unwrap();
    let (code, said, _) = run(&world, &["accept", "--all", "--since", "1h", "--dry-run"]);
    assert_eq!((code, &*said), (0, "2 requests would be accepted\n"));
    let (code, said, why) = run(&world, &["accept", &id, "--json"]);
    assert_eq!((code, &json(&said)["id"]), (0, &id.clone().into()), "{why}");
    let (code, said, why) = run(&world, &["accept", "--all"]);
    assert_eq!((code, &*said), (0, "1 request accepted\n"), "{why}");
    assert_eq!(world.recorded(), 2);
    assert_eq!(run(&world, &["list"]).1.lines().count(), 2, "the one without a signature is left");
}

#[test]
fn a_rejection_is_explained_with_its_remedy_and_without_a_secret() {
    let mut world = world();
    correct_the_secret(&world);
    let body = booking("b-1", "Grade");
    let signature = sign_with(RIGHT, body.as_bytes());
    let of_other = sign_with(SECRET, body.as_bytes());
    let rows = [
        ("x-freispace-signature", &*signature, format!("{body}\n"), "final-newline-added"),
        ("x-signature", &*signature, body.clone(), "signature-header"),
        ("x-freispace-signature", &*of_other, body.clone(), "secret-of-another-source"),
        ("x-freispace-signature", &*signature, "{}".into(), ""),
    ];
    for (header, signature, body, _) in &rows {
        let status = world.post_to("/files", body, &[(*header, *signature)]).status;
        assert!(matches!(status, 400 | 403), "{status}");
    }
    world.eventually("the rejections", |world| rejections(world).len() == rows.len());
    let ids: Vec<_> =
        rejections(&world).iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
    // While wilco runs, and without one.
    for is_running in [true, false] {
        for (id, (_, signature, _, expected)) in ids.iter().zip(&rows) {
            let output = world.run_verb(&["explain", id, "--json"]);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let changes = json(&said)["changes"].clone();
            assert_eq!(changes[0]["id"].as_str().unwrap_or_default(), *expected, "{said}");
            assert_eq!(output.status.code(), Some(i32::from(expected.is_empty())), "{output:?}");
            for canary in [RIGHT, SECRET, signature] {
                assert!(!said.contains(canary), "{said}");
            }
        }
        if is_running {
            assert!(world.stop().success());
        }
    }
    let output = world.run_verb(&["explain", &ids[0][..29]]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("with\n  - the body without the line break at its end\n    find"),
        "{said}"
    );
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
}
