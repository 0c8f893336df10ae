//! The dashboard: who gets in, what a browser is told, and what cannot be done from elsewhere.

mod assets;
mod event;
mod list;
mod live;
mod pages;
mod test_event;

use crate::world::{Plan, Reply, World, booking};

#[test]
fn a_link_signs_in_once() {
    let world = World::plan().start();
    let link = link(&world, "operator");
    let first = visit(&world, &link, &[]);
    assert_eq!((first.status, first.header("location")), (303, Some("/")));
    let cookie = first.header("set-cookie").unwrap();
    for part in ["; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "{cookie}");
    assert_eq!(first.header("referrer-policy"), Some("no-referrer"));
    let again = visit(&world, &link, &[]);
    assert_eq!((again.status, again.header("set-cookie")), (401, None));
    assert!(again.body.contains("wilco dashboard"), "{}", again.body);
    let behind_tls =
        visit(&world, &self::link(&world, "reader"), &[("x-forwarded-proto", "https")]);
    assert!(behind_tls.header("set-cookie").unwrap().contains("; Secure"));
    for code in ["", "?code=", "?code=AAAAAAAAAAAAAAAAAAAAAA"] {
        assert_eq!(visit(&world, &format!("/login{code}"), &[]).status, 401, "{code}");
    }
}

#[test]
fn a_session_survives_a_restart_and_ends_with_the_token() {
    let world = World::plan().start();
    let cookie = sign_in(&world, "reader");
    let world = world.restart();
    assert_eq!(visit(&world, "/events", &[("cookie", &cookie)]).status, 200);
    std::fs::remove_file(world.path("wilco.db.token")).unwrap();
    let world = world.restart();
    assert_eq!(visit(&world, "/events", &[("cookie", &cookie)]).status, 401);
}

#[test]
fn a_cookie_that_was_changed_signs_nobody_in() {
    let world = World::plan().start();
    let reader = sign_in(&world, "reader");
    let (name, value) = reader.split_once('=').unwrap();
    let mac_at = value.rfind('.').unwrap();
    for changed in [
        String::new(),
        value.replace("reader", "operator"),
        format!("{}9{}", &value[..7], &value[7..]),
        value[..mac_at].to_owned(),
        format!("{}.", &value[..mac_at]),
        value[..value.len() - 4].to_owned(),
        format!("{value}AAAA"),
        value.replacen('.', "..", 1),
    ] {
        let reply = visit(&world, "/events", &[("cookie", &format!("{name}={changed}"))]);
        assert_eq!(reply.status, 401, "{changed}");
    }
    assert_eq!(visit(&world, "/events", &[("cookie", &reader)]).status, 200);
}

#[test]
fn nothing_changes_unless_an_operator_sends_a_form_of_this_origin() {
    let world = handled();
    let id = world.events()[0]["id"].as_str().unwrap().to_owned();
    let (operator, reader) = (sign_in(&world, "operator"), sign_in(&world, "reader"));
    let (here, port) = (world.admin.to_string(), world.admin.port());
    let own = format!("http://{here}");
    let (token, of_reader) = (form_token(&world, &operator), form_token(&world, &reader));
    let before = world.count("SELECT count(*) FROM delivery");
    let page = format!("/events/{id}/replay");
    let (form, json) = ("application/x-www-form-urlencoded", "application/json");
    let body = format!("token={token}&back=/events");
    let api = format!("{{\"ids\":[\"{id}\"]}}");
    for (what, path, kind, cookie, headers, body) in [
        ("no session", &page, form, "", vec![("sec-fetch-site", "same-origin")], &body),
        (
            "no token",
            &page,
            form,
            &operator,
            vec![("sec-fetch-site", "same-origin")],
            &"back=/".into(),
        ),
        ("token of another", &page, form, &operator, vec![], &format!("token={of_reader}")),
        ("a reader", &page, form, &reader, vec![], &format!("token={of_reader}")),
        ("cross-site", &page, form, &operator, vec![("sec-fetch-site", "cross-site")], &body),
        ("another port", &page, form, &operator, vec![("sec-fetch-site", "same-site")], &body),
        ("another origin", &page, form, &operator, vec![("origin", "https://evil.example")], &body),
        ("no origin", &page, form, &operator, vec![("origin", "null")], &body),
        ("another host", &page, form, &operator, vec![("host", "evil.example")], &body),
        ("similar host", &page, form, &operator, vec![("host", "localhost.evil.example")], &body),
        (
            "API, reader",
            &"/api/v1/replay".into(),
            json,
            &reader,
            vec![("origin", own.as_str())],
            &api,
        ),
        ("API, no origin", &"/api/v1/replay".into(), json, &operator, vec![], &api),
        (
            "API, another origin",
            &"/api/v1/replay".into(),
            json,
            &operator,
            vec![("origin", "http://localhost:1")],
            &api,
        ),
    ] {
        let headers = [&headers[..], &[("cookie", cookie), ("content-type", kind)]].concat();
        let reply = world.ask("POST", path, &headers, body);
        assert!([401, 403].contains(&reply.status), "{what}: {} {}", reply.status, reply.body);
    }
    assert_eq!(world.count("SELECT count(*) FROM delivery"), before, "0 changed");

    let local = format!("localhost:{port}");
    for headers in [
        vec![("sec-fetch-site", "same-origin")],
        vec![("origin", own.as_str())],
        vec![("host", local.as_str()), ("sec-fetch-site", "same-origin")],
        vec![],
    ] {
        let headers =
            [&headers[..], &[("cookie", operator.as_str()), ("content-type", form)]].concat();
        let reply = world.ask("POST", &page, &headers, &body);
        assert_eq!((reply.status, reply.header("location")), (303, Some("/events")), "{headers:?}");
    }
    let headers = [("cookie", operator.as_str()), ("origin", &own), ("content-type", json)];
    assert_eq!(world.ask("POST", "/api/v1/replay", &headers, &api).status, 200);
    assert_eq!(world.count("SELECT count(*) FROM delivery"), before + 5);
}

#[test]
fn a_name_of_a_proxy_works_only_if_it_is_configured() {
    let plan = World::plan().admin("hosts = [\"Wilco.example.com\"]");
    let world = plan.start();
    let cookie = sign_in(&world, "reader");
    for (host, status) in [
        ("wilco.example.com", 200),
        ("WILCO.example.com:443", 200),
        ("[::1]:9440", 200),
        ("other.example.com", 403),
        ("[::1].evil.example", 403),
        ("x@localhost", 403),
        ("wilco.example.com.evil.example", 403),
    ] {
        let reply = visit(&world, "/events", &[("cookie", &cookie), ("host", host)]);
        assert_eq!(reply.status, status, "{host}");
    }
    let refused = World::plan().admin("hosts = [\"https://wilco.example.com\"]").output();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("expected a name without scheme and port"), "{said}");
}

