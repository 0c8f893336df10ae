//! What a reload does with a change of each key: it is applied, or the key is fixed until a restart and the
//! reload is refused.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt as _};

use super::{certificate::Pem, text};
use crate::world::{SECRET, World};

#[test]
fn each_key_is_applied_by_a_reload_or_refused_until_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    Pem::make().write(folder.path());
    for (name, content) in [("secret", SECRET), ("one", SECRET)] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    for name in ["cert.pem", "key.pem"] {
        fs::copy(folder.path().join(name), folder.path().join(format!("other-{name}"))).unwrap();
    }
    let own = fs::metadata("/proc/self").unwrap();
    let own = format!("{}:{}", own.uid(), own.gid());
    let at = folder.path().display().to_string();
    let plan = World::plan()
        .tls("tls = \"files\"\ncertificate = \"FOLDER/cert.pem\"\nkey = \"FOLDER/key.pem\"")
        .listen("max_body = \"1 MiB\"\nhealth_path = \"/up\"\ntrusted_proxies = [\"10.0.0.0/8\"]")
        .admin("token = { env = \"TOKEN\" }")
        .source(SOURCE)
        .and(REST)
        .env("TOKEN", "a-made-up-token")
        .env("SLACK", "https://hooks.slack.com/services/a")
        .env("CREDENTIALS_DIRECTORY", &at);
    let world = plan.start_in(folder);
    let base = fs::read_to_string(world.path("wilco.toml")).unwrap();
    for (key, before, after, fixed) in KEYS {
        let [before, after] =
            [before, after].map(|t| t.replace("FOLDER", &at).replace("OWN", &own));
        assert!(base.contains(&before), "{key}: no {before} in\n{base}");
        let name = key.rsplit('.').next().unwrap();
        assert!(before.contains(name) || after.contains(name), "{key} is not in its row");
        fs::write(world.path("wilco.toml"), base.replacen(&before, &after, 1)).unwrap();
        let output = world.run_verb(&["reload"]);
        let said = text(&output.stdout) + &text(&output.stderr);
        match fixed {
            "" => assert_eq!(said, "reloaded\n", "{key}"),
            fixed => {
                let refusal = format!("{fixed} changed, which requires a restart");
                assert!(said.contains(&refusal), "{key}: {said}");
                assert_eq!(output.status.code(), Some(78), "{key}");
            }
        }
    }
}

