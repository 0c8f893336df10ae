//! One file with a mistake in every line, and how each is drawn.

use std::fs;

use super::{check_manners, text};
use crate::world::wilco;

#[test]
fn every_diagnostic_is_drawn_at_once_with_its_place_and_the_hint() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("wilco.toml"), FULL_OF_MISTAKES).unwrap();
    for verb in ["check", "serve"] {
        let output = wilco(folder.path()).env("SHORT", "cana").arg(verb).output().unwrap();
        let drawn = text(&output.stderr);
        assert_eq!(
            (output.status.code(), text(&output.stdout).as_str()),
            (Some(78), ""),
            "{drawn}"
        );
        let mut rest = drawn.as_str();
        for (place, what, hint) in DIAGNOSTICS {
            let at = rest.find(&format!("Error: {what}\n"));
            rest = &rest[at.unwrap_or_else(|| panic!("no {what:?} in\n{drawn}"))..];
            let end = rest[1..].find("Error: ").map_or(rest.len(), |end| end + 1);
            let picture = &rest[..end];
            assert!(picture.contains(&format!("[ wilco.toml:{place} ]")), "{place}\n{picture}");
            assert!(picture.contains(hint), "{hint}\n{picture}");
            rest = &rest[end..];
        }
        assert_eq!(drawn.matches("Error: ").count(), DIAGNOSTICS.len(), "{drawn}");
        check_manners(&output);
        assert!(!drawn.contains("canary"), "a secret is not drawn\n{drawn}");
        assert!(!drawn.contains("─ here"), "every diagnostic has a hint\n{drawn}");
    }
}

const FULL_OF_MISTAKES: &str = r#"[listen]
addres = "0.0.0.0:443"
address = "0.0.0.0"
tls = "maybe"
max_body = "1 mib"
trusted_proxies = ["10.0.0.0/8", "nowhere"]

[store]
url = "mysql://x"
reserve = 5

[admin]
address = "0.0.0.0:9440"

[source.freispace]
provider = "freispase"
path = "webhook"
secrets = [{ env = "NO_SUCH" }, "canary-in-the-file", { env = "SHORT" }, { vault = "x" }]
allow_from = ["x"]
duplicates = "maybe"
duplicate_window = "1 fortnight"

[destination.x]
type = "commandd"

[destination.y]
type = "command"
command = ["/no/such/program"]
timeout = "0 s"
concurrency = 0
retry = { first = "x", factor = 0.5, mx = "1 h" }

[destination.z]
type = "http"
url = "ftp://x"
secret = "canary-in-the-file"

[destination."bad name"]
type = "print"

[destination.ordered]
type = "print"
order_by = "id |"
on_dead = "blok"
rate = "5 per s"
breaker = { failures = 0, probe_after = "2 s", probe_max = "1 s" }

[destination.unordered]
type = "print"
on_dead = "block"

[destination.formed]
type = "http"
url = "http://127.0.0.1:1/"
body = "{{ id"
headers = { webhook-id = "x", x-own = "{{ id | nofilter }}" }

[[route]]
from = "freispac"
events = ["[a"]
when = "data.status.name | nofilter"
debounce = { by = "id +", at_most = "1 s" }
to = ["x", "nobody"]

[alerts]
to = "nobody"
evry = "1 h"

[rout]
to = ["x"]
[destination.w]
type = "command"
command = ["/bin/true"]
folder = "/no/such/folder"
run_as = "no-such-user"
limits = { memory = "1 kB", cpu = "1500 ms", files = 1, output = "1 MiB", stack = "1 MiB" }
protocol = "line"

[destination.chat]
type = "slack"
url = "https://hooks.slack.com/services/canary-in-the-file"
text = "{{ data.name"

[destination.log]
type = "file"
path = "no/such/folder/events.jsonl"
max_size = "0 B"
keep = 0
"#;

