//! `wilco top`: the overview in a terminal.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use console::measure_text_width;

use crate::world::{World, booking};

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

#[test]
fn it_is_renewed_until_q_is_pressed_and_leaves_the_screen_as_it_was() {
    let world = World::plan().and(TABLES).start();
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
    let screen = |world: &World| {
        let bytes = std::fs::read(world.path("typescript")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    world.eventually("the overview", |world| screen(world).contains("destination"));
    let mut keys = script.stdin.take().unwrap();
    keys.write_all(b"p").unwrap();
    world.eventually("the pause", |world| screen(world).contains("paused"));
    keys.write_all(b"q").unwrap();
    assert!(script.wait().unwrap().success());
    assert!(screen(&world).contains("\u{1b}[?1049l"), "the screen is restored");
}

#[test]
fn without_a_running_wilco_it_says_so() {
    let mut world = World::plan().start();
    assert!(world.stop().success());
    let output = world.run_verb(&["top", "--once"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("is it running?"), "{said}");
}
