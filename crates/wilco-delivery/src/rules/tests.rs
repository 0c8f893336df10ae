//! What rules mean, row by row.

mod samples;

use super::*;

fn view(body: &[u8]) -> View {
    View::of(&Event {
        id: EventId::from_bits(7),
        source: SourceName::new("freispace").unwrap(),
        provider: "freispace".into(),
        name: "booking.updated".into(),
        subject: None,
        received_at: jiff::Timestamp::UNIX_EPOCH,
        secret_name: String::new(),
        digest: Digest::of(body),
        conflict: false,
        origin: Origin::Webhook,
        item: None,
        headers: Headers::from_pairs([("x-one", "1"), ("x-two", "2"), ("x-two", "3")]),
        body: body.to_vec().into(),
    })
    .unwrap()
}

#[test]
fn a_rule_that_looks_into_a_body_that_is_too_large_fails_and_others_hold() {
    let body = |bytes: usize| format!("{{\"id\":\"{}\"}}", "x".repeat(bytes - 9)).into_bytes();
    let (largest, larger) =
        (view(&body(RULE_BODY_BYTES_MAX)), view(&body(RULE_BODY_BYTES_MAX + 1)));
    for (rule, looks_inside) in [
        ("event.name == 'booking.updated'", false),
        ("headers['x-one'] == '1' or event.item", false),
        ("id != 'y'", true),
        ("body.id", true),
        ("event.name == 'booking.updated' and id", true),
    ] {
        let rule = Rule::new(rule).unwrap();
        assert_eq!(rule.holds(&largest), Ok(true), "{rule:?}");
        match rule.holds(&larger) {
            Ok(holds) => assert!(holds && !looks_inside, "{rule:?}"),
            Err(error) => {
                let expected = format!("the body has {} bytes", RULE_BODY_BYTES_MAX + 1);
                assert!(looks_inside && error.what.starts_with(&expected), "{rule:?}: {error}");
            }
        }
    }
    assert!(Text::new("{{ event.name }}").unwrap().render(&larger).is_ok());
    assert!(Text::new("{{ id }}").unwrap().render(&larger).is_err());
}

const BODY: &[u8] = br#"{"event":"other","id":"7f","data":{"size":9007199254740993,
    "huge":170141183460469231731687303715884105727,"long":123456789012345678901234567890123456789012,
    "net":-12.5,"name":"A \"b\"","null":null,"list":[1,{"x":"y"}],"status":{"name":"Confirmed"},
    "quoted":"4","word":"large","yes":true,"holes":[null,{"x":"z"}],"half":"Salt \ud83d",
    "wide":12345678901234567890123,"start":"2026-05-13T12:30:00","compare":1}}"#;

#[test]
fn a_condition_holds_or_does_not() {
    for (rule, expected) in [
        ("data.status.name == 'Confirmed'", true),
        ("data.status.name == 'Draft'", false),
        ("data.absent", false),
        ("data.absent.deeper.still == 'x'", false),
        ("absent > 5", false),
        ("absent < 5", false),
        ("5 >= data.absent", false),
        ("data.absent != 'x'", true),
        ("data.absent.deeper < 5", false),
        ("not data.absent", true),
        ("data.absent is defined and data.absent < 5", false),
        ("data.absent is undefined or data.absent < 5", true),
        ("data.size > 5 and not data.absent", true),
        ("data.absent | default(3) < 5", true),
        ("data.absent == 'x' or id == '7f'", true),
        ("id != '8'", true),
        ("'x' in data.absent", false),
        ("data.null", false),
        ("data.size == 9007199254740993", true),
        ("data.size == 9007199254740992", false),
        ("data.size > 5 and data.net < 0", true),
        ("data.list[1].x == 'y'", true),
        ("event.name is startingwith 'booking.'", true),
        ("event.source == 'freispace'", true),
        ("headers['x-two'] == '2, 3'", true),
        ("body.event == 'other'", true),
        ("data.list | length == 2", true),
        ("data.absent < 5 or id == '7f'", true),
        ("not data.absent < 5", true),
        ("data.null is none and data.absent is none and data.null == none", true),
        ("data.null == data.absent", true),
        ("data.null == '' or data.null == 0 or data.null == false", false),
        ("data.null != 1", true),
        ("data.null < 5 or data.null > 5 or data.null <= 5 or data.null >= 5", false),
        ("'x' in data.null or data.null in 'x' or data.null in [1] or 1 in 1", false),
        ("'x' not in data.null", true),
        ("data.null | length > 0", false),
        ("data.null.deeper[0].still", false),
        ("data.null | default('x') == 'x'", true),
        ("data.null | first or data.null | last or data.null | sort or data.null | max", false),
        ("data.null | split(',') or data.null | lines or data.null | dictsort", false),
        ("data.null | round or data.null | abs or data.null | attr('x')", false),
        ("data.null | map('upper') | list or data.null | selectattr('x') | list", false),
        ("data.null | upper or data.null | trim or data.null | replace('a', 'b')", false),
        ("data.holes | map(attribute='x') | join == 'z'", true),
        ("data.holes | selectattr('x', 'eq', 'z') | list | length == 1", true),
        ("data.quoted > 3 or data.quoted < 5 or data.quoted == 4", false),
        ("data.quoted != 4 and data.quoted | int == 4", true),
        ("data.word > 9 or data.word < 9 or data.list > 9 or data.yes > 0 or data > 0", false),
        ("data.yes == 1 or 1 in [true] or '4' in [4] or 4 in data.quoted", false),
        ("data.yes == true and data.word > 'k'", true),
        ("data.word is gt(9) or data.word is lt(9) or data.yes is eq(1) or 1 is in('1')", false),
        ("[1, '2', 3] | select('gt', 1) | list | length == 1", true),
        ("1 < data.list | length <= 2", true),
        ("1 < data.list | length < 2", false),
        ("data.wide == 12345678901234567890123", true),
        ("data.wide > 12345678901234567890122", true),
        ("data.half == 'Salt \u{fffd}'", true),
        ("data.compare == 1", true),
    ] {
        assert_eq!(Rule::new(rule).unwrap().holds(&view(BODY)), Ok(expected), "{rule}");
    }
}

