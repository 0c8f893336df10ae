//! The command line: what each verb prints, exits with, and leaves behind.

mod backup;
mod diff;
mod events;
mod explain;
mod failures;
mod health;
mod help;
mod place;
mod replay;
mod show;
mod start;
mod tail;
mod waiting;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::world::{Reply, SECRET, World, booking, sign, wilco};

#[test]
fn the_demo_handles_every_sample_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let output = wilco(folder.path()).args(["demo", "--once"]).output().unwrap();
    let said = text(&output.stdout);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{said}");
    let samples = ::wilco::freispace::SAMPLES.iter().map(|(name, _)| *name);
    let rows = said.lines().filter(|line| line.contains('✓'));
    for (name, row) in samples.chain(["(a duplicate)", "(a forgery)"]).zip(rows) {
        assert!(row.trim_start().starts_with(name), "{name}\n{said}");
    }
    assert_eq!((said.matches('✓').count(), said.matches('✗').count()), (17, 0), "{said}");
    for expected in ["200 in", "403 in", "not repeated", "crew-note, folders"] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    assert!(said.ends_with("verified, recorded, acknowledged, and then handled.\n"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn the_demo_shows_what_others_send_and_leaves_nothing_behind_however_it_ends() {
    for signal in ["INT", "TERM", "HUP"] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = wilco(folder.path());
        command.arg("demo").env("TMPDIR", folder.path()).stdout(Stdio::piped());
        let mut demo = command.spawn().unwrap();
        let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
        let link = lines.find(|line| line.contains("/login?code=")).unwrap();
        let (address, path) = link.trim().strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut dashboard = TcpStream::connect(address).unwrap();
        write!(dashboard, "GET /{path} HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
        assert_eq!(Reply::read(&mut BufReader::new(dashboard)).unwrap().status, 303, "{link}");
        let secret = lines.find(|line| line.contains("export FREISPACE_SECRET=")).unwrap();
        let suggested = lines.find(|line| line.contains(" send booking.created --to ")).unwrap();
        let (_, secret) = secret.split_once('=').unwrap();
        let words: Vec<_> = suggested.split_whitespace().collect();
        let sent =
            Command::new(words[0]).args(&words[1..]).env("FREISPACE_SECRET", secret).output();
        assert!(sent.unwrap().status.success(), "{suggested}");
        let row = lines.find(|line| line.starts_with("  booking.created  ")).unwrap();
        assert!(row.contains("✓ crew-note"), "{row}");
        let pid = demo.id().to_string();
        assert!(
            Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success()
        );
        assert_eq!(demo.wait().unwrap().code(), Some(0), "{signal}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{signal}");
    }
}

#[test]
fn send_sends_a_sample_a_file_or_stdin() {
    let world = World::plan().start();
    fs::write(world.path("body.json"), booking("b-1", "Größe")).unwrap();
    for (what, stdin, subject) in [
        ("project.created", "", "project/"),
        ("body.json", "", "booking/b-1"),
        ("-", r#"{"type":"offer","id":"o-1"}"#, "offer/o-1"),
    ] {
        let mut command = send(&world, &[what]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}");
        let event = world.events().pop().unwrap();
        assert!(event["subject"].as_str().unwrap().starts_with(subject), "{event}");
        assert!(said.starts_with("200 OK in ") && said.lines().count() == 1, "{said}");
        let id = event["id"].as_str().unwrap();
        assert!(said.ends_with(&format!("s  {id}  Webhook processed successfully\n")), "{said}");
    }
}

#[test]
fn send_follows_its_options() {
    let world = World::plan().start();
    fs::write(world.path("body.json"), booking("b-1", "A")).unwrap();
    let all = |count| format!("{count:>8}  200 OK  Webhook processed successfully\n");
    for (arguments, code, said, recorded) in [
        (&["booking.created"][..], 0, "200 OK in ".to_owned(), 1),
        (&["booking.created", "--again"], 0, "  duplicate: already recorded, not".into(), 1),
        (&["booking.created", "--tamper"], 0, "403 Forbidden in ".into(), 0),
        (&["booking.updated", "--count", "40", "--concurrency", "8"], 0, all(40), 40),
        (&["offer.finalized", "--count", "2", "--again"], 0, all(4), 2),
        (
            &["offer.finalized", "--count", "2", "--again"],
            0,
            "       2  of them duplicate".into(),
            2,
        ),
        (&["body.json"], 0, "  Webhook processed successfully\n".into(), 1),
        (&["body.json"], 0, "change the body to send a new event\n".into(), 0),
        (
            &["booking.created", "--tamper", "--count", "5"],
            0,
            "       5  403 Forbidden  I".into(),
            0,
        ),
        (&["booking.created", "--secret-env", "OTHER"], 1, "Invalid signature\n".into(), 0),
        (&["wilco.toml"], 1, "400 Bad Request in ".into(), 0),
    ] {
        let before = world.recorded();
        let output = send(&world, arguments).env("OTHER", "another-secret").output().unwrap();
        let printed = text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {output:?}");
        assert!(printed.contains(&said), "{arguments:?} {said:?} {printed}");
        assert_eq!(world.recorded() - before, recorded, "{arguments:?}");
        assert_eq!(text(&output.stderr), "", "{arguments:?}");
        if printed.lines().count() > 2 {
            assert!(printed.contains("; p50 ") && printed.contains(", slowest "), "{printed}");
        }
    }
    let output = send(&world, &["project.updated", "--again"]).output().unwrap();
    let ids: Vec<_> =
        text(&output.stdout).lines().map(|l| l.split("  ").nth(1).unwrap().to_owned()).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1] && ids[0].starts_with("evt_"), "{ids:?}");
    let began = Instant::now();
    send(&world, &["booking.created", "--count", "6", "--rate", "20/s"]).output().unwrap();
    assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
}

#[test]
fn send_takes_the_url_and_the_secret_from_the_configuration() {
    let world = World::plan().start();
    let sent = world.run_verb(&["send", "booking.created"]);
    assert_eq!((sent.status.code(), world.recorded()), (Some(0), 1), "{sent:?}");
    let sent = world.run_verb(&["send", "booking.created"]);
    assert_eq!((sent.status.code(), world.recorded()), (Some(0), 2), "{sent:?}");
}

#[test]
fn send_says_why_the_configuration_has_no_url() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wilco.toml");
    for (address, expected) in [
        ("systemd", "listens only on the sockets that systemd opens"),
        ("unix:wilco.sock", "listens only on a Unix socket; name a URL with --to"),
    ] {
        let config = format!(
            "[listen]\naddress = {address:?}\ntls = \"off\"\n[store]\nurl = \"sqlite:x.db\"\n\
             [source.freispace]\nprovider = \"freispace\"\npath = \"/webhook\"\n\
             secrets = [{{ env = \"FREISPACE_SECRET\" }}]\n"
        );
        fs::write(&file, config).unwrap();
        let mut command = wilco(folder.path());
        command.env("FREISPACE_SECRET", SECRET).args(["send", "booking.created"]);
        let output = command.arg("--config").arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains(expected), "{output:?}");
    }
}

