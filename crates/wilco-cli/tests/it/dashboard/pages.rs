//! The pages about destinations, failures, rejections, routes and actions.

use serde_json::{Value, json};

use super::{act, form_token, sign_in, visit};
use crate::{
    configuration::certificate::{FILES, Issued},
    world::{World, booking, sign, sign_with},
};

#[test]
fn an_empty_page_says_what_to_do_next() {
    let world = World::plan().start();
    let cookie = sign_in(&world, "operator");
    for (page, expected) in [
        ("/destinations", "wilco check &amp;&amp; wilco reload"),
        ("/failures", "No failures"),
        ("/rejections", "No rejections"),
        ("/routes", "[[route]]"),
    ] {
        let shown = visit(&world, page, &[("cookie", &cookie)]);
        assert_eq!(shown.status, 200, "{page}");
        assert!(shown.body.contains(expected), "{page}: {}", shown.body);
    }
}

#[test]
fn an_expired_certificate_is_an_alarm() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Issued::new("authority", 2020, 2100);
    Issued::new("localhost", 2020, 2021).write(folder.path(), &authority);
    let world = World::plan().tls(FILES).start_in(folder);
    let shown = visit(&world, "/", &[("cookie", &sign_in(&world, "reader"))]).body;
    assert!(shown.contains("<li class=\"alarm\">"), "{shown}");
    assert!(shown.contains("The certificate expired "), "{shown}");
    assert!(!shown.contains("expires"), "{shown}");
}

#[test]
fn a_group_of_failures_is_retried_as_its_page_says_and_the_audit_list_has_it() {
    let archive = "[destination.archive]\ntype = \"print\"\n";
    let world = World::plan().and(&format!("{archive}{FAILING}")).start();
    for number in 0..2 {
        assert_eq!(world.send(&booking(&format!("b-{number}"), "A")).status, 200);
    }
    let dead = "SELECT count(*) FROM delivery WHERE state = 'dead'";
    world.eventually("dead deliveries", |world| world.count(dead) == 2);
    let cookie = sign_in(&world, "operator");
    let page = |path: &str| visit(&world, path, &[("cookie", &cookie)]).body;
    assert!(world.run_verb(&["destinations", "pause", "archive"]).status.success());
    let overview = page("/");
    let place = |text| overview.find(text).unwrap_or_else(|| panic!("{text}: {overview}"));
    assert!(place("2 deliveries to crm are dead") < place("archive is paused"), "{overview}");
    let failures = page("/failures");
    assert!(failures.contains("exit 3"), "{failures}");
    let confirm = page("/failures/retry?destination=crm&error=exit+3");
    assert!(confirm.contains("Retry 2 events?"), "{confirm}");
    assert!(page("/failures/retry?destination=crm&error=exit+4").contains("Nothing to retry"));
    let token = form_token(&world, &cookie);
    let form = format!("token={token}&destination=crm&error=exit+3&reason=crm+is+back");
    let done = act(&world, &cookie, "/failures/retry", &form);
    assert!(done.body.contains("Retrying 2 events to crm."), "{}", done.body);
    assert_eq!(world.count("SELECT count(*) FROM delivery WHERE reason LIKE '%crm is back'"), 2);
    let form = format!("token={token}&name=crm&back=/destinations");
    for (action, done, next) in
        [("pause", "Paused crm: ", "Resume"), ("resume", "Resumed crm: ", "Pause")]
    {
        let page = act(&world, &cookie, &format!("/destinations/{action}"), &form).body;
        assert!(page.contains(done) && page.contains(&format!(">{next}</button>")), "{page}");
    }
    let audit = page("/audit");
    for expected in ["retry failures", "pause destination", "dashboard", ">2</td>"] {
        assert!(audit.contains(expected), "{expected}: {audit}");
    }
    let reader = sign_in(&world, "reader");
    for path in ["/destinations", "/failures"] {
        let shown = visit(&world, path, &[("cookie", &reader)]).body;
        for button in [">Pause<", ">Retry now<", "Retry all"] {
            assert!(!shown.contains(button), "{path} {button}");
        }
    }
}

