// The page's data, and the current choices of the reader.
"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const esc = (s) => String(s).replace(/[&<>"']/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" })[c]);
window.addEventListener("error", (e) => (document.documentElement.dataset.error = e.message));

const S = {
  table: "", // position of the chosen table, or "" for all
  plot: 0, // the table that the plots show
  hideTasks: new Set(),
  mode: "all", // which methods are shown: "top", the first of the order; "all"; "some", all but `hide`
  hide: new Set(),
  tops: {}, // table position -> its methods in mode "top", cached until the order changes
  q: "",
  sort: {}, // table position or "runs" -> [key, "ascending" | "descending"]
  detail: "std",
  settings: "best",
  task: "", // chosen by a click in the heat map or in the address
  chart: {}, // chart id -> its own choices
  runs: 25,
  partial: new Set(), // tables that also show rows with missing tasks
  lines: true, // reference lines
  printed: false, // published numbers
  rows: {}, // the choices of "Row by row": column, a and b
  run: -1, // the run in the open drawer; -1: it is closed
};

// ---- numbers -------------------------------------------------------------------------------------
const score = (v) => fix(v, D.decimals);
function count(v, low, more = "") {
  if (nil(v)) return "–";
  const span = (write) => (nil(low) || low === v ? write(v) : `${write(low)} to ${write(v)}`);
  return `<span title="${esc(span(whole) + more)}">${span(si)}</span>`;
}
const metricName = (name) => D.metrics[name] || name;
const mean = (list) => (list.length ? list.reduce((a, b) => a + b, 0) / list.length : null);
const median = (list) => {
  const sorted = list.filter((v) => !nil(v)).sort((a, b) => a - b);
  if (!sorted.length) return null;
  const mid = sorted.length >> 1;
  return sorted.length % 2 ? sorted[mid] : (sorted[mid - 1] + sorted[mid]) / 2;
};
const many = (n, one, more = `${one}s`) => `${whole(n)} ${n === 1 ? one : more}`;

// ---- colour and shape of a method: a different pair for each of 32 methods, also for colour-blind readers ----
const YARD = { full: ["var(--n0)", 4], head_only: ["var(--n1)", 5] };
function look(method) {
  if (YARD[method]) return YARD[method];
  const i = Math.max(0, D.coloured.indexOf(method));
  return [`var(--c${i % 8})`, (i + Math.floor(i / 8)) % 4];
}
function glyph(shape, x, y, r, style) {
  const p = (...points) =>
    `<path d="M${points.map(([a, b]) => `${(x + a * r).toFixed(1)} ${(y + b * r).toFixed(1)}`).join("L")}Z" ${style}/>`;
  if (shape === 1) return p([-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]);
  if (shape === 2) return p([0, -1.2], [1.15, 0.9], [-1.15, 0.9]);
  if (shape === 3) return p([0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]);
  if (shape === 4)
    return p(
      [0, -1.3],
      [0.38, -0.4],
      [1.3, -0.4],
      [0.6, 0.25],
      [0.85, 1.2],
      [0, 0.65],
      [-0.85, 1.2],
      [-0.6, 0.25],
      [-1.3, -0.4],
      [-0.38, -0.4],
    );
  if (shape === 5)
    return p(
      [-0.3, -1.1],
      [0.3, -1.1],
      [0.3, -0.3],
      [1.1, -0.3],
      [1.1, 0.3],
      [0.3, 0.3],
      [0.3, 1.1],
      [-0.3, 1.1],
      [-0.3, 0.3],
      [-1.1, 0.3],
      [-1.1, -0.3],
      [-0.3, -0.3],
    );
  return `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="${r}" ${style}/>`;
}
function badge(method) {
  const [colour, shape] = look(method);
  return `<svg viewBox="-6 -6 12 12" aria-hidden="true">${glyph(shape, 0, 0, 4.6, `fill="${colour}"`)}</svg>`;
}
const mark = (text) => (text ? `<span class="mark">${esc(text)}</span>` : "");

// ---- what is shown -------------------------------------------------------------------------------
const tables = () => D.tables.map((_, i) => i).filter((i) => S.table === "" || S.table === i);
const tasksOf = (t) => D.tables[t].tasks.filter((task) => !S.hideTasks.has(task.name));
const words = () => S.q.toLowerCase().split(/\s+/).filter(Boolean);
const found = (text) => words().every((w) => text.toLowerCase().includes(w));
function rowsOf(t) {
  const table = D.tables[t];
  return table.rows.filter((row) => isShown(t, row.method) && rowFound(table, row));
}
function rowFound(table, row) {
  if (!words().length) return true;
  return table.tasks.some(
    (task) =>
      row.cells[task.name] !== undefined &&
      !S.hideTasks.has(task.name) &&
      found(`${table.model} ${table.protocol} ${row.label} ${row.method} ${task.name}`),
  );
}
const cellOf = (row, task) => (row.cells[task] === undefined ? null : D.cells[row.cells[task]]);
function average(t, row) {
  // With every task shown this is the report's average; otherwise the plain mean of the tasks that are shown.
  const table = D.tables[t];
  if (!table.tasks.some((task) => S.hideTasks.has(task.name)))
    return { value: row.average, n: row.average_n, of: table.average_of, low: row.average_low, high: row.average_high };
  const counted = tasksOf(t).filter((task) => task.averaged);
  const values = counted
    .map((task) => cellOf(row, task.name))
    .filter((c) => c && !nil(c.mean))
    .map((c) => c.mean);
  return { value: mean(values), n: values.length, of: counted.length };
}
const averages = (t) =>
  rowsOf(t)
    .map((row) => average(t, row))
    .some((a) => !nil(a.value) && a.n === a.of);
// The column by which a table is sorted until the reader chooses one.
const firstSort = (t) => (D.tables[t].average_of ? "average" : (tasksOf(t)[0]?.name ?? "label"));
function cellsFor(t, task) {
  // One cell for each row. With "best", only the setting of each method with the best selection score is kept.
  const list = rowsOf(t)
    .map((row) => ({ row, cell: cellOf(row, task) }))
    .filter((e) => e.cell && !nil(e.cell.mean));
  return S.settings === "all" ? list : bestOf(list, (e) => e.cell.selection);
}
function bestOf(list, key) {
  // One entry for each method: its setting with the most tasks, and of these the one with the best selection score.
  const best = new Map();
  const size = (entry) => Object.keys(entry.row.cells).length;
  for (const entry of list) {
    const old = best.get(entry.row.method);
    const ahead = !old || size(entry) - size(old) || (key(entry) ?? -1e9) - (key(old) ?? -1e9);
    if (ahead === true || ahead > 0) best.set(entry.row.method, entry);
  }
  return list.filter((entry) => best.get(entry.row.method) === entry);
}

// If only one setting of each method is shown, the method's name is enough.
const nameOf = (row) => (S.settings === "all" ? row.label : row.method);
