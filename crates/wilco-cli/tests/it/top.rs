//! `wilco top`: the overview in a terminal.

use std::{
    io::Write as _,
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use console::measure_text_width;
use serde_json::{Value, json};

use crate::{
    catcher::{Act, Catcher},
    generated::{check_file, check_output},
    world::{World, booking, wilco},
};

const TABLES: &str = "[destination.erp]\ntype = \"print\"\n[destination.broken]\ntype = \"command\"\n\
                      command = [\"/bin/false\"]\nretry = { give_up_after = \"1 ms\" }\n\
                      [[route]]\nto = [\"erp\", \"broken\"]\n";

#[test]
fn one_frame_shows_what_is_wrong_and_fits_every_size() {
    let world = World::plan().and(TABLES).start();
    assert!(world.run_verb(&["destinations", "pause", "erp"]).status.success());
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
    world.eventually("a dead letter", |world| {
        world.metric("wilco_deliveries{destination=\"broken\",state=\"dead\"}") == 1.0
    });
    for (columns, rows, parts) in [
        (80, 24, &["ready", "events", "paused", "broken", "freispace", "free", "last hour"][..]),
        (200, 60, &["ready", "p50", "paused", "broken", "freispace", "last hour"]),
        (60, 14, &["ready", "erp", "broken", "freispace"]),
        (40, 8, &["ready", "erp", "broken"]),
        (10, 2, &["wilco"]),
        (1, 1, &[]),
    ] {
        let size = format!("{columns}x{rows}");
        let output = world.run_verb(&["top", "--once", "--size", &size]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{size}");
        assert!(text.lines().count() <= rows, "{size}\n{text}");
        assert!(text.lines().all(|line| measure_text_width(line) <= columns), "{size}\n{text}");
        assert!(!text.contains('\u{1b}'), "{size}\n{text}");
        for part in parts {
            assert!(text.contains(part), "{size}: no {part}\n{text}");
        }
    }
}

/// Everything that an overview can say is wrong, and long names.
fn overview() -> String {
    let minute = |events: u64| {
        json!({
            "began_at": "2026-11-25T13:00:00Z", "seconds": 60.0, "commits": events, "events": events,
            "requests": { "recorded": events, "wrong_signature": 12 },
            "ack": { "count": events, "p50_ms": 1.62, "p99_ms": 4.08 },
            "attempts": { "delivered": 1_040, "failed": 31, "dead": 1 },
        })
    };
    let destination = |name: &str, [pending, running, retrying, dead]: [u64; 4], state: Value| {
        let mut row = json!({
            "destination": name, "type": "http", "paused": false, "failures": 0,
            "pending": pending, "running": running, "retrying": retrying, "dead": dead,
        });
        row.as_object_mut().unwrap().extend(state.as_object().unwrap().clone());
        row
    };
    let source = |name: &str, provider: &str, last_event_at: &str, is_silent: bool| {
        json!({
            "source": name, "provider": provider, "path": "/", "last_event_at": last_event_at,
            "silent": is_silent,
        })
    };
    json!({
        "version": "0.1.0", "now": "2026-11-25T13:04:49Z", "started_at": "2026-11-21T09:30:00Z",
        "ready": true, "last_minute": minute(512),
        "minutes": (0..60).map(|at| minute(120 + at * (75 - at) / 3 + at * 37 % 40)).collect::<Vec<_>>(),
        "destinations": [
            destination("chat", [0, 0, 0, 0], json!({})),
            destination("erp", [18_204, 0, 31, 1],
                json!({ "failures": 31, "open_until": "2026-11-25T13:09:40Z" })),
            destination("archive", [12, 4, 0, 0], json!({})),
            destination("編集室の予約カレンダー", [0, 0, 2, 0], json!({ "failures": 2 })),
            destination("provision-storage-of-projects", [7, 0, 0, 0], json!({ "paused": true })),
            destination("crm", [140, 1, 1, 0],
                json!({ "asked_until": "2026-11-25T13:05:30Z" })),
        ],
        "sources": [
            source("freispace", "freispace", "2026-11-25T13:04:48Z", false),
            source("github", "github", "2026-11-25T12:40:00Z", false),
            source("shop", "shopify", "2026-11-24T08:00:00Z", true),
        ],
        "store": {
            "free_bytes": 214_748_364_800_u64, "reserve_bytes": 268_435_456, "damaged_events": 0,
            "store_bytes": 1_181_116_006, "wal_bytes": 4_194_304,
        },
        "certificate_expires_at": "2027-01-18T00:00:00Z",
    })
    .to_string()
}

#[test]
fn a_frame_looks_as_it_did_at_every_size() {
    let catcher = Catcher::of(&[Act::Body(200, "content-type: application/json\r\n", overview())]);
    let from = format!("http://{}", catcher.address);
    let folder = tempfile::tempdir().unwrap();
    let frame = |size: &str| {
        let mut command = wilco(folder.path());
        command.args(["top", "--once", "--size", size, "--from", &from]);
        let output =
            command.env("WILCO_READER_TOKEN", "a-token-of-readers").env("TZ", "XST-1").output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let sizes = ["80x24", "60x24", "80x19", "80x18", "60x12", "40x8", "120x30"];
    let drawn = sizes.map(|size| format!("# {size}\n{}", frame(size))).join("\n");
    check_file("crates/wilco-cli/tests/it/listings/top.txt", &drawn);
    check_output("docs/metrics.md", "top", &frame("80x24"));
}

#[test]
fn it_is_renewed_until_q_is_pressed_and_leaves_the_screen_as_it_was() {
    let world = World::plan().and(TABLES).start();
    let (mut script, mut keys) = start_in_terminal(&world);
    keys.write_all(b"p").unwrap();
    world.eventually("the pause", |world| screen(world).contains("paused"));
    keys.write_all(b"q").unwrap();
    assert!(script.wait().unwrap().success());
    assert!(screen(&world).contains("\u{1b}[?1049l"), "the screen is restored");
}

#[test]
fn q_ends_it_even_while_wilco_hangs() {
    let world = World::plan().and(TABLES).start();
    let (mut script, mut keys) = start_in_terminal(&world);
    world.signal("STOP");
    // By then it has asked for the next overview.
    thread::sleep(Duration::from_secs(3));
    let asked = Instant::now();
    keys.write_all(b"q").unwrap();
    assert!(script.wait().unwrap().success());
    // An answer would have been waited for for 30 s.
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    world.signal("CONT");
}

#[test]
fn a_server_cannot_control_the_terminal() {
    let problem = r#"{"type":"about:blank","title":"x","status":409,"detail":"a\u001b[2Jb\nc\u009b2Jd\u202ee"}"#;
    let catcher =
        Catcher::of(&[Act::Body(409, "content-type: application/json\r\n", problem.into())]);
    let folder = tempfile::tempdir().unwrap();
    let mut command = wilco(folder.path());
    command.args(["top", "--once", "--from", &format!("http://{}", catcher.address)]);
    let output = command.env("WILCO_READER_TOKEN", "a-token-of-readers").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("a\u{fffd}[2Jb\nc\u{fffd}2Jd\u{fffd}e"), "{said:?}");
}

/// Starts it in a terminal of 80 columns, and waits for the overview.
fn start_in_terminal(world: &World) -> (Child, ChildStdin) {
    let top = world.verb(&["top"]);
    let mut line = vec![format!("'{}'", top.get_program().to_str().unwrap())];
    line.extend(top.get_args().map(|argument| format!("'{}'", argument.to_str().unwrap())));
    // `script` gives it a terminal.
    let mut script = Command::new("script")
        .args(["-q", "-e", "-f", "-c", &format!("stty rows 24 cols 80; {}", line.join(" "))])
        .arg("typescript")
        .current_dir(world.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    world.eventually("the overview", |world| screen(world).contains("destination"));
    let keys = script.stdin.take().unwrap();
    (script, keys)
}

fn screen(world: &World) -> String {
    let bytes = std::fs::read(world.path("typescript")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn without_a_terminal_or_a_running_wilco_it_says_so() {
    let mut world = World::plan().start();
    let output = world.verb(&["top"]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "wilco: top needs a terminal; --once prints the overview as text\n";
    assert_eq!((output.status.code(), &*said), (Some(2), expected));
    assert!(world.stop().success());
    let output = world.run_verb(&["top", "--once"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("is it running?"), "{said}");
}
