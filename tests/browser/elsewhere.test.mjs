// What pages of other origins, other names of the host, and readers cannot do.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { launch, open } from "./browser.mjs";
import { busy, pages, sections } from "./pages.mjs";

let browser, world, evil;

before(async () => {
  browser = await launch();
  world = await busy();
  evil = createServer((request, response) => {
    response.writeHead(200, { "content-type": "text/html" }).end(attack(world));
  });
  await new Promise((done) => evil.listen(0, "127.0.0.1", done));
});
after(async () => {
  await browser?.close();
  await world?.stop();
  evil?.closeAllConnections();
  evil?.close();
});

/// A page that tries to act with the session of whoever visits it.
function attack({ admin, ...world }) {
  const id = world.id;
  const targets = [
    ["POST", `/events/${id}/replay`, { back: "/" }],
    ["POST", "/destinations/pause", { name: "erp" }],
    ["POST", "/destinations/retry", { name: "erp" }],
    ["POST", "/failures/retry", { destination: "folders", error: "exit 65" }],
    ["POST", "/settings", { theme: "dark" }],
    ["POST", "/logout", {}],
    ["POST", "/api/v1/destinations/erp/pause", {}],
    ["POST", "/api/v1/reload", {}],
  ];
  const fields = (values) => Object.entries(values).map(([name, value]) => `<input name="${name}" value="${value}">`).join("");
  const forms = targets.map(([method, path, values], number) => {
    return `<iframe name="f${number}"></iframe><form method="${method}" action="${admin}${path}" target="f${number}">${fields(values)}</form>`;
  });
  const json = JSON.stringify({ ids: [id], reason: "an attack" });
  return `<!doctype html><title>elsewhere</title>${forms.join("")}
<form method="post" action="${admin}/api/v1/replay" enctype="text/plain" target="f0"><input name='${json.slice(0, -1)},"x":"' value='"}'></form>
<iframe id="framed" src="${admin}/events"></iframe>
<img src="${admin}/logout">
<script>
for (const form of document.forms) form.submit();
const tries = [];
for (const [path, type] of [["/api/v1/replay", "text/plain"], ["/api/v1/replay", "application/json"], ["/events/${id}/replay", "application/x-www-form-urlencoded"]]) {
  for (const mode of ["no-cors", "cors"]) {
    tries.push(fetch("${admin}" + path, { method: "POST", mode, credentials: "include", headers: { "content-type": type }, body: ${JSON.stringify(json)} })
      .then((answer) => answer.text()).catch(() => ""));
  }
}
tries.push(fetch("${admin}/api/v1/events", { credentials: "include" }).then((answer) => answer.text()).catch(() => ""));
Promise.all(tries).then((texts) => { document.title = "tried " + texts.join("").length; });
</script>`;
}

for (const name of ["127.0.0.1", "localhost"]) {
  test(`a page of ${name} at another port changes and reads nothing`, async () => {
    const page = await open(browser, world);
    world.id = world.events()[0].id;
    const before = world.state();
    const other = await page.context().newPage();
    await other.goto(`http://${name}:${evil.address().port}/`);
    await other.waitForFunction(() => document.title.startsWith("tried "));
    assert.equal(await other.title(), "tried 0", "an answer was readable");
    // The forms have been answered when their frames have loaded.
    await other.waitForLoadState("networkidle");
    const texts = await Promise.all(other.frames().slice(1).map((frame) => frame.locator("body").innerText().catch(() => "")));
    assert.ok(!texts.join().includes("booking."), `the dashboard was shown in a frame: ${texts}`);
    assert.equal(world.state(), before, "something changed");
    await page.goto(`${world.admin}/events`);
    assert.equal(await page.locator("h1").innerText(), "Events", "the session was ended from elsewhere");
    assert.equal(await page.locator("html").getAttribute("data-theme"), "auto");
    await page.context().close();
  });
}

test("under another name of the host there is no page, even with the cookie", async () => {
  const page = await open(browser, world);
  const { host, port } = new URL(world.admin);
  const [{ name, value }] = await page.context().cookies(world.admin);
  for (const other of ["rebound.example", `rebound.example:${port}`, "127.0.0.1.example"]) {
    const answer = await world.ask("GET", "/events", { host: other, cookie: `${name}=${value}`, accept: "text/html" });
    assert.equal(answer.status, 403, other);
    assert.ok(!answer.body.includes("booking."), other);
  }
  assert.equal((await world.ask("GET", "/events", { host, cookie: `${name}=${value}` })).status, 200);
  await page.context().close();
});

test("a link signs in once", async () => {
  const link = world.link();
  const contexts = [await browser.newContext(), await browser.newContext()];
  const [first, second] = [await contexts[0].newPage(), await contexts[1].newPage()];
  await first.goto(link);
  assert.ok(!first.url().includes("code="), "the code stays in no history");
  assert.equal((await first.goto(`${world.admin}/events`)).status(), 200);
  assert.equal((await second.goto(link)).status(), 401);
  assert.equal((await second.goto(`${world.admin}/events`)).status(), 401);
  for (const context of contexts) await context.close();
});

test("a reader sees everything, has no button that acts, and is refused by the server", async () => {
  const page = await open(browser, world, { role: "reader" });
  const [{ id }] = world.events();
  const before = world.state();
  for (const [, path] of pages(world, await sections(page, world))) {
    await page.goto(world.admin + path);
    const actions = await page.locator("main form[method=post]").count();
    assert.equal(actions, 0, `${path} has ${actions} forms that act`);
  }
  const token = await page.locator("input[name=token]").first().getAttribute("value");
  for (const path of [`/events/${id}/replay`, "/destinations/pause", "/destinations/retry", "/failures/retry", "/api/v1/destinations/erp/pause"]) {
    const status = await page.evaluate(
      async ([path, token]) => (await fetch(path, { method: "POST", body: new URLSearchParams({ token, back: "/", name: "erp", destination: "folders" }) })).status,
      [path, token],
    );
    assert.equal(status, 403, path);
  }
  assert.equal(world.state(), before);
  await page.context().close();
});
