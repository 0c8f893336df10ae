//! `wilco check --connect`: whether the destinations can be reached.

use std::{
    fs,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::Path,
    process::{Command, Output},
};

use wilco_server::{config, service::KINDS};

use super::{
    GOOD,
    certificate::{FILES, Pem},
    text,
};
use crate::{
    catcher::Catcher,
    survival::skip,
    world::{SECRET, World, copy_wilco_to, wilco},
};

/// A file with these destinations and a route to all of them, and what `wilco check --connect` prints about them.
fn connect(folder: &Path, tables: &str, change: impl FnOnce(&mut Command)) -> (Output, String) {
    let routes = "[[route]]\nto = [\"NAMES\"]\n";
    let names: Vec<_> =
        tables.lines().filter_map(|line| line.strip_prefix("[destination.")).collect();
    let names: Vec<_> = names.iter().map(|line| line.trim_end_matches(']')).collect();
    let file = format!("{GOOD}{tables}{}", routes.replace("NAMES", &names.join("\", \"")));
    fs::write(folder.join("wilco.toml"), file).unwrap();
    let mut command = wilco(folder);
    command.env("S", SECRET).args(["check", "--connect"]);
    change(&mut command);
    let output = command.output().unwrap();
    let stdout = text(&output.stdout);
    (output, stdout)
}

/// The line about a destination, without the padding.
fn line<'t>(printed: &'t str, name: &str) -> Vec<&'t str> {
    let start = format!("{name} ");
    let line = printed.lines().find(|line| line.starts_with(&start));
    let line = line.unwrap_or_default();
    assert!(!line.is_empty(), "{name} is missing:\n{printed}");
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn every_destination_that_can_be_reached_has_a_line_and_gets_no_event() {
    let folder = tempfile::tempdir().unwrap();
    Pem::make().write(folder.path());
    let tls = World::plan().tls(FILES).start_in(folder);
    let (catcher, folder) = (Catcher::new(), tempfile::tempdir().unwrap());
    let tables = format!(
        "[destination.plain]\ntype = \"http\"\nurl = \"{url}\"\n\
         [destination.tls]\ntype = \"http\"\nurl = \"https://localhost:{port}/\"\n\
         [destination.chat]\ntype = \"slack\"\nurl = {{ env = \"URL\" }}\ntext = \"x\"\n\
         [destination.team]\ntype = \"teams\"\nurl = {{ env = \"URL\" }}\ntext = \"x\"\n\
         [destination.guild]\ntype = \"discord\"\nurl = {{ env = \"URL\" }}\ntext = \"x\"\n\
         [destination.phone]\ntype = \"ntfy\"\nurl = {{ env = \"URL\" }}\ntext = \"x\"\n\
         [destination.program]\ntype = \"command\"\ncommand = [\"sh\", \"-c\", \"touch run\"]\n\
         limits = {{ files = 64 }}\n\
         [destination.kept]\ntype = \"command\"\ncommand = \"/bin/cat\"\nprotocol = \"lines\"\n\
         [destination.archive]\ntype = \"file\"\npath = \"events.jsonl\"\n\
         [destination.stdout]\ntype = \"print\"\n",
        url = catcher.url(),
        port = tls.address.port(),
    );
    let (output, printed) = connect(folder.path(), &tables, |command| {
        command.env("URL", format!("http://{}/canary-topic", catcher.address));
        command.env("SSL_CERT_FILE", tls.path("cert.pem"));
    });
    assert_eq!(output.status.code(), Some(0), "{printed}{}", text(&output.stderr));
    let connected = format!("connected to {}", catcher.address);
    let with_tls = format!("connected to localhost:{}, TLS", tls.address.port());
    let rows = [
        ("plain", "http", connected.as_str()),
        ("tls", "http", &with_tls),
        ("chat", "slack", &connected),
        ("team", "teams", &connected),
        ("guild", "discord", &connected),
        ("phone", "ntfy", &connected),
        ("program", "command", "can start sh"),
        ("kept", "command", "can start /bin/cat"),
        ("archive", "file", "can write to events.jsonl"),
        ("stdout", "print", "standard output"),
    ];
    for (name, kind, expected) in rows {
        assert_eq!(line(&printed, name), [name, kind, "ok", expected], "{printed}");
    }
    for kind in config::schema(KINDS).variants {
        assert!(rows.iter().any(|row| row.1 == kind.name), "{} needs a row here", kind.name);
    }
    let columns: Vec<_> = printed.lines().skip(2).filter_map(|line| line.find(" ok ")).collect();
    assert!(columns.iter().all(|column| *column == columns[0]), "aligned:\n{printed}");
    assert!(printed.lines().all(|line| line.chars().count() <= 80), "{printed}");
    assert_eq!(catcher.caught().len(), 0, "no request was sent");
    for name in ["run", "events.jsonl"] {
        assert!(!folder.path().join(name).exists(), "{name}");
    }
}

