// The sortable tables: one for each model and protocol, and one of all runs.
"use strict";
const COSTS = [
  // key, column head, small text below the head, text of a cell, small text below it
  [
    "tuned",
    "Tuned",
    "parameters",
    (r) => count(r.tuned, r.tuned_low, r.adapter === r.tuned ? "" : `, adapter alone ${si(r.adapter)}`),
    (r) => (nil(r.tuned_percent) ? "–" : `${percent(r.tuned_percent)} %`),
  ],
  ["trainable", "Trainable", "with head", (r) => count(r.trainable, r.trainable_low), () => ""],
  [
    "step",
    "Step time",
    D.reference ? `vs ${D.reference}` : "",
    (r) => (nil(r.step_ratio) ? seconds(r.step) : `${fix(r.step_ratio, 2)}×`),
    (r) => (nil(r.step_ratio) ? "" : seconds(r.step)),
  ],
  ["train", "Training", "a run", (r) => seconds(r.train), () => ""],
  ["memory", "Peak memory", "", (r) => bytes(r.memory), () => ""],
  ["bytes", "Adapter file", "", (r) => bytes(r.bytes), () => ""],
  [
    "latency",
    "Latency",
    "plain, merged",
    (r) => (nil(r.latency) ? "–" : `${seconds(r.latency / 1000)}`),
    (r) => (nil(r.latency_merged) ? "" : `${seconds(r.latency_merged / 1000)} merged`),
  ],
  [
    "tuning_runs",
    "Tuning",
    "runs, time",
    (r) => (nil(r.tuning_runs) ? "–" : r.tuning_runs),
    (r) => (nil(r.tuning_seconds) ? "" : seconds(r.tuning_seconds)),
  ],
];
const costValue = { step: (r) => r.step_ratio ?? r.step };

function sorter(name, fallback) {
  const [key, way] = S.sort[name] || fallback;
  return { key, way, sign: way === "ascending" ? 1 : -1 };
}
function compare(a, b, sign) {
  if (nil(a) || nil(b)) return nil(a) - nil(b); // empty cells come last in both directions
  return sign * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
}
function head(name, key, text, small, order, cls = "", rows = "") {
  const state = order.key === key ? ` aria-sort="${order.way}"` : "";
  return `<th scope="col" class="${cls}"${state}${rows}><button type="button" data-sort="${esc(name)}" data-key="${esc(key)}">${esc(text)}</button>${small ? `<small>${esc(small)}</small>` : ""}</th>`;
}
function scoreCell(cell, gap) {
  const cls = gap ? "num gap" : "num";
  if (!cell) return `<td class="${cls} empty">–</td>`;
  if (nil(cell.mean))
    return `<td class="${cls} empty" data-cell="${cell.i}">–${mark(cell.mark)}<small>${esc(trouble(cell) || "no run done")}</small></td>`;
  const value = cell.standing === "top" ? `<b>${score(cell.mean)}</b>` : score(cell.mean);
  const spread =
    S.detail === "interval"
      ? nil(cell.low)
        ? "no interval"
        : `${score(cell.low)}–${score(cell.high)}`
      : S.detail === "seeds"
        ? many(cell.n, "seed")
        : `${nil(cell.std) ? "" : `± ${fix(cell.std, Math.max(1, D.decimals))} · `}n ${cell.n}`;
  const theirs = S.printed
    ? (D.printed[cell.i] || []).map(([v, where]) => `<small class="theirs" title="${esc(where)}">printed ${score(v)}</small>`).join("")
    : "";
  return `<td class="${cls}" data-cell="${cell.i}">${value}${mark(cell.mark)}<small>${esc(spread)}</small>${theirs}</td>`;
}
function trouble(cell) {
  return [
    ["collapsed", "collapsed"],
    ["diverged", "diverged"],
    ["failed", "failed"],
    ["skipped", "skipped"],
  ]
    .filter(([key]) => cell[key])
    .map(([key, word]) => `${cell[key]} ${word}`)
    .join(", ");
}
function cellTip(cell) {
  const lines = [`<b>${esc(cell.label)}</b> on <b>${esc(cell.task)}</b>`];
  if (!nil(cell.mean)) lines.push(`${score(cell.mean)}${nil(cell.std) ? "" : ` ± ${fix(cell.std, 2)}`} <i>${esc(cell.metric || "")}</i>`);
  lines.push(
    nil(cell.low)
      ? `<i>${many(cell.n, "seed")}, no interval</i>`
      : `<i>95% interval ${score(cell.low)} to ${score(cell.high)}, ${many(cell.n, "seed")}</i>`,
  );
  if (cell.seeds.length) lines.push(`<i>seeds: ${cell.seeds.map(([s, v]) => `${s}: ${score(v)}`).join(", ")}</i>`);
  if (trouble(cell)) lines.push(esc(trouble(cell)));
  if (cell.standing === "top") lines.push("in the top group: not significantly below the highest row");
  if (cell.standing === "behind") lines.push("significantly below the highest row");
  if (cell.standing === "level") lines.push("no two rows of this column differ significantly");
  if (cell.letters) lines.push(`<i>letters ${esc(cell.letters)}: rows that share a letter do not differ significantly</i>`);
  if (!nil(cell.rest)) lines.push(`${score(cell.rest)} over the runs that did not collapse`);
  if (!nil(cell.rows_error)) lines.push(`<i>± ${fix(cell.rows_error, 1)} for other rows of the same kind (standard error)</i>`);
  if (!nil(cell.p))
    lines.push(`<i>p ${cell.p < 0.001 ? "" : "= "}${esc(probability(cell.p))} against the highest row, corrected for all pairs</i>`);
  for (const [v, where] of D.printed[cell.i] || []) lines.push(`<i>published: ${score(v)} (${esc(where)})</i>`);
  for (const text of cell.mixed) lines.push(esc(text));
  return lines.join("<br>");
}

