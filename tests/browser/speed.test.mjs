// The first page, with many events. `run --million FILE` takes a store with a million, and a release build.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, open } from "./browser.mjs";
import { sections } from "./pages.mjs";
import { World } from "./world.mjs";

const STORE = process.env.WILCO_MILLION;
const EVENTS = 3000;
/// The figure of the manual counts for a release build on an idle machine. Otherwise, a page must only not take for ever.
const WITHIN_MS = STORE ? 100 : 15_000;
const ROUNDS = STORE ? 10 : 2;

let browser, world;

before(async () => {
  browser = await launch();
  world = await World.start(STORE ? { store: STORE } : {});
  if (!STORE) world.send("booking.created", "--count", `${EVENTS}`, "--concurrency", "32");
});
after(async () => {
  await browser?.close();
  await world?.stop();
});

test(`every page is there within ${WITHIN_MS} ms`, async () => {
  const page = await open(browser, world);
  for (const path of await sections(page, world)) {
    const took = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      await page.goto(world.admin + path);
      took.push(await page.evaluate(() => performance.getEntriesByType("navigation")[0].responseEnd));
    }
    const median = took.sort((one, other) => one - other)[ROUNDS / 2];
    console.log(`${path}: ${median.toFixed(1)} ms, slowest ${took.at(-1).toFixed(1)} ms`);
    assert.ok(median < WITHIN_MS, `${path} took ${median} ms`);
  }
});
