//! Secrets in the wrong place: no message about the file shows any of them.

use std::fs;

use super::text;
use crate::world::{World, wilco};

#[test]
fn a_misplaced_secret_is_never_shown_by_check_or_reload_or_the_log() {
    let world = World::plan().start();
    let good = fs::read_to_string(world.path("wilco.toml")).unwrap();
    for (line, replacement) in MISPLACED {
        let (line, replacement) = (line.replace("  ", "\n"), replacement.replace("  ", "\n"));
        let file = match line.as_str() {
            "" => format!("{good}{replacement}\n"),
            line => good.replacen(line, &replacement, 1),
        };
        assert_ne!(file, good, "{replacement}");
        fs::write(world.path("wilco.toml"), &file).unwrap();
        let mut check = wilco(world.folder.path());
        check.env("FREISPACE_SECRET", "a-made-up-secret").args(["check", "--config", "wilco.toml"]);
        let check = check.output().unwrap();
        let reload = world.run_verb(&["reload"]);
        for (what, output) in [("check", &check), ("reload", &reload)] {
            let said = text(&output.stderr) + &text(&output.stdout);
            assert!(!said.to_lowercase().contains("canary"), "{what} of {replacement}\n{said}");
            assert!(!said.is_empty(), "{what} of {replacement}");
        }
        assert!(!world.log().to_lowercase().contains("canary"), "{replacement}\n{}", world.log());
    }
}

/// What is replaced in a valid file, and by what; where the first is empty, the second is appended.
/// Two spaces become a line break.
const MISPLACED: &[(&str, &str)] = &[
    (SECRETS, "secrets = \"canary-pasted\""),
    (SECRETS, "secrets = 'canary-pasted'"),
    (SECRETS, "secrets = canary-pasted"),
    (SECRETS, "secrets = \"canary-pasted"),
    (SECRETS, "secrets = \"\"\"canary-pasted"),
    (SECRETS, "secrets = \"\"\"  canary-pasted\"\"\""),
    (SECRETS, "secrets = [\"canary-pasted\", 5]"),
    (SECRETS, "secrets = [{ value = \"canary-pasted\" }]"),
    (SECRETS, "secrets = [{ canary81f3a4c9d2e7 = true }]"),
    (SECRETS, "secrets = [{ env = \"THE-CANARY-ITSELF\" }]"),
    (SECRETS, "secrets = [{ env = \"canary81f3a4c9d2e7\" }]"),
    (SECRETS, "secrets = [{ env = \"CANARY81F3A4C9D2E7\" }]"),
    (SECRETS, "secrets = [{ env = \"canary\", value = \"canary-pasted\" }]"),
    (SECRETS, "secrets = [{ file = \"canary-pasted\" }]"),
    (SECRETS, "secrets = [{ file = \"https://hooks.example.com/canary\" }]"),
    (SECRETS, "secrets = [{ credential = \"canary-pasted\" }]"),
    (SECRETS, "secrets = [{ env = [\"canary-pasted\"] }]"),
    (SECRETS, "secrets = 5 # it was canary-pasted"),
    (SECRETS, "secrets: canary-pasted"),
    (SECRETS, "secret = \"canary-pasted\""),
    (SECRETS, "sceret = [\"canary-pasted\"]"),
    (SECRETS, "secrets = [{ env = \"FREISPACE_SECRET\" }]  canary81f3a4c9d2e7 = 1"),
    (SECRETS, "FREISPACE_SECRET=canary-pasted"),
    (SECRETS, "canary-pasted"),
    ("[admin]", "[admin]  token = \"canary-pasted\""),
    ("[admin]", "[admin]  tokn = \"canary-pasted\""),
    ("[admin]", "[admin]  password = \"canary-pasted\""),
    ("tls = \"off\"", "tls = \"files\"  key = \"\"\"-----BEGIN PRIVATE KEY-----  canary\"\"\""),
    ("tls = \"off\"", "tls = \"files\"  key = \"canary-pasted\""),
    ("[store]", "[store]  uri = \"postgres://wilco:canary@db/wilco\""),
    ("", "[destination.h]  type = \"http\"  url = \"https://user:canary@example.com/\""),
    ("", "[destination.h]  type = \"http\"  url = \"example.com/?apikey=canary\""),
    ("", "[destination.h]  type = \"http\"  uri = \"https://hooks.example.com/canary\""),
    ("", "[destination.h]  type = \"http\"  url = [\"https://hooks.example.com/canary\"]"),
    ("", "[destination.h]  type = \"http\"  url = \"http://127.0.0.1:1/\"  secret = \"canary-s\""),
    ("", "[destination.h]  type = \"http\"  url = 5  header = { authorization = \"canary\" }"),
    ("", "[destination.h]  type = \"http\"  url = 5  headers = { authorization = [\"canary\"] }"),
    ("", "[destination.h]  type = \"http\"  url = 5  headers = \"authorization: canary-pasted\""),
    ("", "[destination.h]  type = \"http\"  url = 5  headers = { a = 5, cookie = \"canary\" }"),
    ("", "[destination.h]  type = \"http\"  url = 5  body = \"{{ x | canary-pasted \""),
    ("", "[destination.s]  type = \"slack\"  url = \"https://hooks.slack.com/services/canary\""),
    (
        "",
        "[destination.s]  type = \"slack\"  webhook = \"https://hooks.slack.com/services/canary\"",
    ),
    ("", "[destination.c]  type = \"command\"  command = \"/bin/nothing --token=canary-pasted\""),
    ("", "[destination.c]  type = \"command\"  command = [\"/bin/nothing\", \"--token=canary\"]"),
    (
        "",
        "[destination.c]  type = \"command\"  command = \"/bin/true\"  environment = [\"canary\"]",
    ),
    (
        "",
        "[destination.c]  type = \"command\"  command = 5  environment = { \"A=canary\" = \"x\" }",
    ),
    ("", "[destination.c]  type = \"command\"  command = 5  environmnt = { T = \"canary\" }"),
];

const SECRETS: &str = "secrets = [{ env = \"FREISPACE_SECRET\" }]";
