// Without JavaScript, every page and every action works.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, open } from "./browser.mjs";
import { busy, pages, rejections, sections } from "./pages.mjs";
import { SECOND, eventually } from "./world.mjs";

let browser, world, page, known;

before(async () => {
  browser = await launch();
  world = await busy();
  page = await open(browser, world, { javaScriptEnabled: false });
  known = await sections(page, world);
});
after(async () => {
  await browser?.close();
  await world?.stop();
});

test("every page has its content", async () => {
  for (const [name, path] of pages(world, known)) {
    await page.goto(world.admin + path);
    assert.ok((await page.locator("main h1").first().innerText()).length > 3, name);
  }
});

test("an event is replayed from the list", async () => {
  await page.goto(`${world.admin}/events?destination=erp`);
  const { id, deliveries } = world.events().find((event) => event.deliveries.some((one) => one.destination === "erp"));
  await page.locator(`#${id} [data-replay]`).click();
  assert.match(await page.locator(".notice").innerText(), /replay/i);
  assert.ok(page.url().includes("destination=erp"), "it is back where it was");
  await eventually("a new delivery", () => world.events().find((event) => event.id === id).deliveries.length > deliveries.length);
});

test("filters are fields of a form whose values are in the address", async () => {
  await page.goto(`${world.admin}/events`);
  await page.locator(".more-filters summary").click();
  await page.locator("main input[name=event]").fill("project.*");
  await page.locator("main form[method=get] button").first().click();
  assert.match(page.url(), /event=project\.\*/);
  const names = await page.locator("[data-row]").allInnerTexts();
  assert.ok(names.length > 0 && names.every((name) => name.includes("project.")), `${names}`);
});

test("all events that match are replayed, with their number before and the reason after", async () => {
  await page.goto(`${world.admin}/events?event=project.*`);
  const count = world.events().filter(({ event }) => event.startsWith("project.")).length;
  await page.getByRole("link", { name: /replay all that match/i }).click();
  assert.match(await page.locator("h1").innerText(), new RegExp(`Replay ${count} events`));
  await page.getByLabel(/reason/i).fill("storage is back");
  await page.getByRole("button", { name: "Replay" }).click();
  assert.match(await page.locator(".notice").innerText(), /replay/i);
  await page.locator("[data-open]").first().click();
  assert.match(await page.locator("main").innerText(), /storage is back/);
});

test("a destination is paused and resumed", async (t) => {
  if (!known.includes("/destinations")) return t.skip("the dashboard has no such page");
  const isPaused = () => {
    const lines = world.run("destinations", "list", "--json").trim().split("\n");
    return lines.map((line) => JSON.parse(line)).find(({ destination }) => destination === "erp").paused;
  };
  for (const [name, paused] of [["Pause erp", true], ["Resume erp", false]]) {
    await page.goto(`${world.admin}/destinations`);
    await page.getByRole("button", { name }).click();
    assert.match(await page.locator(".notice").innerText(), /erp/);
    assert.equal(isPaused(), paused);
  }
});

test("failures of the same kind are retried together, with their number before and the reason after", async (t) => {
  if (!known.includes("/failures")) return t.skip("the dashboard has no such page");
  await page.goto(`${world.admin}/failures`);
  await page.getByRole("link", { name: /^Retry all to folders with exit 65/ }).first().click();
  assert.match(await page.locator("h1").innerText(), /^Retry \d events\?$/);
  await page.getByLabel(/reason/i).fill("storage is reachable");
  await page.getByRole("button", { name: "Retry all" }).click();
  assert.match(await page.locator(".notice").innerText(), /\d/);
  if (known.includes("/audit")) {
    await page.goto(`${world.admin}/audit`);
    assert.match(await page.locator("main").innerText(), /retry/i);
  }
});

test("a rejection says why, and is accepted once its secret is there", async (t) => {
  if (!known.includes("/rejections")) return t.skip("the dashboard has no such page");
  const body = { id: "b-77", type: "booking", event: "booking.created", data: { name: "With another secret" } };
  assert.equal(await world.post(body, {}, "/webhook", SECOND), 403);
  await eventually("it is stored", () => rejections(world)[0].reason === "wrong_signature");
  world.reconfigure("{ env = \"FREISPACE_SECRET\" }", "{ env = \"FREISPACE_SECRET\" }, { env = \"SECOND_SECRET\" }");
  await page.goto(`${world.admin}/rejections`);
  await page.goto(`${world.admin}/rejections/${rejections(world)[0].id}`);
  assert.match(await page.locator("main").innerText(), /it would be accepted/);
  await page.getByRole("button", { name: /accept/i }).click();
  assert.match(await page.locator(".notice").innerText(), /accepted/i);
  assert.ok(world.events().some(({ subject }) => subject === "booking/b-77"));
});

test("the colours are chosen, and it is possible to sign out", async () => {
  await page.goto(`${world.admin}/events`);
  await page.locator("button[name=theme][value=dark]").click();
  assert.equal(await page.locator("html").getAttribute("data-theme"), "dark");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.goto(`${world.admin}/events`);
  assert.match(await page.locator("h1").innerText(), /signed out/);
});