#[test]
fn a_template_is_rendered_and_numbers_stay_as_they_were_sent() {
    for (text, expected) in [
        ("{{ data.name }} is {{ data.status.name }}", "A \"b\" is Confirmed"),
        ("{{ data.absent.x }}|{{ nothing }}", "|"),
        ("{{ data.size }}", "9007199254740993"),
        ("{{ data.huge }}", "170141183460469231731687303715884105727"),
        ("{{ data.long }}", "123456789012345678901234567890123456789012"),
        ("{{ data.net }}", "-12.5"),
        ("{{ data.list | tojson }}{{ data.long | tojson }}", &{
            "[1, {\"x\": \"y\"}]123456789012345678901234567890123456789012".to_owned()
        }),
        ("{{ event.id }}", "evt_00000000000000000000000007"),
        ("{% for item in data.list %}<{{ item }}>{% endfor %}", "<1><{\"x\": \"y\"}>"),
        (
            "{{ data.holes }} {{ data.holes | map(attribute='x') }}",
            "[null, {\"x\": \"z\"}] [\"z\"]",
        ),
        ("{{ data.status | tojson(indent=true) }}", "{\n  \"name\": \"Confirmed\"\n}"),
        ("{{ [] }}{{ {} | tojson(indent=3) }}{{ data.name | tojson }}", "[]{}\"A \\\"b\\\"\""),
        ("{{ [true, none, '</b>\\n', 1.5] }}", "[true, null, \"</b>\\n\", 1.5]"),
        ("{{ data.null }}|{{ none }}|{{ data.null ~ '!' }}|{{ data.null | join(',') }}", "||!|"),
        ("{% for item in data.null %}<{{ item }}>{% else %}none{% endfor %}", "none"),
        ("{{ data.null | tojson }} {{ data.absent | tojson }}", "null null"),
        ("{% if data.word > 9 %}large{% elif data.size > 9 %}number{% endif %}", "number"),
        ("{{ data.wide }} {{ data.half }}", "12345678901234567890123 Salt \u{fffd}"),
        ("{{ data.start | local('Europe/Berlin') }}", "2026-05-13 14:30"),
        (
            "{{ data.start | local('Europe/Berlin', '%d %b') }}{{ data.null | local('UTC') }}",
            "13 May",
        ),
    ] {
        assert_eq!(Text::new(text).unwrap().render(&view(BODY)).unwrap(), expected, "{text}");
    }
}

const MONEY: &[u8] = br#"{"id":"i-1","data":{"net":1.10,"vat":0.20900,"total":1.309,"count":2.0,
    "big":1E2,"long":123456789012345678901234567890123456789012,"huge":1e400,
    "longer":123456789012345678901234567890123456789013,"zero":0.00,
    "text":"number-1-0","prices":[1.10,2.5,10.00],
    "items":[{"price":1.10},{"price":10.00},{"price":2.5}]}}"#;

