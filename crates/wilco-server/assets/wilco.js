// What the pages of wilco do beyond links and forms. Each part works without the others, and every page without any.
"use strict";

const find = (selector, within = document) => within.querySelector(selector);
const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];
const hasShortcuts = () => document.body.dataset.shortcuts === "on";

// Keys. Single letters can be turned off, because speech input and slips of the hand type them too.
function rows() {
  return findAll("[data-row]");
}

function move(step) {
  const all = rows();
  const at = all.findIndex((row) => row.contains(document.activeElement));
  const to = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1);
  const link = all[to] && (find("[data-open]", all[to]) || find("a", all[to]));
  if (link) link.focus();
}

function replay() {
  const row = rows().find((one) => one.contains(document.activeElement));
  const button = find("[data-replay]", row || document);
  if (button) button.click();
}

function showHelp() {
  const help = find("#help");
  if (help && !help.open) help.showModal();
}

const PLACES = { o: "/", e: "/events", d: "/destinations", f: "/failures", r: "/rejections" };
const KEYS = {
  "/": () => find("[data-search]")?.focus(),
  "?": showHelp,
  j: () => move(1),
  k: () => move(-1),
  r: replay,
  p: () => find("[data-pause]")?.click(),
};
let leads = false;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !hasShortcuts()) return;
  if (event.target.closest("input, select, textarea, dialog[open]")) return;
  const place = leads && PLACES[event.key];
  leads = event.key === "g";
  if (place) {
    location.href = place;
  } else if (KEYS[event.key]) {
    KEYS[event.key]();
  } else {
    return;
  }
  event.preventDefault();
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-help]")) showHelp();
});

findAll("[data-help]").forEach((button) => button.removeAttribute("hidden"));

// Copying. The buttons are hidden without this script.
async function copy(button) {
  const { copy: text, copyUrl, copyFrom } = button.dataset;
  const wanted = copyUrl ? await (await fetch(copyUrl)).text() : copyFrom ? find(copyFrom).textContent : text;
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(wanted);
  } else {
    // Without TLS, a browser has no clipboard for pages that are not from this machine.
    const field = document.createElement("textarea");
    field.value = wanted;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    button.focus();
  }
  announce("Copied");
}

function announce(text) {
  const place = find("#said");
  place.textContent = text;
  place.classList.add("shown");
  setTimeout(() => place.classList.remove("shown"), 1500);
}

const COPIES = "[data-copy], [data-copy-url], [data-copy-from]";
findAll(COPIES).forEach((button) => button.removeAttribute("hidden"));
document.addEventListener("click", (event) => {
  const button = event.target.closest(COPIES);
  if (button) copy(button).catch(() => announce("Cannot copy here"));
});

// What is live. The server says that something changed, and the parts of the page that show it are fetched again: each at
// most every data-live milliseconds, and none while the page is paused, hidden or scrolled. Then it only counts what is
// new.
const regions = () => findAll("[data-live]");
const stale = new Set();
const lookedAt = {};
let isPaused = sessionStorage.getItem("paused") === "yes";
let stream = null;
let timer = 0;
let isUncounted = false;

const isHeld = () => isPaused || (scrollY > 160 && find("[data-hold]") !== null);

function isDue(name, every) {
  if (Date.now() - (lookedAt[name] || 0) < every - 20) return false;
  lookedAt[name] = Date.now();
  return true;
}

async function countNewer() {
  const first = find("#live [data-row]");
  const button = find("[data-newer]");
  if (!first || !button || !find("[data-hold]")) return;
  const answer = await fetch(location.href, { headers: { "hx-request": "true" } });
  if (!answer.ok || !isHeld()) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const ids = findAll("#live [data-row]", page).map((row) => row.id);
  const at = ids.indexOf(first.id);
  button.textContent = at < 0 ? `${ids.length} or more new` : `${at} new`;
  button.toggleAttribute("hidden", at === 0);
}

function look() {
  timer = 0;
  if (document.hidden || stale.size === 0) return;
  if (isHeld()) {
    if (!isUncounted) return;
    if (isDue("newer", 2000)) {
      isUncounted = false;
      countNewer().catch(() => {});
    } else {
      schedule();
    }
    return;
  }
  find("[data-newer]")?.setAttribute("hidden", "");
  for (const region of regions()) {
    if (stale.has(region.id) && isDue(region.id, +region.dataset.live)) {
      stale.delete(region.id);
      htmx.trigger(region, "changed");
    }
  }
  if (stale.size > 0) schedule();
}

function schedule() {
  timer ||= setTimeout(look, 250);
}

function changed() {
  regions().forEach((region) => stale.add(region.id));
  isUncounted = true;
  schedule();
}

function connect() {
  if (stream || document.hidden || regions().length === 0) return;
  // What happened between the page and its stream is told first, and what happened while that was interrupted.
  stream = new EventSource(`/live?after=${document.body.dataset.commits}`);
  stream.addEventListener("changed", changed);
}

function disconnect() {
  stream?.close();
  stream = null;
}

function showPause() {
  const button = find("[data-pause]");
  if (!button || regions().length === 0) return;
  button.removeAttribute("hidden");
  button.toggleAttribute("data-paused", isPaused);
  button.title = isPaused ? "Continue live changes" : "Pause live changes";
  find("[data-label]", button).textContent = isPaused ? "Paused" : "Live";
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    disconnect();
  } else {
    connect();
    changed();
  }
});
addEventListener("pagehide", disconnect);
addEventListener("pageshow", () => {
  connect();
  findAll(".filters [disabled]").forEach((field) => (field.disabled = false));
});
addEventListener("scroll", () => {
  if (stale.size > 0) schedule();
});
document.addEventListener("click", (event) => {
  const isNewer = event.target.closest("[data-newer]");
  if (event.target.closest("[data-pause]")) {
    isPaused = !isPaused;
    sessionStorage.setItem("paused", isPaused ? "yes" : "no");
    showPause();
    schedule();
  } else if (isNewer) {
    find("#main").focus({ preventScroll: true });
    isNewer.setAttribute("hidden", "");
    scrollTo(0, 0);
    regions().forEach((region) => htmx.trigger(region, "changed"));
  }
});

showPause();

// The icon of the page says whether something is dead, as its title does.
document.addEventListener("htmx:after:swap", () => {
  const icon = find("link[rel=icon]");
  const { alarm, calm } = icon.dataset;
  const wanted = find("#dead-count:not([hidden])") ? alarm : calm;
  if (icon.getAttribute("href") !== wanted) icon.setAttribute("href", wanted);
});

// Times go on while nothing changes.
function ago(seconds) {
  const text = (s) => (s < 120 ? `${s} s` : s < 7200 ? `${Math.floor(s / 60)} min` : s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} days`);
  return seconds === 0 ? "now" : seconds > 0 ? `${text(seconds)} ago` : `in ${text(-seconds)}`;
}

setInterval(() => {
  if (document.hidden) return;
  for (const time of findAll("time")) {
    time.textContent = ago(Math.floor(Date.now() / 1000) - Math.floor(Date.parse(time.dateTime) / 1000));
  }
}, 10000);

// A filter that was chosen applies at once.
document.addEventListener("change", (event) => {
  if (event.target.matches(".filters select")) event.target.form.requestSubmit();
});

// Empty fields do not belong into the URL.
document.addEventListener("submit", (event) => {
  if (event.target.matches(".filters")) {
    findAll("input, select", event.target).forEach((field) => (field.disabled = field.value === ""));
  }
});
