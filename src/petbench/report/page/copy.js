// What can be copied: a table as it is shown, in LaTeX or CSV; BibTeX of its methods; a link to the view.
"use strict";
async function copyText(text, button) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch (_) {
    // A page opened from a file may not be allowed to use the clipboard; selected text can still be copied.
    const field = document.createElement("textarea");
    field.value = text;
    (button.closest("dialog") || document.body).append(field);
    field.select();
    done = document.execCommand("copy");
    field.remove();
    button.focus();
  }
  S.copied = text;
  $("live").textContent = done ? `Copied: ${button.textContent}` : "The browser did not allow copying.";
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 1500);
}
const copyButtons = (list, more) =>
  list.map(([kind, text]) => `<button type="button" class="copy" data-copy="${kind}" ${more}>${text}</button>`).join("");
const linkTo = (hash) => location.href.split("#")[0] + hash;

function csvOf(t) {
  const { table, tasks, rows, costs } = viewOf(t);
  const quoted = (v) => (nil(v) ? "" : /[",\n]/.test(v) ? `"${String(v).replace(/"/g, '""')}"` : String(v));
  const heads = [
    "method",
    "setting",
    ...tasks.flatMap((k) => [`${k.name} mean`, `${k.name} std`, `${k.name} n`]),
    ...(table.average_of ? ["average"] : []),
    ...costs.map(([key]) => key),
  ];
  const lines = rows.map((r) => [
    r.method,
    r.label,
    ...tasks.flatMap((k) => {
      const c = cellOf(r, k.name);
      return c ? [c.mean, c.std, c.n] : [null, null, null];
    }),
    ...(table.average_of ? [average(t, r).value] : []),
    ...costs.map(([key]) => r[key]),
  ]);
  return `${[heads, ...lines].map((line) => line.map(quoted).join(",")).join("\n")}\n`;
}
function latexOf(t) {
  const { table, tasks, rows } = viewOf(t);
  const tex = (s) =>
    String(s)
      .replace(/\\/g, "\\textbackslash{}")
      .replace(/[&%$#_{}]/g, (c) => `\\${c}`)
      .replace(/−/g, "-");
  const bold = (text, top) => (top ? `\\textbf{${text}}` : text);
  const mean = (c) =>
    !c || nil(c.mean) ? "--" : bold(tex(score(c.mean)), c.standing === "top") + (nil(c.std) ? "" : ` {\\scriptsize$\\pm$${fix(c.std, 1)}}`);
  const ends = table.average_of > 0;
  const heads = ["Method", "Tuned", ...tasks.map((k) => tex(k.name)), ...(ends ? ["Average"] : [])];
  const lines = rows.map((r) => [
    tex(r.label),
    nil(r.tuned) ? "--" : whole(r.tuned),
    ...tasks.map((k) => mean(cellOf(r, k.name))),
    ...(ends ? [bold(score(average(t, r).value), r.average_top)] : []),
  ]);
  const body = [heads, ...lines].map((line) => `${line.join(" & ")} \\\\`);
  return `${[`% ${table.name}; bold: the top group of its column. Needs booktabs.`, `\\begin{tabular}{l${"r".repeat(heads.length - 1)}}`, "\\toprule", body[0], "\\midrule", ...body.slice(1), "\\bottomrule", "\\end{tabular}"].join("\n")}\n`;
}
const bibtexOf = (methods) => `${[...new Set(methods.map((m) => D.cite[m].trim()))].join("\n\n")}\n`;
function copied(button) {
  const { copy, t } = button.dataset;
  if (copy === "latex") return latexOf(Number(t));
  if (copy === "csv") return csvOf(Number(t));
  if (copy === "bibtex") return bibtexOf([...new Set(viewOf(Number(t)).rows.map((r) => r.method))]);
  if (copy === "link") return linkTo(address());
  if (copy === "command") return commandOf(S.run);
  if (copy === "curve") return curveCsv(S.run);
  return bibtexOf([D.runs.adapter[S.run]]);
}
