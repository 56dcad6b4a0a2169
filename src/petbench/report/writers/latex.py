"""The report as LaTeX tables (booktabs), in plain ASCII whatever characters the names have."""

import unicodedata
from collections.abc import Sequence

from petbench.record.units import score
from petbench.report.layout import Average, Entry, Report, Standing, Table
from petbench.report.notes import cell_marks
from petbench.report.statistics.intervals import Summary
from petbench.report.writers.numerals import COST_HEADS, cost_cells, rank_line, used

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "±": r"$\pm$", "×": r"$\times$", "⊗": r"$\otimes$", "†": r"\textdagger{}", "‡": r"\textdaggerdbl{}",
    "✗": r"$\times$", "–": "--", "—": "---", "…": r"\ldots{}", "α": r"$\alpha$", "β": r"$\beta$",
    "≤": r"$\leq$", "≥": r"$\geq$", "−": "$-$", "’": "'", "‘": "`", "“": "``", "”": "''", "ß": r"\ss{}",
    "ø": r"\o{}", "Ø": r"\O{}", "æ": r"\ae{}", "ł": r"\l{}", "\n": " ", "\t": " ",
}  # fmt: skip
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0308": '"',
    "\u030c": "v",
    "\u0327": "c",
}

PREAMBLE = r"""% Needs \usepackage{booktabs} and \usepackage[T1]{fontenc}. Redefine \petcell to show less:
% #1 mean, #2 standard deviation, #3 and #4 the 95% interval, #5 seeds.
\providecommand{\petcell}[5]{#1\,{\scriptsize$\pm$\,#2}\,{\tiny[#3, #4] $n{=}#5$}}"""


def to_latex(report: Report) -> str:
    """Every table as one `table*` with scores, costs and notes."""
    return "\n\n".join([PREAMBLE, *(_table(table) for table in report.tables)]) + "\n"


def escape(text: str) -> str:
    """LaTeX that prints the text: special characters escaped, accents as commands, unknown characters as `?`."""
    out = []
    for sign in unicodedata.normalize("NFC", text):
        if sign in _SPECIAL:
            out.append(_SPECIAL[sign])
        elif " " <= sign < "\x7f":
            out.append(sign)
        else:
            letter, *marks = list(unicodedata.normalize("NFD", sign))
            known = len(marks) == 1 and marks[0] in _ACCENTS and ord(letter) < 128
            out.append(f"\\{_ACCENTS[marks[0]]}{{{letter}}}" if known else "?")
    return "".join(out)


def _table(table: Table) -> str:
    averaged = any(row.average is not None for row in table.rows)
    heads = ["method", *(f"{column.label} ({column.metric})" for column in table.columns)]
    heads += ["average"] if averaged else []
    lines = []
    for row in table.rows:
        cells = [escape(row.label), *(_entry(row.entries.get(column.key)) for column in table.columns)]
        lines.append(cells + ([_average(row.average)] if averaged else []))
    costs = [cost_cells(row.costs) for row in table.rows]
    shown = used(costs)
    parts = [r"\begin{table*}", r"\centering\small", rf"\caption{{{escape(table.title)}}}"]
    parts.append(_tabular([escape(text) for text in heads], lines))
    if shown:
        cost_heads = ["method", *(escape(COST_HEADS[index]) for index in shown)]
        cost_lines = [
            [escape(row.label), *(escape(cells[index]) for index in shown)]
            for row, cells in zip(table.rows, costs, strict=True)
        ]
        parts += [r"\par\medskip", _tabular(cost_heads, cost_lines)]
    notes = [escape(note) for note in (table.formula, rank_line(table.ranks), *table.notes) if note]
    parts += [r"\par\smallskip\footnotesize", ". ".join(notes) + ".", r"\end{table*}"]
    return "\n".join(parts)


def _tabular(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    body = "\n".join(f"{' & '.join(line)} \\\\" for line in lines)
    rule = f"l{'r' * (len(heads) - 1)}"
    return (
        f"\\begin{{tabular}}{{{rule}}}\n\\toprule\n{' & '.join(heads)} \\\\\n\\midrule\n"
        f"{body}\n\\bottomrule\n\\end{{tabular}}"
    )


def _entry(entry: Entry | None) -> str:
    if entry is None:
        return "--"
    marks = escape(cell_marks(entry.cell))
    value = "no run" if entry.summary is None else _summary(entry.summary, entry.standing)
    return f"{value} {marks}".strip()


def _average(average: Average | None) -> str:
    if average is None:
        return "--"
    partial = "" if average.complete else f" {average.tasks}/{average.of}"
    return _summary(average.summary, average.standing) + partial


def _summary(short: Summary, standing: Standing) -> str:
    mean = rf"\textbf{{{score(short.mean)}}}" if standing == "top" else score(short.mean)
    if short.std is None or short.low is None or short.high is None:
        return f"{mean} {{\\tiny $n{{=}}{short.n}$}}"
    return (
        rf"\petcell{{{mean}}}{{{score(short.std)}}}{{{score(short.low)}}}{{{score(short.high)}}}{{{short.n}}}"
    )