#[test]
fn every_answer_keeps_a_browser_from_running_or_embedding_anything_else() {
    let world = World::plan().start();
    let cookie = sign_in(&world, "operator");
    let own = [("cookie", cookie.as_str())];
    for path in [
        "/",
        "/events",
        "/nowhere",
        "/login",
        "/assets/wilco.css",
        "/assets/nope",
        "/api/v1/events",
        "/livez",
    ] {
        let reply = visit(&world, path, &own);
        let policy = reply.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"),
            "{path}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        for part in ["base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"] {
            assert!(policy.contains(part), "{path} {policy}");
        }
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(reply.header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(reply.header("cross-origin-resource-policy"), Some("same-origin"), "{path}");
        assert!(reply.header("referrer-policy").is_some(), "{path}");
        let is_asset = path == "/assets/wilco.css";
        let cached = reply.header("cache-control").unwrap();
        assert_eq!(cached.contains("no-store"), !is_asset, "{path} {cached}");
    }
}

#[test]
fn pages_have_no_inline_script_or_style() {
    let world = handled();
    let cookie = sign_in(&world, "operator");
    for path in [
        "/",
        "/events",
        "/events?event=none.*",
        "/destinations",
        "/failures",
        "/rejections",
        "/routes",
        "/audit",
        "/nowhere",
    ] {
        let page = visit(&world, path, &[("cookie", &cookie)]).body;
        assert!(page.starts_with("<!doctype html>"), "{path} {page}");
        for (number, _) in page.match_indices("<script") {
            let tag = &page[number..];
            assert!(tag.starts_with("<script src=\"/assets/"), "{path} {tag:.80}");
        }
        for inline in
            ["<style", " style=", " onclick=", " onload=", "javascript:", "hx-on", "{{", "{%"]
        {
            assert!(!page.contains(inline), "{path}: {inline}");
        }
    }
}

#[test]
fn an_error_is_a_page_for_a_browser_and_a_problem_for_everybody_else() {
    let world = World::plan().start();
    let cookie = sign_in(&world, "reader");
    for (path, cookie, status, text) in [
        ("/events", "", 401, "You are signed out"),
        ("/nowhere", &*cookie, 404, "there is nothing at this path"),
        ("/events?limit=0", &cookie, 400, "invalid limit"),
        ("/logout", &cookie, 405, "this path does not support the method"),
    ] {
        let page = visit(&world, path, &[("cookie", cookie)]);
        assert_eq!(page.status, status, "{path}");
        assert!(page.header("content-type").unwrap().starts_with("text/html"), "{path}");
        assert!(page.body.contains(text), "{path} {}", page.body);
        let problem = world.ask("GET", path, &[("cookie", cookie)], "");
        assert_eq!(problem.header("content-type"), Some("application/problem+json"), "{path}");
        assert_eq!(problem.status, status, "{path}");
    }
}

