// One run in full: its command, differences from the presets, curve, confusion matrix, remarks and provenance.
"use strict";
const commandOf = (i) => `${D.configs[D.runs.config[i]].command} seed=${D.runs.seed[i]}`;
const curveOf = (i) => runsOf(D.cells[D.runs.cell[i]]).find((c) => c.s === D.runs.seed[i]);
function curveCsv(i) {
  const c = curveOf(i);
  const lines = c ? c.x.map((_, k) => [c.x[k], c.e[k], c.t[k], c.l[k], c.y[k]].map((v) => (nil(v) ? "" : v)).join(",")) : [];
  return `${["step,epoch,seconds,training_loss,selection_score", ...lines].join("\n")}\n`;
}
function drawCurve(i) {
  const c = curveOf(i);
  const points = c ? c.x.map((x, k) => [x, c.y[k]]).filter(([, y]) => !nil(y)) : [];
  if (points.length < 2) return '<p class="empty">No curve: fewer than two evaluations.</p>';
  const width = 460,
    height = 180,
    m = M(44, 16, 20, 36);
  const y = yAxis(
    points.map(([, v]) => v),
    height,
    m,
    "score on the selection rows",
  );
  const xs = scale("linear", 0, points.at(-1)[0], m.left, width - m.right);
  const at = points.map(([a, b]) => [xs(a), y.scale(b)]);
  const [colour] = look(D.runs.adapter[i]);
  const best = points.findIndex(([x]) => x === D.runs.step[i]);
  const line = `<path d="M${at.map((p) => p.map((v) => v.toFixed(1)).join(" ")).join("L")}" fill="none" stroke="${colour}" stroke-width="2"/>`;
  const dots = at
    .map(([a, b], k) => `<circle cx="${a.toFixed(1)}" cy="${b.toFixed(1)}" r="${k === best ? 5 : 2.5}" fill="${colour}"/>`)
    .join("");
  const told = points.map(([x, v]) => `${score(v)} at step ${x}`).join(", ");
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Learning curve: ${esc(told)}">${frame(width, height, m, { scale: xs, write: (v) => si(v), label: "step; the large mark is the best" }, y)}${line}${dots}</svg>`;
}
function openRun(i) {
  const R = D.runs,
    config = D.configs[R.config[i]],
    cell = D.cells[R.cell[i]];
  S.run = i;
  const kept = cell && D.kept.find((k) => k.confusion?.[R.run_id[i]]);
  const facts = [
    [
      "score",
      nil(R.score[i]) ? "none" : `${score(R.score[i])} (${cell?.metric ? metricName(cell.metric) : "headline metric"}, ${taskRows(i)})`,
    ],
    ["best step", nil(R.step[i]) ? "–" : R.step[i]],
    ["training", seconds(R.train[i])],
    ["run", R.run_id[i]],
    ["ended", R.date[i] ? R.date[i].replace("T", " ") : "not recorded"],
    ...D.made[R.made[i]],
  ];
  const collapsed = cell?.seeds.some(([seed, , fallen]) => seed === R.seed[i] && fallen);
  const warnings = [
    ...(R.reason[i] ? [R.reason[i]] : []),
    ...(collapsed ? ["collapsed: every row got the same answer"] : []),
    ...D.said[R.said[i]],
  ];
  const differs = config.differs
    .map(([path, value, preset]) => `<tr><th scope="row">${esc(path)}</th><td>${esc(value)}</td><td>${esc(preset)}</td></tr>`)
    .join("");
  $("drawer-body").innerHTML = `
    <h2 id="drawer-title">${badge(R.adapter[i])} ${esc(R.adapter[i])} on ${esc(R.task[i])}, seed ${R.seed[i]} <span class="pill ${esc(R.status[i])}">${esc(R.status[i])}</span></h2>
    <p class="sub">${esc(R.model[i])}, protocol ${esc(R.protocol[i])}</p>
    ${warnings.length ? `<ul class="warnings">${warnings.map((w) => `<li class="note">${esc(w)}</li>`).join("")}</ul>` : ""}
    <h3>Command</h3><pre tabindex="0">${esc(commandOf(i))}</pre>
    <div class="copies">${copyButtons(
      [
        ["command", "Command"],
        ["link", "Link"],
        ["curve", "Curve as CSV"],
        ["method", "BibTeX"],
      ],
      "",
    )}</div>
    <h3>Differs from the presets</h3>${differs ? `<table><thead><tr><th scope="col">setting</th><th scope="col">here</th><th scope="col">preset</th></tr></thead><tbody>${differs}</tbody></table>` : '<p class="empty">Only in the seed.</p>'}
    <h3>Learning curve</h3>${cell ? drawCurve(i) : '<p class="empty">None.</p>'}
    <h3>Answers</h3>${kept ? matrix(kept.classes, kept.confusion[R.run_id[i]], `${whole(kept.rows)} rows`) : '<p class="empty">No confusion matrix: the run stored no answers by row, or its task has no classes.</p>'}
    <h3>Provenance</h3><dl>${facts.map(([k, v]) => `<dt>${esc(k)}</dt><dd>${esc(v)}</dd>`).join("")}</dl>`;
  const drawer = $("drawer");
  if (!drawer.open) drawer.showModal();
  drawer.scrollTop = 0;
  writeAddress();
}
function taskRows(i) {
  const cell = D.cells[D.runs.cell[i]];
  const table = D.tables.find((t) => t.rows.some((r) => Object.values(r.cells).includes(D.runs.cell[i])));
  const n = table?.tasks.find((k) => k.name === cell?.task)?.rows;
  return nil(n) ? "report rows" : `${many(n, "report row")}`;
}
$("drawer").addEventListener("close", () => {
  S.run = -1;
  writeAddress();
});
