// Writes into the title what a reader with keys, a screen reader or weak eyes would stumble over on the page.
{
const faults = [];
const named = (el) => (el.getAttribute("aria-label") || el.textContent || el.labels?.[0]?.textContent || el.title || "").trim();
const seen = (el) => el.checkVisibility();
for (const el of document.querySelectorAll("button, select, input, summary, [role=region], svg[role=img], dialog")) {
  const by = el.getAttribute("aria-labelledby");
  if (seen(el) && !named(el) && !(by && document.getElementById(by))) faults.push("no name: " + el.outerHTML.slice(0, 80));
}
const ids = [...document.querySelectorAll("[id]")].map((el) => el.id);
faults.push(...ids.filter((id, i) => ids.indexOf(id) !== i).map((id) => "id twice: " + id));
const regions = [...document.querySelectorAll("[role=region]")].filter(seen).map(named);
faults.push(...regions.filter((name, i) => regions.indexOf(name) !== i).map((name) => "region twice: " + name));
if (document.querySelectorAll("main").length !== 1 || document.querySelectorAll("h1").length !== 1) faults.push("landmarks");
let level = 1;
for (const h of [...document.querySelectorAll("h1, h2, h3")].filter(seen)) {
  if (Number(h.tagName[1]) > level + 1) faults.push("heading skips: " + h.textContent);
  level = Number(h.tagName[1]);
}
if (document.querySelector("[tabindex]:not([tabindex='0'])")) faults.push("focus order is set by hand");
for (const box of document.querySelectorAll(".scroll")) if (seen(box) && box.tabIndex !== 0) faults.push("a box scrolls by pointer only");
const rgb = (text) => text.match(/[\d.]+/g).map(Number);
const light = (c) => [0.2126, 0.7152, 0.0722].reduce((s, w, i) => s + w * ((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))(c[i] / 255), 0);
const ground = (el) => { for (; el; el = el.parentElement) { const c = rgb(getComputedStyle(el).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; (node = walker.nextNode()); ) {
  const el = node.parentElement;
  if (!node.data.trim() || !seen(el) || el.closest("script, style, svg, .skip, .unseen, td.h, [aria-pressed=false]")) continue;
  const style = getComputedStyle(el), [a, b] = [light(rgb(style.color)), light(ground(el))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05), big = parseFloat(style.fontSize) >= 24;
  if (ratio < (big ? 3 : 4.5)) faults.push(`contrast ${ratio.toFixed(2)}: ${node.data.trim().slice(0, 30)} (${el.className})`);
}
if (document.documentElement.scrollWidth > innerWidth) faults.push("the page scrolls sideways");
document.title = JSON.stringify([...new Set(faults)]);
}
