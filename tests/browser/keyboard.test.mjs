// Everything can be done with the keyboard alone, and single-letter keys can be turned off.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, open } from "./browser.mjs";
import { busy, sections } from "./pages.mjs";
import { eventually } from "./world.mjs";

let browser, world, page;

before(async () => {
  browser = await launch();
  world = await busy();
  page = await open(browser, world);
});
after(async () => {
  await browser?.close();
  await world?.stop();
});

const focused = () =>
  page.evaluate(() => {
    const one = document.activeElement;
    // What stretches over its row may have the row show the focus.
    const row = one.closest("[data-row]");
    const isShown = [one, row].some((shown) => shown && getComputedStyle(shown).outlineStyle !== "none");
    const text = one.getAttribute("aria-label") || one.textContent.trim() || one.getAttribute("name") || "";
    return { tag: one.localName, text: text.slice(0, 40), row: row?.id, isShown, id: one.id };
  });

test("Tab reaches every link, button and field of a page, visibly, and the content is first", async () => {
  for (const path of await sections(page, world)) {
    await page.goto(world.admin + path);
    const count = await page.evaluate(() => {
      const all = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")];
      return all.filter((one) => one.checkVisibility({ visibilityProperty: true })).length;
    });
    await page.keyboard.press("Tab");
    assert.equal((await focused()).text, "Skip to the content", path);
    const seen = [];
    for (let number = 1; number < count; number += 1) {
      await page.keyboard.press("Tab");
      const one = await focused();
      assert.ok(one.isShown, `${path}: the focus of ${one.tag} ${one.text} is invisible`);
      seen.push(one.tag);
    }
    assert.ok(!seen.includes("body"), `${path}: the focus left the page before its end: ${seen}`);
  }
  await page.goto(`${world.admin}/events`);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  assert.equal((await focused()).id, "main");
});

test("j and k walk through the rows, Enter opens one", async () => {
  await page.goto(`${world.admin}/events`);
  const rows = await page.locator("[data-row]").evaluateAll((all) => all.map((row) => row.id));
  assert.ok(rows.length > 3);
  for (const [key, row] of [["j", 0], ["j", 1], ["j", 2], ["k", 1], ["k", 0], ["k", 0]]) {
    await page.keyboard.press(key);
    assert.equal((await focused()).row, rows[row], key);
  }
  await page.keyboard.press("Enter");
  await page.waitForURL(`**/events/${rows[0]}`);
});

test("j and Enter open a row of the failures and of the rejections", async () => {
  for (const [path, to] of [["/failures", "**/events/evt_*"], ["/rejections", "**/rejections/rej_*"]]) {
    await page.goto(world.admin + path);
    await page.keyboard.press("j");
    assert.equal((await focused()).row, await page.locator("[data-row]").first().getAttribute("id"), path);
    await page.keyboard.press("Enter");
    await page.waitForURL(to);
  }
});

test("r replays the row that has the focus", async () => {
  await page.goto(`${world.admin}/events`);
  for (let number = 0; number < 3; number += 1) await page.keyboard.press("j");
  const { row } = await focused();
  assert.notEqual(row, await page.locator("[data-row]").first().getAttribute("id"));
  const deliveries = () => world.events().find(({ id }) => id === row).deliveries.length;
  const before = deliveries();
  await page.keyboard.press("r");
  await page.waitForSelector(".notice");
  await eventually("it is delivered again", () => deliveries() > before);
});

test("the help opens with a question mark, keeps the focus, and closes with Escape", async () => {
  await page.goto(`${world.admin}/events`);
  await page.keyboard.press("?");
  assert.ok(await page.locator("#help").isVisible());
  assert.equal((await focused()).text, "Close");
  for (let number = 0; number < 6; number += 1) await page.keyboard.press("Tab");
  const isInside = await page.evaluate(() => document.activeElement === document.body || !!document.activeElement.closest("#help"));
  assert.ok(isInside);
  await page.keyboard.press("Escape");
  assert.ok(!(await page.locator("#help").isVisible()));
});

test("a slash leads to the search", async () => {
  await page.goto(`${world.admin}/events`);
  await page.keyboard.press("/");
  await page.keyboard.type("Salt");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/events?search=Salt");
  assert.equal(await page.locator("[data-row]").count(), 2);
});

test("keys are text in a field, and can be turned off", async () => {
  await page.goto(`${world.admin}/events`);
  const field = page.locator("main input:not([type=hidden])").first();
  await field.focus();
  await page.keyboard.type("j?r/");
  assert.equal(await field.inputValue(), "j?r/");
  assert.ok(!(await page.locator("#help").isVisible()));

  await page.locator("[data-help]").click();
  await page.locator("#help button[name=shortcuts]").click();
  await page.waitForSelector("body[data-shortcuts=off]", { state: "attached" });
  await page.keyboard.press("?");
  assert.ok(!(await page.locator("#help").isVisible()));
  await page.keyboard.press("j");
  assert.equal((await focused()).row, undefined);
  // The button still opens it, and turns them on again.
  await page.locator("[data-help]").click();
  await page.locator("#help button[name=shortcuts]").click();
  await page.waitForSelector("body[data-shortcuts=on]", { state: "attached" });
  assert.deepEqual(page.faults, []);
});