#[test]
fn numbers_are_printed_digit_by_digit_as_they_were_sent() {
    for (text, expected) in [
        ("{{ data.net }} + {{ data.vat }} = {{ data.total }}", "1.10 + 0.20900 = 1.309"),
        ("{{ data.net ~ ' EUR' }} {{ data.prices | join(', ') }}", "1.10 EUR 1.10, 2.5, 10.00"),
        ("{{ data.big }} {{ data.huge }} {{ data.zero }} {{ data.count }}", "1E2 1e400 0.00 2.0"),
        (
            "{{ data.net | string | length }} {{ data.net | default(0) }} {{ data.net or 0 }}",
            "4 1.10 1.10",
        ),
        ("{{ data.net | tojson }} {{ data.prices | tojson }}", "1.10 [1.10, 2.5, 10.00]"),
        (
            "{{ data.items[1] | tojson }}{{ data.text | tojson }}",
            "{\"price\": 10.00}\"number-1-0\"",
        ),
        ("{{ data.items[0] | tojson(indent=1) }}", "{\n \"price\": 1.10\n}"),
        (
            "{{ data.long }} {{ data.long | tojson }}",
            &"123456789012345678901234567890123456789012 ".repeat(2)[..85],
        ),
        ("{% for item in data.items %}{{ item.price }};{% endfor %}", "1.10;10.00;2.5;"),
        ("{{ data.items | map(attribute='price') | join(' ') }}", "1.10 10.00 2.5"),
        ("{% set net = data.net %}{{ net }}", "1.10"),
        ("{{ '%s' | format(data.net) }} {{ '%.3f' | format(data.net) }}", "1.10 1.100"),
        // Only calculated numbers are 64-bit floats.
        ("{{ data.net }} {{ data.net * 2 }} {{ 1 + data.net }}", "1.10 2.2 2.1"),
        ("{{ -data.net }} {{ data.net - -data.big }} {{ data.big // 3 }}", "-1.1 101.1 33.0"),
        ("{{ 'a ' ~ data.net + ' b ' ~ data.net * 2 }}", "a 1.10 b 2.2"),
        ("{{ (data.net) ** 2 > 1 }}", "True"),
        ("{{ data.net | round }} {{ data.net | int }} {{ -data.net | abs }}", "1.0 1 1.1"),
        ("{{ data.prices | sum }} {{ data.items | sum(attribute='price') }}", "13.6 13.6"),
        ("{{ data.prices | max }} {{ data.prices | sort | last }}", "10.0 10.0"),
        ("{{ data.items | sort(attribute='price') | map(attribute='price') | last }}", "10.0"),
        // Every number is, in a rule that needs the language's own numbers.
        ("{{ data.net }} {{ range(data.count) | length }}", "1.10 2"),
        ("{{ range(data.big) | length }}", "100"),
    ] {
        assert_eq!(Text::new(text).unwrap().render(&view(MONEY)).unwrap(), expected, "{text}");
    }
    for (rule, expected) in [
        ("data.net == 1.1 and data.net != 1.11 and 1.1 == data.net", true),
        ("data.net > 1 and data.net < 1.11 and data.net <= 1.1 and 2 > data.net", true),
        ("data.net in [1.1] and 1.1 in data.prices and data.net not in [2]", true),
        ("data.prices | select('gt', 2) | list | length == 2", true),
        ("data.items | selectattr('price', 'eq', 10) | list | length == 1", true),
        ("data.big == 100 and data.huge > 1 and data.zero == 0 and not data.zero", true),
        (
            "data.long < data.longer and data.long != data.longer and data.long == body.data.long",
            true,
        ),
        ("data.long > 1 and data.long is integer and data.long is number", true),
        ("data.net is float and data.net is number and data.net is not integer", true),
        ("data.net is string or data.net is iterable or data.net is mapping", false),
        ("data.big is even and data.big is divisibleby(50) and data.big is not odd", true),
        ("data.net == '1.10' or data.net > '1' or '1' in data.net", false),
    ] {
        assert_eq!(Rule::new(rule).unwrap().holds(&view(MONEY)), Ok(expected), "{rule}");
    }
    assert_eq!(Rule::new("data.net").unwrap().key(&view(MONEY)), Ok(Some("1.10".into())));
    assert_eq!(Rule::new("data.net > 2").unwrap().found(&view(MONEY)), ["data.net is 1.10"]);
}

