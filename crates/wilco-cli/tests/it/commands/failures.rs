//! `wilco failures` and `wilco audit list`: what failed is found in groups, retried, and kept in the audit list.

use serde_json::Value;

use super::text;
use crate::world::{World, booking};

#[test]
fn failures_are_listed_in_groups_and_retried_and_the_audit_list_says_so() {
    let world = World::plan().and(FAILING).start();
    for number in 0..3 {
        assert_eq!(world.send(&booking(&format!("b-{number}"), "A")).status, 200);
    }
    world.eventually("dead deliveries", |world| {
        groups(world, &[]).first().is_some_and(|group| group["dead"] == 3)
    });
    let group = groups(&world, &[]).remove(0);
    let fields = ["destination", "error", "retrying"].map(|field| group[field].clone());
    assert_eq!(fields, ["crm".into(), "exit 3".into(), Value::from(0)], "{group}");
    let table = run(&world, &["failures", "list"]);
    assert!(table.contains("crm") && table.contains("exit 3"), "{table}");
    assert!(run(&world, &["failures", "list", "--destination", "crm"]).contains("exit 3"));

    let retry = |more: &[&str]| {
        run(
            &world,
            &[&["failures", "retry", "--destination", "crm", "--error", "exit 3"], more].concat(),
        )
    };
    assert_eq!(retry(&["--dry-run"]), "3 events would be retried in 3 new deliveries\n");
    assert_eq!(groups(&world, &[])[0]["dead"], 3, "a dry run changes nothing");
    world.reconfigure(|file| file.replace("exit 3", "exit 0"));
    assert!(run(&world, &["reload"]).contains("reloaded") || world.log().contains("reload"));
    assert_eq!(retry(&["--reason", "crm is back"]), "3 events retried in 3 new deliveries\n");
    world.eventually("no failures", |world| groups(world, &[]).is_empty());
    assert_eq!(run(&world, &["failures", "list"]), "no failures: nothing is dead or retrying\n");
    assert_eq!(retry(&[]), "crm has no dead deliveries with this error\n");

    let refused = world.run_verb(&["destinations", "pause", "nowhere"]);
    assert_eq!(refused.status.code(), Some(1));
    run(&world, &["destinations", "pause", "crm"]);
    let audit = run(&world, &["audit", "list", "--json"]);
    let audit: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<_> = audit
        .iter()
        .map(|entry| {
            let field = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
            [field("who"), field("action"), field("target"), entry["affected"].to_string()]
                .join(" ")
        })
        .collect();
    let expected = [
        "token pause_destination crm null",
        "token retry_failures crm 0",
        "token retry_failures crm 3",
        "token reload_configuration - null",
    ];
    assert_eq!(said, expected, "newest first, without the dry run");
    assert!(audit.iter().all(|entry| entry["result"] == "done"), "{audit:?}");
    let reply = world.ask(
        "POST",
        "/api/v1/destinations/nowhere/pause",
        &[("authorization", &world.authorization())],
        "",
    );
    assert_eq!(reply.status, 404);
    let page: Value = serde_json::from_str(&world.get("/api/v1/audit?limit=1").body).unwrap();
    assert_eq!(page["items"][0]["result"], "404: destination nowhere not found; known: crm");
    let long = format!("/api/v1/destinations/{}/pause", "x".repeat(2_000));
    let headers = [("authorization", &*world.authorization())];
    assert_eq!(world.ask("POST", &long, &headers, "").status, 404);
    let newest: Value = serde_json::from_str(&world.get("/api/v1/audit?limit=1").body).unwrap();
    for text in ["target", "result"] {
        assert_eq!(newest["items"][0][text].as_str().unwrap().len(), 300, "{text}");
    }
    let next = format!("/api/v1/audit?limit=1&cursor={}", page["next"].as_str().unwrap());
    let next: Value = serde_json::from_str(&world.get(&next).body).unwrap();
    assert_eq!(next["items"][0]["action"], "pause_destination");
    let table = run(&world, &["audit", "list", "--limit", "3"]);
    assert!(table.contains("pause destination") && table.contains("404: "), "{table}");
}

#[test]
fn an_action_without_a_running_wilco_is_in_the_audit_list_too() {
    let mut world = World::plan().and(FAILING).start();
    world.stop();
    assert_eq!(run(&world, &["audit", "list"]), "no actions yet\n");
    run(&world, &["destinations", "pause", "crm"]);
    let audit: Value = serde_json::from_str(&run(&world, &["audit", "list", "--json"])).unwrap();
    assert_eq!((&audit["who"], &audit["target"]), (&"command line".into(), &"crm".into()));
}

fn groups(world: &World, more: &[&str]) -> Vec<Value> {
    let listed = run(world, &[&["failures", "list", "--json"], more].concat());
    listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn run(world: &World, arguments: &[&str]) -> String {
    let output = world.run_verb(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    text(&output.stdout)
}

const FAILING: &str = "[destination.crm]\ntype = \"command\"\ncommand = [\"sh\", \"-c\", \"exit 3\"]\n\
                       retry = { first = \"100 ms\", give_up_after = \"200 ms\" }\n\
                       breaker = { failures = 1000 }\n\
                       [[route]]\nto = [\"crm\"]\n";
