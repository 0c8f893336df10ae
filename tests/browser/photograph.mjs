// Makes the pictures in docs/screenshots, which the README shows: node photograph.mjs
import { fileURLToPath } from "node:url";
import { join } from "node:path";

import { launch, open } from "./browser.mjs";
import { World, eventually } from "./world.mjs";

const FOLDER = fileURLToPath(new URL("../../docs/screenshots", import.meta.url));
const WIDTH = 1240;
const TABLES = `
[destination.crew-chat]
type = "print"
[destination.erp]
type = "http"
url = "HANDLER"
retry = { first = "40 min", max = "1 h" }
[destination.folders]
type = "command"
command = ["/bin/sh", "-c", "echo 'cannot reach storage.example.com: connection timed out' >&2; exit 65"]
[[route]]
events = ["booking.*", "invoice.*"]
to = ["crew-chat", "erp"]
[[route]]
events = ["project.*"]
to = ["crew-chat", "folders"]
`;
const EVENTS = [
  ["booking.created", "Edit suite 2, two weeks", 200],
  ["project.created", "Salt Roads", 200],
  ["invoice.created", "INV-2026-0412", 200],
  ["quote.created", "Camera and lenses", 200],
  ["booking.updated", "Grading, The Quiet Coast", 503],
  ["project.updated", "Salt Roads", 200],
  ["booking.created", "Sound stage B", 200],
];

const browser = await launch();
const world = await World.start({ tables: TABLES });
world.handler.says = '{"error":"stock is locked for the monthly closing"}';
for (const [number, [event, name, status]] of EVENTS.entries()) {
  world.handler.status = status;
  const data = { name, status: { name: "Confirmed" }, start: "2026-05-13T12:30:00Z", price: 1250.5, tags: ["internal", "rush"] };
  await world.post({ id: `b-${1207 + number}`, type: event.split(".")[0], event, data });
  await world.settled();
}
const failed = world.events().find((event) => event.deliveries.some(({ state }) => state === "retrying"));
for (const [name, path, colorScheme, height] of [
  ["overview", "/", "light", 660],
  ["events", "/events", "light", 560],
  ["event", `/events/${failed.id}`, "dark", 700],
]) {
  const page = await open(browser, world, { colorScheme, viewport: { width: WIDTH, height } });
  await page.goto(world.admin + path);
  await eventually("its figures are there", () => page.locator("h1").isVisible());
  await page.screenshot({ path: join(FOLDER, `${name}.png`) });
}
await browser.close();
await world.stop();
