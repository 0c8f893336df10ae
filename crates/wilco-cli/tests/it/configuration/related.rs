//! Mistakes that concern two places in a file, or would cause others: each has one diagnostic,
//! at the place to repair.

use super::{GOOD, PRINT, check, check_manners, text};

#[test]
fn a_conflict_between_two_tables_is_reported_at_the_second_and_names_the_first() {
    let source = &GOOD[GOOD.find("[source").unwrap()..];
    let file = |name: &str, path: &str| {
        format!(
            "[destination.{name}]\ntype = \"file\"\npath = \"{path}\"\n[[route]]\nto = [\"{name}\"]\n"
        )
    };
    for (more, place, message) in [
        (source.replace("source.a", "source.b"), "10:8", "[source.a] has the path /webhook too"),
        // The alphabetical order of the names differs from their order in the file.
        (source.replace("source.a", "source.Z"), "10:8", "[source.a] has the path /webhook too"),
        (
            source.replace("source.a", "source.b").replace("\"freispace\"", "\"nobody\""),
            "10:8",
            "[source.a] has the path /webhook too",
        ),
        (
            file("one", "x.jsonl") + &file("another", "x.jsonl"),
            "15:8",
            "[destination.one] writes to x.jsonl too",
        ),
        (
            file("one", "x.jsonl") + &file("another", "x.jsonl") + "[source.c]\npath = \"/c\"\n",
            "15:8",
            "[destination.one] writes to x.jsonl too",
        ),
    ] {
        let output = check(format!("{GOOD}{more}").as_bytes());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(&format!("Error: {message}\n")), "{message}\n{said}");
        let picture = &said[said.find(message).unwrap()..];
        let at = picture.find("[ wilco.toml:").unwrap();
        assert!(picture[at..].starts_with(&format!("[ wilco.toml:{place} ]")), "{place}\n{said}");
        check_manners(&output);
    }
}

#[test]
fn what_is_forgotten_too_early_is_reported_where_it_is_said() {
    let duplicates = "[source.a] recognises duplicates for longer than keep_records: what they are recognised by \
                      would be gone";
    let payloads = "payloads cannot be kept longer than their records: keep_payloads is more than keep_records";
    let default = "duplicates cannot be recognised for longer than [store] keep_records, 180 days";
    for (source, store, expected) in [
        ("", "keep_payloads = \"1 h\"\nkeep_records = \"24 h\"", None),
        ("", "keep_payloads = \"forever\"\nkeep_records = \"forever\"", None),
        ("duplicates = \"keep\"\n", "keep_payloads = \"1 s\"\nkeep_records = \"1 s\"", None),
        (
            "",
            "keep_payloads = \"1 h\"\nkeep_records = \"23 h\"",
            Some(("keep_records", duplicates)),
        ),
        ("duplicate_window = \"200 days\"\n", "", Some(("duplicate_window", default))),
        ("", "keep_payloads = \"200 days\"", Some(("keep_payloads", payloads))),
        ("", "keep_payloads = \"forever\"", Some(("keep_payloads", payloads))),
        ("", "keep_records = \"29 days\"", Some(("keep_records", payloads))),
        ("", "keep_records = \"never\"", Some(("keep_records", "invalid time \"never\""))),
    ] {
        let good = GOOD.replace("[source.a]\n", &format!("[source.a]\n{source}"));
        let output = check(format!("{good}{PRINT}[store]\n{store}\n").as_bytes());
        let said = text(&output.stderr) + &text(&output.stdout);
        let Some((key, message)) = expected else {
            assert_eq!(output.status.code(), Some(0), "{source}{store}\n{said}");
            continue;
        };
        assert_eq!(output.status.code(), Some(78), "{source}{store}\n{said}");
        assert!(said.contains(message), "{source}{store}\n{said}");
        assert!(said.contains(&format!(" {key} = ")), "{source}{store}\n{said}");
        check_manners(&output);
    }
}

#[test]
fn an_address_that_two_listeners_have_is_reported_at_the_second() {
    let one = "\"127.0.0.1:8443\"";
    for (listen, admin, expected) in [
        (one, one, Some("9:11")),
        ("[\"127.0.0.1:8080\", \"127.0.0.1:8443\"]", one, Some("9:11")),
        ("[\"127.0.0.1:8443\", \"127.0.0.1:8443\"]", "\"127.0.0.1:9440\"", Some("2:30")),
        (one, "\"127.0.0.1:9440\"", None),
        ("[\"127.0.0.1:0\", \"127.0.0.1:0\"]", "\"127.0.0.1:0\"", None),
    ] {
        let good = GOOD.replace("\"127.0.0.1:0\"", listen);
        let output = check(format!("{good}[admin]\naddress = {admin}\n{PRINT}").as_bytes());
        let said = text(&output.stderr) + &text(&output.stdout);
        let message = "Error: [listen] listens on 127.0.0.1:8443 too\n";
        assert_eq!(said.contains(message), expected.is_some(), "{listen} {admin}\n{said}");
        let place = expected.map_or_else(String::new, |place| format!("[ wilco.toml:{place} ]"));
        assert!(said.contains(&place), "{place}\n{said}");
        assert_eq!(output.status.code(), Some(if expected.is_some() { 78 } else { 0 }), "{said}");
    }
}

