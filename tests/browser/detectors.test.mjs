// What the other tests look with finds what it looks for: each page here has one fault.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { axe, foreign, launch, overflow, watched } from "./browser.mjs";

const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:";
const STRICT = { "content-security-policy": POLICY };
const GOOD = "<p>text</p>";

let browser, server, page;
let html = GOOD;
let headers = {};

before(async () => {
  browser = await launch();
  server = createServer((request, response) => {
    const body = `<!doctype html><html lang="en"><head><meta name="viewport" content="width=device-width"><title>x</title></head><body><main><h1>x</h1>${html}</main></body></html>`;
    response.writeHead(200, { "content-type": "text/html", ...headers }).end(body);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const admin = `http://127.0.0.1:${server.address().port}`;
  page = await watched(await browser.newContext({ viewport: { width: 320, height: 600 } }), { admin });
  page.show = async (body, more = {}) => {
    [html, headers] = [body, more];
    page.faults.length = 0;
    await page.goto(admin);
    return [...(await foreign(page)), ...page.faults].join("\n");
  };
});
after(async () => {
  await browser?.close();
  server?.closeAllConnections();
  server?.close();
});

test("a good page has no fault", async () => {
  assert.equal(await page.show(GOOD, STRICT), "");
  assert.deepEqual(await axe(page), []);
  assert.deepEqual(await overflow(page), []);
});

for (const [what, body, expected, more] of [
  ["a script that runs", "<script>window.executed = 1</script>", /executed: 1/],
  ["a dialog", "<script>alert(1)</script>", /a dialog opened: 1/],
  ["a script that the policy stops", "<script>window.executed = 1</script>", /on the console: .*inline script/, STRICT],
  ["a handler that the policy stops", `<img src="/x" onerror="window.executed = 1">`, /img onerror=/, STRICT],
  ["a style", `<p style="color: red">x</p>`, /p style=color: red/, STRICT],
  ["a link that is a script", `<a href="javascript:alert(1)">x</a>`, /a href=javascript:/],
  ["a link to elsewhere", `<a href="//evil.invalid/">x</a>`, /a href=\/\/evil/],
  ["an image of another host", `<img src="http://127.0.0.1:1/x.png" alt="">`, /a request to http:\/\/127\.0\.0\.1:1/],
  ["a frame", "<iframe></iframe>", /<iframe>/],
  ["an attribute of htmx with code", `<p hx-on:load="alert(1)">x</p>`, /p hx-on:load/],
]) {
  test(`it is noticed: ${what}`, async () => {
    assert.match(await page.show(body, more), expected);
  });
}

test("it is noticed: a field without a label, text that is too pale, a page that is too wide", async () => {
  await page.show(`<input><p style="color: #999; background: #fff">pale</p><div style="width: 500px">wide</div>`);
  const found = (await axe(page)).join("\n");
  assert.match(found, /label: /);
  assert.match(found, /color-contrast: /);
  assert.equal((await overflow(page)).length, 1);
});
