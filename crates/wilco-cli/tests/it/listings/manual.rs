//! Outputs in the manual are what the commands print.

use std::fs;

use crate::{
    commands::on_a_terminal,
    generated::check_output,
    world::{SECRET, booking, sign, wilco},
};

use super::{shown::with_fixed_values, stored_rejections, world};

/// Events for the manual.
const SAMPLES: &[(&str, &str)] = &[
    ("project.created", "Salt Roads"),
    ("invoice.created", "Camera, two weeks"),
    ("booking.created", "映画祭のための編集室"),
    ("booking.updated", "Viewing, part one"),
];

#[test]
fn outputs_in_the_manual_are_what_the_commands_print() {
    let world = world(SAMPLES, "");
    let check = |page: &str, name: &str, arguments: &[&str]| {
        let command = world.verb(arguments);
        let printed = on_a_terminal(&command, 100, &[("TERM", "xterm"), ("NO_COLOR", "1")]);
        check_output(page, name, &with_fixed_values(&printed));
    };
    check("docs/deliveries.md", "events list", &["events", "list"]);
    check("docs/deliveries.md", "events why", &["events", "why", "latest"]);
    check("docs/deliveries.md", "destinations list", &["destinations", "list"]);
    let body = booking("b-1", "Salt Roads");
    let signature = sign(body.as_bytes());
    world.post(&format!("{body}\n"), &[("x-freispace-signature", &signature)]);
    stored_rejections(&world, 3);
    check("docs/troubleshooting.md", "explain", &["explain", "latest"]);

    let folder = tempfile::tempdir().unwrap();
    for (name, file, arguments) in [
        ("check", MISSPELT, &["check"][..]),
        ("check --connect", UNREACHABLE, &["check", "--connect"]),
    ] {
        fs::write(folder.path().join("wilco.toml"), file).unwrap();
        let mut command = wilco(folder.path());
        command.args(arguments).env("FREISPACE_SECRET", SECRET);
        let printed = on_a_terminal(&command, 100, &[("TERM", "xterm"), ("NO_COLOR", "1")]);
        check_output("docs/configuration.md", name, &printed);
    }
}

const MISSPELT: &str = "[listen]\nadress = \"0.0.0.0:443\"\ntls = \"acme\"\ndomains = [\"hooks.example.com\"]\n[source.freispace]\nprovider = \"freispace\"\npath = \"/webhook\"\nsecrets = [{ env = \"FREISPACE_SECRET\" }]\n[destination.log]\ntype = \"print\"\n[[route]]\nto = [\"log\"]\n";

const UNREACHABLE: &str = r#"
[listen]
address = "127.0.0.1:0"
tls = "off"
[store]
reserve = "1 MiB"
[source.freispace]
provider = "freispace"
path = "/webhook"
secrets = [{ env = "FREISPACE_SECRET" }]
[destination.archive]
type = "file"
path = "events.jsonl"
[destination.erp]
type = "http"
url = "http://127.0.0.1:1/hooks"
[destination.provision]
type = "command"
command = ["/bin/true"]
[[route]]
to = ["archive", "erp", "provision"]
"#;
