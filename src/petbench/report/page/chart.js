// What all plots share: scales, axes, marks, labels that do not overlap, and the card around a plot.
"use strict";
function scale(kind, lo, hi, from, to) {
  if (kind === "log") {
    const a = Math.log10(lo),
      b = Math.log10(hi);
    return Object.assign((v) => from + ((Math.log10(v) - a) / (b - a || 1)) * (to - from), { ticks: logTicks(lo, hi), ends: [lo, hi] });
  }
  return Object.assign((v) => from + ((v - lo) / (hi - lo || 1)) * (to - from), { ticks: linearTicks(lo, hi), ends: [lo, hi] });
}
function linearTicks(lo, hi, wanted = 5) {
  const raw = (hi - lo || 1) / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((m) => m >= raw);
  const out = [];
  for (let i = Math.ceil(lo / step - 1e-9); i * step <= hi + 1e-9; i++) out.push(i * step);
  return out;
}
function logTicks(lo, hi) {
  const out = [];
  for (const list of [[1], [1, 3], [1, 2, 5]]) {
    out.length = 0;
    for (let k = Math.floor(Math.log10(lo)); k <= Math.ceil(Math.log10(hi)); k++) {
      for (const m of list) if (m * 10 ** k >= lo * 0.999 && m * 10 ** k <= hi * 1.001) out.push(m * 10 ** k);
    }
    if (out.length >= 3) return out;
  }
  return linearTicks(lo, hi, 4);
}
function timeTicks(lo, hi) {
  const unit = hi < 100 ? 1 : hi < 6000 ? 60 : 3600;
  return linearTicks(lo / unit, hi / unit).map((v) => v * unit);
}
function extent(values, kind, pad = 0.06) {
  const list = values.filter((v) => !nil(v) && (kind !== "log" || v > 0));
  let lo = Math.min(...list),
    hi = Math.max(...list);
  if (kind === "log") return lo === hi ? [lo / 2, hi * 2] : [lo / (hi / lo) ** pad, hi * (hi / lo) ** pad];
  if (lo === hi) [lo, hi] = [lo - 1, hi + 1];
  return [lo - (hi - lo) * pad, hi + (hi - lo) * pad];
}
function clipLow(values) {
  // Drops values far below the others, such as of a collapsed run, which would flatten the plot; `cut` counts them.
  const sorted = values.filter((v) => !nil(v)).sort((a, b) => a - b);
  const at = (q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
  const fence = at(0.25) - 4 * Math.max(at(0.75) - at(0.25), 0.5);
  const kept = sorted.filter((v) => v >= fence);
  return { values: kept, cut: sorted.length - kept.length };
}

function frame(width, height, m, x, y) {
  // The SVG of grid, tick labels and axis titles. x and y: {scale, write, label}.
  const out = [];
  for (const v of y.scale.ticks) {
    const at = y.scale(v).toFixed(1);
    out.push(
      `<line class="grid-line" x1="${m.left}" x2="${width - m.right}" y1="${at}" y2="${at}"/><text x="${m.left - 7}" y="${at}" dy=".35em" text-anchor="end">${esc(y.write(v))}</text>`,
    );
  }
  let last = -99;
  for (const v of x.scale.ticks) {
    const at = x.scale(v);
    out.push(`<line class="axis" x1="${at.toFixed(1)}" x2="${at.toFixed(1)}" y1="${height - m.bottom}" y2="${height - m.bottom + 4}"/>`);
    if (at - last < 44) continue;
    last = at;
    out.push(`<text x="${at.toFixed(1)}" y="${height - m.bottom + 17}" text-anchor="middle">${esc(x.write(v))}</text>`);
  }
  out.push(`<line class="axis" x1="${m.left}" x2="${width - m.right}" y1="${height - m.bottom}" y2="${height - m.bottom}"/>`);
  out.push(`<text x="${(m.left + width - m.right) / 2}" y="${height - 4}" text-anchor="middle">${esc(x.label)}</text>`);
  if (y.label) out.push(`<text x="2" y="11">${esc(y.label)}</text>`);
  return out.join("");
}
// The height that the labels of so many lines need, but at most 900.
const tallEnough = (lines, least) => Math.max(least, Math.min(900, 14 * lines + 70));
class Marks {
  // Collects the drawn marks of one plot, with their tooltips and positions.
  constructor() {
    this.parts = [];
    this.tips = [];
    this.places = [];
    this.clip = "";
  }
  clipTo(id, left, top, right, bottom) {
    this.add(`<clipPath id="${id}"><rect x="${left}" y="${top}" width="${right - left}" height="${bottom - top}"/></clipPath>`);
    this.clip = ` clip-path="url(#${id})"`;
  }
  add(svg, method) {
    this.parts.push(method === undefined ? svg : `<g data-m="${esc(method)}">${svg}</g>`);
  }
  point(method, x, y, tip, { r = 5, hollow = false, ring = false } = {}) {
    const [colour, shape] = look(method);
    const style = hollow
      ? `fill="var(--card)" stroke="${colour}" stroke-width="1.8"`
      : `fill="${colour}" stroke="var(--card)" stroke-width="1"`;
    const ringSvg = ring
      ? `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="${r + 4.5}" fill="none" stroke="${colour}" stroke-width="1.5"/>`
      : "";
    this.add(`${ringSvg}${glyph(shape, x, y, r, style)}${this.hit(x, y, tip)}`, method);
  }
  hit(x, y, tip, r = 11) {
    this.places.push([x, y]);
    return `<circle class="hit" cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="${r}" data-tip="${this.tips.push(tip) - 1}"/>`;
  }
  bar(method, x, low, high, faint = false) {
    if (nil(low) || nil(high)) return;
    this.add(
      `<line x1="${x.toFixed(1)}" x2="${x.toFixed(1)}" y1="${low.toFixed(1)}" y2="${high.toFixed(1)}" stroke="${look(method)[0]}" stroke-width="1.5" opacity="${faint ? 0.3 : 0.55}"/>`,
      method,
    );
  }
  line(method, points, { width = 1.8 } = {}) {
    const dash = YARD[method] ? "5 3" : "";
    const d = points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
    this.add(
      `<path d="${d}" fill="none" stroke="${look(method)[0]}" stroke-width="${width}" stroke-dasharray="${dash}" stroke-linejoin="round"${this.clip}/>`,
      method,
    );
  }
  labelsAt(list, box) {
    // Draws labels beside points: right, left, above or below; a label that fits nowhere is only in the tooltip.
    const taken = this.places.map(([x, y]) => [x - 5, y - 5, x + 5, y + 5]);
    for (const { text, x, y, method, first } of list.sort((a, b) => (b.first ? 1 : 0) - (a.first ? 1 : 0))) {
      const w = text.length * 6.4 + 4;
      const spots = [
        [x + 9, y + 4, "start", x + 9, y - 6],
        [x - 9, y + 4, "end", x - 9 - w, y - 6],
        [x, y - 10, "middle", x - w / 2, y - 20],
        [x, y + 19, "middle", x - w / 2, y + 9],
      ];
      const spot = spots.find(
        ([, , , a, b]) =>
          a >= box[0] &&
          a + w <= box[2] &&
          b >= box[1] &&
          b + 12 <= box[3] &&
          !taken.some((t) => a < t[2] && a + w > t[0] && b < t[3] && b + 12 > t[1]),
      );
      if (!spot) continue;
      taken.push([spot[3], spot[4], spot[3] + w, spot[4] + 12]);
      this.add(
        `<text class="lab" x="${spot[0].toFixed(1)}" y="${spot[1].toFixed(1)}" text-anchor="${spot[2]}"${first ? ' font-weight="600"' : ""}>${esc(text)}</text>`,
        method,
      );
    }
  }
  labelsRight(list, x, top, bottom, width) {
    // Draws labels at line ends, moved apart, with a thin line to a moved one. If too many, only the upper ones.
    const room = Math.floor((width - x - 26) / 6.3);
    const fit = Math.max(1, Math.floor((bottom - top) / 14));
    const kept = list.sort((a, b) => a.y - b.y).slice(0, list.length > fit ? fit - 1 : fit);
    if (kept.length < list.length) this.add(`<text x="${x + 26}" y="${bottom + 4}">and ${list.length - kept.length} more</text>`);
    kept.forEach((l, i) => (l.at = Math.max(l.y, i ? kept[i - 1].at + 14 : top)));
    for (let i = kept.length - 1, limit = bottom; i >= 0; i--, limit -= 14) kept[i].at = Math.min(kept[i].at, limit);
    for (const l of kept) {
      const leader =
        Math.abs(l.at - l.y) > 3
          ? `<line x1="${x + 3}" y1="${l.y.toFixed(1)}" x2="${x + 13}" y2="${l.at.toFixed(1)}" stroke="${look(l.method)[0]}" opacity=".5"/>`
          : "";
      const [colour, shape] = look(l.method);
      this.add(
        `${leader}${glyph(shape, x + 19, l.at, 3.6, `fill="${colour}"`)}<text class="lab" x="${x + 26}" y="${(l.at + 4).toFixed(1)}">${esc(short(l.text, room))}</text>`,
        l.method,
      );
    }
  }
}
const short = (text, n) => (text.length > n ? `${text.slice(0, n - 1)}…` : text);

// ---- cards ---------------------------------------------------------------------------------------
function choice(chart, key, text, options) {
  const now = S.chart[chart.id][key];
  const list = options
    .map(([v, label]) => `<option value="${esc(v)}"${String(now) === String(v) ? " selected" : ""}>${esc(label)}</option>`)
    .join("");
  return `<label class="inline">${esc(text)} <select data-chart="${chart.id}" data-choice="${key}">${list}</select></label>`;
}
function taskChoice(chart, t, names, withAverage) {
  const state = (S.chart[chart.id] ??= {});
  const options = [...(withAverage && averages(t) ? [["", "average over tasks"]] : []), ...names.map((n) => [n, n])];
  if (state.task === undefined || !options.some(([v]) => v === state.task)) {
    state.task = S.task && names.includes(S.task) ? S.task : options.length ? options[0][0] : "";
  }
  return options.length > 1 ? choice(chart, "task", "Task", options) : "";
}
function drawChart(chart, t) {
  const card = $(`chart-${chart.id}`);
  const state = (S.chart[chart.id] ??= {});
  const controls = chart.controls ? chart.controls(t, state) : "";
  const there = chart.has(t, state);
  card.hidden = !there;
  if (!there) return;
  if (!card.contains(document.activeElement) || document.activeElement.closest("details"))
    card.querySelector(".controls").innerHTML = controls;
  const host = card.querySelector(".plot");
  const width = Math.max(260, host.clientWidth);
  const drawn = chart.draw(t, state, width);
  card.querySelector(".hint").textContent = [drawn.hint || chart.hint, drawn.note].filter(Boolean).join(" ");
  if (drawn.html !== undefined) {
    host.innerHTML = drawn.html;
  } else {
    host.innerHTML = `<svg viewBox="0 0 ${width} ${drawn.height}" tabindex="0" role="img" aria-label="${esc(`${chart.title}. ${drawn.hint || chart.hint} Arrow keys step through the points.`)}">${drawn.frame}${drawn.marks.parts.join("")}<circle class="hot" r="0"/></svg>`;
  }
  card.tips = drawn.marks ? drawn.marks.tips : drawn.tips || [];
  card.places = drawn.marks ? drawn.marks.places : [];
  card.rows = drawn.rows;
  const details = card.querySelector("details");
  details.hidden = !drawn.rows;
  if (details.open) fillData(card);
}
function fillData(card) {
  const [headRow, ...rows] = card.rows;
  card.querySelector("details .scroll").innerHTML =
    `<table><thead><tr>${headRow.map((h) => `<th scope="col">${esc(h)}</th>`).join("")}</tr></thead><tbody>${rows.map((r) => `<tr>${r.map((v) => `<td>${esc(v)}</td>`).join("")}</tr>`).join("")}</tbody></table>`;
}
function buildCards() {
  $("grid").innerHTML = CHARTS.map(
    (c) =>
      `<article class="card" id="chart-${c.id}" aria-label="${esc(c.title)}"><h3>${esc(c.title)}</h3><p class="hint">${esc(c.hint)}</p><div class="controls"></div><div class="plot"></div><details><summary>Data</summary><div class="scroll" tabindex="0"></div></details></article>`,
  ).join("");
  for (const card of document.querySelectorAll(".card details"))
    card.addEventListener("toggle", () => card.open && fillData(card.closest(".card")));
}
