// The nine plots of the page (four of them in series.js).
"use strict";
const M = (left = 44, right = 16, top = 22, bottom = 40) => ({ left, right, top, bottom });
const yAxis = (values, height, m, label = "Score") => {
  const [lo, hi] = extent(values, "linear", 0.08);
  return { scale: scale("linear", lo, hi, height - m.bottom, m.top), write: (v) => trim(fix(v, 2)), label };
};
const taskNames = (t, filter = () => true) =>
  tasksOf(t)
    .filter(filter)
    .map((k) => k.name);
const runsOf = (cell) => cell?.curves ?? [];
const say = (lines) => lines.filter(Boolean).join("<br>");
const shownRows = (t) =>
  S.settings === "all"
    ? rowsOf(t)
    : bestOf(
        rowsOf(t).map((row) => ({ row })),
        (e) => e.row.selection,
      ).map((e) => e.row);

function scored(t, task) {
  // The points of the two trade-off plots: the cells of a task, or the averages of rows, with their costs.
  if (task) return cellsFor(t, task).map(({ row, cell }) => ({ row, cell, y: cell.mean, low: cell.low, high: cell.high, cost: cell }));
  return shownRows(t)
    .map((row) => ({ row, avg: average(t, row), cost: row }))
    .filter((p) => !nil(p.avg.value) && p.avg.n === p.avg.of)
    .map((p) => ({ ...p, y: p.avg.value, low: p.avg.low, high: p.avg.high }));
}
function yardLines(t, task) {
  // Names and scores of the reference lines (majority class, yardsticks), even if their rows are not shown.
  if (!S.lines) return [];
  const found = Object.keys(YARD).map((method) => {
    const row = D.tables[t].rows.find((r) => r.method === method);
    return [method, row && (task ? cellOf(row, task)?.mean : average(t, row).n === average(t, row).of ? average(t, row).value : null)];
  });
  return [["majority", task ? D.majority[t][task] : null], ...found].filter(([, v]) => !nil(v));
}
function drawYards(marks, yards, at, from, to, lowest) {
  // Draws thin lines across the plot; returns a text that names those below the axis, which would flatten the plot.
  for (const [name, v] of yards)
    if (v >= lowest)
      marks.add(
        `<line class="yard" x1="${from}" x2="${to}" y1="${at(v).toFixed(1)}" y2="${at(v).toFixed(1)}"/><text class="yard" x="${from + 4}" y="${(at(v) - 4).toFixed(1)}">${esc(name)} ${score(v)}</text>`,
      );
  const below = yards.filter(([, v]) => v < lowest).map(([name, v]) => `${name} ${score(v)}`);
  return below.length ? `below the plot: ${below.join(", ")}` : "";
}
function tradeOff(points, width, x, label, yards) {
  const height = 330,
    m = M();
  const marks = new Marks();
  const zero = x.log && points.some((p) => p.x === 0);
  const left = zero ? m.left + 34 : m.left;
  const clipped = clipLow(points.map((p) => p.y));
  const inside = points.filter((p) => clipped.values.includes(p.y));
  const y = yAxis(
    inside.flatMap((p) => [p.y]),
    height,
    m,
    label,
  );
  const xs = scale(
    x.log ? "log" : "linear",
    ...extent(
      points.map((p) => p.x),
      x.log ? "log" : "linear",
    ),
    left + 8,
    width - m.right - 8,
  );
  const at = (p) => [zero && p.x === 0 ? m.left + 12 : xs(p.x), y.scale(p.y)];
  let top = -Infinity;
  const better = (p) => {
    const is = p.y > top;
    if (is) top = p.y;
    return is;
  };
  const front = points
    .slice()
    .sort((a, b) => a.x - b.x || b.y - a.y)
    .filter(better)
    .filter((p) => inside.includes(p));
  const path = front
    .map((p, i) =>
      i
        ? `H${at(p)[0].toFixed(1)}V${at(p)[1].toFixed(1)}`
        : `M${at(p)
            .map((v) => v.toFixed(1))
            .join(" ")}`,
    )
    .join("");
  const under = drawYards(marks, yards, y.scale, m.left, width - m.right, y.scale.ends[0]);
  if (front.length) marks.add(`<path class="front" d="${path}H${width - m.right}"/>`);
  const clamp = (v) => Math.min(height - m.bottom, Math.max(m.top, v));
  for (const p of inside) if (!nil(p.low)) marks.bar(p.row.method, at(p)[0], clamp(y.scale(p.low)), clamp(y.scale(p.high)), true);
  for (const p of inside)
    marks.point(
      p.row.method,
      ...at(p),
      say([
        `<b>${esc(p.row.label)}</b>`,
        `score ${score(p.y)}${nil(p.low) ? "" : ` <i>(${score(p.low)} to ${score(p.high)})</i>`}`,
        `${esc(x.name)} ${x.write(p.x)}`,
        front.includes(p) && "on the front",
      ]),
      { hollow: !front.includes(p) },
    );
  marks.labelsAt(
    inside.map((p) => ({ text: short(nameOf(p.row), 24), x: at(p)[0], y: at(p)[1], method: p.row.method, first: front.includes(p) })),
    [m.left, 4, width, height - m.bottom + 2],
  );
  const cut = points.length - inside.length;
  let svg = frame(width, height, m, { scale: xs, write: x.write, label: x.label }, y);
  if (zero) svg += `<text x="${m.left + 12}" y="${height - m.bottom + 17}" text-anchor="middle">0</text>`;
  const lost = [cut && `${many(cut, "mark")} below the axis`, under].filter(Boolean).join("; ");
  const rows = [
    ["Method", x.name, "Score", "On the front"],
    ...points.map((p) => [p.row.label, x.write(p.x), score(p.y), front.includes(p) ? "yes" : ""]),
  ];
  return { height, frame: svg, marks, rows, note: lost && `${lost[0].toUpperCase()}${lost.slice(1)}.` };
}

