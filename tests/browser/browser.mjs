// A real browser, and what must never happen in it.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export async function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"],
  });
}

/// A signed-in page. `faults` lists what must not happen: a dialog, a violation of the content security policy, an
/// error, a request to another host.
export async function open(browser, world, { role = "operator", ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  // Not a promise, but for a busy machine.
  context.setDefaultTimeout(60_000);
  const page = await watched(context, world);
  await page.goto(world.link(role));
  return page;
}

/// A page that notes what must not happen in it.
export async function watched(context, world) {
  const page = await context.newPage();
  page.faults = [];
  const own = new URL(world.admin).host;
  page.on("dialog", (dialog) => {
    page.faults.push(`a dialog opened: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("pageerror", (error) => page.faults.push(`an error: ${error.message}`));
  page.on("console", (message) => {
    const isStatus = message.text().startsWith("Failed to load resource: the server responded with a status");
    if (message.type() === "error" && !isStatus) page.faults.push(`on the console: ${message.text()}`);
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol !== "data:" && url.host !== own) page.faults.push(`a request to ${request.url()}`);
  });
  page.on("popup", () => page.faults.push("a window opened"));
  return page;
}

/// What axe finds wrong, as lines.
export async function axe(page) {
  // Scripts of the page itself are subject to its policy; this one comes from the test.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  const line = ({ id, help, nodes }) => nodes.map((node) => `${id}: ${help}: ${node.html.slice(0, 200)}\n    ${node.failureSummary}`);
  return violations.flatMap(line);
}

/// What is wider than the window.
export function overflow(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const isWide = (element) => element.getBoundingClientRect().right > width + 1;
    return [...document.querySelectorAll("body *")].filter(isWide).slice(0, 5).map((one) => one.outerHTML.slice(0, 160));
  });
}

/// Elements and attributes that no page of wilco has, so that they came from outside.
export function foreign(page) {
  return page.evaluate(() => {
    const found = [];
    for (const element of document.querySelectorAll("*")) {
      const { localName } = element;
      const isScript = localName === "script" && !(element.getAttribute("src") ?? "").startsWith("/assets/");
      if (isScript || ["iframe", "object", "embed", "base", "audio", "video", "math", "marquee", "template"].includes(localName)) {
        found.push(element.outerHTML.slice(0, 200));
      }
      for (const { name, value } of element.attributes) {
        const isCode = name.startsWith("on") || name.startsWith("hx-on") || name === "srcdoc" || name === "style";
        const isUrl = ["href", "src", "action", "formaction", "xlink:href"].includes(name);
        const isElsewhere = isUrl && !["/", "#", "?"].includes(value[0]) && !value.startsWith("https://wilco");
        if (isCode || isElsewhere || (isUrl && value.startsWith("//"))) found.push(`${localName} ${name}=${value.slice(0, 200)}`);
      }
    }
    if (window.executed) found.push(`executed: ${window.executed}`);
    return found;
  });
}