#[test]
fn the_domains_of_a_self_signed_certificate_are_fixed() {
    let world = World::plan().tls("tls = \"self-signed\"\ndomains = [\"localhost\"]").start();
    world.reconfigure(|text| text.replace("\"localhost\"", "\"a.example\""));
    let output = world.run_verb(&["reload"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("[listen] domains changed, which requires a restart"));
}

/// The keys that only some destinations have are not in this list, because their settings are compared as a
/// whole; those of the kinds above are tested. A provider is replaced as a whole, too.
#[test]
fn the_table_of_reloads_has_every_key() {
    let keys = wilco_server::config::schema(wilco_server::service::KINDS)
        .tables
        .iter()
        .filter(|table| table.name != "provider")
        .flat_map(|table| table.keys);
    let known: BTreeSet<_> =
        keys.flat_map(|key| [key].into_iter().chain(key.keys())).map(|key| key.name).collect();
    assert!(known.len() > 35 && known.contains("address"), "{known:?}");
    let tried: BTreeSet<_> = KEYS.iter().flat_map(|(key, ..)| key.rsplit('.').next()).collect();
    let untried: Vec<_> = known.difference(&tried).collect();
    assert!(untried.is_empty(), "no row tests a reload of {untried:?}");
}

const SOURCE: &str = r#"allow_from = ["127.0.0.0/8"]
duplicates = "suppress"
duplicate_window = "24 h"
expect_every = "3 days"
public_url = "https://a.example/x"
verify_token = { env = "TOKEN" }
learned_secret = "/nowhere/learned""#;

/// A source with a backfill, in front of a destination.
const GITHUB: &str = r#"[source.g]
provider = "github"
path = "/g"
secrets = [{ env = "TOKEN" }]
backfill = { token = { env = "TOKEN" }, hook = "orgs/a/hooks/1", url = "http://127.0.0.1:1" }
[destination.c]"#;

const REST: &str = r#"[provider.mine]
scheme = { family = "hex", signature = { header = "x-signature" } }
envelope = { name = [{ json = "type" }] }
[store]
url = "sqlite:FOLDER/wilco.db"
reserve = "1 MiB"
[destination.c]
type = "command"
command = ["/bin/true"]
environment = { A = "b" }
folder = "FOLDER"
limits = { memory = "512 MiB", cpu = "60 s", files = 256, output = "64 KiB" }
protocol = "once"
timeout = "30 s"
concurrency = 2
rate = "10/s"
order_by = "id"
on_dead = "skip"
retry = { first = "5 s", factor = 2.0, max = "1 h", give_up_after = "24 h" }
breaker = { failures = 10, probe_after = "30 s", probe_max = "5 min" }
[destination.h]
type = "http"
url = "http://127.0.0.1:1/"
secret = { env = "TOKEN" }
body = "{{ body | tojson }}"
headers = { authorization = { env = "TOKEN" }, x-api-key = { env = "TOKEN" } }
[destination.s]
type = "slack"
url = { env = "SLACK" }
text = "{{ id }}"
[destination.f]
type = "file"
path = "FOLDER/events.jsonl"
max_size = "100 MiB"
keep = 10
[[route]]
from = "freispace"
events = ["booking.*"]
split = "events"
when = 'data.name == "A"'
debounce = { by = "id", quiet = "30 s", at_most = "5 min" }
to = ["c", "h", "s", "f"]
[alerts]
to = "f"
every = "15 min"
"#;

/// A key, a text in the file and its replacement, and the name by which the key is reported if it is fixed.
const KEYS: [(&str, &str, &str, &str); 86] = [
    ("learned_secret", "learned_secret = \"/nowhere/learned\"", "", ""),
    ("public_url", "public_url = \"https://a.example/x\"", "", ""),
    ("verify_token", "verify_token = { env = \"TOKEN\" }", "", ""),
    ("scheme", "scheme = { family = \"hex\"", "scheme = { family = \"base64\"", ""),
    ("address", "address = \"127.0.0.1:0\"", "address = \"127.0.0.2:0\"", "[listen] address"),
    ("tls", "tls = \"files\"", "tls = \"off\"", "[listen] tls"),
    (
        "certificate",
        "certificate = \"FOLDER/",
        "certificate = \"FOLDER/other-",
        "[listen] certificate",
    ),
    ("key", "key = \"FOLDER/", "key = \"FOLDER/other-", "[listen] key"),
    // For a certificate from files, it only says which domains that should have.
    ("domains", "max_body", "domains = [\"localhost\"]\nmax_body", ""),
    // With a certificate from files, they have no effect.
    ("acme", "max_body", "acme = {  }\nmax_body", ""),
    ("directory", "max_body", "acme = { directory = \"staging\" }\nmax_body", ""),
    ("contact", "max_body", "acme = { contact = \"a@example.com\" }\nmax_body", ""),
    ("profile", "max_body", "acme = { profile = \"shortlived\" }\nmax_body", ""),
    ("ca", "max_body", "acme = { ca = \"FOLDER/ca.pem\" }\nmax_body", ""),
    ("http_address", "max_body", "acme = { http_address = \"127.0.0.1:80\" }\nmax_body", ""),
    ("trusted_proxies", "trusted_proxies = [\"10", "trusted_proxies = [\"11", ""),
    ("http2", "trusted_proxies = [", "http2 = true\ntrusted_proxies = [", "[listen] http2"),
    ("proxy_protocol", "trusted_proxies = [", "proxy_protocol = false\ntrusted_proxies = [", ""),
    ("health_path", "health_path = \"/up\"", "health_path = \"/down\"", ""),
    ("max_body", "max_body = \"1 MiB\"", "max_body = \"2 MiB\"", ""),
    (
        "store.url",
        "url = \"sqlite:FOLDER/wilco.db",
        "url = \"sqlite:FOLDER/other.db",
        "[store] url",
    ),
    ("reserve", "reserve = \"1 MiB\"", "reserve = \"2 MiB\"", "[store] reserve"),
    ("keep_payloads", "reserve = \"1 MiB\"", "keep_payloads = \"2 days\"\nreserve = \"1 MiB\"", ""),
    ("keep_records", "reserve = \"1 MiB\"", "keep_records = \"forever\"\nreserve = \"1 MiB\"", ""),
    (
        "admin.address",
        "[admin]\naddress = \"127.0.0.1:0\"",
        "[admin]\naddress = \"[::1]:0\"",
        "[admin] address",
    ),
    ("token", "token = { env = \"TOKEN", "token = { env = \"FREISPACE_SECRET", "[admin] token"),
    (
        "reader_token",
        "[admin]\n",
        "[admin]\nreader_token = { env = \"FREISPACE_SECRET\" }\n",
        "[admin] reader_token",
    ),
    ("hosts", "[admin]\n", "[admin]\nhosts = [\"wilco.example.com\"]\n", "[admin] hosts"),
    // There is one provider only.
    ("provider", "provider = \"freispace\"", "provider = 'freispace'", ""),
    ("path", "path = \"/webhook\"", "path = \"/other\"", ""),
    ("secrets", "secrets = [{", "secrets = [{ env = \"TOKEN\" }, {", ""),
    ("allow_from", "allow_from = [\"127.0.0.0/8\"]", "allow_from = [\"10.0.0.0/8\"]", ""),
    ("duplicates", "duplicates = \"suppress\"", "duplicates = \"keep\"", ""),
    ("duplicate_window", "duplicate_window = \"24 h\"", "duplicate_window = \"1 h\"", ""),
    ("expect_every", "expect_every = \"3 days\"", "expect_every = \"1 h\"", ""),
    ("backfill", "[destination.c]", GITHUB, ""),
    ("hook", "[destination.c]", GITHUB, ""),
    ("type", "type = \"slack\"", "type = \"discord\"", ""),
    ("timeout", "timeout = \"30 s\"", "timeout = \"31 s\"", ""),
    ("concurrency", "concurrency = 2", "concurrency = 3", ""),
    ("rate", "rate = \"10/s\"", "rate = \"10/min\"", ""),
    ("order_by", "order_by = \"id\"", "order_by = \"type\"", ""),
    ("on_dead", "on_dead = \"skip\"", "on_dead = \"block\"", ""),
    ("retry", "retry = { first", "retry = { max = \"2 h\" } # ", ""),
    ("first", "first = \"5 s\"", "first = \"6 s\"", ""),
    ("factor", "factor = 2.0", "factor = 3.0", ""),
    ("max", "max = \"1 h\"", "max = \"2 h\"", ""),
    ("give_up_after", "give_up_after = \"24 h\"", "give_up_after = \"25 h\"", ""),
    ("breaker", "breaker = { failures", "breaker = { } # ", ""),
    ("failures", "failures = 10", "failures = 11", ""),
    ("probe_after", "probe_after = \"30 s\"", "probe_after = \"31 s\"", ""),
    ("probe_max", "probe_max = \"5 min\"", "probe_max = \"6 min\"", ""),
    ("command", "command = [\"/bin/true\"]", "command = [\"/bin/false\"]", ""),
    ("environment", "environment = { A = \"b\" }", "environment = { A = \"c\" }", ""),
    ("folder", "folder = \"FOLDER\"", "folder = \"/\"", ""),
    ("run_as", "protocol", "run_as = \"OWN\"\nprotocol", ""),
    ("limits", "limits = { memory", "limits = { } # ", ""),
    ("memory", "memory = \"512 MiB\"", "memory = \"513 MiB\"", ""),
    ("cpu", "cpu = \"60 s\"", "cpu = \"61 s\"", ""),
    ("files", "files = 256", "files = 257", ""),
    ("output", "output = \"64 KiB\"", "output = \"63 KiB\"", ""),
    ("protocol", "protocol = \"once\"", "protocol = \"lines\"", ""),
    ("url", "url = \"http://127.0.0.1:1/\"", "url = \"http://127.0.0.1:2/\"", ""),
    ("secret", "secret = { env = \"TOKEN\" }", "secret = { env = \"FREISPACE_SECRET\" }", ""),
    ("headers", "headers = { ", "headers = { x-new = \"a\", ", ""),
    ("body", "body = \"{{ body | tojson }}\"", "body = \"{{ id | tojson }}\"", ""),
    ("text", "text = \"{{ id }}\"", "text = \"{{ type }}\"", ""),
    ("destination.path", "path = \"FOLDER/events", "path = \"FOLDER/other", ""),
    ("max_size", "max_size = \"100 MiB\"", "max_size = \"101 MiB\"", ""),
    ("keep", "keep = 10", "keep = 11", ""),
    ("from", "from = \"freispace\"", "", ""),
    ("events", "events = [\"booking.*\"]", "events = [\"project.*\", \"booking.*\"]", ""),
    ("split", "split = \"events\"", "split = \"data.events\"", ""),
    ("when", "when = 'data.name == \"A\"'", "when = 'data.name == \"B\"'", ""),
    ("debounce", "debounce = {", "# debounce = {", ""),
    ("by", "by = \"id\"", "by = \"type\"", ""),
    ("quiet", "quiet = \"30 s\"", "quiet = \"31 s\"", ""),
    ("at_most", "at_most = \"5 min\"", "at_most = \"6 min\"", ""),
    ("to", "to = [\"c\", \"h\", \"s\", \"f\"]", "to = [\"c\"]", ""),
    ("alerts.to", "to = \"f\"", "to = \"s\"", ""),
    ("every", "every = \"15 min\"", "every = \"16 min\"", ""),
    ("env", "secrets = [{ env = \"FREISPACE_SECRET\"", "secrets = [{ env = \"TOKEN\"", ""),
    (
        "file",
        "secrets = [{ env = \"FREISPACE_SECRET\"",
        "secrets = [{ file = \"FOLDER/secret\"",
        "",
    ),
    (
        "credential",
        "secrets = [{ env = \"FREISPACE_SECRET\"",
        "secrets = [{ credential = \"one\"",
        "",
    ),
    (
        "authorization",
        "authorization = { env = \"TOKEN\" }",
        "authorization = { env = \"SLACK\" }",
        "",
    ),
    ("x-api-key", "x-api-key = { env = \"TOKEN\" }", "x-api-key = { env = \"SLACK\" }", ""),
];