#[test]
fn a_destination_that_cannot_be_reached_is_named_with_the_reason() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // It accepts connections but never answers the handshake.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let (catcher, folder) = (Catcher::new(), tempfile::tempdir().unwrap());
    let script = folder.path().join("script");
    fs::write(&script, "#!/no/interpreter\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    Pem::make().write(folder.path());
    let tables = format!(
        "[destination.good]\ntype = \"http\"\nurl = \"{url}\"\n\
         [destination.refuses]\ntype = \"slack\"\nurl = {{ env = \"URL\" }}\ntext = \"x\"\n\
         [destination.mute]\ntype = \"http\"\nurl = \"https://{mute}/\"\ntimeout = \"1 s\"\n\
         [destination.no-tls]\ntype = \"http\"\nurl = \"https://{plain}/\"\n\
         [destination.script]\ntype = \"command\"\ncommand = \"./script\"\n",
        url = catcher.url(),
        mute = mute.local_addr().unwrap(),
        plain = catcher.address,
    );
    let (output, printed) = connect(folder.path(), &tables, |command| {
        command.env("URL", format!("http://{free}/canary-secret"));
        command.env("SSL_CERT_FILE", folder.path().join("cert.pem"));
    });
    assert_eq!(output.status.code(), Some(1), "{printed}{}", text(&output.stderr));
    for (name, state, expected) in [
        ("good", "ok", "connected to 127.0.0.1:"),
        ("refuses", "failed", "tcp connect error: Connection refused (os error 111)"),
        ("mute", "failed", "no connection within 1 s"),
        ("no-tls", "failed", "tls handshake eof"),
        ("script", "failed", "./script: the interpreter \"/no/interpreter\""),
    ] {
        let cells = line(&printed, name);
        assert_eq!((cells[0], cells[2]), (name, state), "{printed}");
        assert!(cells[3].starts_with(expected), "{expected}\n{printed}");
    }
    assert!(!printed.contains("canary"), "{printed}");
}

#[test]
fn missing_permissions_of_the_user_of_a_program_are_found_before_an_event_arrives() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return skip("only root can run a program as another user");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (name, mode) in [("theirs", 0o755), ("mine", 0o700)] {
        let path = folder.path().join(name);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(folder.path().join("closed")).unwrap();
    fs::set_permissions(folder.path().join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    let mut tables = String::new();
    for (name, program, place) in
        [("a", "theirs", "."), ("b", "mine", "."), ("c", "theirs", "closed")]
    {
        let path = folder.path().join(program).display().to_string();
        tables += &format!(
            "[destination.{name}]\ntype = \"command\"\ncommand = {path:?}\nrun_as = \"nobody\"\n\
             folder = {place:?}\n"
        );
    }
    let (output, printed) = connect(folder.path(), &tables, |_| {});
    assert_eq!(output.status.code(), Some(1), "{printed}{}", text(&output.stderr));
    for (name, state, expected) in [
        ("a", "ok", "can start "),
        ("b", "failed", "cannot execute "),
        ("c", "failed", "cannot enter "),
    ] {
        let cells = line(&printed, name);
        assert_eq!((cells[0], cells[2]), (name, state), "{printed}");
        assert!(cells[3].starts_with(expected), "{expected}\n{printed}");
    }
    // A user who may not write there is told so.
    let tables = "[destination.archive]\ntype = \"file\"\npath = \"events.jsonl\"\n";
    let binary = folder.path().join("wilco");
    copy_wilco_to(&binary);
    connect(folder.path(), tables, |_| {});
    let mut command = Command::new(&binary);
    command.current_dir(folder.path()).env_clear().env("S", SECRET).args(["check", "--connect"]);
    let output = command.uid(65_534).gid(65_534).output().unwrap();
    let printed = text(&output.stdout);
    assert_eq!(
        line(&printed, "archive")[2..],
        ["failed", "cannot write to the folder .: Permission denied (os error 13)"]
    );
}
