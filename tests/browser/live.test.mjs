// The list of events follows what happens, without getting in the way.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";

import { launch, open } from "./browser.mjs";
import { World } from "./world.mjs";

const TABLES = `[destination.log]\ntype = "print"\n[[route]]\nto = ["log"]\n`;
const RATE = 1000;
const SECONDS = 4;

let browser, world, page;

before(async () => {
  browser = await launch();
  world = await World.start({ tables: TABLES });
  world.send("booking.created", "--count", "60", "--concurrency", "8");
  page = await open(browser, world);
});
after(async () => {
  await browser?.close();
  await world?.stop();
});
beforeEach(() => page.goto(`${world.admin}/events`));

const firstRow = () => page.locator("[data-row]").first().getAttribute("id");
const newest = () => JSON.parse(world.run("events", "list", "--limit", "1", "--json")).id;
const shows = (id) => page.waitForFunction((id) => document.querySelector("[data-row]")?.id === id, id);

test("a new event appears at the top by itself", async () => {
  world.send("booking.updated");
  await shows(newest());
});

test("1,000 events a second move the page at most four times a second", async () => {
  await page.evaluate(() => {
    window.moves = [];
    const note = (changes) => {
      const now = performance.now();
      const isList = changes.some(({ target }) => target.parentElement?.closest("#live") || target.id === "live");
      if (isList && now - (window.moves.at(-1) ?? -1000) > 50) window.moves.push(now);
    };
    new MutationObserver(note).observe(document.querySelector("main"), { childList: true, subtree: true });
  });
  let asked = 0;
  const count = (request) => (asked += new URL(request.url()).pathname === "/events" ? 1 : 0);
  page.on("request", count);
  const began = Date.now();
  await world.sending("booking.created", "--count", `${RATE * SECONDS}`, "--rate", `${RATE}/s`, "--concurrency", "32");
  await page.waitForFunction(() => window.moves.length >= 1);
  const moves = await page.evaluate(() => window.moves.length);
  const seconds = (Date.now() - began) / 1000;
  page.off("request", count);
  // Some more than that, because a busy machine delays one and not the next. With each change it would be hundreds.
  const most = 5 * seconds + 5;
  assert.ok(moves <= most, `it moved ${moves} times in ${seconds} s`);
  assert.ok(asked <= most, `it asked ${asked} times in ${seconds} s`);
  await shows(newest());
});

test("a paused page stands still and counts what is new", async () => {
  const before = await firstRow();
  await page.locator("[data-pause]").click();
  world.send("booking.updated", "--count", "3");
  await page.getByText("3 new").waitFor();
  assert.equal(await firstRow(), before);
  await page.locator("[data-pause]").click();
  await shows(newest());
});

test("a page that is scrolled down stays where it is, and goes to the top on demand", async () => {
  const before = await firstRow();
  await page.mouse.wheel(0, 900);
  await page.waitForFunction(() => scrollY > 200);
  world.send("booking.updated", "--count", "2");
  await page.getByText("2 new").waitFor();
  assert.equal(await firstRow(), before);
  assert.ok((await page.evaluate(() => scrollY)) > 200);
  const { y } = await page.locator("[data-newer]").boundingBox();
  assert.ok(y >= 0 && y < 900, `the button is at ${y}, where nobody sees it`);
  await page.locator("[data-newer]").click();
  await shows(newest());
  assert.equal(await page.evaluate(() => scrollY), 0);
});

test("a hidden page asks for nothing, and catches up when it is shown", async () => {
  const hide = (hidden) =>
    page.evaluate((hidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  await hide(true);
  const asked = [];
  page.on("request", (request) => {
    // The browser fetches the icon when it has time for it, whatever the page does.
    if (!request.url().includes("/assets/")) asked.push(request.url());
  });
  world.send("booking.updated", "--count", "5");
  const id = newest();
  await new Promise((done) => setTimeout(done, 1500));
  assert.deepEqual(asked, []);
  await hide(false);
  await shows(id);
  assert.deepEqual(page.faults, []);
});
