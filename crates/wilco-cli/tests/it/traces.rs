//! Trace context of senders is passed on, and spans are exported where wilco is built with that.

use std::fs;

use serde_json::Value;

use crate::{
    catcher::Catcher,
    world::{Reply, World, booking, sign},
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A program and a service.
fn tables(catcher: &Catcher) -> String {
    format!(
        "[destination.erp]\ntype = \"http\"\nurl = \"{}\"\n\
         [destination.program]\ntype = \"command\"\n\
         command = [\"/bin/sh\", \"-c\", \"echo $TRACEPARENT,$TRACESTATE >> FOLDER/seen\"]\n\
         [[route]]\nto = [\"erp\", \"program\"]\n",
        catcher.url()
    )
}

fn send(world: &World, id: &str, headers: &[(&str, &str)]) -> Reply {
    let body = booking(id, "A");
    let signature = sign(body.as_bytes());
    let headers = [&[("x-freispace-signature", signature.as_str())], headers].concat();
    world.post(&body, &headers)
}

fn seen(world: &World, lines: usize) -> Vec<String> {
    let read = |world: &World| fs::read_to_string(world.path("seen")).unwrap_or_default();
    world.eventually("the program has run", |world| read(world).lines().count() == lines);
    read(world).lines().map(Into::into).collect()
}

#[test]
fn the_trace_context_of_a_sender_is_passed_on() {
    let catcher = Catcher::new();
    let world = World::plan().and(&(tables(&catcher) + WORKER)).start();
    let valid = format!("00-{TRACE}-{PARENT}-01");
    for (number, (traceparent, expected)) in
        [(valid.as_str(), (valid.as_str(), "a=1")), ("00-nonsense-01", ("", "")), ("", ("", ""))]
            .into_iter()
            .enumerate()
    {
        let headers = [("traceparent", traceparent), ("tracestate", "a=1")];
        let headers = if traceparent.is_empty() { &headers[..0] } else { &headers[..] };
        assert_eq!(send(&world, &number.to_string(), headers).status, 200);
        let caught = catcher.wait_for(number + 1).swap_remove(number);
        for (name, expected) in [("traceparent", expected.0), ("tracestate", expected.1)] {
            assert_eq!(caught.has(name), !expected.is_empty(), "{traceparent} {name}");
            assert!(expected.is_empty() || caught.header(name) == expected, "{name}");
        }
        let line = seen(&world, number + 1).swap_remove(number);
        assert_eq!(line, format!("{},{}", expected.0, expected.1));
        let read = |world: &World| fs::read_to_string(world.path("lines")).unwrap_or_default();
        world.eventually("the worker has it", |world| read(world).lines().count() == number + 1);
        let line: Value = serde_json::from_str(read(&world).lines().last().unwrap()).unwrap();
        let field = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        assert_eq!((&*field("traceparent"), &*field("tracestate")), expected, "{line}");
    }
}

/// A program that keeps running, and writes down what it gets.
const WORKER: &str = r#"
[destination.worker]
type = "command"
protocol = "lines"
command = ["/bin/sh", "-c", """
while read -r line; do
    echo "$line" >> FOLDER/lines
    id=${line#*'"id":"'}
    id=${id%%'"'*}
    echo "{\\"id\\":\\"$id\\",\\"ok\\":true}"
done"""]
[[route]]
to = ["worker"]
"#;

mod exported {
    use super::*;

    /// The spans that a collector has got.
    fn spans(collector: &Catcher) -> Vec<Value> {
        let mut spans = Vec::new();
        for caught in collector.caught() {
            assert_eq!((caught.path.as_str(), caught.header("api-key")), ("/v1/traces", "a b"));
            assert_eq!(caught.header("content-type"), "application/json");
            let body: Value = serde_json::from_slice(&caught.body).unwrap();
            let resource = &body["resourceSpans"][0];
            let service = &resource["resource"]["attributes"][0];
            assert_eq!(service["key"], "service.name");
            assert_eq!(service["value"]["stringValue"], "webhooks");
            spans.extend(resource["scopeSpans"][0]["spans"].as_array().unwrap().iter().cloned());
        }
        spans
    }

    fn of_trace<'s>(spans: &'s [Value], trace: &str) -> Vec<&'s Value> {
        spans.iter().filter(|span| span["traceId"] == trace).collect()
    }

    /// Checks that the spans of a trace are those of one event, and returns its attempts.
    fn check(spans: &[&Value], parent: Option<&str>) -> Vec<String> {
        let named = |name: &'static str| spans.iter().filter(move |span| span["name"] == name);
        let receive: Vec<_> = named("receive").collect();
        assert_eq!(receive.len(), 1, "{spans:?}");
        let receive = receive[0];
        assert_eq!(receive["parentSpanId"].as_str(), parent);
        for (name, count) in [("verify", 1), ("record", 1), ("route", 1), ("attempt", 2)] {
            assert_eq!(named(name).count(), count, "{name} {spans:?}");
            for span in named(name) {
                assert_eq!(span["parentSpanId"], receive["spanId"], "{name}");
                let time = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
                assert!(time("startTimeUnixNano") <= time("endTimeUnixNano"), "{span}");
            }
        }
        named("attempt").map(|span| span["spanId"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_collector_gets_the_spans_of_each_event() {
        let (collector, catcher) = (Catcher::new(), Catcher::new());
        let endpoint = collector.url().replace("/hook?a=1", "/");
        let mut world = World::plan()
            .and(&tables(&catcher))
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
            .env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b")
            .env("OTEL_SERVICE_NAME", "webhooks")
            .start();
        let sampled = format!("00-{TRACE}-{PARENT}-01");
        let not_sampled = sampled.replace("-01", "-00").replace("0af7", "0af8");
        send(&world, "1", &[("traceparent", &sampled)]);
        seen(&world, 1);
        send(&world, "2", &[("traceparent", &not_sampled)]);
        seen(&world, 2);
        send(&world, "3", &[]);
        seen(&world, 3);
        let caught = catcher.wait_for(3);
        world.eventually("all is delivered", |world| {
            world.count("SELECT count(*) FROM delivery WHERE state = 'delivered'") == 6
        });
        assert!(world.stop().success());
        let spans = spans(&collector);
        let attempts = check(&of_trace(&spans, TRACE), Some(PARENT));
        let passed_on = caught[0].header("traceparent");
        let is_of_attempt = |id: &String| passed_on == format!("00-{TRACE}-{id}-01");
        assert!(attempts.iter().any(is_of_attempt), "{passed_on} {attempts:?}");
        assert!(of_trace(&spans, &TRACE.replace("0af7", "0af8")).is_empty(), "it is not sampled");
        let own = caught[2].header("traceparent").split('-').nth(1).unwrap().to_owned();
        check(&of_trace(&spans, &own), None);
        assert_eq!(spans.len(), 12, "{spans:?}");
    }

    #[test]
    fn a_collector_that_is_away_delays_nothing() {
        let catcher = Catcher::new();
        let mut world = World::plan()
            .and(&tables(&catcher))
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
            .start();
        assert_eq!(send(&world, "1", &[]).status, 200);
        catcher.wait_for(1);
        world.log_with("spans were not exported");
        // Four of the event itself, and two attempts.
        world.eventually("all spans are counted", |world| {
            world.metric("wilco_trace_spans_dropped_total") >= 6.0
        });
        assert!(world.stop().success());
    }
}
