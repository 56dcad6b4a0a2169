// Four of the plots: time to a score, few training rows, learning rate and tuning budget.
"use strict";
function series(list, t, task) {
  return list.filter((s) => s.tables.includes(t) && s.task === task && isShown(t, s.method) && found(`${s.label} ${s.method} ${s.task}`));
}
function seriesTasks(list, t) {
  return [...new Set(list.filter((s) => s.tables.includes(t) && !S.hideTasks.has(s.task)).map((s) => s.task))];
}
function drawSeries(list, width, x, label) {
  // Draws means with 95% intervals over a logarithmic axis; a point without x is at the right, labelled `all`.
  const height = tallEnough(list.length, 320),
    m = M(44, width < 420 ? 104 : 136);
  const marks = new Marks();
  const points = list.flatMap((s) => s.points);
  const open = points.some((p) => nil(p.x));
  const clipped = clipLow(points.map((p) => p.y));
  const y = yAxis(clipped.values, height, m, label);
  const xs = scale(
    "log",
    ...extent(
      points.map((p) => p.x),
      "log",
    ),
    m.left + 4,
    width - m.right - (open ? 46 : 8),
  );
  const X = (v) => (nil(v) ? width - m.right - 12 : xs(v));
  const Y = (v) => Math.min(height - m.bottom + 3, Math.max(m.top - 6, y.scale(v)));
  const ends = [];
  const told = x.told || ((p) => many(p.n, "seed"));
  const rows = [["Method", x.name, "Score", x.toldHead || "Seeds"]];
  for (const s of list) {
    const sorted = s.points.slice().sort((a, b) => (a.x ?? Infinity) - (b.x ?? Infinity));
    marks.line(
      s.method,
      sorted.map((p) => [X(p.x), Y(p.y)]),
    );
    for (const p of sorted) {
      marks.bar(s.method, X(p.x), nil(p.low) ? null : Y(p.low), nil(p.high) ? null : Y(p.high));
      marks.point(
        s.method,
        X(p.x),
        Y(p.y),
        say([
          `<b>${esc(s.label)}</b>`,
          `${score(p.y)}${nil(p.low) ? "" : ` <i>(${score(p.low)} to ${score(p.high)})</i>`}`,
          `${esc(x.name)} ${nil(p.x) ? "all" : x.write(p.x)}, ${told(p)}`,
          p.best && "the best of this line",
        ]),
        { r: 4, ring: p.best },
      );
      rows.push([s.label, nil(p.x) ? "all" : x.write(p.x), score(p.y), x.told ? told(p) : p.n]);
    }
    ends.push({ text: s.label, y: Y(sorted.at(-1).y), method: s.method });
  }
  marks.labelsRight(ends, width - m.right, m.top, height - m.bottom, width);
  let svg = frame(width, height, m, { scale: xs, write: x.write, label: `${x.name} (log)` }, y);
  if (open) svg += `<text x="${X(null)}" y="${height - m.bottom + 17}" text-anchor="middle">all</text>`;
  return { height, frame: svg, marks, rows };
}