#[test]
fn what_failed_is_on_every_page_and_the_overview_says_why_and_since_when() {
    let world = World::plan().and(GIVES_UP_OR_RETRIES).start();
    let cookie = sign_in(&world, "operator");
    let page = |path: &str| visit(&world, path, &[("cookie", &cookie)]).body;
    let calm = page("/routes");
    assert!(calm.contains("<title>Routes ") && calm.contains("class=\"badge\" hidden"), "{calm}");
    assert!(page("/").contains("All is well"));
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
    let failed = "SELECT count(*) FROM delivery WHERE state IN ('dead', 'retrying')";
    world.eventually("failures", |world| world.count(failed) == 2);
    let event = format!("/events/{}", world.events()[0]["id"].as_str().unwrap());
    for (path, expected) in [
        ("/routes", "<title>(1 dead) Routes "),
        ("/routes", "class=\"badge\">1<"),
        ("/routes", "<link rel=\"icon\" href=\"/assets/wilco-alarm.svg?"),
        ("/", "1 delivery to folders is dead"),
        (
            "/",
            "<span class=\"mono\">exit 65</span>: no space is left <span class=\"muted\">· <time ",
        ),
        ("/", "erp is failing: 1 delivery is retried"),
        ("/", ">dead letters<"),
        ("/failures", "<p class=\"why-it-is\">no space is left</p>"),
        (&*event, "The delivery to folders is dead"),
        (&*event, "<span class=\"mono\">exit 65</span>: no space is left <span"),
        (&*event, "Replay to folders</button>"),
        (&*event, "The delivery to erp failed and is retried"),
    ] {
        let shown = page(path);
        assert!(shown.contains(expected), "{path} has no {expected}: {shown}");
    }
    assert!(!page("/").contains("All is well"));
    let form = format!("token={}&name=erp&back=/failures", form_token(&world, &cookie));
    let done = act(&world, &cookie, "/destinations/retry", &form).body;
    assert!(done.contains("To erp: 1 delivery is due now."), "{done}");
    world.eventually("another attempt", |world| world.count("SELECT count(*) FROM attempt") == 3);
}

#[test]
fn a_rejection_is_explained_and_refused_again_while_the_secret_is_wrong() {
    let world = World::plan().start();
    let body = booking("b-1", "<script>");
    let wrong = sign_with("another-secret-of-enough-bytes", body.as_bytes());
    assert_eq!(world.post(&body, &[("x-freispace-signature", &*wrong)]).status, 403);
    let cookie = sign_in(&world, "operator");
    let page = |path: &str| visit(&world, path, &[("cookie", &cookie)]).body;
    world.eventually("a rejection", |_| page("/rejections").contains("/rejections/rej_"));
    let path = rejection(&page("/rejections"));
    let shown = page(&path);
    assert!(shown.contains("none matches"), "{shown}");
    assert!(!shown.contains("<script>\"") && shown.contains("&#60;script&#62;"), "{shown}");
    let token = form_token(&world, &cookie);
    let form = format!("token={token}&back={path}");
    let done = act(&world, &cookie, &format!("{path}/accept"), &form);
    let notice = "<p class=\"notice not-done\" role=\"status\">Not accepted: ";
    assert!(done.body.contains(notice), "{}", done.body);
    assert_eq!(world.recorded(), 0);
}

