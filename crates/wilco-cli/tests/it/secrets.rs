//! Two secrets of one source: the next one in a file with the ending `.new`, and when each matched.

use std::fs;

use serde_json::Value;

use crate::world::{World, booking, sign_with};

const OLD: &str = "the-old-made-up-secret";
const NEW: &str = "the-new-made-up-secret";

/// A wilco with a second source at `/files`, with its secret in the file `secret`.
fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), OLD).unwrap();
    World::plan()
        .and(
            "[source.files]\nprovider = \"freispace\"\npath = \"/files\"\n\
             secrets = [{ file = \"FOLDER/secret\" }]\n",
        )
        .start_in(folder)
}

fn send(world: &World, secret: &str, body: &str) -> (u16, Option<String>) {
    let signature = sign_with(secret, body.as_bytes());
    let reply = world.post_to("/files", body, &[("x-freispace-signature", &signature)]);
    (reply.status, reply.header("x-wilco-event").map(str::to_owned))
}

fn reload(world: &World) {
    let output = world.run_verb(&["reload"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_secret_in_a_file_is_changed_by_a_reload_while_both_are_accepted() {
    let world = world();
    assert_eq!(send(&world, NEW, &booking("b-1", "A")).0, 403);
    assert_eq!(send(&world, OLD, &booking("b-1", "A")).0, 200);
    fs::write(world.path("secret.new"), NEW).unwrap();
    reload(&world);
    // Both endpoints of the provider send the event: it is recorded once, whichever is first.
    let (status, id) = send(&world, OLD, &booking("b-1", "B"));
    assert_eq!((status, &id), (200, &send(&world, NEW, &booking("b-1", "B")).1));
    let (status, id) = send(&world, NEW, &booking("b-1", "C"));
    assert_eq!((status, &id), (200, &send(&world, OLD, &booking("b-1", "C")).1));
    assert_eq!(world.recorded(), 3);
    fs::rename(world.path("secret.new"), world.path("secret")).unwrap();
    reload(&world);
    assert_eq!(send(&world, OLD, &booking("b-1", "D")).0, 403);
    assert_eq!(send(&world, NEW, &booking("b-1", "D")).0, 200);
    assert_eq!(world.recorded(), 4);
}

#[test]
fn the_next_secret_is_checked_like_any_other() {
    let world = world();
    for (content, expected) in [
        ("", "secret.new is empty"),
        ("x", "secret.new has 1 byte and needs 8"),
        ("short", "secret.new has 5 bytes and needs 8"),
        ("in two lines\n\n", "secret.new begins or ends with white space"),
    ] {
        fs::write(world.path("secret.new"), content).unwrap();
        let output = world.run_verb(&["reload"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    fs::remove_file(world.path("secret.new")).unwrap();
    fs::create_dir(world.path("secret.new")).unwrap();
    let said = String::from_utf8(world.run_verb(&["check"]).stderr).unwrap();
    assert!(said.contains("cannot read") && said.contains("secret.new"), "{said}");
}

#[test]
fn the_admin_api_says_how_often_and_when_each_secret_matched_with_duplicates() {
    let world = world();
    fs::write(world.path("secret.new"), NEW).unwrap();
    reload(&world);
    for secret in [OLD, NEW, OLD] {
        assert_eq!(send(&world, secret, &booking("b-1", "A")).0, 200);
    }
    assert_eq!(send(&world, "some-other-made-up-secret", &booking("b-1", "A")).0, 403);
    reload(&world);
    let reply = world.get("/api/v1/secrets");
    let answer: Value = serde_json::from_str(&reply.body).unwrap();
    let secrets = answer["items"].as_array().unwrap();
    let file = world.path("secret").display().to_string();
    let expected = [
        ("files", format!("file:{file}"), 2),
        ("files", format!("file:{file}.new"), 1),
        ("freispace", "env:FREISPACE_SECRET".into(), 0),
    ];
    assert_eq!(secrets.len(), expected.len(), "{answer}");
    for (found, (source, name, matches)) in secrets.iter().zip(expected) {
        assert_eq!(found["source"], source, "{answer}");
        assert_eq!(found["secret_name"], name, "{answer}");
        assert_eq!(found["provider"], "freispace", "{answer}");
        assert_eq!(found["matches"], matches, "{answer}");
        assert_eq!(found["last_match"].is_string(), matches > 0, "{answer}");
        assert_eq!(found["others_matched_since"], i32::from(name.ends_with(".new")), "{answer}");
        let in_order = [&found["since"], &found["first_match"], &found["last_match"]];
        let times: Vec<jiff::Timestamp> = in_order
            .iter()
            .filter_map(|time| time.as_str())
            .map(|time| time.parse().unwrap())
            .collect();
        assert!(times.is_sorted(), "{answer}");
    }
    assert!(!reply.body.contains("made-up"), "{answer}");
}

#[test]
fn the_status_says_which_secret_is_in_use() {
    let world = world();
    fs::write(world.path("secret.new"), NEW).unwrap();
    reload(&world);
    assert_eq!(send(&world, NEW, &booking("b-1", "A")).0, 200);
    let output = world.run_verb(&["secrets", "status", "--source", "files"]);
    let said = String::from_utf8_lossy(&output.stdout);
    let line = |end: &str| {
        let mut lines = said.lines();
        lines.find(|line| line.split_whitespace().any(|cell| cell.ends_with(end))).unwrap()
    };
    assert!(line("/secret.new").contains("in use"), "{said}");
    assert!(line("/secret").contains("not used yet, since 20"), "{said}");
    let output = world.run_verb(&["secrets", "status", "--json"]);
    let rows: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert!(rows.iter().all(|row| row["can_be_removed"] == false), "{rows:?}");
    let output = world.run_verb(&["secrets", "status", "--source", "fils"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean files?"), "{output:?}");
}

#[test]
fn matches_survive_a_kill_and_are_shown_without_a_running_wilco() {
    let world = world();
    fs::write(world.path("secret.new"), NEW).unwrap();
    reload(&world);
    assert_eq!(send(&world, OLD, &booking("b-1", "A")).0, 200);
    let world = world.kill_and_restart();
    assert_eq!(send(&world, NEW, &booking("b-1", "A")).0, 200);
    let matches = |world: &World| -> Vec<(String, u64, u64)> {
        let output = world.run_verb(&["secrets", "status", "--json", "--source", "files"]);
        let rows = String::from_utf8_lossy(&output.stdout).into_owned();
        let rows = rows.lines().map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            let name = row["secret_name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            let number = |key: &str| row[key].as_u64().unwrap();
            (name, number("matches"), number("others_matched_since"))
        });
        rows.collect()
    };
    let expected = [("secret".to_owned(), 1, 1), ("secret.new".to_owned(), 1, 0)];
    assert_eq!(matches(&world), expected);
    let mut world = world;
    assert!(world.stop().success());
    assert_eq!(matches(&world), expected);

    // A secret that is removed is forgotten, even if it returns.
    fs::remove_file(world.path("secret.new")).unwrap();
    let world = world.restart_stopped();
    world.eventually("the removed secret is forgotten", |world| {
        world.count("SELECT count(*) FROM secret_match WHERE source = 'files'") == 1
    });
    fs::write(world.path("secret.new"), NEW).unwrap();
    reload(&world);
    world.eventually("the secret is known again", |world| {
        matches(world) == [("secret".to_owned(), 1, 1), ("secret.new".to_owned(), 0, 0)]
    });
}
