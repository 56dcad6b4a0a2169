// Connects the page's controls: filters, sorting, tooltips, keyboard. Draws everything once at the start.
"use strict";
function drawFacts() {
  $("lede").textContent = D.lede;
  const facts = D.facts.map(
    ([value, text, bad]) => `<div class="fact${bad ? " bad" : ""}"><b>${esc(value)}</b><span>${esc(text)}</span></div>`,
  );
  $("facts").innerHTML = facts.join("");
  $("glossary").innerHTML = D.glossary.map(([term, text]) => `<dt>${esc(term)}</dt><dd>${esc(text)}</dd>`).join("");
  $("foot").textContent = D.foot;
}
function fillPickers() {
  const names = D.tables.map((t, i) => `<option value="${i}">${esc(t.name)}</option>`).join("");
  $("pick").innerHTML = (D.tables.length === 1 ? "" : '<option value="">all</option>') + names;
  $("plotpick").innerHTML = names;
}
function drawPlots() {
  if (!D.tables.length) return;
  const t = S.table === "" ? S.plot : S.table;
  const table = D.tables[t];
  $("plotpick-field").hidden = D.tables.length < 2 || S.table !== "";
  $("plotpick").value = t;
  $("plots-sub").textContent = `${table.name}. Point at a mark to see its numbers, or step through a plot with the arrow keys.`;
  S.drawnAt = $("grid").clientWidth;
  for (const chart of CHARTS) drawChart(chart, t);
  $("grid").classList.toggle("one", document.querySelectorAll(".card:not([hidden])").length === 1);
}
function drawAll() {
  S.tops = {};
  $("pick").value = D.tables.length === 1 ? "0" : S.table;
  if ($("search").value !== S.q) $("search").value = S.q;
  $("settings").value = S.settings;
  $("lines").checked = S.lines;
  $("printed").checked = S.printed;
  drawAnswer();
  drawChips();
  drawTables();
  drawPlots();
  drawRows();
  drawRuns();
  writeAddress();
}
function flip(set, name) {
  set.has(name) ? set.delete(name) : set.add(name);
  drawAll();
}
function keepFocus(selector, draw) {
  draw();
  const again = document.querySelector(selector);
  if (again) again.focus({ preventScroll: true });
}
function pickTask(name) {
  S.task = name;
  for (const state of Object.values(S.chart)) if ("task" in state) state.task = undefined;
  drawPlots();
  writeAddress();
}

function clickMethod(name, pointer) {
  // The second click of a double click shows only this method.
  const twice = pointer && S.clicked === name && performance.now() - S.clickedAt < 400;
  [S.clicked, S.clickedAt] = [name, performance.now()];
  keepFocus(`[data-methodchip="${CSS.escape(name)}"]`, () => {
    twice ? pick([name]) : flipMethod(name);
    drawAll();
  });
}
document.addEventListener("click", (e) => {
  const b = e.target.closest("button");
  if (!b) return;
  if (b.dataset.sort !== undefined) {
    const { sort, key } = b.dataset;
    const text = ["label", "run_id", "status", "model", "adapter", "task", "protocol", "reason"].includes(key);
    const [old, way] = S.sort[sort] || (sort === "runs" ? [""] : [firstSort(Number(sort)), "descending"]);
    const first = text || key === "rank" || COSTS.some(([k]) => k === key) ? "ascending" : "descending"; // small costs and large scores come first
    S.sort[sort] = [key, old !== key ? first : way === "ascending" ? "descending" : "ascending"];
    keepFocus(
      `button[data-sort="${sort}"][data-key="${CSS.escape(key)}"]`,
      sort === "runs" ? drawRuns : S.mode === "top" ? drawAll : drawTables,
    );
  } else if (b.dataset.methodchip !== undefined) clickMethod(b.dataset.methodchip, e.detail > 0);
  else if (b.dataset.family !== undefined)
    keepFocus(`[data-family="${CSS.escape(b.dataset.family)}"]`, () => {
      pickFamily(b.dataset.family);
      drawAll();
    });
  else if (b.dataset.mode)
    keepFocus(`#modes [data-mode="${b.dataset.mode}"]`, () => {
      b.dataset.mode === "none" ? pick([]) : (S.mode = b.dataset.mode);
      drawAll();
    });
  else if (b.dataset.run !== undefined) openRun(Number(b.dataset.run));
  else if (b.dataset.wider !== undefined) b.closest(".block").querySelector(".scroll").scrollBy({ left: 400, behavior: "auto" });
  else if (b.dataset.copy) copyText(copied(b), b);
  else if (b.id === "close") $("drawer").close();
  else if (b.dataset.taskchip !== undefined)
    keepFocus(`[data-taskchip="${CSS.escape(b.dataset.taskchip)}"]`, () => flip(S.hideTasks, b.dataset.taskchip));
  else if (b.dataset.detail) {
    S.detail = b.dataset.detail;
    keepFocus(`[data-detail="${S.detail}"]`, drawTables);
  } else if (b.dataset.task) keepFocus(`[data-task="${CSS.escape(b.dataset.task)}"]`, () => pickTask(b.dataset.task));
  else if (b.dataset.partial) {
    const t = Number(b.dataset.partial);
    S.partial.has(t) ? S.partial.delete(t) : S.partial.add(t);
    keepFocus(`[data-partial="${t}"]`, drawTables);
  } else if (b.id === "more") {
    S.runs += 200;
    drawRuns();
  } else if (b.id === "theme")
    document.documentElement.dataset.theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  else if (b.id === "reset") {
    S.hideTasks.clear();
    S.mode = "all";
    S.q = "";
    S.table = "";
    S.task = "";
    S.settings = "best";
    drawAll();
  }
});
document.addEventListener("input", (e) => {
  const el = e.target;
  if (el.id === "search") {
    S.q = el.value;
    clearTimeout(S.wait);
    S.wait = setTimeout(drawAll, 120);
  } else if (el.id === "pick") {
    S.table = el.value === "" ? "" : Number(el.value);
    if (S.table !== "") S.plot = S.table;
    drawAll();
  } else if (el.id === "plotpick") {
    S.plot = Number(el.value);
    drawPlots();
  } else if (el.id === "lines") {
    S.lines = el.checked;
    drawPlots();
  } else if (el.id === "printed") {
    S.printed = el.checked;
    drawTables();
    drawPlots();
  } else if (el.dataset.rows) {
    S.rows[el.dataset.rows] = Number(el.value);
    keepFocus(`[data-rows="${el.dataset.rows}"]`, drawRows);
  } else if (el.id === "settings") {
    S.settings = el.value;
    drawPlots();
  } else if (el.dataset.choice) {
    S.chart[el.dataset.chart][el.dataset.choice] = el.value;
    if (el.type === "range") el.parentElement.querySelector("output").textContent = `${el.value} %`;
    drawChart(
      CHARTS.find((c) => c.id === el.dataset.chart),
      S.table === "" ? S.plot : S.table,
    );
  }
});