#[test]
fn a_rejection_says_how_to_fix_its_cause() {
    let world = World::plan().start();
    let body = booking("b-1", "A");
    let of_whole = sign(format!("{body}\n").as_bytes());
    assert_eq!(world.post(&body, &[("x-freispace-signature", &*of_whole)]).status, 403);
    let cookie = sign_in(&world, "reader");
    let page = |path: &str| visit(&world, path, &[("cookie", &cookie)]).body;
    world.eventually("a rejection", |_| page("/rejections").contains("/rejections/rej_"));
    let shown = page(&rejection(&page("/rejections")));
    let fix = "find what cuts the final line break off on the way (<code>curl -d</code> does, \
               <code>curl --data-binary</code> does not)</li>";
    assert!(shown.contains(fix), "{shown}");
}

#[test]
fn a_rejection_is_accepted_by_an_operator_and_only_once() {
    let world = with_mistyped_secret();
    let (operator, reader) = (sign_in(&world, "operator"), sign_in(&world, "reader"));
    let page = |path: &str, cookie: &str| visit(&world, path, &[("cookie", cookie)]).body;
    let body = booking("b-1", "A");
    let right = sign_with("the-right-made-up-secret", body.as_bytes());
    assert_eq!(world.post_to("/files", &body, &[("x-freispace-signature", &*right)]).status, 403);
    world.eventually("it", |_| page("/rejections", &reader).contains("/rejections/rej_"));
    let path = rejection(&page("/rejections", &reader));
    let shown = page(&path, &reader);
    assert!(shown.contains("disabled") && shown.contains("needs the role operator"), "{shown}");
    assert!(!shown.contains(&format!("{path}/accept")), "{shown}");
    let shown = page(&path, &operator);
    assert!(shown.contains("verifies the request again with the current secrets"), "{shown}");
    assert!(shown.contains(&format!("action=\"{path}/accept\"")), "{shown}");

    std::fs::write(world.path("secret"), "the-right-made-up-secret").unwrap();
    assert!(world.run_verb(&["reload"]).status.success());
    let form = format!("token={}&back={path}", form_token(&world, &operator));
    let done = act(&world, &operator, &format!("{path}/accept"), &form).body;
    assert!(done.contains("Accepted.") && done.contains("booking.updated"), "{done}");
    assert_eq!(world.recorded(), 1);
    let late = act(&world, &operator, &format!("{path}/accept"), &form).body;
    assert!(late.contains("Not accepted: ") && late.contains("<h1>Rejections</h1>"), "{late}");
    assert_eq!(world.recorded(), 1);
}

#[test]
fn rejections_are_filtered_and_one_that_is_kept_in_part_cannot_be_accepted() {
    let world = with_mistyped_secret();
    assert_eq!(world.post_to("/files", "{}", &[]).status, 400);
    let cookie = sign_in(&world, "operator");
    let page = |path: &str| visit(&world, path, &[("cookie", &cookie)]).body;
    world.eventually("a rejection", |_| page("/rejections").contains("/rejections/rej_"));
    for (filter, is_found) in [
        ("source=files", true),
        ("source=freispace", false),
        ("range=30d", true),
        ("source=files&range=30d", true),
        ("since=2000-01-01T00:00:00Z", true),
        ("since=2200-01-01T00:00:00Z", false),
    ] {
        let shown = page(&format!("/rejections?{filter}"));
        assert_eq!(shown.contains("/rejections/rej_"), is_found, "{filter} {shown}");
        assert_eq!(shown.contains("No rejections match"), !is_found, "{filter} {shown}");
        assert!(shown.contains("href=\"/rejections\">Clear</a>"), "{filter} {shown}");
    }
    let shown = page(&rejection(&page("/rejections")));
    assert!(
        shown.contains("disabled") && shown.contains("no other secret would make it right"),
        "{shown}"
    );
    assert!(!shown.contains("/accept\"") && !shown.contains("is another one"), "{shown}");
}

/// A wilco with a second source at `/files`, with a mistyped secret in the file `secret`.
fn with_mistyped_secret() -> World {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "the-rihgt-made-up-secret").unwrap();
    World::plan().and(MISTYPED).start_in(folder)
}