#[test]
fn a_key_is_the_value_of_its_expression() {
    for (rule, expected) in [
        ("id", Some("7f")),
        ("data.size", Some("9007199254740993")),
        ("data.absent", None),
        ("data.null", None),
        ("event.source ~ ':' ~ id", Some("freispace:7f")),
    ] {
        let key = Rule::new(rule).unwrap().key(&view(BODY)).unwrap();
        assert_eq!(key.as_deref(), expected, "{rule}");
    }
}

#[test]
fn a_rule_that_cannot_be_parsed_says_where() {
    for (rule, place, what) in [
        ("data.name ==", 10..12, "unexpected end of input, expected expression"),
        ("data.name = 1", 10..11, "unexpected"),
    ] {
        let error = Rule::new(rule).unwrap_err();
        assert!(error.what.contains(what), "{rule}: {error}");
        assert_eq!((error.place, error.is_hopeless), (Some(place), true), "{rule}");
    }
    assert!(Text::new("{{ data.name").unwrap_err().is_hopeless);
}

#[test]
fn unknown_filters_and_tests_are_found_when_the_rule_is_parsed() {
    for (rule, place, what) in [
        ("id | nofilter", 5..13, "unknown filter nofilter"),
        ("id | uper", 5..9, "unknown filter uper: did you mean upper?"),
        ("nofunction(1)", 0..13, "nofunction is unknown"),
        ("1 == 1 and nofunction(1)", 11..24, "nofunction is unknown"),
        ("id is notest", 6..12, "unknown test notest"),
        ("id is not nunber", 10..16, "unknown test nunber: did you mean number?"),
        ("false and data.start | nofilter", 23..31, "unknown filter nofilter"),
        ("data.start | datetimeformat", 13..27, "write `local("),
        ("data.start | local('Europe/Berlim')", 13..18, "unknown time zone \"Europe/Berlim\""),
    ] {
        let error = Rule::new(rule).unwrap_err();
        assert!(error.what.contains(what), "{rule}: {error}");
        assert_eq!(error.place, Some(place), "{rule}");
    }
    assert!(Text::new("{{ id | nofilter }}").is_err());
}

#[test]
fn a_rule_that_fails_to_run_is_an_error_and_not_a_result() {
    let nested = [b"[".repeat(400), b"]".repeat(400)].concat();
    for (rule, what) in [
        ("range(100000) | map('string') | join", "steps"),
        ("data.name + 1", "unsupported types string and number"),
    ] {
        let error = Rule::new(rule).unwrap().holds(&view(BODY)).unwrap_err();
        assert!(error.what.contains(what), "{rule}: {error}");
        assert!(!error.is_hopeless, "{rule}");
    }
    for body in [&nested[..], b"\xff", b"plain", b""] {
        assert_eq!(Rule::new("data.x == 1").unwrap().holds(&view(body)), Ok(false));
    }
}

#[test]
fn a_large_body_is_rendered_completely_and_a_greedy_template_is_stopped() {
    let name = "x".repeat(1 << 20);
    let body = format!("{{\"name\":\"{name}\",\"list\":[1,2,3]}}");
    let view = view(body.as_bytes());
    let whole = Text::new("{{ body | tojson }}").unwrap().render(&view).unwrap();
    assert_eq!(whole.len(), "{\"list\": [1, 2, 3], \"name\": \"\"}".len() + name.len());
    for (template, what) in [
        ("{% for a in range(100000) %}{{ name }}{% endfor %}", "the text is longer than"),
        (
            "{% set x = name ~ name %}{% for a in range(100000) %}{% set x = x ~ x %}{% endfor %}",
            "steps",
        ),
        ("{{ 'x' * 100000000 }}", "steps"),
        ("{% for a in range(100000) %}{% if name == name ~ '' %}{% endif %}{% endfor %}", "steps"),
    ] {
        let error = Text::new(template).unwrap().render(&view).unwrap_err();
        assert!(error.what.contains(what), "{template}: {error}");
    }
}

#[test]
fn the_values_that_decided_are_shown() {
    let rule =
        Rule::new("data.status.name == 'Draft' and data.size > 5 and nothing.at.all").unwrap();
    assert_eq!(
        rule.found(&view(BODY)),
        [
            "data.size is 9007199254740993",
            "data.status.name is \"Confirmed\"",
            "nothing.at.all is absent or null"
        ]
    );
}

#[test]
fn a_rule_that_panics_fails_for_that_event() {
    let failed = contained::<()>(|| panic!("planted")).unwrap_err();
    assert!(failed.to_string().contains("it panicked"), "{failed}");
}
