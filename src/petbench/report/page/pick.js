// Which methods are shown: the first ten of the order with the answer's, all, or picked ones; families; the address of a view.
"use strict";
const MANY = 12,
  TOP = 10; // with more than MANY methods, the page at first shows only the first TOP of the order
const used = D.methods.filter((m) => D.tables.some((t) => t.rows.some((r) => r.method === m)));
const taskNamesOfAll = [...new Set(D.tables.flatMap((t) => t.tasks.map((k) => k.name)))];
S.mode = used.length > MANY ? "top" : "all";

function topOf(t) {
  // The first methods in the table's order, those that the answer names, and the yardsticks.
  return (S.tops[t] ??= new Set([
    ...[...new Set(ordered(t, D.tables[t].rows).map((r) => r.method))].slice(0, TOP),
    ...D.tables[t].rows.filter((r) => D.answer[t].some((a) => a.pick === r.label)).map((r) => r.method),
    ...Object.keys(YARD).filter((m) => used.includes(m)),
  ]));
}
const isShown = (t, method) =>
  S.mode === "all" || (S.mode === "top" && words().length) ? true : S.mode === "top" ? topOf(t).has(method) : !S.hide.has(method);
const anywhereShown = (method) => tables().some((t) => isShown(t, method));

function pick(methods) {
  // Shows only these methods; with an empty list, none.
  S.mode = "some";
  S.hide = new Set(used.filter((m) => !methods.includes(m)));
}
function flipMethod(method) {
  const shown = used.filter(anywhereShown);
  pick(shown.includes(method) ? shown.filter((m) => m !== method) : [...shown, method]);
}
function pickFamily(family) {
  const members = used.filter((m) => D.families[m] === family);
  const shown = used.filter(anywhereShown);
  if (shown.length === members.length && members.every((m) => shown.includes(m)))
    S.mode = "all"; // a second click on the family shows all methods again
  else pick(members);
}
function drawChips() {
  const chip = (kind, name, on, icon) =>
    `<button type="button" class="chip" data-${kind}="${esc(name)}" aria-pressed="${on}">${icon}${esc(name)}</button>`;
  $("taskchips").innerHTML = taskNamesOfAll.map((n) => chip("taskchip", n, !S.hideTasks.has(n), "")).join("");
  const families = [...new Set(used.map((m) => D.families[m]))];
  $("methodchips").innerHTML = families
    .map((family) => {
      const members = used.filter((m) => D.families[m] === family);
      const head =
        families.length > 1
          ? `<button type="button" class="fam" data-family="${esc(family)}" title="Show only these ${members.length}">${esc(family)}</button>`
          : "";
      return `<div class="family" role="group" aria-label="${esc(family)}">${head}${members.map((n) => chip("methodchip", n, anywhereShown(n), badge(n))).join("")}</div>`;
    })
    .join("");
  const shown = used.filter(anywhereShown).length,
    off = S.hideTasks.size;
  const modes = [...(used.length > MANY ? [["top", `First ${TOP} and the answer`]] : []), ["all", `All ${used.length}`], ["none", "None"]];
  const now = S.mode === "some" ? (shown ? "" : "none") : S.mode;
  $("modes").innerHTML = modes
    .map(([key, text]) => `<button type="button" data-mode="${key}" aria-pressed="${now === key}">${text}</button>`)
    .join("");
  $("chipcount").textContent = `(${shown} of ${many(used.length, "method")} shown${off ? `, ${many(off, "task")} hidden` : ""})`;
}

// ---- the address holds the state, so that a view can be shared -----------------------------------
function readAddress() {
  const h = new URLSearchParams(location.hash.slice(1));
  const listed = (name) => (h.get(name) || "").split(",").filter(Boolean);
  if (h.get("theme")) document.documentElement.dataset.theme = h.get("theme");
  S.q = h.get("q") || "";
  if (h.get("table") && D.tables[h.get("table")]) S.table = S.plot = Number(h.get("table"));
  if (h.get("show") === "all") S.mode = "all";
  for (const name of listed("without")) if (taskNamesOfAll.includes(name)) S.hideTasks.add(name);
  const without = listed("without").filter((name) => used.includes(name));
  if (without.length) pick(used.filter((m) => !without.includes(m)));
  if (h.has("only")) pick(listed("only"));
  if (h.get("task")) S.task = h.get("task");
  if (h.get("settings")) S.settings = h.get("settings");
  if (h.get("sort")) {
    const [key, way] = h.get("sort").split(":");
    D.tables.forEach((_, i) => (S.sort[i] = [key, way === "asc" ? "ascending" : "descending"]));
  }
  if (h.get("runs")) S.sort.runs = [h.get("runs").split(":")[0], h.get("runs").endsWith(":asc") ? "ascending" : "descending"];
  S.run = D.runs.run_id.indexOf(h.get("run"));
}
function address() {
  const h = new URLSearchParams();
  const shown = used.filter((m) => !S.hide.has(m)),
    hidden = used.filter((m) => S.hide.has(m));
  const without = [...S.hideTasks];
  if (S.table !== "") h.set("table", S.table);
  if (S.q) h.set("q", S.q);
  if (S.mode === "all" && used.length > MANY) h.set("show", "all");
  if (S.mode === "some" && shown.length < hidden.length) h.set("only", shown.join(","));
  else if (S.mode === "some") without.push(...hidden);
  if (without.length) h.set("without", without.join(","));
  if (S.task) h.set("task", S.task);
  if (S.run >= 0) h.set("run", D.runs.run_id[S.run]);
  return [...h].length ? `#${h}` : "";
}
function writeAddress() {
  try {
    history.replaceState(null, "", address() || location.pathname + location.search);
  } catch (_) {
    // Some browsers refuse to change the address of a page opened from a file; the page works without it.
  }
}