/// The path of the first rejection of a list.
fn rejection(list: &str) -> String {
    let at = list.find("/rejections/rej_").unwrap();
    list[at..].split('"').next().unwrap().to_owned()
}

#[test]
fn the_routes_decide_about_a_chosen_event() {
    let world = World::plan().and(FAILING).start();
    let id = world.send(&booking("b-1", "A")).header("x-wilco-event").unwrap().to_owned();
    let cookie = sign_in(&world, "reader");
    for path in ["/routes".to_owned(), format!("/routes?event={id}")] {
        let shown = visit(&world, &path, &[("cookie", &cookie)]).body;
        assert!(
            shown.contains("booking.updated") && shown.contains("takes every event"),
            "{shown}"
        );
    }
    assert_eq!(visit(&world, "/routes?event=evt_x", &[("cookie", &cookie)]).status, 400);
}

#[test]
fn the_routes_are_listed_as_they_are_configured_before_there_is_an_event() {
    let world = World::plan().and(ROUTES).start();
    let token = world.authorization();
    let listed = || world.ask("GET", "/api/v1/routes", &[("authorization", &token)], "");
    let found: Value = serde_json::from_str(&listed().body).unwrap();
    let expected = json!({"next": null, "items": [
        {"route": 1, "from": "freispace", "events": ["booking.*", "project.created"],
         "when": "data.name != \"<b>\"",
         "debounce": {"by": "id", "quiet_ms": 90_000, "at_most_ms": 900_000},
         "to": ["crm", "log"]},
        {"route": 2, "events": ["*"], "split": "data.list", "to": ["log"]},
    ]});
    assert_eq!(found, expected);
    let cookie = sign_in(&world, "reader");
    let page = || visit(&world, "/routes", &[("cookie", &cookie)]).body;
    let shown = page();
    for expected in [
        ">freispace</td>",
        "<code>booking.*</code>, <code>project.created</code>",
        "<code>data.name != &#34;&#60;b&#62;&#34;</code>",
        "<code>id</code>, 90 s",
        ">crm, log</span>",
        "every source",
        "<code>data.list</code>",
        "wilco send booking.created",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }

    world.reconfigure(|file| file.replace("90 s", "2 min"));
    assert!(world.run_verb(&["reload"]).status.success());
    assert_eq!(listed().body.matches("\"quiet_ms\":120000,").count(), 1);
    assert!(page().contains("<code>id</code>, 2 min"), "{}", page());
}

const ROUTES: &str = "[destination.crm]\ntype = \"print\"\n[destination.log]\ntype = \"print\"\n\
                      [[route]]\nfrom = \"freispace\"\nevents = [\"booking.*\", \"project.created\"]\n\
                      when = 'data.name != \"<b>\"'\ndebounce = { by = \"id\", quiet = \"90 s\" }\n\
                      to = [\"crm\", \"log\"]\n[[route]]\nsplit = \"data.list\"\nto = [\"log\"]\n";

const FAILING: &str = "[destination.crm]\ntype = \"command\"\ncommand = [\"sh\", \"-c\", \"exit 3\"]\n\
                       retry = { first = \"100 ms\", give_up_after = \"200 ms\" }\n\
                       breaker = { failures = 1000 }\n[[route]]\nto = [\"crm\"]\n";

const MISTYPED: &str = "[source.files]\nprovider = \"freispace\"\npath = \"/files\"\n\
                        secrets = [{ file = \"FOLDER/secret\" }]\n";

/// A destination that gives up at once, and one that tries again much later.
const GIVES_UP_OR_RETRIES: &str = r#"
[destination.folders]
type = "command"
command = ["/bin/sh", "-c", "echo making folders; echo no space is left >&2; exit 65"]
[destination.erp]
type = "command"
command = ["/bin/sh", "-c", "exit 1"]
retry = { first = "90 days", max = "90 days", give_up_after = "200 days" }
[[route]]
to = ["folders", "erp"]
"#;
