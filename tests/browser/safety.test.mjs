// Nothing that comes from outside is executed, wherever it is shown.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { foreign, launch, open, watched } from "./browser.mjs";
import { rejections } from "./pages.mjs";
import { PAYLOADS } from "./payloads.mjs";
import { World, eventually } from "./world.mjs";

/// What was sent fails, and its output and error are the payload.
const TABLES = `
[destination.echo]
type = "command"
command = ["/bin/sh", "-c", "cat; exit 65"]
concurrency = 4
[destination.erp]
type = "http"
url = "HANDLER"
# Between now and then, by chance: none may come while the tests run.
retry = { first = "90 days", max = "90 days", give_up_after = "200 days" }
breaker = { failures = 1000000 }
concurrency = 8
[[route]]
to = ["echo", "erp"]
`;

/// Pages that look at the same time.
const PAGES = 3;

let browser, world, watchers;

before(async () => {
  browser = await launch();
  world = await World.start({ tables: TABLES });
  const page = await open(browser, world);
  watchers = [page];
  while (watchers.length < PAGES) watchers.push(await watched(page.context(), world));
});
after(async () => {
  await browser?.close();
  await world?.stop();
});

/// Visits a path, whose page must take nothing of the payload for more than text.
async function visit(path, payload, page = watchers[0]) {
  await page.goto(world.admin + path, { waitUntil: "load" });
  const found = [...(await foreign(page)), ...page.faults.splice(0)];
  assert.deepEqual(found, [], `${path} with ${JSON.stringify(payload)}`);
}

/// Visits all of these paths, each with its payload.
async function visitAll(visits) {
  const left = [...visits];
  const work = async (page) => {
    for (let next = left.pop(); next; next = left.pop()) await visit(...next, page);
  };
  await Promise.all(watchers.map(work));
}

/// Visits a listing, page by page.
async function visitListing(path) {
  for (let next = path; next; ) {
    await visit(next, "(the list)");
    const links = await watchers[0].locator("a[rel=next]").evaluateAll((all) => all.map((link) => link.getAttribute("href")));
    next = links[0];
  }
}

const encoded = (payload) => encodeURIComponent(payload.toWellFormed().slice(0, 700));

test("there are at least 300 different payloads", () => {
  assert.ok(new Set(PAYLOADS).size >= 300);
});

test("a payload in a field of an event is text on every page", async () => {
  for (const payload of PAYLOADS) {
    const body = { id: payload, type: payload, event: payload, data: { name: payload, [payload]: [payload, { [payload]: 1 }] } };
    world.handler.says = Buffer.from(payload);
    const headers = { "x-payload": Buffer.from(payload.slice(0, 2000)).toString("latin1").replace(/[^\t\x20-\x7e\x80-\xff]/g, "") };
    // A name or subject that is not allowed makes a rejection of it.
    await world.post(JSON.stringify(body), headers);
  }
  await world.settled();
  const events = world.events();
  assert.ok(events.length > 300, `${events.length}`);
  await visitListing("/events");
  await visitAll(events.map(({ id, event }) => [`/events/${id}`, event]));
  const others = ["/", "/destinations", "/failures", "/routes", "/audit", `/routes?event=${events[0].id}`];
  await visitAll(others.map((path) => [path, "(all of them)"]));
});

test("a payload in a rejected request is text on every page", async () => {
  for (const payload of PAYLOADS.filter((_, number) => number % 4 === 0)) {
    const path = `/webhook?${encodeURI(payload.toWellFormed()).slice(0, 1500).replaceAll("#", "")}`;
    const headers = { "x-freispace-signature": "0".repeat(64), "x-payload": payload.slice(0, 500).replace(/[^\t\x20-\x7e]/g, "") };
    await world.post(payload, headers, path);
  }
  await eventually("rejections are stored", () => rejections(world).length > 20);
  await visitListing("/rejections");
  await visitAll(rejections(world).map(({ id, url }) => [`/rejections/${id}`, url]));
});

test("a payload in a filter, a search or a path is text", async () => {
  const names = ["search", "source", "event", "subject", "destination", "state", "since", "cursor"];
  const query = (payload) => names.map((name) => `${name}=${encoded(payload)}`).join("&");
  await visitAll(PAYLOADS.map((payload) => [`/events?${query(payload)}`, payload]));
  const paths = (value) => [
    `/${value}`,
    `/events/${value}`,
    `/rejections?source=${value}`,
    `/failures?error=${value}&destination=${value}`,
    `/login?code=${value}`,
  ];
  const some = PAYLOADS.filter((_, number) => number % 8 === 0);
  await visitAll(some.flatMap((payload) => paths(encoded(payload)).map((path) => [path, payload])));
});

test("a payload in the reason of a replay is text", async () => {
  const [{ id }] = world.events();
  const token = readFileSync(join(world.folder, "wilco.db.token"), "utf8").trim();
  for (const payload of PAYLOADS.filter((_, number) => number % 4 === 0)) {
    const body = JSON.stringify({ ids: [id], reason: payload.toWellFormed().slice(0, 500) });
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    await world.ask("POST", "/api/v1/replay", headers, body);
  }
  await world.settled();
  await visit(`/events/${id}`, "(reasons)");
  await visit("/audit", "(reasons)");
});
