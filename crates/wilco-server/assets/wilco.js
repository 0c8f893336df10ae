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
