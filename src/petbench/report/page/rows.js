// The answer on top, and the rows on which two methods disagree.
"use strict";
function drawAnswer() {
  const parts = tables()
    .filter((t) => D.answer[t].length)
    .map((t) => {
      const [first, ...rest] = D.answer[t].map((short) => esc(short.text));
      const more = rest.length
        ? `<details><summary>Task by task</summary><ul>${rest.map((text) => `<li>${text}</li>`).join("")}</ul></details>`
        : "";
      const name = D.tables.length > 1 ? `<p class="sub">${esc(D.tables[t].name)}</p>` : "";
      return `<div class="verdict">${name}<p class="said">${first}</p>${more}</div>`;
    });
  const [open, folded] = [parts.slice(0, 3), parts.slice(3)];
  $("answer").innerHTML =
    `<h2>The answer</h2>${open.join("")}${folded.length ? `<details><summary>${many(folded.length, "more table")}</summary>${folded.join("")}</details>` : ""}`;
  $("answer").hidden = !parts.length;
}

// ---- two methods, row by row ---------------------------------------------------------------------
const MOST_ROWS = 25;
function drawRows() {
  const host = $("rows-body");
  const there = D.kept.map((k, i) => ({ ...k, i })).filter((k) => tables().includes(k.table));
  if (!there.length) {
    host.innerHTML =
      '<p class="empty">These runs stored no answers by row (answers.npz beside a record), so the rows on which two methods differ are unknown. Runs of this version store them.</p>';
    return;
  }
  const column = there.find((k) => k.i === S.rows.column) ?? there.find((k) => !k.left_out) ?? there[0];
  S.rows.column = column.i;
  const option = (v, text, now) => `<option value="${v}"${String(now) === String(v) ? " selected" : ""}>${esc(text)}</option>`;
  const where = (k) => `${k.task}${D.tables.length > 1 ? ` · ${D.tables[k.table].name}` : ""}`;
  const picker = (key, text, options) => `<label class="field">${text} <select data-rows="${key}">${options}</select></label>`;
  const columns = picker("column", "Task", there.map((k) => option(k.i, where(k), column.i)).join(""));
  if (column.left_out) {
    host.innerHTML = `<div class="controls">${columns}</div><p class="empty">${esc(column.left_out)}. In a shell: petbench compare A B --rows</p>`;
    return;
  }
  const cells = Object.keys(column.cells).map(Number);
  const labels = (c) => D.cells[c].label;
  const short = D.answer[column.table].find((a) => a.where === column.task);
  const named = (label) => cells.find((c) => labels(c) === label);
  if (!cells.includes(S.rows.a)) S.rows.a = named(short?.highest) ?? cells[0];
  if (!cells.includes(S.rows.b)) S.rows.b = [named(short?.pick), ...cells].find((c) => c !== undefined && c !== S.rows.a) ?? S.rows.a;
  const { a, b } = S.rows;
  const sides =
    picker("a", "Method", cells.map((c) => option(c, labels(c), a)).join("")) +
    picker("b", "Against", cells.map((c) => option(c, labels(c), b)).join(""));
  const found = disagreement(column, a, b);
  const lost = D.tables[column.table].rows.filter(
    (r) => r.cells[column.task] !== undefined && !cells.includes(r.cells[column.task]),
  ).length;
  const sentence =
    `On ${column.task}, ${labels(a)} and ${labels(b)} differ on ${whole(found.rows.length)} of ${whole(column.rows)} rows.` +
    (column.numbers
      ? ""
      : ` Right in all ${column.n[a]} runs of ${labels(a)} and in none of the ${column.n[b]} of ${labels(b)}: ${found.one}; the other way round: ${found.other}.`) +
    (lost ? ` ${many(lost, "method")} stored no answers here.` : "");
  const head = column.numbers
    ? ["Row", "Label", `${labels(a)}, mean answer`, `${labels(b)}, mean answer`]
    : ["Row", "Label", `${labels(a)}, runs right`, `${labels(b)}, runs right`];
  const texts = column.texts;
  const body = found.rows.slice(0, MOST_ROWS).map((r) => {
    const side = (c, v) => (column.numbers ? fix(v, 2) : `${v} of ${column.n[c]}`);
    const text = texts
      ? `<td class="left text">${
          Object.entries(texts[r.id] || {})
            .map(([k, v]) => `<b>${esc(k)}</b> ${esc(v)}`)
            .join("<br>") || "–"
        }</td>`
      : "";
    return `<tr><td>${r.id}</td><td class="left">${esc(r.label)}</td><td>${side(a, r.a)}</td><td>${side(b, r.b)}</td>${text}</tr>`;
  });
  const heads = [...head, ...(texts ? ["Texts"] : [])]
    .map((h, i) => `<th scope="col"${i === 1 || i > 3 ? ' class="left"' : ""}>${esc(h)}</th>`)
    .join("");
  const note = column.no_texts
    ? `Further texts are missing: ${column.no_texts}.`
    : texts
      ? ""
      : "To have the rows' texts in the page, make it with: petbench report --texts";
  const matrices = column.numbers
    ? ""
    : `<div class="matrices">${[a, b].map((c) => matrix(column.classes, cellMatrix(column, c), `${labels(c)}, mean number of rows over ${many(column.n[c], "run")}`)).join("")}</div>`;
  const more = found.rows.length > MOST_ROWS ? ` The ${MOST_ROWS} that differ most:` : "";
  host.innerHTML =
    `<div class="controls">${columns}${sides}</div><p class="said small">${esc(sentence)}</p>${matrices}` +
    (body.length
      ? `<p class="sub">${esc(note)}${more}</p><div class="scroll tall" tabindex="0" role="region" aria-label="Rows on which the two differ"><table><thead><tr>${heads}</tr></thead><tbody>${body.join("")}</tbody></table></div>`
      : "");
}
function disagreement(column, a, b) {
  // The rows by difference, largest first: of the shares of runs that are right, or for numbers of the mean answers.
  const value = (c, i) => (column.numbers ? column.cells[c][i] : parseInt(column.cells[c][i], 36));
  const [na, nb] = column.numbers ? [1, 1] : [column.n[a], column.n[b]];
  const rows = [];
  for (let i = 0; i < column.rows; i++) {
    const [va, vb] = [value(a, i), value(b, i)];
    const apart = Math.abs(va / na - vb / nb);
    const label = column.numbers ? fix(column.labels[i], 2) : (column.classes[parseInt(column.labels[i], 36)] ?? column.labels[i]);
    if (apart > 1e-9) rows.push({ id: column.ids ? column.ids[i] : i, label, a: va, b: vb, apart });
  }
  rows.sort((x, y) => y.apart - x.apart || x.id - y.id);
  return { rows, one: rows.filter((r) => r.a === na && r.b === 0).length, other: rows.filter((r) => r.b === nb && r.a === 0).length };
}
function cellMatrix(column, cell) {
  // Mean counts per run, labels down and answers across.
  const runs = D.runs.run_id.filter((id, i) => D.runs.cell[i] === cell && column.confusion[id]).map((id) => column.confusion[id]);
  return runs[0].map((row, i) => row.map((_, j) => mean(runs.map((m) => m[i][j]))));
}
function matrix(classes, counts, caption) {
  const rows = classes.map((name, i) => [name, counts[i]]).filter(([name]) => name !== "no label"); // only answers may be no label
  const body = rows.map(([name, row]) => {
    const all = row.reduce((x, y) => x + y, 0) || 1;
    return `<tr><th scope="row">${esc(name)}</th>${row.map((v) => `<td class="h" style="--hue:var(--pos);--k:${Math.round((55 * v) / all)}%">${trim(fix(v, 1))}</td>`).join("")}</tr>`;
  });
  return `<table class="matrix"><caption>${esc(caption)}: answers across, labels down</caption><thead><tr><th scope="col">label</th>${classes.map((c) => `<th scope="col">${esc(c)}</th>`).join("")}</tr></thead><tbody>${body.join("")}</tbody></table>`;
}