const SERIES_CHARTS = [
  {
    id: "reach",
    title: "Time to a score",
    hint: "Training time until the selection score first reaches the target. One mark for each seed; the tick is the median; 4/5 means that four of five seeds reached it.",
    controls(t, s) {
      s.target ??= 97;
      return (
        taskChoice(
          this,
          t,
          taskNames(t, (k) => rowsOf(t).some((r) => runsOf(cellOf(r, k.name)).some((c) => c.t))),
        ) +
        `<label class="inline">Target <input type="range" min="80" max="100" step="1" value="${s.target}" data-chart="reach" data-choice="target"> <output>${s.target} %</output> of the best</label>`
      );
    },
    has: (t, s) => s.task && cellsFor(t, s.task).some((e) => runsOf(e.cell).some((c) => c.t && c.y)),
    draw(t, s, width) {
      const list = cellsFor(t, s.task)
        .map(({ row, cell }) => ({ row, runs: runsOf(cell).filter((c) => c.t && c.y) }))
        .filter((e) => e.runs.length);
      const best = Math.max(...list.map((e) => mean(e.runs.map((c) => Math.max(...c.y.filter((v) => !nil(v)))))));
      const goal = (best * Number(s.target)) / 100;
      for (const e of list) {
        e.times = e.runs.map((c) => {
          const i = c.y.findIndex((v) => !nil(v) && v >= goal);
          return [c.s, i < 0 ? null : c.t[i]];
        });
        e.hit = e.times.filter(([, v]) => !nil(v));
        e.median = e.hit.length * 2 > e.times.length ? median(e.times.map(([, v]) => (nil(v) ? Infinity : v))) : null;
      }
      list.sort((a, b) => compare(a.median, b.median, 1) || b.hit.length - a.hit.length);
      const m = M(width < 420 ? 104 : 150, 88, 8),
        height = list.length * 24 + m.top + m.bottom;
      const marks = new Marks();
      const rows = [["Method", "Median time", "Reached"]];
      const values = list.flatMap((e) => e.hit.map(([, v]) => v));
      const xs = scale("linear", 0, Math.max(1e-9, ...values) * 1.04, m.left, width - m.right);
      xs.ticks = timeTicks(...xs.ends);
      list.forEach((e, i) => {
        const y = m.top + 24 * i + 14;
        const [colour] = look(e.row.method);
        const share = e.hit.length < e.times.length ? `${e.hit.length}/${e.times.length}` : "";
        const label = [nil(e.median) ? "" : seconds(e.median), share].filter(Boolean).join(" · ");
        marks.add(
          `<text class="lab" x="${m.left - 10}" y="${y + 4}" text-anchor="end">${esc(short(nameOf(e.row), width < 420 ? 15 : 22))}</text>`,
          e.row.method,
        );
        if (!nil(e.median))
          marks.add(
            `<line x1="${m.left}" x2="${xs(e.median)}" y1="${y}" y2="${y}" stroke="${colour}" stroke-width="2" opacity=".45"/><line x1="${xs(e.median)}" x2="${xs(e.median)}" y1="${y - 8}" y2="${y + 8}" stroke="var(--ink)" stroke-width="2"/>`,
            e.row.method,
          );
        for (const [seed, v] of e.hit)
          marks.point(
            e.row.method,
            xs(v),
            y,
            say([`<b>${esc(e.row.label)}</b>, seed ${seed}`, `reached ${score(goal)} after ${seconds(v)}`]),
            { r: 3.6 },
          );
        marks.add(`<text x="${width - m.right + 10}" y="${y + 4}">${e.hit.length ? esc(label) : "not reached"}</text>`, e.row.method);
        rows.push([e.row.label, seconds(e.median), `${e.hit.length} of ${e.times.length}`]);
      });
      const none = Object.assign(() => 0, { ticks: [] });
      const svg =
        xs.ticks.map((v) => `<line class="grid-line" x1="${xs(v)}" x2="${xs(v)}" y1="${m.top}" y2="${height - m.bottom}"/>`).join("") +
        frame(
          width,
          height,
          m,
          { scale: xs, write: tick, label: `training time to ${score(goal)} on ${s.task}` },
          { scale: none, write: String },
        );
      return { height, frame: svg, marks, rows };
    },
  },
  {
    id: "low",
    title: "Few training rows",
    hint: "Score with only so many training rows. Bars are 95% intervals over seeds.",
    controls(t) {
      return taskChoice(this, t, seriesTasks(D.low, t));
    },
    has: (t, s) => s.task && series(D.low, t, s.task).length > 0,
    draw: (t, s, width) => drawSeries(series(D.low, t, s.task), width, { name: "training rows", write: (v) => si(v) }, `${s.task}, score`),
  },
  {
    id: "tuning",
    title: "Learning rate",
    hint: "Score on the selection rows, by which settings are chosen. The ringed rate is the best of its line; the flatter a line, the easier the method is to tune.",
    controls(t) {
      return taskChoice(this, t, seriesTasks(D.tuning, t));
    },
    has: (t, s) => s.task && series(D.tuning, t, s.task).length > 0,
    draw: (t, s, width) =>
      drawSeries(series(D.tuning, t, s.task), width, { name: "learning rate", write: rate }, `${s.task}, selection score`),
  },
  {
    id: "budgets",
    title: "Tuning budget",
    hint: "The selection score that the best of k trials is expected to reach. A failed trial gets the worst score, and its time counts.",
    controls(t) {
      return taskChoice(this, t, seriesTasks(D.budgets, t));
    },
    has: (t, s) => s.task && series(D.budgets, t, s.task).length > 0,
    draw: (t, s, width) =>
      drawSeries(
        series(D.budgets, t, s.task),
        width,
        { name: "trials", write: String, told: (p) => seconds(p.seconds), toldHead: "Time" },
        `${s.task}, expected best selection score`,
      ),
  },
];
