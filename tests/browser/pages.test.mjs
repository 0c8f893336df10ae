// Every page and every empty state: accessible, within its width, and photographed.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { axe, launch, open, overflow } from "./browser.mjs";
import { busy, pages, sections } from "./pages.mjs";
import { World } from "./world.mjs";

const SIZES = [
  { width: 1440, height: 900 },
  { width: 320, height: 700 },
];
const SCREENSHOTS = process.env.WILCO_SCREENSHOTS;

let browser;
const worlds = {};

before(async () => {
  browser = await launch();
  worlds.busy = await busy();
  worlds.empty = await World.start({ tables: "" });
});
after(async () => {
  await browser?.close();
  for (const world of Object.values(worlds)) await world.stop();
});

for (const name of ["busy", "empty"]) {
  for (const colorScheme of ["light", "dark"]) {
    test(`every page of a wilco that is ${name} is accessible and fits, ${colorScheme}`, async (t) => {
      const world = worlds[name];
      const page = await open(browser, world, { colorScheme, reducedMotion: "reduce" });
      const known = await sections(page, world);
      for (const [title, path] of pages(world, known)) {
        await t.test(path, async () => {
          const response = await page.goto(world.admin + path);
          assert.equal(response.status(), title === "not-found" ? 404 : 200);
          for (const viewport of SIZES) {
            await page.setViewportSize(viewport);
            const wide = await overflow(page);
            const found = await axe(page);
            await photograph(page, `${name}-${title}-${viewport.width}-${colorScheme}`);
            assert.deepEqual(wide, [], `wider than ${viewport.width}`);
            assert.deepEqual(found, [], `at ${viewport.width}`);
          }
        });
      }
      assert.deepEqual(page.faults, []);
      await page.context().close();
    });
  }
}

test("the page of someone who is signed out is accessible", async () => {
  const page = await browser.newPage();
  await page.goto(`${worlds.busy.admin}/events`, { waitUntil: "load" });
  for (const viewport of SIZES) {
    await page.setViewportSize(viewport);
    await photograph(page, `signed-out-${viewport.width}`);
    assert.deepEqual(await axe(page), []);
    assert.deepEqual(await overflow(page), []);
  }
});

async function photograph(page, name) {
  if (!SCREENSHOTS) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
}