function drawTables() {
  const parts = tables()
    .map((t) => drawTable(t))
    .filter(Boolean);
  const seg = [
    ["std", "± std, n"],
    ["interval", "95% interval"],
    ["seeds", "seeds"],
  ]
    .map(([k, text]) => `<button type="button" data-detail="${k}" aria-pressed="${S.detail === k}">${text}</button>`)
    .join("");
  $("tables").innerHTML =
    `<div class="head"><h2>Scores and costs</h2><div class="seg" role="group" aria-label="Small line in each cell">${seg}</div></div>` +
    (parts.join("") || '<p class="empty">Nothing matches these filters. “Show all” removes them.</p>');
  for (const box of document.querySelectorAll("#tables .scroll")) tellColumns(box);
}
function tellColumns(box) {
  // For a table that is wider than its box, a button says how many columns are hidden at the right.
  const button = box.closest(".block")?.querySelector("[data-wider]");
  if (!button) return;
  const right = box.getBoundingClientRect().right + 2;
  const lost = [...box.querySelectorAll("thead tr:last-child th")].filter((th) => th.getBoundingClientRect().right > right).length;
  button.hidden = !lost;
  button.textContent = `${many(lost, "more column")} →`;
}
const narrow = () => innerWidth < 640; // on narrow screens the average comes first, so that it can be seen
// A row that lacks tasks, such as from a sweep over one task. If its method has a full row, it is shown only on request.
const partial = (table, row) => row.average_n < table.average_of;
function ordered(t, rows) {
  // Rows sorted by the chosen column; equal ones, and those without a value, by name.
  const table = D.tables[t];
  const order = sorter(t, [firstSort(t), "descending"]);
  const of = { label: (r) => r.label, average: (r) => average(t, r).value };
  const value =
    of[order.key] ||
    costValue[order.key] ||
    (table.tasks.some((k) => k.name === order.key) ? (r) => cellOf(r, order.key)?.mean : (r) => r[order.key]);
  return rows
    .slice()
    .sort(
      (a, b) =>
        (order.key === "average" ? compare(-average(t, a).n, -average(t, b).n, 1) : 0) ||
        compare(value(a), value(b), order.sign) ||
        compare(a.label, b.label, 1),
    );
}
function viewOf(t) {
  // What a table currently shows: its rows in order, its task and cost columns, and the rows shown only on request.
  const table = D.tables[t];
  const found = rowsOf(t);
  const extra = new Set(found.filter((r) => partial(table, r) && table.rows.some((o) => o.method === r.method && !partial(table, o))));
  const rows = ordered(
    t,
    found.filter((r) => S.partial.has(t) || !extra.has(r)),
  );
  return { table, tasks: tasksOf(t), rows, extra, costs: COSTS.filter(([key]) => table.rows.some((r) => !nil(r[key]))) };
}
function drawTable(t) {
  const { table, tasks, rows, extra, costs } = viewOf(t);
  const order = sorter(t, [firstSort(t), "descending"]);
  if (!rows.length || !tasks.length) return "";
  const toggle = extra.size
    ? `<button type="button" class="quiet more" data-partial="${t}" aria-expanded="${S.partial.has(t)}">${S.partial.has(t) ? "Hide" : "Show"} ${many(extra.size, "more setting")} that ${extra.size === 1 ? "lacks" : "lack"} tasks</button>`
    : "";
  const all = new Set(table.rows.map((r) => r.method)).size,
    shown = new Set(rows.map((r) => r.method)).size;
  const rest =
    S.mode === "top" && all > shown ? `<button type="button" class="quiet more" data-mode="all">Show all ${all} methods</button>` : "";
  const ranked = table.ranks !== null && table.average_of > 0;
  const whole = tasks.length === table.tasks.length;
  const body = rows.map((row) => {
    const avg = average(t, row);
    const cells = tasks.map((task) => scoreCell(cellOf(row, task.name))).join("");
    const small = nil(avg.value) ? "" : avg.n < avg.of ? `over ${avg.n} of ${avg.of}` : `${many(avg.n, "task")}`;
    const cost = costs
      .map(
        ([key, , , text, small], i) =>
          `<td class="num${i ? "" : " gap"}${nil(row[key]) ? " empty" : ""}">${text(row)}${small(row) ? `<small>${small(row)}</small>` : ""}</td>`,
      )
      .join("");
    const mean = !table.average_of
      ? ""
      : `<td class="num gap${avg.n < avg.of ? " empty" : ""}">${whole && row.average_top ? `<b>${score(avg.value)}</b>` : score(avg.value)}<small>${small}</small></td>${ranked ? `<td class="num">${fix(row.rank, 1)}</td>` : ""}`;
    return `<tr><th scope="row"><span class="name">${badge(row.method)}<span>${esc(row.label).replace(/-/g, "\u2011")}</span></span></th>${narrow() ? mean + cells : cells + mean}${cost}</tr>`;
  });
  const taskHeads = tasks.map((k) => head(t, k.name, k.name, metricName(k.metric), order)).join("");
  const meanHead = !table.average_of
    ? ""
    : head(t, "average", "Average", whole ? "" : "of shown tasks", order, "gap") + (ranked ? head(t, "rank", "Rank", "mean", order) : "");
  const notes = [table.formula, table.ranks, ...table.notes].filter(Boolean).map((text) => `<li>${esc(text)}</li>`);
  const folded = notes.length > 8 ? notes.splice(5) : []; // the later notes, which are about single rows
  return `<div class="block" data-table="${t}"><div class="head"><div><h3>${esc(table.model)} ${table.kinds.map((k) => `<span class="pill interrupted">${esc(k)}</span>`).join(" ")}</h3><p class="sub">${esc(table.head)}</p></div><div class="copies"><button type="button" class="copy wider" data-wider="${t}" hidden></button>${copyButtons(
    [
      ["latex", "LaTeX"],
      ["csv", "CSV"],
      ["bibtex", "BibTeX"],
      ["link", "Link"],
    ],
    `data-t="${t}"`,
  )}</div></div>
    <div class="scroll" tabindex="0" role="region" aria-label="Scores of ${esc(table.name)}"><table class="sticky">
    <thead><tr class="groups"><td></td><th colspan="${tasks.length + (table.average_of ? 1 : 0) + (ranked ? 1 : 0)}">Score ×${D.scale}, mean over seeds</th>${costs.length ? `<th class="gap" colspan="${costs.length}">Size and cost of a run</th>` : ""}</tr>
    <tr>${head(t, "label", "Method", "", order)}${narrow() ? meanHead + taskHeads : taskHeads + meanHead}
    ${costs.map(([key, text, small], i) => head(t, key, text, small, order, i ? "" : "gap")).join("")}</tr></thead><tbody>${body.join("")}</tbody></table></div>${rest}${toggle}<ul class="foot">${notes.join("")}</ul>${folded.length ? `<details class="foot"><summary>${many(folded.length, "more note")}</summary><ul>${folded.join("")}</ul></details>` : ""}</div>`;
}

