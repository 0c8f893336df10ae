// A newcomer's walk: send, see, break the handler, find out why, fix it, replay all that failed.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, open } from "./browser.mjs";
import { World, eventually } from "./world.mjs";

const TABLES = `
[destination.erp]
type = "http"
url = "HANDLER"
retry = { first = "10 ms", max = "10 ms", give_up_after = "50 ms" }
breaker = { failures = 1000000 }
[[route]]
to = ["erp"]
`;
const WITHIN_SECONDS = 120;

let browser, world, page;

before(async () => {
  browser = await launch();
  world = await World.start({ tables: TABLES });
  world.handler.status = 200;
  page = await open(browser, world);
});
after(async () => {
  await browser?.close();
  await world?.stop();
});

test(`what broke is seen, understood, fixed and replayed within ${WITHIN_SECONDS} s`, async () => {
  const began = Date.now();
  const go = (name) => page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name }).click();
  const inState = (state) => world.events().filter((event) => event.deliveries.some((one) => one.state === state));

  // The empty list leads to a test event, and that to what became of it.
  await go("Events");
  await page.getByRole("link", { name: "Send a test event" }).click();
  const body = page.getByLabel("Body");
  assert.equal(JSON.parse(await body.inputValue()).event, "booking.created");
  await body.fill((await body.inputValue()).replace(/"name": "[^"]*"/, '"name": "Written by hand"'));
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator(".notice").getByText("received and recorded").waitFor();
  await page.locator("main .state.delivered").first().waitFor();
  assert.match(await page.locator("main").innerText(), /Written by hand/);

  // The service behind the destination breaks.
  await go("Overview");
  assert.match(await page.locator("main").innerText(), /All is well/);
  world.handler.status = 503;
  world.send("booking.updated", "--count", "5");
  await eventually("they are given up", () => inState("dead").length === 5);

  // The open overview says so and why, as do the title and the icon of its tab.
  await page.waitForFunction(() => document.title.startsWith("(5 dead) "));
  await page.locator("link[rel=icon][href*=alarm]").waitFor({ state: "attached" });
  const alarm = page.locator("main .alarm").getByText("5 deliveries to erp are dead");
  await alarm.waitFor();
  assert.match(await page.locator("main .alarm").innerText(), /503 Service Unavailable: stock is not available/);

  // It leads to the events, and those to the reason.
  await page.locator("main a[href*='state=dead'], main a[href*='dead=true'], main a[href='/failures']").first().click();
  if (page.url().endsWith("/failures")) {
    assert.match(await page.locator("main").innerText(), /503/);
    await go("Events");
    await page.getByRole("navigation", { name: "States" }).getByRole("link", { name: /dead/ }).click();
  }
  await page.locator("[data-row] [data-open]").first().click();
  const timeline = await page.locator("main").innerText();
  assert.match(timeline, /503 Service Unavailable/);
  assert.match(timeline, /stock is not available/);

  // The service is repaired, and everything that failed is replayed.
  world.handler.status = 200;
  await go("Events");
  await page.getByRole("navigation", { name: "States" }).getByRole("link", { name: /dead/ }).click();
  await page.getByRole("link", { name: /replay all that match/i }).click();
  assert.match(await page.locator("h1").innerText(), /Replay 5 events\?/);
  await page.getByLabel(/reason/i).fill("erp is back");
  await page.getByRole("button", { name: "Replay" }).click();
  await page.locator(".notice").waitFor();
  await eventually("they are delivered", () => inState("delivered").length === 6);

  await page.goto(`${world.admin}/events?state=dead`);
  assert.equal(await page.locator("[data-row]").count(), 0);
  assert.deepEqual(page.faults, []);
  const took = (Date.now() - began) / 1000;
  console.log(`the walk took ${took.toFixed(1)} s`);
  assert.ok(took < WITHIN_SECONDS, `it took ${took} s`);
});