// ---- tooltips and the arrow keys -----------------------------------------------------------------
const tip = $("tip");
function showTip(html, x, y) {
  tip.innerHTML = html;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(6, Math.min(innerWidth - box.width - 6, x + 14))}px`;
  tip.style.top = `${y + box.height + 24 > innerHeight ? Math.max(6, y - box.height - 12) : y + 16}px`;
}
function hideTip() {
  tip.hidden = true;
  for (const svg of document.querySelectorAll("svg.focus")) svg.classList.remove("focus");
  for (const hot of document.querySelectorAll("svg .hot")) hot.setAttribute("r", 0);
}
function light(mark, card) {
  const svg = mark.closest("svg");
  if (!svg || !mark.closest(".plot")) return;
  const method = mark.closest("[data-m]")?.dataset.m;
  svg.classList.toggle("focus", method !== undefined);
  for (const g of svg.querySelectorAll("[data-m]")) g.classList.toggle("on", g.dataset.m === method);
  const hot = svg.querySelector(".hot");
  const place = card.places[Number(mark.dataset.tip)];
  if (place) {
    hot.setAttribute("cx", place[0]);
    hot.setAttribute("cy", place[1]);
    hot.setAttribute("r", 9);
  }
}
document.addEventListener("pointerover", (e) => {
  const cell = e.target.closest("td[data-cell]");
  const mark = e.target.closest("[data-tip]");
  if (cell) return showTip(cellTip(D.cells[cell.dataset.cell]), e.clientX, e.clientY);
  if (!mark) return hideTip();
  const card = mark.closest(".card");
  light(mark, card);
  showTip(card.tips[mark.dataset.tip], e.clientX, e.clientY);
});
document.addEventListener("scroll", hideTip, { passive: true });
document.addEventListener("scroll", (e) => e.target.closest?.("#tables .scroll") && tellColumns(e.target), {
  passive: true,
  capture: true,
});
document.addEventListener("keydown", (e) => {
  if (e.key === "Escape") return hideTip();
  const chip = e.target.closest?.("[data-methodchip]");
  if (chip && e.key.toLowerCase() === "o" && !e.ctrlKey && !e.metaKey) {
    return keepFocus(`[data-methodchip="${CSS.escape(chip.dataset.methodchip)}"]`, () => {
      pick([chip.dataset.methodchip]);
      drawAll();
    });
  }
  const svg = e.target.closest?.(".plot > svg");
  if (!svg || !["ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown"].includes(e.key)) return;
  e.preventDefault();
  const all = [...svg.querySelectorAll("[data-tip]")];
  if (!all.length) return;
  const step = e.key === "ArrowRight" || e.key === "ArrowDown" ? 1 : -1;
  const at = (Number(svg.dataset.at ?? (step > 0 ? -1 : 0)) + step + all.length) % all.length;
  svg.dataset.at = at;
  const box = all[at].getBoundingClientRect();
  light(all[at], svg.closest(".card"));
  showTip(svg.closest(".card").tips[all[at].dataset.tip], box.x + 4, box.y + 4);
});
document.addEventListener("focusout", (e) => e.target.closest?.(".plot > svg") && hideTip());
new ResizeObserver(() => {
  if ($("grid").clientWidth === S.drawnAt) return;
  drawTables();
  drawPlots();
}).observe($("grid"));
addEventListener("hashchange", () => {
  readAddress();
  drawAll();
  if (S.run >= 0) openRun(S.run);
});

D.cells.forEach((cell, i) => (cell.i = i));
const size = (table) => table.rows.reduce((n, row) => n + Object.keys(row.cells).length, 0);
D.tables.forEach((table, i) => {
  if (size(table) > size(D.tables[S.plot])) S.plot = i;
}); // the plots start with the table that has the most cells
readAddress();
drawFacts();
fillPickers();
buildCards();
$("printed-field").hidden = !Object.keys(D.printed).length;
drawAll();
if (S.run >= 0) openRun(S.run);
document.documentElement.dataset.ready = "true";