const RUN_COLUMNS = [
  ["run_id", "Run", (v, i) => `<button type="button" class="open" data-run="${i}" aria-haspopup="dialog">${esc(v)}</button>`],
  ["status", "Status", (v) => `<span class="pill ${esc(v)}">${esc(v)}</span>`],
  ["model", "Model", (v) => esc(v)],
  ["adapter", "Method", (v) => `<span class="name">${badge(v)}<span>${esc(v)}</span></span>`],
  ["task", "Task", (v) => esc(v)],
  ["seed", "Seed", (v) => v],
  ["protocol", "Protocol", (v) => esc(v)],
  ["lr", "Learning rate", (v) => rate(v)],
  ["score", "Score", (v) => score(v)],
  ["step", "Best step", (v) => (nil(v) ? "–" : v)],
  ["train", "Training", (v) => seconds(v)],
  ["reason", "Reason", (v) => esc(v || "")],
];
function drawRuns() {
  const R = D.runs;
  const order = sorter("runs", ["", "ascending"]);
  const chosen = S.table === "" ? null : D.tables[S.table];
  const shown = R.run_id
    .map((_, i) => i)
    .filter(
      (i) =>
        (S.mode !== "some" || !S.hide.has(R.adapter[i])) &&
        !S.hideTasks.has(R.task[i]) &&
        (!chosen || (R.model[i] === chosen.model && R.protocol[i] === chosen.protocol)) &&
        found(`${R.run_id[i]} ${R.status[i]} ${R.model[i]} ${R.adapter[i]} ${R.task[i]} ${R.protocol[i]} ${R.reason[i] || ""}`),
    );
  const done = (i) => R.status[i] === "done"; // until a column is chosen, unfinished runs come first
  shown.sort((a, b) => (order.key ? compare(R[order.key][a], R[order.key][b], order.sign) : done(a) - done(b)) || a - b);
  $("runs-sub").textContent =
    `${many(shown.length, "run")} of ${whole(R.run_id.length)}. Scores are on the reported rows. Click a run's id to see all about it.`;
  const left = new Set(["run_id", "status", "model", "adapter", "task", "protocol", "reason"]);
  const one = (key) => R[key].every((v) => (v ?? "") === (R[key][0] ?? "")); // a column with equal values is left out
  const columns = RUN_COLUMNS.filter(([key]) => !["model", "protocol", "reason", "status"].includes(key) || !one(key));
  const headRow = columns.map(([key, text]) => head("runs", key, text, "", order, left.has(key) ? "left" : "")).join("");
  const body = shown
    .slice(0, S.runs)
    .map(
      (i) => `<tr>${columns.map(([key, , text]) => `<td${left.has(key) ? ' class="left"' : ""}>${text(R[key][i], i)}</td>`).join("")}</tr>`,
    );
  const more =
    shown.length > S.runs
      ? `<button type="button" class="quiet more" id="more">Show ${Math.min(200, shown.length - S.runs)} more</button>`
      : "";
  $("runs-table").innerHTML =
    `<div class="scroll" tabindex="0" role="region" aria-label="All runs"><table><thead><tr>${headRow}</tr></thead><tbody>${body.join("")}</tbody></table></div>${more}`;
}
