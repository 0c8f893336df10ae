// Every page of the dashboard, and a wilco with something on each of them.
import { World, eventually } from "./world.mjs";

/// A wilco with events in every state, failures, rejections, a paused destination.
export async function busy(options) {
  const world = await World.start(options);
  const booking = (id, event, name, more = {}) => ({ id, type: "booking", event, data: { name, ...more } });
  for (const [id, event, name] of [
    ["b-1", "booking.created", "Viewing, part one"],
    ["b-2", "booking.updated", "映画祭のための新しい編集室の予約、第二週の月曜日から金曜日まで"],
    ["b-3", "booking.updated", "Große Überraschung im Schneideraum: Premiere und anschließendes Fest"],
    ["b-4", "booking.deleted", "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichenverleihungsurkunde".repeat(2)],
    ["p-1", "project.created", "Salt Roads"],
    ["p-2", "project.updated", "Salt Roads, the second"],
    ["i-1", "invoice.created", "Camera, two weeks"],
  ]) {
    await world.post(booking(id, event, name, { n: 1.10, list: [1, { a: null }], text: "x ".repeat(60) }));
  }
  await world.settled();
  world.run("destinations", "pause", "archive");
  await world.post(booking("p-3", "project.created", "Waits for a paused destination"));
  await world.post("{}", { "x-freispace-signature": "0".repeat(64) });
  await world.post(booking("b-9", "booking.created", "Refused"), { "x-freispace-signature": "" });
  await world.post("{}", {}, "/nothing/here");
  await world.settled("archive");
  await eventually("the rejections are stored", () => rejections(world).length >= 2);
  return world;
}

export function rejections(world) {
  const lines = world.run("rejections", "list", "--all", "--json").split("\n").filter(Boolean);
  return lines.map((line) => JSON.parse(line));
}

/// The paths of the pages that the navigation leads to.
export async function sections(page, world) {
  await page.goto(world.admin);
  return page.locator("nav a").evaluateAll((links) => links.map((link) => link.getAttribute("href")));
}

/// Every page: those of the navigation, with filters, and with one of what they list.
export function pages(world, sections) {
  const events = world.events();
  const inState = (state) => events.find((event) => event.deliveries.some((one) => one.state === state));
  const name = (path) => path.slice(1) || "overview";
  const all = sections.map((path) => [name(path), path]);
  all.push(["not-found", "/nothing-is-here"]);
  all.push(["events-filtered", "/events?event=booking.*&destination=erp"]);
  all.push(["test-event", "/events/test"]);
  all.push(["events-none", "/events?event=nothing.*"]);
  all.push(["events-found", "/events?search=Salt&state=dead"]);
  all.push(["replay-many", "/events/replay?event=booking.*"]);
  if (events.length > 0) {
    all.push(["failures-retry", "/failures/retry?destination=folders&error=exit+65"]);
    all.push(["routes-event", `/routes?event=${events.at(-1).id}`]);
    all.push(["event-dead", `/events/${inState("dead").id}`]);
    all.push(["event-retrying", `/events/${inState("retrying").id}`]);
    all.push(["event-skipped", `/events/${events.find((event) => event.deliveries.length === 0).id}`]);
  }
  const [rejection] = rejections(world);
  if (rejection) all.push(["rejection", `/rejections/${rejection.id}`]);
  // A page about one thing belongs to a section.
  return all.filter(([name, path]) => name === "not-found" || sections.includes(path.match(/^\/\w*/)[0]));
}