#[test]
fn the_requests_sent_before_ctrl_c_are_summarised() {
    let world = World::plan().start();
    let mut command = send(&world, &["booking.created", "--count", "100000", "--rate", "50/s"]);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    world.eventually("some are recorded", |world| world.recorded() > 3);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("  200 OK  Webhook") && said.contains("; p50 "), "{said}");
}

#[test]
fn send_says_what_is_wrong_and_how_to_fix_it() {
    let world = World::plan().start();
    let nobody = ["booking.created", "--to", "http://127.0.0.1:1/webhook"].as_slice();
    for (arguments, code, said) in [
        (&["booking"][..], 2, "\"booking\" is neither a sample nor a file"),
        (&["booking"], 2, "the samples are project.created, offer.finalized"),
        (&["booking.create"], 2, "did you mean booking.created?"),
        (&["booking.created", "--secret-env", "NONE"], 78, "NONE is not set; set it: export NONE"),
        (&["booking.created", "--secret-env", "SHORT"], 78, "has 5 bytes and needs 8; is it cut"),
        (&["booking.created", "--rate", "fast"], 2, "invalid rate \"fast\": expected a number"),
        (nobody, 1, "(os error 111); is wilco running there?"),
    ] {
        let mut command = send(&world, arguments);
        if arguments.contains(&"--to") {
            command = wilco(world.folder.path());
            command.env("FREISPACE_SECRET", SECRET).arg("send").args(arguments);
        }
        let output = command.env("SHORT", "short").output().unwrap();
        let printed = text(&output.stderr) + &text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {printed}");
        assert!(printed.contains(said), "{arguments:?} {printed}");
        assert!(!printed.contains("panicked") && !printed.contains("client error"), "{printed}");
    }
    assert_eq!(world.recorded(), 0);
}