#[test]
fn what_was_sent_is_shown_as_text() {
    let world = World::plan().start();
    let body = booking("b-1", "<script>alert(1)</script>\\\"'><img src=x onerror=alert(1)>");
    assert_eq!(world.send(&body).status, 200);
    let cookie = sign_in(&world, "operator");
    let page = visit(&world, "/events", &[("cookie", &cookie)]).body;
    assert!(page.contains("&#60;script&#62;alert(1)"), "{page}");
    assert!(!page.contains("<script>alert") && !page.contains("<img src=x"), "{page}");
    let path = "/events?event=%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
    let page = visit(&world, path, &[("cookie", &cookie)]).body;
    assert!(!page.contains("<script>alert"), "{page}");
}

#[test]
fn an_action_says_once_what_it_did() {
    let world = handled();
    let cookie = sign_in(&world, "operator");
    let id = world.events()[0]["id"].as_str().unwrap().to_owned();
    let token = form_token(&world, &cookie);
    let body = format!("token={token}&back=//evil.example/");
    let page = act(&world, &cookie, &format!("/events/{id}/replay"), &body);
    assert!(page.body.contains("Replayed to out."), "{}", page.body);
    assert!(page.header("set-cookie").unwrap().starts_with("wilco_notice=; "), "it is forgotten");
}

#[test]
fn signing_out_and_the_theme_work_for_a_reader_without_a_script() {
    let world = World::plan().start();
    let cookie = sign_in(&world, "reader");
    let token = form_token(&world, &cookie);
    let headers =
        [("cookie", cookie.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let body = format!("token={token}&theme=dark&back=/events");
    let reply = world.ask("POST", "/settings", &headers, &body);
    let theme = reply.header("set-cookie").unwrap().split(';').next().unwrap();
    assert_eq!((reply.status, theme), (303, "wilco_theme=dark"));
    let page = visit(&world, "/events", &[("cookie", &format!("{cookie}; {theme}"))]);
    assert!(page.body.contains("data-theme=\"dark\""));
    let page = visit(&world, "/events", &[("cookie", &format!("{cookie}; wilco_theme=x\"><b>"))]);
    assert!(page.body.contains("data-theme=\"auto\""));
    let reply = world.ask("POST", "/logout", &headers, &format!("token={token}"));
    assert!(reply.header("set-cookie").unwrap().contains("=; Path=/; Max-Age=0"));
}

/// A world with a destination and an event that was delivered.
fn handled() -> World {
    let world = with_destination().start();
    assert_eq!(world.send(&booking("b-1", "Grade")).status, 200);
    world.eventually("the delivery", |world| {
        world.count("SELECT count(*) FROM delivery WHERE state = 'delivered'") == 1
    });
    world
}

fn with_destination() -> Plan {
    World::plan().and("[destination.out]\ntype = \"print\"\n[[route]]\nto = [\"out\"]\n")
}

/// The path and the query that `wilco dashboard` prints.
fn link(world: &World, role: &str) -> String {
    let output = world.run_verb(&["dashboard", "--print", "--role", role]);
    assert!(output.status.success(), "{output:?}");
    let link = String::from_utf8(output.stdout).unwrap();
    let origin = format!("http://{}", world.admin);
    link.trim().strip_prefix(&origin).unwrap().to_owned()
}

/// The cookie of a new session.
fn sign_in(world: &World, role: &str) -> String {
    let reply = visit(world, &link(world, role), &[]);
    reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

/// Asks for a page as a browser does.
fn visit(world: &World, path: &str, headers: &[(&str, &str)]) -> Reply {
    let accept = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    world.ask("GET", path, &[headers, &[accept]].concat(), "")
}

/// Sends a form as a browser does, and follows to the page that says what it did.
fn act(world: &World, cookie: &str, path: &str, form: &str) -> Reply {
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let reply = world.ask("POST", path, &[("cookie", cookie), kind], form);
    assert_eq!(reply.status, 303, "{path} {}", reply.body);
    let page = reply.header("location").unwrap();
    assert!(page.starts_with('/') && !page.starts_with("//"), "never to elsewhere: {page}");
    let notice = reply.header("set-cookie").unwrap().split(';').next().unwrap();
    visit(world, page, &[("cookie", &format!("{cookie}; {notice}"))])
}

fn form_token(world: &World, cookie: &str) -> String {
    let page = visit(world, "/events", &[("cookie", cookie)]).body;
    let at = page.find("name=\"token\" value=\"").unwrap();
    page[at + 20..].split('"').next().unwrap().to_owned()
}