/// The diagnostics of that file: place, message, hint.
const DIAGNOSTICS: &[(&str, &str, &str)] = &[
    ("2:1", "unknown key addres in [listen]", "did you mean address?"),
    (
        "3:11",
        "invalid address \"0.0.0.0\": expected IP:PORT, such as \"[::]:443\", or \"unix:PATH\"",
        "",
    ),
    ("4:7", "invalid tls \"maybe\"", "\"files\", \"acme\", \"self-signed\" or \"off\""),
    ("5:12", "invalid size \"1 mib\": expected one such as \"1 MiB\" or \"500 kB\"", ""),
    ("6:34", "invalid network \"nowhere\": expected one such as \"203.0.113.0/24\"", ""),
    ("9:7", "the store url is not understood; write sqlite:PATH", "url = \"sqlite:wilco.db\""),
    ("10:11", "reserve must be a text, not an integer", "write reserve = \"5 B\""),
    ("13:11", "[admin] needs a token, for 0.0.0.0:9440 is not loopback", "WILCO_ADMIN_TOKEN"),
    ("16:12", "unknown provider \"freispase\"", "did you mean \"freispace\"?"),
    ("17:8", "invalid path \"webhook\": expected it to begin with /, without ? or spaces", ""),
    ("18:20", "environment variable NO_SUCH is not set", "set it: export NO_SUCH=…"),
    ("18:33", "a secret must not be in the file itself", "{ env = \"NAME\" }, { file ="),
    ("18:55", "secret env:SHORT has 4 bytes and needs 8; is it cut off?", ""),
    ("18:76", "unknown kind of reference", "env, file or credential"),
    ("19:15", "invalid network \"x\": expected one such as \"203.0.113.0/24\"", ""),
    ("20:14", "invalid duplicates \"maybe\"", "\"suppress\" or \"keep\""),
    (
        "21:20",
        "invalid time \"1 fortnight\": expected one such as \"30 s\", \"2 min\" or \"24 h\"",
        "",
    ),
    ("24:8", "no such type of destination: \"commandd\"", "did you mean \"command\"?"),
    (
        "28:11",
        "cannot find /no/such/program: No such file or directory (os error 2)",
        "name the program by its full path, and see that it may be executed",
    ),
    ("29:11", "invalid time \"0 s\": expected one such as \"30 s\", \"2 min\" or \"24 h\"", ""),
    ("30:15", "invalid concurrency: expected a whole number from 1 to 1024", ""),
    ("31:19", "invalid time \"x\": expected one such as \"30 s\", \"2 min\" or \"24 h\"", ""),
    ("31:33", "invalid factor: expected a number from 1 to 100", ""),
    ("31:38", "unknown key mx in [destination.y.retry]", "did you mean max?"),
    ("35:7", "invalid url: expected http:// or https:// and a host", "such as url = \"https://"),
    ("36:10", "a secret must not be in the file itself", "{ env = \"NAME\" }, { file ="),
    ("38:14", "invalid name \"bad name\": expected 1 to 64 letters, digits, `-` and `_`", ""),
    (
        "43:16",
        "order_by cannot be read: unexpected end of input, expected identifier",
        "it is Jinja",
    ),
    ("44:11", "invalid on_dead \"blok\"", "did you mean \"block\"?"),
    (
        "45:8",
        "invalid rate \"5 per s\": expected one such as \"10/s\", \"100/min\" or \"1000/h\"",
        "such as rate",
    ),
    ("46:24", "invalid failures: expected a whole number from 1 to 1000000", "failures = 10"),
    ("46:60", "probe_max is shorter than probe_after", "make it longer, or leave it out"),
    ("50:11", "on_dead needs order_by", "add order_by"),
    (
        "55:12",
        "body cannot be read: unexpected end of input, expected end of variable block",
        "it is Jinja",
    ),
    ("56:13", "webhook-id: wilco writes this header itself", "leave it out"),
    ("56:48", "x-own cannot be read: unknown filter nofilter", "it is Jinja"),
    ("59:8", "there is no [source.freispac]; did you mean \"freispace\"?", ""),
    ("60:11", "invalid glob \"[a\": unclosed character class; missing ']'", ""),
    ("61:28", "when cannot be read: unknown filter nofilter", "it is Jinja"),
    ("62:12", "[route.debounce] needs quiet", "such as quiet"),
    ("62:23", "by cannot be read: unexpected end of input, expected expression", "it is Jinja"),
    ("63:12", "there is no [destination.nobody]", ""),
    ("66:6", "there is no [destination.nobody]", ""),
    ("67:1", "unknown key evry in [alerts]", "did you mean every?"),
    ("69:2", "unknown key rout", "did you mean [[route]]?"),
    (
        "74:10",
        "cannot find the folder /no/such/folder: No such file or directory (os error 2); \
         try mkdir /no/such/folder",
        "",
    ),
    ("75:10", "user \"no-such-user\" not found in /etc/passwd; is it misspelt?", ""),
    ("76:21", "memory is at least 1 MiB; no program starts in less", ""),
    ("76:35", "\"1500 ms\" is not in whole seconds; write cpu like \"60 s\"", ""),
    ("76:54", "invalid files: expected a whole number from 8 to 1048576", ""),
    ("76:66", "output is from 1 B to 64 KiB", ""),
    (
        "76:75",
        "unknown key stack in [destination.w.limits]",
        "known here: memory, cpu, files, output",
    ),
    ("77:12", "invalid protocol \"line\"", "did you mean \"lines\"?"),
    ("81:7", "a secret must not be in the file itself", "{ env = \"NAME\" }, { file ="),
    (
        "82:17",
        "text cannot be read: unexpected end of input, expected end of variable block",
        "it is Jinja",
    ),
    (
        "86:8",
        "cannot find the folder no/such/folder: No such file or directory (os error 2)",
        "make the folder, and let the user that runs wilco write there",
    ),
    ("87:12", "max_size must be greater than 0", ""),
    ("88:8", "invalid keep: expected a whole number from 1 to 1000", ""),
];