#[test]
fn init_writes_a_file_that_check_finds_fine() {
    for (options, code) in [
        (&[][..], 0),
        (&["--tls", "off", "--listen", "127.0.0.1:0"], 0),
        (&["--tls", "self-signed", "--listen", "unix:/tmp/x.sock"], 0),
        (&["--exec", "cat -n 'a \"b\" \\c'"], 0),
        (&["--forward", "https://erp.example.com/hooks?a=b"], 0),
        (&["--exec", "true", "--forward", "http://127.0.0.1:1/", "--tls", "off"], 0),
        (&["--output", "wilco.toml", "--secret-env", "FREISPACE_SECRET"], 0),
        (&["--tls", "files"], 78), // until there is a certificate
        (&["--secret-env", "NOT_SET"], 78),
        (&["--domain", "hooks.example.com"], 0),
        (&["--tls", "acme", "--domain", "hooks.example.com", "--listen", "[::]:8443"], 0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let here = |arguments: &[&str]| {
            let mut command = wilco(folder.path());
            command.env("FREISPACE_SECRET", SECRET).stdin(Stdio::null());
            command.args(arguments).output().unwrap()
        };
        let output = here(&[&["init"], options].concat());
        assert!(output.status.success(), "{options:?} {output:?}");
        let said = text(&output.stdout);
        assert!(said.starts_with("wrote wilco.toml\n") && said.contains("wilco check"), "{said}");
        let checked = here(&["check"]);
        assert_eq!(checked.status.code(), Some(code), "{options:?} {}", text(&checked.stderr));
        let written = fs::read(folder.path().join("wilco.toml")).unwrap();
        let again = here(&["init", "--tls", "off"]);
        let refusal = "wilco: wilco.toml already exists; overwrite it with --force, or name another \
                   with --output FILE\n";
        assert_eq!((again.status.code(), text(&again.stderr).as_str()), (Some(1), refusal));
        assert_eq!(fs::read(folder.path().join("wilco.toml")).unwrap(), written);
        assert!(here(&["init", "--force", "--tls", "off"]).status.success());
        assert_ne!(fs::read(folder.path().join("wilco.toml")).unwrap(), written);
    }
}

#[test]
fn wrong_usage_exits_with_2_and_explains_the_right_one() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, said) in [
        (&[][..], "Usage: wilco"),
        (&["serv"], "'serve'"),
        (&["serve", "--listn", "x"], "'--listen'"),
        (&["serve", "--listen", "x"], ": expected IP:PORT"),
        (&["serve", "--drain", "soon"], "expected one such as \"30 s\""),
        (&["serve", "--config", "a", "--no-tls"], "cannot be used with"),
        (&["serve", "--exec", "'open"], "is a quote left open?"),
        (&["serve", "--exec", "no-such-program"], "no program \"no-such-program\" in PATH"),
        (&["serve", "--forward", "erp.example.com"], "invalid url: expected http:"),
        (&["send"], "<EVENT|FILE>"),
        (&["send", "booking.created", "--to", "ftp://x"], "invalid url"),
        (&["events"], "Usage: wilco events"),
        (&["events", "list", "--limit", "x"], "'--limit <N>': expected a whole number, such as 50"),
        (&["events", "list", "--all", "--limit", "2"], "cannot be used with"),
        (&["events", "list", "--since", "someday"], "expected 2026-11-24, 14:00"),
        (&["completions", "basic"], "[possible values: bash"),
        (&["init", "--tls", "on"], "invalid tls \"on\": expected acme, files, self-signed or off"),
        (&["init", "--tls", "off", "--domain", "a.example.com"], "--domain is for --tls acme"),
        (&["init", "--listen", "x"], ": expected IP:PORT"),
        (&["serve", "--log-format", "xml"], "[possible values: text, json]"),
        (&["check", "--log-format", "json"], "unexpected argument '--log-format'"),
        (&["verify", "--provider", "githb"], "provider githb not found; did you mean github?\n"),
        (&["verify", "--provider", "zzzzzzzz"], "not found; `wilco providers` lists them\n"),
    ] {
        let mut command = wilco(folder.path());
        command.env("FREISPACE_SECRET", SECRET).stdin(Stdio::null());
        let output = command.args(arguments).output().unwrap();
        let printed = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {printed}");
        assert!(printed.contains(said), "{arguments:?} {printed}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn no_output_contains_a_secret_or_an_escape_code() {
    let print = "[destination.print]\ntype = \"print\"\n[[route]]\nto = [\"print\"]\n";
    let world = World::plan().and(print).env("RUST_LOG", "trace").start();
    let body = booking("b-1", "Grade");
    let id = world.send(&body).header("x-wilco-event").unwrap().to_owned();
    let forged = body.replace("Grade", "Forged");
    for signature in ["", "x", &sign(b"other"), SECRET, &format!("sha256={}", sign(b"x"))] {
        world.post(&forged, &[("x-freispace-signature", signature)]);
    }
    world.exchange(b"POST /webhook HTTP/1.1\r\nhost: a\nx\n\n");
    let mut said = world.get("/metrics").body + &world.get("/api/v1/events").body;
    for arguments in [
        &["check"][..],
        &["events", "list"],
        &["events", "list", "--json"],
        &["events", "show", &id],
        &["events", "show", &id, "--json"],
        &["events", "show", "evt_00000000000000000000000000"],
        &["reload"],
        &["serve"], // the store is taken
    ] {
        let output = world.verb(arguments).env("RUST_LOG", "trace").output().unwrap();
        said += &(text(&output.stdout) + &text(&output.stderr));
    }
    for arguments in [&["offer.finalized"][..], &["offer.finalized", "--tamper"]] {
        let output = send(&world, arguments).env("RUST_LOG", "trace").output().unwrap();
        said += &(text(&output.stdout) + &text(&output.stderr));
    }
    for line in ["secret = KEY", "x = 1\nsecrets_ = [KEY]", "[admin]\ntoken = KEY", "token = [KEY"]
    {
        let file = format!("[source.freispace]\n{}\n", line.replace("KEY", &format!("{SECRET:?}")));
        fs::write(world.path("wilco.toml"), file).unwrap();
        let output = world.run_verb(&["reload"]);
        assert_eq!(output.status.code(), Some(78), "{line}");
        said += &text(&output.stderr);
    }
    assert!(said.contains("did you mean secrets?"), "{said}");
    world.eventually("a line", |w| fs::metadata(w.path("stdout")).unwrap().len() > 0);
    said += &(world.log() + &fs::read_to_string(world.path("stdout")).unwrap());
    // An attacker who reads the answers must not learn the right signature.
    let wanted = sign(forged.as_bytes());
    for word in [&wanted, "\u{1b}["] {
        assert!(!said.contains(word), "{word:?}");
    }
    let lines = said.lines().filter(|line| line.contains(SECRET)).collect::<Vec<_>>();
    assert!(lines.is_empty(), "{lines:#?}");
}

/// What a command prints to a terminal of this width.
pub(crate) fn on_a_terminal(
    command: &Command,
    columns: usize,
    environment: &[(&str, &str)],
) -> String {
    on_terminals(command, &[(columns, true)], environment, usize::MAX).remove(0)
}

/// What a command prints to terminals of these widths, with colours or without them. It is stopped after
/// this many lines.
pub(crate) fn on_terminals(
    command: &Command,
    terminals: &[(usize, bool)],
    environment: &[(&str, &str)],
    lines_max: usize,
) -> Vec<String> {
    const SCRIPT: &str = "import fcntl, os, pty, signal, struct, sys, termios\n\
        for terminal in sys.argv[1].split():\n \
        columns, coloured = terminal.split(':')\n \
        pid, fd = pty.fork()\n \
        if pid == 0:\n  \
        if coloured == 'false': os.environ['NO_COLOR'] = '1'\n  \
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24, int(columns), 0, 0))\n  \
        os.execv(sys.argv[3], sys.argv[3:])\n \
        lines = int(sys.argv[2])\n \
        try:\n  \
        while lines > 0 and (part := os.read(fd, 65536)):\n   \
        lines -= part.count(b'\\n')\n   \
        sys.stdout.buffer.write(part)\n  \
        os.kill(pid, signal.SIGKILL)\n \
        except OSError: pass\n \
        os.waitpid(pid, 0)\n \
        sys.stdout.buffer.write(b'\\0')\n";
    let terminals = terminals.iter().map(|(columns, coloured)| format!("{columns}:{coloured}"));
    let mut python = Command::new("python3");
    // Without what it would read at its start, it is there in half the time.
    python.args(["-ISc", SCRIPT, &terminals.collect::<Vec<_>>().join(" "), &lines_max.to_string()]);
    python.arg(command.get_program()).args(command.get_args());
    python.current_dir(command.get_current_dir().unwrap()).env_remove("NO_COLOR");
    let set = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    python.envs(set).envs(environment.iter().copied());
    let printed = text(&python.output().unwrap().stdout).replace('\r', "");
    printed.split_terminator('\0').map(str::to_owned).collect()
}

/// `wilco send` to this world.
fn send(world: &World, arguments: &[&str]) -> Command {
    let to = format!("http://{}/webhook", world.address);
    let mut command = wilco(world.folder.path());
    command.env("FREISPACE_SECRET", SECRET).arg("send").args(arguments).args(["--to", &to]);
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