const CHARTS = [
  {
    id: "pareto",
    title: "Score against parameters",
    hint: "Up and left is better. Filled marks are on the Pareto front of the means; thin bars are 95% intervals, cut at the frame.",
    controls(t, s) {
      s.x ??= "tuned";
      return (
        taskChoice(this, t, taskNames(t), true) +
        choice(this, "x", "Against", [
          ["tuned", "tuned parameters, head not counted"],
          ["trainable", "trainable, with head"],
          ["bytes", "adapter file"],
        ])
      );
    },
    has: (t, s) => scored(t, s.task).some((p) => !nil(p.cost[s.x])),
    draw(t, s, width) {
      const write = s.x === "bytes" ? bytes : si;
      const name = { tuned: "tuned parameters", trainable: "trainable parameters", bytes: "adapter file" }[s.x];
      const points = scored(t, s.task)
        .map((p) => ({ ...p, x: p.cost[s.x] }))
        .filter((p) => !nil(p.x));
      return tradeOff(
        points,
        width,
        { log: true, write, name, label: `${name} (log)` },
        s.task ? `${s.task}, score` : "average score",
        yardLines(t, s.task),
      );
    },
  },
  {
    id: "time",
    title: "Score against time",
    hint: "Up and left is better. Times are medians over the runs and include training steps only, not loading or evaluation.",
    controls(t, s) {
      s.x ??= "step";
      return (
        taskChoice(this, t, taskNames(t), true) +
        choice(this, "x", "Against", [
          ["step", "time of a step"],
          ["train", "training time of a run"],
        ])
      );
    },
    has: (t, s) => scored(t, s.task).some((p) => p.cost[s.x] > 0),
    draw(t, s, width) {
      const name = s.x === "step" ? "step time" : "training time";
      const points = scored(t, s.task)
        .map((p) => ({ ...p, x: p.cost[s.x] }))
        .filter((p) => p.x > 0);
      return tradeOff(
        points,
        width,
        { log: true, write: tick, name, label: `${name} (log)` },
        s.task ? `${s.task}, score` : "average score",
        yardLines(t, s.task),
      );
    },
  },
  {
    id: "heat",
    title: "Where each method wins",
    hint: "Points above (blue) or below (orange) the chosen reference, task by task. Click a task to show it in the other plots.",
    controls(t, s) {
      const rows = shownRows(t);
      const options = [["", "mean of the methods shown"], ...rows.map((r) => [r.label, nameOf(r)])];
      if (s.base === undefined || !options.some(([v]) => v === s.base)) s.base = rows.find((r) => r.method === D.reference)?.label ?? "";
      return choice(this, "base", "Compared with", options);
    },
    has: (t) => shownRows(t).length > 1 && tasksOf(t).length > 0,
    draw(t, s) {
      const tasks = tasksOf(t),
        rows = shownRows(t)
          .slice()
          .sort((a, b) => compare(average(t, a).value, average(t, b).value, -1));
      const base = rows.find((r) => r.label === s.base);
      const value = (row, k) => cellOf(row, k.name)?.mean;
      const zero = tasks.map((k) => (base ? value(base, k) : mean(rows.map((r) => value(r, k)).filter((v) => !nil(v)))));
      const gap = (row, i) => (nil(value(row, tasks[i])) || nil(zero[i]) ? null : value(row, tasks[i]) - zero[i]);
      const sizes = rows
        .flatMap((r) => tasks.map((_, i) => Math.abs(gap(r, i) ?? 0)))
        .filter((v) => v > 0)
        .sort((a, b) => a - b);
      const full = Math.max(1, sizes[Math.floor(0.85 * sizes.length)] || 1); // a quantile, so that a collapsed run does not make all others pale
      const tips = [];
      const cell = (row, k, i) => {
        const d = gap(row, i);
        if (nil(d)) return '<td class="empty">–</td>';
        const tip =
          tips.push(
            say([
              `<b>${esc(row.label)}</b> on ${esc(k.name)}: ${score(value(row, k))}`,
              `<i>${d < 0 ? "" : "+"}${fix(d, 2)} against ${esc(s.base || "the mean")}</i>`,
            ]),
          ) - 1;
        return `<td class="h" data-tip="${tip}" style="--hue:var(--${d < 0 ? "neg" : "pos"});--k:${Math.round(Math.min(1, Math.abs(d) / full) * 62)}%">${d > 0.05 ? "+" : ""}${fix(d, 1)}</td>`;
      };
      const heads = tasks
        .map((k) => `<th scope="col"><button type="button" data-task="${esc(k.name)}">${esc(k.name)}</button></th>`)
        .join("");
      const body = rows
        .map(
          (r) =>
            `<tr><th scope="row"><span class="name">${badge(r.method)}<span>${esc(short(nameOf(r), 26))}</span></span></th>${tasks.map((k, i) => cell(r, k, i)).join("")}</tr>`,
        )
        .join("");
      return {
        html: `<div class="scroll" tabindex="0" role="region" aria-label="Heat map"><table class="heat sticky"><thead><tr><th>Method</th>${heads}</tr></thead><tbody>${body}</tbody></table></div>`,
        tips,
      };
    },
  },
  {
    id: "seeds",
    title: "Seed scatter",
    hint: "One mark for each seed; the bar is the 95% interval, cut at the frame, the tick the mean. Hollow marks are collapsed runs.",
    controls(t) {
      return taskChoice(this, t, taskNames(t));
    },
    has: (t, s) => s.task && cellsFor(t, s.task).length > 0,
    draw(t, s, width) {
      const list = cellsFor(t, s.task).sort((a, b) => b.cell.mean - a.cell.mean);
      const lossy = list.some((e) => e.cell.failed || e.cell.diverged);
      const m = M(width < 420 ? 104 : 150, lossy ? 78 : 14, 8),
        height = list.length * 24 + m.top + m.bottom;
      const clipped = clipLow(list.flatMap((e) => e.cell.seeds.map(([, v]) => v)));
      const xs = scale("linear", ...extent(clipped.values, "linear", 0.05), m.left, width - m.right);
      const X = (v) => Math.min(width - m.right, Math.max(m.left, xs(v)));
      const marks = new Marks();
      const rows = [["Method", "Seed", "Score"]];
      let svg = xs.ticks
        .map((v) => `<line class="grid-line" x1="${xs(v)}" x2="${xs(v)}" y1="${m.top}" y2="${height - m.bottom}"/>`)
        .join("");
      for (const [, v] of yardLines(t, s.task))
        if (v >= xs.ends[0] && v <= xs.ends[1])
          svg += `<line class="yard" x1="${xs(v)}" x2="${xs(v)}" y1="${m.top}" y2="${height - m.bottom}"/>`;
      list.forEach(({ row, cell }, i) => {
        const y = m.top + 24 * i + 14;
        const [colour] = look(row.method);
        const lost = ["failed", "diverged"]
          .filter((k) => cell[k])
          .map((k) => `${cell[k]} ${k}`)
          .join(", ");
        marks.add(
          `<text class="lab" x="${m.left - 10}" y="${y + 4}" text-anchor="end">${esc(short(nameOf(row), width < 420 ? 15 : 22))}</text>`,
          row.method,
        );
        if (!nil(cell.low))
          marks.add(
            `<line x1="${X(cell.low)}" x2="${X(cell.high)}" y1="${y}" y2="${y}" stroke="${colour}" stroke-width="7" opacity=".2" stroke-linecap="round"/>`,
            row.method,
          );
        const left = cell.seeds.filter(([, v]) => v < xs.ends[0]);
        for (const [seed, v, fallen] of cell.seeds) {
          rows.push([row.label, seed, score(v)]);
          if (v >= xs.ends[0])
            marks.point(
              row.method,
              xs(v),
              y,
              say([`<b>${esc(row.label)}</b>, seed ${seed}`, score(v), fallen && "collapsed: one answer for all rows"]),
              { r: 4, hollow: !!fallen },
            );
        }
        if (left.length)
          marks.add(
            `<text x="${m.left + 2}" y="${y + 4}">← ${left.length}</text>${marks.hit(m.left + 10, y, say([`<b>${esc(row.label)}</b>, left of the axis`, ...left.map(([seed, v, fallen]) => `seed ${seed}: ${score(v)}${fallen ? ", collapsed" : ""}`)]))}`,
            row.method,
          );
        if (cell.mean >= xs.ends[0])
          marks.add(
            `<line x1="${xs(cell.mean)}" x2="${xs(cell.mean)}" y1="${y - 8}" y2="${y + 8}" stroke="var(--ink)" stroke-width="2"/>`,
            row.method,
          );
        if (S.printed)
          for (const [v, where] of D.printed[cell.i] || []) {
            rows.push([row.label, "published", score(v)]);
            marks.add(
              `${glyph(3, X(v), y, 4.5, 'fill="none" stroke="var(--ink)"')}${marks.hit(X(v), y, say([`<b>published ${score(v)}</b>`, esc(where)]))}`,
              row.method,
            );
          }
        if (lost) marks.add(`<text x="${width - m.right + 8}" y="${y + 4}">${esc(lost)}</text>`, row.method);
      });
      const none = Object.assign(() => 0, { ticks: [] });
      svg += frame(
        width,
        height,
        m,
        {
          scale: xs,
          write: (v) => trim(fix(v, 2)),
          label: `${s.task}, score${clipped.cut ? ` (${many(clipped.cut, "mark")} left of the axis)` : ""}`,
        },
        { scale: none, write: String },
      );
      return { height, frame: svg, marks, rows };
    },
  },
  {
    id: "curves",
    title: "Learning curves",
    hint: "Mean over seeds; the band is their range. Scores are on the selection rows.",
    controls(t, s) {
      s.x ??= "x";
      s.y ??= "y";
      return (
        taskChoice(
          this,
          t,
          taskNames(t, (k) => rowsOf(t).some((r) => runsOf(cellOf(r, k.name)).length)),
        ) +
        choice(this, "y", "Show", [
          ["y", "score"],
          ["l", "training loss"],
        ]) +
        choice(this, "x", "Against", [
          ["x", "step"],
          ["e", "epoch"],
          ["t", "seconds"],
        ])
      );
    },
    has: (t, s) => s.task && cellsFor(t, s.task).some((e) => runsOf(e.cell).length),
    draw(t, s, width) {
      const m = M(44, width < 420 ? 104 : 136);
      const lines = [];
      for (const { row, cell } of cellsFor(t, s.task)) {
        const runs = runsOf(cell).filter((r) => r[s.x] && r[s.y]);
        const n = Math.min(...runs.map((r) => r.x.length));
        const points = [];
        for (let i = 0; runs.length && i < n; i++) {
          const ys = runs.map((r) => r[s.y][i]).filter((v) => !nil(v));
          const x = mean(runs.map((r) => r[s.x][i]).filter((v) => !nil(v)));
          if (ys.length && !nil(x)) points.push({ x, y: mean(ys), lo: Math.min(...ys), hi: Math.max(...ys) });
        }
        if (points.length) lines.push({ row, points, n: runs.length });
      }
      const height = tallEnough(lines.length, 400);
      const marks = new Marks();
      const rows = [["Method", s.x === "t" ? "Seconds" : s.x === "e" ? "Epoch" : "Step", s.y === "y" ? "Score" : "Loss"]];
      if (!lines.length) return { height: 60, frame: '<text x="8" y="30">These curves have no such values.</text>', marks, rows };
      const all = lines.flatMap((l) => l.points);
      // First scores are far below the others, so the axis starts at the lowest score after a fifth of the training.
      const late = lines.flatMap((l) => l.points.slice(Math.floor(l.points.length / 5)));
      const y = yAxis(
        s.y === "y" ? clipLow(late.map((p) => p.y)).values : all.map((p) => p.y),
        height,
        m,
        s.y === "y" ? `${s.task}, score on selection rows` : "training loss",
      );
      const xs = scale("linear", Math.min(0, ...all.map((p) => p.x)), Math.max(...all.map((p) => p.x)), m.left, width - m.right);
      const X = xs,
        Y = (v) => Math.min(2 * height, Math.max(-height, y.scale(v)));
      marks.clipTo("clip-curves", m.left, m.top - 6, width - m.right + 2, height - m.bottom);
      const ends = [];
      for (const { row, points } of lines) {
        const band = [
          ...points.map((p) => [X(p.x), Y(p.hi)]),
          ...points
            .slice()
            .reverse()
            .map((p) => [X(p.x), Y(p.lo)]),
        ];
        marks.add(
          `<path d="M${band.map((p) => p.map((v) => v.toFixed(1)).join(" ")).join("L")}Z" fill="${look(row.method)[0]}" opacity=".08"${marks.clip}/>`,
          row.method,
        );
      }
      for (const { row, points, n } of lines) {
        marks.line(
          row.method,
          points.map((p) => [X(p.x), Y(p.y)]),
        );
        const inside = points.filter((p) => Y(p.y) <= height - m.bottom + 1);
        marks.add(
          inside
            .map((p) =>
              marks.hit(
                X(p.x),
                Y(p.y),
                say([
                  `<b>${esc(row.label)}</b>`,
                  `${s.y === "y" ? score(p.y) : fix(p.y, 3)} at ${s.x === "t" ? seconds(p.x) : trim(fix(p.x, 2))}`,
                  `<i>${many(n, "seed")}: ${fix(p.lo, 2)} to ${fix(p.hi, 2)}</i>`,
                ]),
                7,
              ),
            )
            .join(""),
          row.method,
        );
        ends.push({ text: nameOf(row), y: Math.min(height - m.bottom, Y(points.at(-1).y)), method: row.method });
        points.forEach((p) => rows.push([row.label, trim(fix(p.x, 2)), fix(p.y, 3)]));
      }
      marks.labelsRight(ends, width - m.right, m.top, height - m.bottom, width);
      if (s.x === "t") xs.ticks = timeTicks(...xs.ends);
      const write = s.x === "t" ? tick : (v) => si(v);
      return {
        height,
        frame: frame(width, height, m, { scale: xs, write, label: { x: "step", e: "epoch", t: "training time" }[s.x] }, y),
        marks,
        rows,
      };
    },
  },
  ...SERIES_CHARTS,
];