#[test]
fn a_misspelt_table_is_one_diagnostic_and_its_content_is_still_read() {
    let good = format!("{GOOD}{PRINT}");
    for (file, expected) in [
        (
            good.replace("[source.a]", "[sources.a]"),
            &["unknown key sources: did you mean [source.NAME]?"][..],
        ),
        (
            good.replace("[destination.p]", "[destinations.p]"),
            &["unknown key destinations: did you mean [destination.NAME]?"],
        ),
        (good.replace("[[route]]", "[[routes]]"), &["unknown key routes: did you mean [[route]]?"]),
        (good.replace("[[route]]", "[routes]"), &["unknown key routes: did you mean [[route]]?"]),
        (good.replace("[[route]]", "[route]"), &["write [[route]], with two brackets"]),
        (good.replace("[listen]", "[listne]"), &["unknown key listne: did you mean [listen]?"]),
        (
            good.clone() + "[destination.q]\ntype = \"print\"\n[alert]\nto = \"q\"\n",
            &["unknown key alert: did you mean [alerts]?"],
        ),
        (
            good.replace("[source.a]", "[sources.a]").replace("\"print\"", "\"prnt\""),
            &["unknown key sources", "no such type of destination: \"prnt\""],
        ),
        (
            good.replace("[source.a]", "[sources.a]").replace("\"/webhook\"", "\"webhook\""),
            &["unknown key sources", "invalid path \"webhook\""],
        ),
        (
            good.replace("[[route]]", "[sources.b]\npath = \"/b\"\n[[route]]\nfrom = \"b\""),
            &["unknown key sources", "[source.b] needs provider", "[source.b] needs secrets"],
        ),
        (
            good.replace("[source.a]", "[source]"),
            &["[source] needs a name: such as [source.freispace]"],
        ),
        (
            good.replace("[destination.p]", "[destination]"),
            &["[destination] needs a name", "there is no [destination.p]"],
        ),
    ] {
        let output = check(file.as_bytes());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        let count = said.matches("Error: ").count() + said.matches("Warning: ").count();
        assert_eq!(count, expected.len(), "{expected:?}\n{said}");
        for expected in expected {
            let (message, hint) = expected.split_once(": ").unwrap_or((expected, ""));
            assert!(said.contains(&format!("Error: {message}")), "{message}\n{said}");
            assert!(said.contains(hint), "{hint}\n{said}");
        }
    }
}

#[test]
fn a_misspelt_required_key_is_one_diagnostic() {
    let good = format!("{GOOD}{PRINT}");
    for (file, expected) in [
        (good.replace("secrets", "secret"), "unknown key secret in [source.a]"),
        (good.replace("address", "adress"), "unknown key adress in [listen]"),
        (good.replace("tls =", "tsl ="), "unknown key tsl in [listen]"),
        (good.replace("type =", "typ ="), "unknown key typ in [destination.p]"),
        (good.replace("to =", "too ="), "unknown key too in [route]"),
        (
            good.replace("\"print\"", "\"http\"\nurll = \"http://127.0.0.1:1/\""),
            "unknown key urll in [destination.p]",
        ),
        (
            good.replace("type = \"print\"", "typ = \"http\"\nurl = \"http://127.0.0.1:1/\""),
            "unknown key typ in [destination.p]",
        ),
        (
            good.clone() + "debounce = { by = \"id\", quite = \"30 s\" }\n",
            "unknown key quite in [route.debounce]",
        ),
    ] {
        let output = check(file.as_bytes());
        let said = text(&output.stderr);
        assert_eq!(
            (output.status.code(), said.matches("Error: ").count()),
            (Some(78), 1),
            "{said}"
        );
        assert!(said.contains(&format!("Error: {expected}\n")), "{expected}\n{said}");
        assert!(said.contains("did you mean ") && !said.contains("Warning: "), "{said}");
    }
    let file = good.replace("\"print\"", "\"htpp\"\nurl = \"http://127.0.0.1:1/\"\nbdy = \"a\"");
    let said = text(&check(file.as_bytes()).stderr);
    assert_eq!(said.matches("Error: ").count(), 2, "{said}");
    assert!(said.contains("no such type of destination: \"htpp\""), "{said}");
    assert!(said.contains("unknown key bdy") && said.contains("did you mean body?"), "{said}");
}

#[test]
fn an_unreadable_table_does_not_hide_mistakes_in_the_others() {
    let file = format!(
        "{}{PRINT}events = [\"bookings.*\"]\n[[route]]\nto = [\"p\"]\nfrom = \"nobody\"\n\
         [destination.q]\ntype = \"print\"\n[destination.r]\ntype = \"prnt\"\n[[route]]\n\
         to = [\"r\"]\nwhen = \"id |\"\n",
        GOOD.replace("\"/webhook\"", "\"webhook\"")
    );
    let output = check(file.as_bytes());
    let said = text(&output.stderr);
    for expected in [
        "Error: invalid path \"webhook\"",
        "Warning: \"bookings.*\" matches no documented event",
        "Error: there is no [source.nobody]",
        "Warning: nothing goes to q: no route names it",
        "Error: no such type of destination",
        "Error: when cannot be read",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    let count = said.matches("Error: ").count() + said.matches("Warning: ").count();
    assert_eq!((output.status.code(), count), (Some(78), 6), "{said}");
}
